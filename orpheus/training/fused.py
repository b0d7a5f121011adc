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
        eight = self.qkv.eight is not None and torch.is_grad_enabled()  # what is not learnt from is measured as it is
        x, q, k, v = _BeforeAttention.apply(x, y, cos, sin, self, eight)
        attended = self.attention(q, k, v, bounds, longest)
        return _AfterAttention.apply(attended, x, self, eight)


class Last:
    """A gradient that a layer hands to the one before it, with the room behind it, or its Eight, that a product there wants."""

    def __init__(self):
        self.gradient = self.eight = None

    def keep(self, gradient, eight, width):
        """Returns the gradient (T, width) for autograd."""
        self.gradient, self.eight = gradient, eight
        return gradient[:, :width]

    def take(self, gradient, passes, room, wants_eight):
        """(gradient, Eight) as `back` takes them: what was kept if it is this gradient."""
        kept, eight = self.gradient, self.eight
        self.gradient = self.eight = None
        if kept is not None and kept.data_ptr() == gradient.data_ptr() and len(kept) == len(gradient):
            return kept, eight
        if wants_eight:
            return gradient, passes.quantize_with_room(gradient.contiguous(), room)
        wide = gradient.new_empty(len(gradient), gradient.shape[1] + room)
        wide[:, : gradient.shape[1]] = gradient
        return wide, None


def product(passes, h, eight, group):
    """[h, h A^T] [W, B]^T, and h A^T (T, R).

    h: (T, in + R), its last columns free; (T, in) where `eight` is its Eight, (T, in + R) wide
    """
    inner = h[:, : group.width]
    low = inner @ group.a.T
    if eight is not None:
        passes.append(low, inner, eight)
        return eights.product(eight, group.eight.forward, h.dtype), low
    h[:, group.width :] = low
    return h @ group.fused()[: group.out].T, low


def back(passes, dy, eight, low, group, wanted=True):
    """Gradients through `product`: of h (T, in), None where that is not wanted, and of h A^T (T, R). Adds those of the B's.

    dy: (T, out + R), its last columns free; (T, out) where `eight` is its Eight, (T, out + R) wide
    """
    inner, fused = dy[:, : group.out], group.fused()
    room = None if eight is not None else dy[:, group.out :]
    dlow = torch.mm(inner, fused[: group.out, group.width :], out=room)
    group.learn_b(inner, low, [b.grad for b in group.bs])
    if not wanted:
        return None, dlow
    if eight is not None:
        passes.append(dlow, inner, eight)
        return eights.product(eight, group.eight.backward, dy.dtype), dlow
    return dy @ fused[:, : group.width], dlow


def add_a(group, dlow, h):
    """Adds the gradient of A."""
    group.a.grad.addmm_(dlow.T, h)


class _BeforeAttention(torch.autograd.Function):
    """x, y (T, hidden) -> x + y; q (T, heads, d), k, v (T, kv_heads, d), rotated."""

    @staticmethod
    def forward(ctx, x, y, cos, sin, layer, wanted):
        heads, kv_heads, dim, eps = layer.shape
        passes, group = layer.passes, layer.qkv
        x, h, rstd, eight = passes.add_norm(x, y, layer.norms[0], eps, group.rank, wanted)
        qkv, low = product(passes, h, eight, group)
        passes.rotate(qkv, cos, sin, heads + kv_heads, dim)
        ctx.layer, ctx.wanted = layer, wanted
        ctx.save_for_backward(x, rstd, low, cos, sin)
        return x, *qkv.view(len(x), -1, dim).split([heads, kv_heads, kv_heads], dim=1)

    @staticmethod
    def backward(ctx, dx, dq, dk, dv):
        x, rstd, low, cos, sin = ctx.saved_tensors
        layer, passes, group = ctx.layer, ctx.layer.passes, ctx.layer.qkv
        dqkv, eight = passes.unrotate(dq, dk, dv, cos, sin, group.rank, ctx.wanted)
        dh, dlow = back(passes, dqkv, eight, low, group, wanted=not layer.first)
        add_a(group, dlow, passes.norm_again(x, rstd, layer.norms[0]))
        if layer.first:  # its input has nothing to learn
            return (None,) * 6
        dx, eight = passes.norm_backward(dh, x, rstd, layer.norms[0], dx, layer.down.rank, ctx.wanted)
        given = layer.last.keep(dx, eight, x.shape[1])
        return given, given, None, None, None, None


class _AfterAttention(torch.autograd.Function):
    """attended (T, heads, d), x (T, hidden) -> the layer's output as two summands."""

    @staticmethod
    def forward(ctx, attended, x, layer, wanted):
        passes, o, gate_up, down = layer.passes, layer.o, layer.gate_up, layer.down
        h, eight = _with_room(passes, attended.flatten(1), o, wanted)
        y, o_low = product(passes, h, eight, o)
        x, h, rstd, eight = passes.add_norm(x, y, layer.norms[1], layer.shape[-1], gate_up.rank, wanted)
        hidden, gate_up_low = product(passes, h, eight, gate_up)
        del h, eight
        h, eight = passes.swiglu(hidden, down.rank, wanted)
        y, down_low = product(passes, h, eight, down)
        ctx.layer, ctx.wanted = layer, wanted
        ctx.save_for_backward(attended, o_low, x, rstd, gate_up_low, hidden, down_low)
        return x, y

    @staticmethod
    def backward(ctx, dx, dy):
        attended, o_low, x, rstd, gate_up_low, hidden, down_low = ctx.saved_tensors
        layer, passes = ctx.layer, ctx.layer.passes
        dy, eight = layer.last.take(dy, passes, layer.down.rank, ctx.wanted)
        dh, dlow = back(passes, dy, eight, down_low, layer.down)
        dhidden, h, eight = passes.swiglu_backward(dh, hidden, layer.gate_up.rank, ctx.wanted)
        add_a(layer.down, dlow, h)
        del dh, h
        dh, dlow = back(passes, dhidden, eight, gate_up_low, layer.gate_up)
        add_a(layer.gate_up, dlow, passes.norm_again(x, rstd, layer.norms[1]))
        dx, eight = passes.norm_backward(dh, x, rstd, layer.norms[1], dx, layer.o.rank, ctx.wanted)
        dh, dlow = back(passes, dx, eight, o_low, layer.o)
        add_a(layer.o, dlow, attended.flatten(1))
        return dh.unflatten(1, attended.shape[1:]), dx[:, : x.shape[1]], None, None


def _with_room(passes, h, group, eight):
    """(h, its Eight) as `product` takes them, of h (T, in) that has no room behind it."""
    if eight:
        return h, passes.quantize_with_room(h, group.rank)
    wide = h.new_empty(len(h), group.width + group.rank)
    wide[:, : group.width] = h
    return wide, None
