"""Triton kernels that stream one weight of a layer for one row (see orpheus/engines/fast/kernels/layer.py).

SCALED: a weight in FP8, whose rows are multiplied by SCALE.
"""

import triton
import triton.language as tl


@triton.jit
def begin(PDL: tl.constexpr):
    """Lets the next kernel start."""
    if PDL:
        tl.extra.cuda.gdc_launch_dependents()


@triton.jit
def wait(PDL: tl.constexpr):
    if PDL:
        tl.extra.cuda.gdc_wait()


@triton.jit
def fetch(places):
    """Has the cache lines at pointers brought to the L2 cache, without waiting for them."""
    tl.inline_asm_elementwise(
        "prefetch.global.L2 [$1]; mov.u32 $0, 0;", "=r,l", [places.to(tl.int64)], dtype=tl.int32, is_pure=False, pack=1
    )


@triton.jit
def normed(X, NORM, at, inside, NORMED: tl.constexpr):
    """(X, X times NORM) in float32."""
    x = tl.load(X + at, mask=inside, other=0.0).to(tl.float32)
    y = x
    if NORMED:
        y = x * tl.load(NORM + at, mask=inside, other=0.0).to(tl.float32)
    return x, y


@triton.jit
def first_columns(W, row, inside, K: tl.constexpr, COLUMNS: tl.constexpr):
    """The first columns of some rows of W, for `row_products`: they can be loaded before the wait."""
    column = tl.arange(0, COLUMNS)
    place = W + row.to(tl.int64)[:, None] * K + column[None, :]
    return tl.load(place, mask=inside[:, None] & (column < K)[None, :], other=0.0)


@triton.jit
def row_products(
    w,
    X,
    NORM,
    eps,
    W,
    row,
    inside,
    K: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    NORMED: tl.constexpr,
):
    """Products of some rows of W with X, or with its RMS norm: float32 (ROWS,). w: their `first_columns`.

    W (n, K), X (K,)
    """
    column = tl.arange(0, COLUMNS)
    place = W + row.to(tl.int64)[:, None] * K + column[None, :]
    total = tl.zeros([ROWS, COLUMNS], tl.float32)
    squares = tl.zeros([COLUMNS], tl.float32)
    for start in range(0, K, COLUMNS):
        at = start + column
        following = tl.load(place + (start + COLUMNS), mask=inside[:, None] & (at + COLUMNS < K)[None, :], other=0.0)
        x, y = normed(X, NORM, at, at < K, NORMED)
        total += w.to(tl.float32) * y[None, :]
        squares += x * x
        w = following
    products = tl.sum(total, axis=1)
    if NORMED:
        products = products * tl.rsqrt(tl.sum(squares, axis=0) / K + eps)
    return products


@triton.jit
def qkv_row_kernel(
    X, NORM, eps, W, SCALE, COS, SIN, SLOTS, POSITIONS, Q, KEYS, VALUES, length, K: tl.constexpr, HEADS: tl.constexpr, KV_HEADS: tl.constexpr,
    DIM: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, SCALED: tl.constexpr, PDL: tl.constexpr
):  # fmt: skip
    begin(PDL)
    blocks: tl.constexpr = DIM // ROWS
    head = tl.program_id(0) // blocks
    n = tl.arange(0, ROWS)
    pair = (tl.program_id(0) % blocks) * (ROWS // 2) + n // 2  # two rows that are rotated together are side by side
    row = head * DIM + pair + (n % 2) * (DIM // 2)
    w = first_columns(W, row, n < ROWS, K, COLUMNS)
    if SCALED:
        scale = tl.load(SCALE + row)
    slot, position = tl.load(SLOTS).to(tl.int64), tl.load(POSITIONS)
    i = (tl.program_id(0) % blocks) * (ROWS // 2) + tl.arange(0, ROWS // 2)
    cos, sin = tl.load(COS + position * DIM + i).to(tl.float32), tl.load(SIN + position * DIM + i).to(tl.float32)
    wait(PDL)
    y = row_products(w, X, NORM, eps, W, row, n < ROWS, K, ROWS, COLUMNS, True)
    if SCALED:
        y *= scale
    a, b = tl.split(tl.reshape(y, (ROWS // 2, 2)))
    if head < HEADS + KV_HEADS:
        a, b = a * cos - b * sin, b * cos + a * sin
    store_head(a, b, i, head, 0, slot, position, Q, KEYS, VALUES, length, HEADS, KV_HEADS, DIM, i >= 0)


@triton.jit
def store_head(
    a,
    b,
    i,
    head,
    token,
    slot,
    position,
    Q,
    KEYS,
    VALUES,
    length,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    DIM: tl.constexpr,
    inside,
):
    """Both halves of a head's vector, to the queries or to their place in the cache."""
    row = ((slot * KV_HEADS + (head - HEADS) % KV_HEADS) * length + position) * DIM + i
    if head < HEADS:
        query = Q + (token * HEADS + head) * DIM + i
        tl.store(query, a, mask=inside)
        tl.store(query + DIM // 2, b, mask=inside)
    elif head < HEADS + KV_HEADS:
        tl.store(KEYS + row, a, mask=inside)
        tl.store(KEYS + row + DIM // 2, b, mask=inside)
    else:
        tl.store(VALUES + row, a, mask=inside)
        tl.store(VALUES + row + DIM // 2, b, mask=inside)


@triton.jit
def add_row_kernel(
    X,
    Y,
    W,
    SCALE,
    count,
    K: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    SCALED: tl.constexpr,
    PDL: tl.constexpr,
):
    """X (count,) += W (count, K) Y (K,)"""
    begin(PDL)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = row < count
    w = first_columns(W, row, inside, K, COLUMNS)
    if SCALED:
        scale = tl.load(SCALE + row, mask=inside, other=0.0)
    wait(PDL)
    x = tl.load(X + row, mask=inside, other=0.0).to(tl.float32)
    y = row_products(w, Y, Y, 0.0, W, row, inside, K, ROWS, COLUMNS, False)
    if SCALED:
        y *= scale
    tl.store(X + row, x + y, mask=inside)


@triton.jit
def gate_up_row_kernel(
    X,
    NORM,
    eps,
    W,
    SCALE,
    Y,
    inner,
    K: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    SCALED: tl.constexpr,
    PDL: tl.constexpr,
):
    """Y (inner,) = silu(gate) * up; W (2 * inner, K) holds gate above up."""
    begin(PDL)
    n = tl.arange(0, ROWS)
    unit = tl.program_id(0) * (ROWS // 2) + n // 2
    row = unit + (n % 2) * inner
    w = first_columns(W, row, unit < inner, K, COLUMNS)
    if SCALED:
        scale = tl.load(SCALE + row, mask=unit < inner, other=0.0)
    wait(PDL)
    y = row_products(w, X, NORM, eps, W, row, unit < inner, K, ROWS, COLUMNS, True)
    if SCALED:
        y *= scale
    gate, up = tl.split(tl.reshape(y, (ROWS // 2, 2)))
    unit = tl.program_id(0) * (ROWS // 2) + tl.arange(0, ROWS // 2)
    tl.store(Y + unit, gate / (1.0 + tl.exp(-gate)) * up, mask=unit < inner)
