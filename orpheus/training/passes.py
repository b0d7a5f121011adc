"""What lies between the products of a layer in training (see orpheus/training/fused.py), in plain PyTorch.

It says what orpheus/training/kernels.py computes on a GPU, and is what tests hold that to.
T: tokens; `eight`: whether to give the result as Eight too, else None stands in its place; `room`: columns kept free behind a
result for the adapter's share of the next product: in the Eight where there is one, else in the result.
"""

import torch

from orpheus.engines.layers import rms_norm
from orpheus.engines.layers import rotate as rotated
from orpheus.training.eight import HEADROOM, TOP, Eight, empty


def add_norm(x, y, weight, eps, room, eight=False):
    """x, y (T, n), y None for nothing -> x + y, its norm (T, n + room), the norm's factors float32 (T,), the norm as Eight."""
    total = x.clone() if y is None else x + y
    rstd = torch.rsqrt(total.float().pow(2).mean(-1) + eps)
    return (total, *_with_room(rms_norm(total, weight, eps), room, eight, rstd))


def norm_again(total, rstd, weight):
    """The norm (T, n) once more, out of what add_norm gave."""
    return weight * (total.float() * rstd[:, None]).to(total.dtype)


def norm_backward(dh, total, rstd, weight, dtotal, room, eight=False):
    """Gradient (T, n + room) of add_norm's sum: that through its norm, dh, and dtotal, that of the sum itself; and as Eight."""
    n = total.float() * rstd[:, None]
    dn = dh.float() * weight.float()
    dx = rstd[:, None] * (dn - n * (dn * n).mean(-1, keepdim=True)) + dtotal.float()
    dx, _, made = _with_room(dx.to(total.dtype), room, eight)
    return dx, made


def rotate(qkv, cos, sin, heads, dim):
    """Turns the first `heads` of qkv (T, all heads * dim) by their positions, in place; cos, sin (T, dim)."""
    part = qkv[:, : heads * dim].view(len(qkv), heads, dim)
    part.copy_(rotated(part, cos, sin))


def unrotate(dq, dk, dv, cos, sin, room, eight=False):
    """Gradient (T, all heads * dim + room) of rotate's input out of those of q, k and v (T, heads, dim); and as Eight."""
    out = torch.cat([rotated(dq, cos, -sin), rotated(dk, cos, -sin), dv], dim=1).flatten(1)
    out, _, made = _with_room(out, room, eight)
    return out, made


def swiglu(gate_up, room, eight=False):
    """gate_up (T, 2 n), gate first -> silu(gate) * up (T, n + room); and as Eight."""
    gate, up = gate_up.chunk(2, dim=1)
    h, _, made = _with_room(torch.nn.functional.silu(gate) * up, room, eight)
    return h, made


def swiglu_backward(d, gate_up, room, eight=False):
    """Gradient (T, 2 n + room) of swiglu's input out of that of its result, d (T, n); the result (T, n) again; the gradient as Eight."""
    gate, up = gate_up.float().chunk(2, dim=1)
    d, share = d.float(), torch.sigmoid(gate)
    out = torch.cat([d * up * share * (1 + gate * (1 - share)), d * gate * share], dim=1).to(gate_up.dtype)
    out, _, made = _with_room(out, room, eight)
    return out, (gate * share * up).to(gate_up.dtype), made


def cross_entropy(logits, targets, weights, skip):
    """Weighted cross-entropies float32 (n,) of logits (n, rows), whose first `skip` columns do not count; `logits` become the
    gradient of their sum."""
    wide = logits.float()  # the logits themselves, where they are float32: one tensor of this size, and one exponential
    wide[:, :skip] = -torch.inf
    taken = wide.gather(1, targets[:, None])[:, 0]
    top = wide.amax(dim=-1, keepdim=True)
    total = wide.sub_(top).exp_().sum(dim=-1, keepdim=True)
    losses = ((total.log() + top)[:, 0] - taken) * weights
    wide.mul_(weights[:, None] / total).scatter_add_(1, targets[:, None], -weights[:, None])
    if wide is not logits:
        logits.copy_(wide)
    return losses


def quantize(x, into=None):
    """x (rows, n) as Eight; into: (values, scales) of one to write into."""
    x = x.float()
    scales = x.abs().amax(1).clamp(min=1e-12) / HEADROOM
    made = Eight((x / scales[:, None]).to(torch.float8_e4m3fn), scales)
    if into is None:
        return made
    into[0].copy_(made.values)
    into[1].copy_(made.scales)
    return Eight(*into)


def append(x, before, eight):
    """Writes x (rows, r) behind the columns of an Eight that stand for `before` (rows, n). Where it is too large for a row's scale,
    the row gets another one."""
    width = before.shape[1]
    most = x.float().abs().amax(1)
    late = most > TOP * eight.scales
    if late.any():
        again = quantize(torch.cat([before, x], 1)[late])
        eight.scales[late] = again.scales
        eight.values.view(torch.uint8)[:, :width][late] = again.values[:, :width].view(torch.uint8)
    eight.values[:, width:] = (x.float() / eight.scales[:, None]).to(torch.float8_e4m3fn)


def _with_room(h, room, eight, *between):
    if not eight:
        wide = h.new_empty(len(h), h.shape[1] + room)
        wide[:, : h.shape[1]] = h
        return (wide, *(between or (None,)), None)
    return (h, *(between or (None,)), quantize_with_room(h, room))


def quantize_with_room(h, room):
    """h (T, n) as an Eight (T, n + room)."""
    made = empty(len(h), h.shape[1] + room, h.device)
    quantize(h, (made.values[:, : h.shape[1]], made.scales))
    return made
