"""What lies between the products of a layer in training (see orpheus/training/fused.py), as Triton kernels.

A program reads a token's row once, sums it in float32 in a fixed order and rounds where the plain layers round: the same input
gives the same output, bit for bit. Functions with `eight` also write their result as FP8, from the same reading.
"""

import torch
import triton
import triton.language as tl

from orpheus.training.eight import HEADROOM
from orpheus.training.kernels.eight import WARPS, keep_eight, room_for_eight, store_eight


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
        keep_eight(h.to(tl.float32), Q, SCALES, row, q_stride, at, there, headroom)


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
        keep_eight(dx.to(tl.float32), Q, SCALES, row, q_stride, at, there, headroom)


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
        store_eight(q1, Q + q_at, q_there, 1 / scale)
        store_eight(q2, Q + q_at + DIM // 2, q_there, 1 / scale)
        store_eight(k1, Q + k_at, k_there, 1 / scale)
        store_eight(k2, Q + k_at + DIM // 2, k_there, 1 / scale)
        store_eight(v, Q + v_at, v_there, 1 / scale)


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
        keep_eight(h.to(tl.float32), Q, SCALES, row, q_stride, at, there, headroom)


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
        store_eight(dgate, Q + at, there, 1 / scale)
        store_eight(dup, Q + WIDTH + at, there, 1 / scale)


def add_norm(x, y, weight, eps, room, eight=False):
    rows, width = x.shape
    wide = width + room
    h = x.new_empty(rows, width if eight else wide)
    total, rstd = torch.empty_like(x), torch.empty(rows, dtype=torch.float32, device=x.device)
    made, (q, scales, q_stride) = room_for_eight(x, wide, eight)
    _add_norm_kernel[(rows,)](
        x, x if y is None else y, weight, total, h, rstd, q, scales, h.stride(0), q_stride, eps, HEADROOM,
        WIDTH=width, BLOCK=triton.next_power_of_2(width), ADD=y is not None, EIGHT=eight, num_warps=WARPS,
    )  # fmt: skip
    return total, h, rstd, made


def norm_again(total, rstd, weight):
    h, width = torch.empty_like(total), total.shape[1]
    block = triton.next_power_of_2(width)
    _norm_again_kernel[(len(total),)](total, rstd, weight, h, WIDTH=width, BLOCK=block, num_warps=WARPS)
    return h


def norm_backward(dh, total, rstd, weight, dtotal, room, eight=False):
    width = total.shape[1]
    dx = total.new_empty(len(total), width if eight else width + room)
    made, (q, scales, q_stride) = room_for_eight(dx, width + room, eight)
    _norm_backward_kernel[(len(total),)](
        dh, total, rstd, weight, dx, dtotal, q, scales, dtotal.stride(0), dx.stride(0), q_stride, HEADROOM,
        WIDTH=width, BLOCK=triton.next_power_of_2(width), EIGHT=eight, num_warps=WARPS,
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
    made, (q, scales, q_stride) = room_for_eight(out, width + room, eight)
    _unrotate_kernel[(rows,)](
        dq.contiguous(), dk.contiguous(), dv.contiguous(), cos, sin, out, q, scales, out.stride(0), q_stride, HEADROOM,
        HEADS=heads, KV=kv, DIM=dim, ALL=triton.next_power_of_2(heads), KV_ALL=triton.next_power_of_2(kv),
        HALF=triton.next_power_of_2(dim // 2), VALUES=triton.next_power_of_2(kv * dim), EIGHT=eight,
    )  # fmt: skip
    return out, made


def swiglu(gate_up, room, eight=False):
    rows, width = gate_up.shape[0], gate_up.shape[1] // 2
    h = gate_up.new_empty(rows, width if eight else width + room)
    made, (q, scales, q_stride) = room_for_eight(h, width + room, eight)
    _swiglu_kernel[(rows,)](
        gate_up, h, q, scales, h.stride(0), q_stride, HEADROOM,
        WIDTH=width, BLOCK=triton.next_power_of_2(width), EIGHT=eight, num_warps=2 * WARPS,
    )  # fmt: skip
    return h, made


def swiglu_backward(d, gate_up, room, eight=False):
    rows, width = gate_up.shape[0], gate_up.shape[1] // 2
    out, h = gate_up.new_empty(rows, 2 * width + (0 if eight else room)), gate_up.new_empty(rows, width)
    made, (q, scales, q_stride) = room_for_eight(out, 2 * width + room, eight)
    _swiglu_backward_kernel[(rows,)](
        d, gate_up, out, h, q, scales, out.stride(0), q_stride, HEADROOM,
        WIDTH=width, BLOCK=triton.next_power_of_2(width), EIGHT=eight, num_warps=2 * WARPS,
    )  # fmt: skip
    return out, h, made
