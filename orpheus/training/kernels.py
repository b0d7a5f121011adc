"""What lies between the products of a layer in training (see orpheus/training/fused.py), as Triton kernels.

The same functions in plain PyTorch are in orpheus/training/passes.py. A program reads a token's row once, sums it in float32 in a
fixed order and rounds where the plain layers round: the same input gives the same output, bit for bit. Functions with `eight`
also write their result as FP8 (see orpheus/training/eight.py) from the same reading.
"""

import torch
import triton
import triton.language as tl

from orpheus.training.eight import HEADROOM, TOP, Eight, empty

_WARPS = 8
_BLOCK = 2048  # numbers at a time, where a row is too long to be held at once


@triton.jit
def _store_eight(values, Q, mask, inverse):
    tl.store(Q, (values * inverse).to(Q.dtype.element_ty), mask=mask)


@triton.jit
def _add_norm_kernel(
    X, Y, W, TOTAL, H, RSTD, Q, SCALES, h_stride, q_stride, eps, headroom,
    WIDTH: tl.constexpr, BLOCK: tl.constexpr, ADD: tl.constexpr, EIGHT: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    there = at < WIDTH
    x = tl.load(X + row * WIDTH + at, mask=there, other=0.0)
    if ADD:
        y = tl.load(Y + row * WIDTH + at, mask=there, other=0.0)
        x = (x.to(tl.float32) + y.to(tl.float32)).to(x.dtype)
    tl.store(TOTAL + row * WIDTH + at, x, mask=there)
    wide = x.to(tl.float32)
    rstd = tl.rsqrt(tl.sum(wide * wide, 0) / WIDTH + eps)
    tl.store(RSTD + row, rstd)
    h = tl.load(W + at, mask=there, other=0.0) * (wide * rstd).to(x.dtype)
    tl.store(H + row * h_stride + at, h, mask=there)
    if EIGHT:
        scale = tl.maximum(tl.max(tl.abs(h.to(tl.float32)), 0), 1e-12) / headroom
        tl.store(SCALES + row, scale)
        _store_eight(h.to(tl.float32), Q + row * q_stride + at, there, 1 / scale)


@triton.jit
def _norm_again_kernel(X, RSTD, W, H, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    there = at < WIDTH
    x = tl.load(X + row * WIDTH + at, mask=there, other=0.0)
    n = (x.to(tl.float32) * tl.load(RSTD + row)).to(x.dtype)
    tl.store(H + row * WIDTH + at, tl.load(W + at, mask=there, other=0.0) * n, mask=there)


@triton.jit
def _norm_backward_kernel(
    DH, X, RSTD, W, DX, DTOTAL, Q, SCALES, dtotal_stride, dx_stride, q_stride, headroom,
    WIDTH: tl.constexpr, BLOCK: tl.constexpr, EIGHT: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    there = at < WIDTH
    rstd = tl.load(RSTD + row)
    n = tl.load(X + row * WIDTH + at, mask=there, other=0.0).to(tl.float32) * rstd
    dn = tl.load(DH + row * WIDTH + at, mask=there, other=0.0).to(tl.float32)
    dn *= tl.load(W + at, mask=there, other=0.0).to(tl.float32)
    dx = rstd * (dn - n * (tl.sum(dn * n, 0) / WIDTH))
    dx += tl.load(DTOTAL + row * dtotal_stride + at, mask=there, other=0.0).to(tl.float32)
    dx = dx.to(DX.dtype.element_ty)
    tl.store(DX + row * dx_stride + at, dx, mask=there)
    if EIGHT:
        scale = tl.maximum(tl.max(tl.abs(dx.to(tl.float32)), 0), 1e-12) / headroom
        tl.store(SCALES + row, scale)
        _store_eight(dx.to(tl.float32), Q + row * q_stride + at, there, 1 / scale)


@triton.jit
def _rotate_kernel(
    QKV, COS, SIN, stride, HEADS: tl.constexpr, DIM: tl.constexpr, ALL: tl.constexpr, HALF: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    head, at = tl.arange(0, ALL)[:, None], tl.arange(0, HALF)[None, :]
    there = (head < HEADS) & (at < DIM // 2)
    place = QKV + row * stride + head * DIM + at
    one = tl.load(place, mask=there, other=0.0).to(tl.float32)
    other = tl.load(place + DIM // 2, mask=there, other=0.0).to(tl.float32)
    cos = tl.load(COS + row * DIM + at, mask=at < DIM // 2, other=0.0).to(tl.float32)
    sin = tl.load(SIN + row * DIM + at, mask=at < DIM // 2, other=0.0).to(tl.float32)
    tl.store(place, (one * cos - other * sin).to(QKV.dtype.element_ty), mask=there)
    tl.store(place + DIM // 2, (other * cos + one * sin).to(QKV.dtype.element_ty), mask=there)


@triton.jit
def _turned_back(D, COS, SIN, row, HEADS: tl.constexpr, DIM: tl.constexpr, ALL: tl.constexpr, HALF: tl.constexpr):
    """The gradients of a token's unrotated heads, halves apart, in the precision that they are stored in."""
    head, at = tl.arange(0, ALL)[:, None], tl.arange(0, HALF)[None, :]
    there = (head < HEADS) & (at < DIM // 2)
    place = D + row * HEADS * DIM + head * DIM + at
    one = tl.load(place, mask=there, other=0.0)
    other = tl.load(place + DIM // 2, mask=there, other=0.0)
    cos = tl.load(COS + row * DIM + at, mask=at < DIM // 2, other=0.0).to(tl.float32)
    sin = tl.load(SIN + row * DIM + at, mask=at < DIM // 2, other=0.0).to(tl.float32)
    first = (one.to(tl.float32) * cos + other.to(tl.float32) * sin).to(one.dtype)
    second = (other.to(tl.float32) * cos - one.to(tl.float32) * sin).to(one.dtype)
    return first, second, there, head * DIM + at


@triton.jit
def _unrotate_kernel(
    DQ, DK, DV, COS, SIN, OUT, Q, SCALES, out_stride, q_stride, headroom,
    HEADS: tl.constexpr, KV: tl.constexpr, DIM: tl.constexpr,
    ALL: tl.constexpr, KV_ALL: tl.constexpr, HALF: tl.constexpr, VALUES: tl.constexpr, EIGHT: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    OUT += row * out_stride
    q1, q2, q_there, q_at = _turned_back(DQ, COS, SIN, row, HEADS, DIM, ALL, HALF)
    k1, k2, k_there, k_at = _turned_back(DK, COS, SIN, row, KV, DIM, KV_ALL, HALF)
    at = tl.arange(0, VALUES)
    v_there = at < KV * DIM
    v = tl.load(DV + row * KV * DIM + at, mask=v_there, other=0.0)
    k_at += HEADS * DIM
    v_at = at + (HEADS + KV) * DIM
    tl.store(OUT + q_at, q1, mask=q_there)
    tl.store(OUT + q_at + DIM // 2, q2, mask=q_there)
    tl.store(OUT + k_at, k1, mask=k_there)
    tl.store(OUT + k_at + DIM // 2, k2, mask=k_there)
    tl.store(OUT + v_at, v, mask=v_there)
    if EIGHT:
        q1, q2, k1, k2 = q1.to(tl.float32), q2.to(tl.float32), k1.to(tl.float32), k2.to(tl.float32)
        v = v.to(tl.float32)
        most = tl.maximum(tl.max(tl.max(tl.abs(q1), 1), 0), tl.max(tl.max(tl.abs(q2), 1), 0))
        most = tl.maximum(most, tl.maximum(tl.max(tl.max(tl.abs(k1), 1), 0), tl.max(tl.max(tl.abs(k2), 1), 0)))
        scale = tl.maximum(tl.maximum(most, tl.max(tl.abs(v), 0)), 1e-12) / headroom
        tl.store(SCALES + row, scale)
        Q += row * q_stride
        _store_eight(q1, Q + q_at, q_there, 1 / scale)
        _store_eight(q2, Q + q_at + DIM // 2, q_there, 1 / scale)
        _store_eight(k1, Q + k_at, k_there, 1 / scale)
        _store_eight(k2, Q + k_at + DIM // 2, k_there, 1 / scale)
        _store_eight(v, Q + v_at, v_there, 1 / scale)


@triton.jit
def _gated(GATE_UP, row, at, there, WIDTH: tl.constexpr):
    gate = tl.load(GATE_UP + row * 2 * WIDTH + at, mask=there, other=0.0).to(tl.float32)
    up = tl.load(GATE_UP + row * 2 * WIDTH + WIDTH + at, mask=there, other=0.0).to(tl.float32)
    return gate, up, 1 / (1 + tl.exp(-gate))


@triton.jit
def _swiglu_kernel(
    GATE_UP, H, Q, SCALES, h_stride, q_stride, headroom,
    WIDTH: tl.constexpr, BLOCK: tl.constexpr, EIGHT: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    there = at < WIDTH
    gate, up, share = _gated(GATE_UP, row, at, there, WIDTH)
    h = (gate * share * up).to(H.dtype.element_ty)
    tl.store(H + row * h_stride + at, h, mask=there)
    if EIGHT:
        h = h.to(tl.float32)
        scale = tl.maximum(tl.max(tl.abs(h), 0), 1e-12) / headroom
        tl.store(SCALES + row, scale)
        _store_eight(h, Q + row * q_stride + at, there, 1 / scale)


@triton.jit
def _swiglu_backward_kernel(
    D, GATE_UP, OUT, H, Q, SCALES, out_stride, q_stride, headroom,
    WIDTH: tl.constexpr, BLOCK: tl.constexpr, EIGHT: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    there = at < WIDTH
    gate, up, share = _gated(GATE_UP, row, at, there, WIDTH)
    d = tl.load(D + row * WIDTH + at, mask=there, other=0.0).to(tl.float32)
    dgate, dup = d * up * share * (1 + gate * (1 - share)), d * gate * share
    tl.store(H + row * WIDTH + at, (gate * share * up).to(H.dtype.element_ty), mask=there)
    OUT += row * out_stride
    tl.store(OUT + at, dgate.to(OUT.dtype.element_ty), mask=there)
    tl.store(OUT + WIDTH + at, dup.to(OUT.dtype.element_ty), mask=there)
    if EIGHT:
        scale = tl.maximum(tl.max(tl.maximum(tl.abs(dgate), tl.abs(dup)), 0), 1e-12) / headroom
        tl.store(SCALES + row, scale)
        Q += row * q_stride
        _store_eight(dgate, Q + at, there, 1 / scale)
        _store_eight(dup, Q + WIDTH + at, there, 1 / scale)


@triton.jit
def _cross_entropy_kernel(LOGITS, TARGETS, WEIGHTS, LOSSES, stride, skip, count, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    target, weight = tl.load(TARGETS + row), tl.load(WEIGHTS + row)
    place = LOGITS + row * stride
    most, total = tl.full([BLOCK], -1e30, tl.float32), tl.zeros([BLOCK], tl.float32)
    for start in range(0, count, BLOCK):
        at = start + tl.arange(0, BLOCK)
        value = tl.load(place + at, mask=(at >= skip) & (at < count), other=float("-inf")).to(tl.float32)
        higher = tl.maximum(most, value)
        total = total * tl.exp(most - higher) + tl.exp(value - higher)
        most = higher
    top = tl.max(most, 0)
    normalizer = top + tl.log(tl.sum(total * tl.exp(most - top), 0))
    tl.store(LOSSES + row, (normalizer - tl.load(place + target).to(tl.float32)) * weight)
    tl.debug_barrier()  # the target's logit is read before a neighbour writes its slope
    for start in range(0, count, BLOCK):
        at = start + tl.arange(0, BLOCK)
        value = tl.load(place + at, mask=(at >= skip) & (at < count), other=float("-inf")).to(tl.float32)
        slope = (tl.exp(value - normalizer) - tl.where(at == target, 1.0, 0.0)) * weight
        tl.store(place + at, slope.to(LOGITS.dtype.element_ty), mask=at < count)


@triton.jit
def _quantize_kernel(X, Q, SCALES, row_stride, column_stride, q_stride, width, headroom, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    most = tl.zeros([BLOCK], tl.float32)
    for start in range(0, width, BLOCK):
        at = start + tl.arange(0, BLOCK)
        x = tl.load(X + row * row_stride + at.to(tl.int64) * column_stride, mask=at < width, other=0.0)
        most = tl.maximum(most, tl.abs(x.to(tl.float32)))
    scale = tl.maximum(tl.max(most, 0), 1e-12) / headroom
    tl.store(SCALES + row, scale)
    for start in range(0, width, BLOCK):
        at = start + tl.arange(0, BLOCK)
        x = tl.load(X + row * row_stride + at.to(tl.int64) * column_stride, mask=at < width, other=0.0)
        _store_eight(x.to(tl.float32), Q + row * q_stride + at, at < width, 1 / scale)


@triton.jit
def _append_kernel(
    X, BEFORE, Q, SCALES, x_stride, x_step, before_stride, before_step, q_stride, headroom, top,
    WIDTH: tl.constexpr, RANK: tl.constexpr, RANKS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, RANKS)
    x = tl.load(X + row * x_stride + at.to(tl.int64) * x_step, mask=at < RANK, other=0.0).to(tl.float32)
    scale, most = tl.load(SCALES + row), tl.max(tl.abs(x), 0)
    if most > top * scale:
        scale = most / headroom
        for start in range(0, WIDTH, BLOCK):
            place = start + tl.arange(0, BLOCK)
            before = tl.load(
                BEFORE + row * before_stride + place.to(tl.int64) * before_step, mask=place < WIDTH, other=0.0
            )
            _store_eight(before.to(tl.float32), Q + row * q_stride + place, place < WIDTH, 1 / scale)
        tl.store(SCALES + row, scale)
    _store_eight(x, Q + row * q_stride + WIDTH + at, at < RANK, 1 / scale)


def _room_for_eight(x, width, wanted):
    """(Eight or None, what a kernel takes in its place)"""
    if not wanted:
        return None, (x, x, 0)
    eight = empty(len(x), width, x.device)
    return eight, (*eight, width)


def add_norm(x, y, weight, eps, room, eight=False):
    rows, width = x.shape
    wide = width + room
    h = x.new_empty(rows, width if eight else wide)
    total, rstd = torch.empty_like(x), torch.empty(rows, dtype=torch.float32, device=x.device)
    made, (q, scales, q_stride) = _room_for_eight(x, wide, eight)
    _add_norm_kernel[(rows,)](
        x, x if y is None else y, weight, total, h, rstd, q, scales, h.stride(0), q_stride, eps, HEADROOM,
        WIDTH=width, BLOCK=triton.next_power_of_2(width), ADD=y is not None, EIGHT=eight, num_warps=_WARPS,
    )  # fmt: skip
    return total, h, rstd, made


def norm_again(total, rstd, weight):
    h, width = torch.empty_like(total), total.shape[1]
    block = triton.next_power_of_2(width)
    _norm_again_kernel[(len(total),)](total, rstd, weight, h, WIDTH=width, BLOCK=block, num_warps=_WARPS)
    return h


def norm_backward(dh, total, rstd, weight, dtotal, room, eight=False):
    width = total.shape[1]
    dx = total.new_empty(len(total), width if eight else width + room)
    made, (q, scales, q_stride) = _room_for_eight(dx, width + room, eight)
    _norm_backward_kernel[(len(total),)](
        dh, total, rstd, weight, dx, dtotal, q, scales, dtotal.stride(0), dx.stride(0), q_stride, HEADROOM,
        WIDTH=width, BLOCK=triton.next_power_of_2(width), EIGHT=eight, num_warps=_WARPS,
    )  # fmt: skip
    return dx, made


def rotate(qkv, cos, sin, heads, dim):
    _rotate_kernel[(len(qkv),)](
        qkv, cos, sin, qkv.stride(0), HEADS=heads, DIM=dim,
        ALL=triton.next_power_of_2(heads), HALF=triton.next_power_of_2(dim // 2),
    )  # fmt: skip


def unrotate(dq, dk, dv, cos, sin, room, eight=False):
    (rows, heads, dim), kv = dq.shape, dk.shape[1]
    width = (heads + 2 * kv) * dim
    out = dq.new_empty(rows, width if eight else width + room)
    made, (q, scales, q_stride) = _room_for_eight(out, width + room, eight)
    _unrotate_kernel[(rows,)](
        dq.contiguous(), dk.contiguous(), dv.contiguous(), cos, sin, out, q, scales, out.stride(0), q_stride, HEADROOM,
        HEADS=heads, KV=kv, DIM=dim, ALL=triton.next_power_of_2(heads), KV_ALL=triton.next_power_of_2(kv),
        HALF=triton.next_power_of_2(dim // 2), VALUES=triton.next_power_of_2(kv * dim), EIGHT=eight,
    )  # fmt: skip
    return out, made


def swiglu(gate_up, room, eight=False):
    rows, width = gate_up.shape[0], gate_up.shape[1] // 2
    h = gate_up.new_empty(rows, width if eight else width + room)
    made, (q, scales, q_stride) = _room_for_eight(h, width + room, eight)
    _swiglu_kernel[(rows,)](
        gate_up, h, q, scales, h.stride(0), q_stride, HEADROOM,
        WIDTH=width, BLOCK=triton.next_power_of_2(width), EIGHT=eight, num_warps=2 * _WARPS,
    )  # fmt: skip
    return h, made


def swiglu_backward(d, gate_up, room, eight=False):
    rows, width = gate_up.shape[0], gate_up.shape[1] // 2
    out, h = gate_up.new_empty(rows, 2 * width + (0 if eight else room)), gate_up.new_empty(rows, width)
    made, (q, scales, q_stride) = _room_for_eight(out, 2 * width + room, eight)
    _swiglu_backward_kernel[(rows,)](
        d, gate_up, out, h, q, scales, out.stride(0), q_stride, HEADROOM,
        WIDTH=width, BLOCK=triton.next_power_of_2(width), EIGHT=eight, num_warps=2 * _WARPS,
    )  # fmt: skip
    return out, h, made


def cross_entropy(logits, targets, weights, skip):
    losses = torch.empty(len(logits), dtype=torch.float32, device=logits.device)
    _cross_entropy_kernel[(len(logits),)](
        logits, targets, weights, losses, logits.stride(0), skip, logits.shape[1], BLOCK=_BLOCK, num_warps=_WARPS
    )
    return losses


def quantize(x, into=None):
    values, scales = into or empty(*x.shape, x.device)
    _quantize_kernel[(len(x),)](
        x, values, scales, *x.stride(), values.stride(0), x.shape[1], HEADROOM, BLOCK=_BLOCK, num_warps=_WARPS
    )
    return Eight(values, scales)


def append(x, before, eight):
    width, rank = before.shape[1], x.shape[1]
    _append_kernel[(len(x),)](
        x, before, *eight, *x.stride(), *before.stride(), eight.values.stride(0), HEADROOM, TOP,
        WIDTH=width, RANK=rank, RANKS=triton.next_power_of_2(rank), BLOCK=_BLOCK, num_warps=4,
    )  # fmt: skip


def quantize_with_room(h, room):
    made = empty(len(h), h.shape[1] + room, h.device)
    quantize(h, (made.values[:, : h.shape[1]], made.scales))
    return made
