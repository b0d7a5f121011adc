"""Rows of numbers as FP8 with a scale each (see orpheus/training/eight.py), as Triton kernels."""

import triton
import triton.language as tl

from orpheus.training.eight import HEADROOM, TOP, Eight, empty

WARPS = 8
_BLOCK = 2048  # numbers at a time


@triton.jit
def store_eight(values, Q, mask, inverse):
    tl.store(Q, (values * inverse).to(Q.dtype.element_ty), mask=mask)


@triton.jit
def keep_eight(values, Q, SCALES, row, q_stride, at, mask, headroom):
    """Writes a whole row of float32 values in FP8, and its scale."""
    scale = tl.maximum(tl.max(tl.abs(values), 0), 1e-12) / headroom
    tl.store(SCALES + row, scale)
    store_eight(values, Q + row * q_stride + at, mask, 1 / scale)


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
        store_eight(x.to(tl.float32), Q + row * q_stride + at, at < width, 1 / scale)


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
            store_eight(before.to(tl.float32), Q + row * q_stride + place, place < WIDTH, 1 / scale)
        tl.store(SCALES + row, scale)
    store_eight(x, Q + row * q_stride + WIDTH + at, at < RANK, 1 / scale)


def room_for_eight(x, width, wanted):
    """(Eight or None, what a kernel takes in its place)"""
    if not wanted:
        return None, (x, x, 0)
    eight = empty(len(x), width, x.device)
    return eight, (*eight, width)


def quantize(x, into=None):
    values, scales = into or empty(*x.shape, x.device)
    _quantize_kernel[(len(x),)](
        x, values, scales, *x.stride(), values.stride(0), x.shape[1], HEADROOM, BLOCK=_BLOCK, num_warps=WARPS
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
