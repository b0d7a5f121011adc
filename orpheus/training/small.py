"""A small model's decoder layer in training on a CPU, as one function with a gradient of its own.

There arithmetic is what takes time, so none is done twice or for nothing: the adapter is added to its weights once a step instead of
being multiplied by every token on the way forward and by every gradient on the way back; attention leaves out what lies in the
future; the first layer's input gets no gradient. What the gradient needs is kept, attention's probabilities too: of a large model
that would be gigabytes, so this is for small ones (see LoraLlama.small).

T: tokens. The adapters' gradients are added up by the backward pass itself, those of several passes at once in a vector each.
"""

import math
import threading
from concurrent.futures import ThreadPoolExecutor, wait

import torch
import torch.nn.functional as F

from orpheus.training import passes

MOST_AT_ONCE = 4  # passes: each has its own activations
_pass = threading.local()  # `number`: which of several passes at once this thread makes
BLOCK = 128  # queries that attention handles together: few enough to leave out most of the future


class SmallLayer:
    """packed_layer of orpheus/training/llama.py over the weights of one layer: (x, None, cos, sin, bounds, longest) -> (x, None), each
    (T, hidden).

    groups: LoraGroups of q, k, v; o; gate, up; down, with their adapters merged; norms: weights; shape: query heads, key heads, their
    size, the norm's epsilon; first: whether its input has nothing to learn
    """

    def __init__(self, groups, norms, shape, first):
        self.qkv, self.o, self.gate_up, self.down = groups
        self.norms, self.shape, self.first = norms, shape, first

    def __call__(self, x, _, cos, sin, bounds, longest):
        return _Layer.apply(x, cos, sin, bounds, self), None


class _Layer(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, cos, sin, bounds, layer):
        heads, kv_heads, dim, eps = layer.shape
        kept = any(ctx.needs_input_grad)
        normed, rstd = _norm(x, layer.norms[0], eps)
        qkv = normed @ layer.qkv.one.T
        passes.rotate(qkv, cos, sin, heads + kv_heads, dim)
        ends = bounds.tolist()
        attended, shares = attend(qkv, heads, kv_heads, dim, ends, kept)
        middle = torch.addmm(x, attended, layer.o.one.T)
        normed, middle_rstd = _norm(middle, layer.norms[1], eps)
        hidden = normed @ layer.gate_up.one.T
        gate, up = hidden.chunk(2, dim=1)
        inner = F.silu(gate).mul_(up)
        if kept:
            ctx.layer, ctx.ends = layer, ends
            ctx.save_for_backward(x, rstd, cos, sin, qkv, attended, middle, middle_rstd, hidden, inner, *shares)
        return torch.addmm(middle, inner, layer.down.one.T)

    @staticmethod
    def backward(ctx, dy):
        x, rstd, cos, sin, qkv, attended, middle, middle_rstd, hidden, inner, *shares = ctx.saved_tensors
        layer = ctx.layer
        heads, kv_heads, dim, _ = layer.shape
        learn(layer.down, dy, inner)
        dhidden = _swiglu_backward(dy @ layer.down.one, hidden)
        n = middle * middle_rstd
        learn(layer.gate_up, dhidden, n * layer.norms[1])
        dmiddle = _norm_backward(dhidden @ layer.gate_up.one, n, middle_rstd, layer.norms[1]).add_(dy)
        learn(layer.o, dmiddle, attended)
        dqkv = attend_backward(dmiddle @ layer.o.one, attended, qkv, shares, heads, kv_heads, dim, ctx.ends)
        passes.rotate(dqkv, cos, -sin, heads + kv_heads, dim)
        n = x * rstd
        learn(layer.qkv, dqkv, n * layer.norms[0])
        if layer.first:
            return (None,) * 5
        dx = _norm_backward(dqkv @ layer.qkv.one, n, rstd, layer.norms[0]).add_(dmiddle)
        return dx, None, None, None, None


def learn(group, dy, x):
    """Adds the gradients of a group's adapters: dy (T, out), that of its output for the input x (T, in)."""
    to_a, to_bs = group.gradients[getattr(_pass, "number", 0)]
    group.learn_b(dy, x @ group.a.T, to_bs)
    to_a.addmm_((dy @ group.whole[: group.out, group.width :]).T, x)


def _norm(x, weight, eps):
    """x (T, n) -> its norm, and the norm's factors (T, 1)."""
    rstd = torch.rsqrt(x.square().mean(-1, keepdim=True).add_(eps))
    return (x * rstd).mul_(weight), rstd


def _norm_backward(dh, n, rstd, weight):
    """Gradient of the norm's input out of that of the norm, dh, which is written over; n: the input times rstd."""
    dn = dh.mul_(weight)
    along = (dn * n).mean(-1, keepdim=True)
    return dn.addcmul_(n, along, value=-1).mul_(rstd)


