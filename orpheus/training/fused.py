"""A decoder layer in training as two functions with gradients of their own, around attention.

What autograd would do in some forty passes over memory is here a product each, and one pass between two products: a sum and its
norm, the rotation, SwiGLU, and their gradients. Kept for the backward pass are the sums, q, k, v, attention's output, and gate
and up; the norms and SwiGLU's result are cheap to make again. Nothing depends on the number of tokens: packs may have any.

The adapters' gradients are added to the leaves' `grad` by the backward pass itself. A layer takes and gives its stream as two
summands, x and y, so that their sum is made where its norm is.
"""

import torch

from orpheus.training import eight as eights


class FusedLayer:
    """packed_layer of orpheus/training/llama.py over the weights of one layer: (x, y, cos, sin, bounds, longest) -> (x, y), each
    (T, hidden); y is None in the first layer.

    passes: orpheus.training.kernels or orpheus.training.passes; groups: LoraGroups of q, k, v; o; gate, up; down; norms: weights;
    shape: query heads, key heads, their size, the norm's epsilon; last: the gradients of the layer that was last gone back
    through, shared by all layers
    """

    def __init__(self, passes, attention, groups, norms, shape, last, first=False):
        self.passes, self.attention, self.norms, self.shape = passes, attention, norms, shape
        self.qkv, self.o, self.gate_up, self.down = groups
        self.last, self.first = last, first

    def __call__(self, x, y, cos, sin, bounds, longest):
        x, q, k, v = _BeforeAttention.apply(x, y, cos, sin, self)
        attended = self.attention(q, k, v, bounds, longest)
        return _AfterAttention.apply(attended, x, self)

    @property
    def eight(self):
        return self.qkv.eight is not None


class Last:
    """A gradient that a layer hands to the one before it together with its Eight."""

    def __init__(self):
        self.gradient = self.eight = None

    def keep(self, gradient, eight):
        self.gradient, self.eight = (gradient, eight) if eight is not None else (None, None)

    def take(self, gradient, passes):
        """The Eight of a gradient: the one that was kept if it is of this one."""
        kept, eight = self.gradient, self.eight
        self.gradient = self.eight = None
        same = kept is not None and kept.data_ptr() == gradient.data_ptr() and kept.shape == gradient.shape
        return eight if same else passes.quantize(gradient)


def product(passes, h, eight, group):
    """[h, h A^T] [W | B]^T, and h A^T (T, R).

    h: (T, in + R), its last columns free; (T, in) where `eight` is its Eight, (T, in + R) wide
    """
    low = h[:, : group.width] @ group.a.T
    if eight is None:
        h[:, group.width :] = low
        return h @ group.weight().T, low
    passes.append(low, eight.scales, eight.values[:, group.width :])
    return eights.product(eight, group.eight.forward, h.dtype), low


def back(dy, eight, low, group, apart=False):
    """Gradients through a product, but for that of A: of h, yet without the adapter's share (T, in), and of h A^T (T, R).

    apart: gives them in memory of their own, for one more product
    """
    ends = (0, group.width, group.width + group.rank) if apart else (0, group.width + group.rank)
    spans = [slice(*ends[place : place + 2]) for place in range(len(ends) - 1)]
    if eight is None:
        weight = group.weight()
        made = [dy @ weight[:, span] for span in spans]
    else:
        w = group.eight.backward
        made = [eights.product(eight, eights.Eight(w.values[span], w.scales[span]), dy.dtype) for span in spans]
    row = column = 0
    for b in group.bs:
        rows, rank = b.shape
        b.grad.addmm_(dy[:, row : row + rows].T, low[:, column : column + rank], alpha=group.scale)
        row, column = row + rows, column + rank
    return made if apart else (made[0][:, : group.width], made[0][:, group.width :])


def finish(dh, dlow, h, group):
    """The rest of it: A's gradient, and the adapter's share of that of h (T, in), which is given back."""
    group.a.grad.addmm_(dlow.T, h)
    return dh.addmm_(dlow, group.a)


class _BeforeAttention(torch.autograd.Function):
    """x, y (T, hidden) -> x + y; q (T, heads, d), k, v (T, kv_heads, d), rotated."""

    @staticmethod
    def forward(ctx, x, y, cos, sin, layer):
        heads, kv_heads, dim, eps = layer.shape
        passes, group = layer.passes, layer.qkv
        x, h, rstd, eight = passes.add_norm(x, y, layer.norms[0], eps, group.rank, layer.eight)
        qkv, low = product(passes, h, eight, group)
        passes.rotate(qkv, cos, sin, heads + kv_heads, dim)
        ctx.layer = layer
        ctx.save_for_backward(x, rstd, low, cos, sin)
        return x, *qkv.view(len(x), -1, dim).split([heads, kv_heads, kv_heads], dim=1)

    @staticmethod
    def backward(ctx, dx, dq, dk, dv):
        x, rstd, low, cos, sin = ctx.saved_tensors
        layer, passes, group = ctx.layer, ctx.layer.passes, ctx.layer.qkv
        dqkv, eight = passes.unrotate(dq, dk, dv, cos, sin, layer.eight)
        h = passes.norm_again(x, rstd, layer.norms[0])
        dh, dlow = back(dqkv, eight, low, group)
        if layer.first:  # its input has nothing to learn
            group.a.grad.addmm_(dlow.T, h)
            return (None,) * 5
        dh = finish(dh, dlow, h, group)
        dx, eight = passes.norm_backward(dh, x, rstd, layer.norms[0], dx, layer.eight)
        layer.last.keep(dx, eight)
        return dx, dx, None, None, None


class _AfterAttention(torch.autograd.Function):
    """attended (T, heads, d), x (T, hidden) -> the layer's output as two summands."""

    @staticmethod
    def forward(ctx, attended, x, layer):
        passes, o, gate_up, down = layer.passes, layer.o, layer.gate_up, layer.down
        flat = attended.flatten(1)
        y, o_low = _product_of_whole(passes, flat, o, layer.eight)
        x, h, rstd, eight = passes.add_norm(x, y, layer.norms[1], layer.shape[-1], gate_up.rank, layer.eight)
        hidden, gate_up_low = product(passes, h, eight, gate_up)
        del h, eight
        h, eight = passes.swiglu(hidden, down.rank, layer.eight)
        y, down_low = product(passes, h, eight, down)
        ctx.layer = layer
        ctx.save_for_backward(attended, o_low, x, rstd, gate_up_low, hidden, down_low)
        return x, y

    @staticmethod
    def backward(ctx, dx, dy):
        attended, o_low, x, rstd, gate_up_low, hidden, down_low = ctx.saved_tensors
        layer, passes = ctx.layer, ctx.layer.passes
        eight = layer.last.take(dy, passes) if layer.eight else None
        dh, dlow = back(dy, eight, down_low, layer.down)
        dh = dh.addmm_(dlow, layer.down.a)
        dhidden, h, eight = passes.swiglu_backward(dh, hidden, layer.eight)
        layer.down.a.grad.addmm_(dlow.T, h)
        del dh, h
        h = passes.norm_again(x, rstd, layer.norms[1])
        dh, dlow = back(dhidden, eight, gate_up_low, layer.gate_up)
        dh = finish(dh, dlow, h, layer.gate_up)
        dx, eight = passes.norm_backward(dh, x, rstd, layer.norms[1], dx, layer.eight)
        dh, dlow = back(dx, eight, o_low, layer.o, apart=True)
        dh = finish(dh, dlow, attended.flatten(1), layer.o)
        return dh.unflatten(1, attended.shape[1:]), dx, None


def _product_of_whole(passes, h, group, eight):
    """`product` of h (T, in) that has no room behind it."""
    if eight:
        values = torch.empty(len(h), group.width + group.rank, dtype=torch.float8_e4m3fn, device=h.device)
        scales = torch.empty(len(h), device=h.device)
        passes.quantize(h, (values[:, : group.width], scales))
        return product(passes, h, eights.Eight(values, scales), group)
    low = h @ group.a.T
    weight = group.weight()
    y = h @ weight[:, : group.width].T
    return y.addmm_(low, weight[:, group.width :].T), low