def _swiglu_backward(d, hidden):
    """Gradient of hidden (T, 2 n), gate first, out of that of silu(gate) * up, d (T, n)."""
    gate, up = hidden.chunk(2, dim=1)
    out = torch.empty_like(hidden)
    dgate, dup = out.chunk(2, dim=1)
    torch.mul(d, F.silu(gate), out=dup)
    dgate.copy_(torch.ops.aten.silu_backward(d.mul_(up), gate))
    return out


class AtOnce:
    """Gradients of several lists of packs at once, a thread for each: (lists, first, factor) -> the sum of the losses * factor, a float32
    scalar. Many calls of a step are too small for more than one thread.

    The gradients are those of one list after the other, added up in the order of the lists.
    """

    def __init__(self, llama, lists):
        self.llama, self.threads = llama, ThreadPoolExecutor(lists)
        llama.adapter.take_from(lists)

    def __call__(self, lists, first, factor):
        before = torch.get_num_threads()
        each = max(1, before // len(lists))
        try:
            passes = [self.threads.submit(self._one, *one, each, first, factor) for one in enumerate(lists)]
            losses = [one.result() for one in passes]
        finally:
            wait(passes)  # also where one has failed
            torch.set_num_threads(before)
        self.llama.adapter.gather()
        return torch.stack(losses).sum()

    def _one(self, number, packs, threads, first, factor):
        torch.set_num_threads(threads)  # a thread's own, and MKL's
        _pass.number, loss = number, torch.zeros(())
        for pack in packs:
            part = self.llama.loss(pack, first) * factor
            part.backward()
            loss += part.detach()
        return loss


# --- attention -----------------------------------------------------------------------------------------------------------------


def _heads(rows, heads, kv_heads, dim):
    """q, k, v of an example's rows (n, all heads * dim) as views (heads, n, dim), k and v once for each of their queries' heads."""
    q, k, v = rows.unflatten(1, (-1, dim)).transpose(0, 1).split([heads, kv_heads, kv_heads])
    if kv_heads < heads:
        k, v = (t.repeat_interleave(heads // kv_heads, 0) for t in (k, v))
    return q, k, v


def _blocks(length):
    return [(start, min(start + BLOCK, length)) for start in range(0, length, BLOCK)]


def attend(qkv, heads, kv_heads, dim, ends, kept):
    """Causal attention inside each example of qkv (T, all heads * dim), rotated: (T, heads * dim), and each block's probabilities
    (heads, queries, keys) where they are to be kept."""
    out, shares = qkv.new_empty(len(qkv), heads * dim), []
    future = torch.ones(BLOCK, BLOCK, dtype=torch.bool).triu_(1)
    nothing = qkv.new_empty(1, 1, 1)
    for first, last in zip(ends[:-1], ends[1:]):
        q, k, v = _heads(qkv[first:last], heads, kv_heads, dim)
        attended = out[first:last].view(-1, heads, dim).transpose(0, 1)
        for start, end in _blocks(last - first):
            scores = torch.baddbmm(nothing, q[:, start:end], k[:, :end].transpose(1, 2), beta=0, alpha=dim**-0.5)
            scores[:, :, start:].masked_fill_(future[: end - start, : end - start], -math.inf)
            share = torch.softmax(scores, -1)
            attended[:, start:end] = share @ v[:, :end]
            if kept:
                shares.append(share)
    return out, shares


def attend_backward(d, out, qkv, shares, heads, kv_heads, dim, ends):
    """Gradient of attend's qkv out of that of its result `out`, d (T, heads * dim)."""
    dqkv, shares = torch.empty_like(qkv), iter(shares)
    along = (d * out).view(len(d), heads, dim).sum(-1).T[..., None]  # (heads, T, 1)
    nothing = qkv.new_empty(1, 1, 1)
    for first, last in zip(ends[:-1], ends[1:]):
        q, k, v = _heads(qkv[first:last], heads, kv_heads, dim)
        do = d[first:last].view(-1, heads, dim).transpose(0, 1)
        dq = dqkv[first:last].unflatten(1, (-1, dim)).transpose(0, 1)[:heads]
        dk, dv = (torch.zeros(heads, last - first, dim, dtype=d.dtype) for _ in range(2))
        for start, end in _blocks(last - first):
            share = next(shares)
            dv[:, :end] += share.transpose(1, 2) @ do[:, start:end]
            ds = torch.bmm(do[:, start:end], v[:, :end].transpose(1, 2))
            ds.sub_(along[:, first + start : first + end]).mul_(share)
            dq[:, start:end] = torch.baddbmm(nothing, ds, k[:, :end], beta=0, alpha=dim**-0.5)
            dk[:, :end].add_(ds.transpose(1, 2) @ q[:, start:end], alpha=dim**-0.5)
        if kv_heads < heads:
            dk, dv = (t.unflatten(0, (kv_heads, -1)).sum(1) for t in (dk, dv))
        dqkv[first:last].unflatten(1, (-1, dim)).transpose(0, 1)[heads:] = torch.cat([dk, dv])
    return dqkv
