"""Triton kernels that stream one weight of a layer for one row (see orpheus/engines/fast/kernels/layer.py)."""

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
def _byte(w, shift: tl.constexpr):
    """float32 of the int8 in bits shift..shift + 7 of w, made from the last bits of a float: converting is slow."""
    return (((w >> shift) & 0xFF) ^ 0x4B000080).to(tl.float32, bitcast=True) - 8388736.0


@triton.jit
def _normed(X, NORM, at, inside, NORMED: tl.constexpr):
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

    W (n, K), X (K,); or W int16 (n, K), two int8 in each (see Matrix), X (2 * K,)
    """
    PAIRS: tl.constexpr = W.dtype.element_ty == tl.int16
    column = tl.arange(0, COLUMNS)
    place = W + row.to(tl.int64)[:, None] * K + column[None, :]
    total = tl.zeros([ROWS, COLUMNS], tl.float32)
    squares = tl.zeros([COLUMNS], tl.float32)
    for start in range(0, K, COLUMNS):
        at = start + column
        following = tl.load(place + (start + COLUMNS), mask=inside[:, None] & (at + COLUMNS < K)[None, :], other=0.0)
        x, y = _normed(X, NORM, at, at < K, NORMED)
        if PAIRS:
            second, z = _normed(X, NORM, at + K, at < K, NORMED)
            bits = w.to(tl.int32)
            total += _byte(bits, 0) * y[None, :]
            total += _byte(bits, 8) * z[None, :]
            squares += second * second
        else:
            total += w.to(tl.float32) * y[None, :]
        squares += x * x
        w = following
    products = tl.sum(total, axis=1)
    if NORMED:
        width = K * (2 if PAIRS else 1)
        products = products * tl.rsqrt(tl.sum(squares, axis=0) / width + eps)
    return products


@triton.jit
def _nibbles(w, pair: tl.constexpr):
    """float32 of the 4-bit numbers in bits 8 * pair.. and 8 * pair + 4.. of w, plus 256 and plus 16.

    They are put where a float has its last bits for 1, 2, 4 and 8; what that adds is taken off the sums.
    """
    moved = w << (15 - 8 * pair) if pair < 2 else w >> (8 * pair - 15)
    low = ((moved & 0x78000) | 0x43800000).to(tl.float32, bitcast=True)
    high = ((moved & 0x780000) | 0x41800000).to(tl.float32, bitcast=True)
    return low, high


@triton.jit
def first_scales(SCALE, row, inside, K: tl.constexpr, COLUMNS: tl.constexpr):
    """The scales of `first_columns`, one for 4 words."""
    group = tl.arange(0, COLUMNS // 4)
    place = SCALE + row.to(tl.int64)[:, None] * (K // 4) + group[None, :]
    return tl.load(place, mask=inside[:, None] & (group < K // 4)[None, :], other=0.0)


@triton.jit
def row_products_4(
    w,
    scale,
    X,
    NORM,
    eps,
    W,
    SCALE,
    row,
    inside,
    K: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    NORMED: tl.constexpr,
):
    """As `row_products`, of weights in 4 bits: W int32 (n, K), eight in each word (see Matrix), X (8 * K,), SCALE (n, K / 4)."""
    column, group = tl.arange(0, COLUMNS), tl.arange(0, COLUMNS // 4)
    place = W + row.to(tl.int64)[:, None] * K + column[None, :]
    scales = SCALE + row.to(tl.int64)[:, None] * (K // 4) + group[None, :]
    total = tl.zeros([ROWS, COLUMNS // 4], tl.float32)
    squares = tl.zeros([COLUMNS], tl.float32)
    for start in range(0, K, COLUMNS):
        at = start + column
        following = tl.load(place + (start + COLUMNS), mask=inside[:, None] & (at + COLUMNS < K)[None, :], other=0)
        then = (start + COLUMNS) // 4 + group < K // 4
        scale_after = tl.load(scales + (start + COLUMNS) // 4, mask=inside[:, None] & then[None, :], other=0.0)
        sums = tl.zeros([ROWS, COLUMNS], tl.float32)
        added = tl.zeros([COLUMNS], tl.float32)
        for pair in tl.static_range(4):
            x, y = _normed(X, NORM, at + 2 * pair * K, at < K, NORMED)
            second, z = _normed(X, NORM, at + (2 * pair + 1) * K, at < K, NORMED)
            low, high = _nibbles(w, pair)
            sums += low * y[None, :]
            sums += high * z[None, :]
            added += 264.0 * y + 24.0 * z  # 8 more each, which stand for no weight
            squares += x * x + second * second
        of_groups = tl.sum(tl.reshape(sums - added[None, :], (ROWS, COLUMNS // 4, 4)), axis=2)
        total += of_groups * scale.to(tl.float32)
        w, scale = following, scale_after
    products = tl.sum(total, axis=1)
    if NORMED:
        products = products * tl.rsqrt(tl.sum(squares, axis=0) / (8 * K) + eps)
    return products


@triton.jit
def plain_kernel(W, SCALE, Y, words, BLOCK: tl.constexpr):
    """Y (n, 8 * words): the weights of W int32 (n, words) in 4 bits, SCALE (n, words / 4)."""
    row = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    w = tl.load(W + row * words + at, mask=at < words, other=0)
    scale = tl.load(SCALE + row * (words // 4) + at // 4, mask=at < words, other=0.0).to(tl.float32)
    for nibble in tl.static_range(8):
        value = (((w >> (4 * nibble)) & 15) - 8).to(tl.float32) * scale
        tl.store(Y + row * 8 * words + nibble * words + at, value, mask=at < words)


@triton.jit
def qkv_row_kernel(
    X, NORM, eps, W, SCALE, COS, SIN, SLOTS, POSITIONS, Q, KEYS, VALUES, length, K: tl.constexpr, HEADS: tl.constexpr, KV_HEADS: tl.constexpr,
    DIM: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, BITS: tl.constexpr, PDL: tl.constexpr
):  # fmt: skip
    begin(PDL)
    blocks: tl.constexpr = DIM // ROWS
    head = tl.program_id(0) // blocks
    n = tl.arange(0, ROWS)
    pair = (tl.program_id(0) % blocks) * (ROWS // 2) + n // 2  # two rows that are rotated together are side by side
    row = head * DIM + pair + (n % 2) * (DIM // 2)
    w = first_columns(W, row, n < ROWS, K, COLUMNS)
    if BITS == 8:
        scale = tl.load(SCALE + row)
    elif BITS == 4:
        scale = first_scales(SCALE, row, n < ROWS, K, COLUMNS)
    wait(PDL)
    slot, position = tl.load(SLOTS).to(tl.int64), tl.load(POSITIONS)
    i = (tl.program_id(0) % blocks) * (ROWS // 2) + tl.arange(0, ROWS // 2)
    cos, sin = tl.load(COS + position * DIM + i).to(tl.float32), tl.load(SIN + position * DIM + i).to(tl.float32)
    if BITS == 4:
        y = row_products_4(w, scale, X, NORM, eps, W, SCALE, row, n < ROWS, K, ROWS, COLUMNS, True)
    else:
        y = row_products(w, X, NORM, eps, W, row, n < ROWS, K, ROWS, COLUMNS, True)
    if BITS == 8:
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
    BITS: tl.constexpr,
    PDL: tl.constexpr,
):
    """X (count,) += W (count, K) Y (K,)"""
    begin(PDL)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = row < count
    w = first_columns(W, row, inside, K, COLUMNS)
    if BITS == 8:
        scale = tl.load(SCALE + row, mask=inside, other=0.0)
    elif BITS == 4:
        scale = first_scales(SCALE, row, inside, K, COLUMNS)
    wait(PDL)
    x = tl.load(X + row, mask=inside, other=0.0).to(tl.float32)
    if BITS == 4:
        y = row_products_4(w, scale, Y, Y, 0.0, W, SCALE, row, inside, K, ROWS, COLUMNS, False)
    else:
        y = row_products(w, Y, Y, 0.0, W, row, inside, K, ROWS, COLUMNS, False)
    if BITS == 8:
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
    BITS: tl.constexpr,
    PDL: tl.constexpr,
):
    """Y (inner,) = silu(gate) * up; W (2 * inner, K) holds gate above up."""
    begin(PDL)
    n = tl.arange(0, ROWS)
    unit = tl.program_id(0) * (ROWS // 2) + n // 2
    row = unit + (n % 2) * inner
    w = first_columns(W, row, unit < inner, K, COLUMNS)
    if BITS == 8:
        scale = tl.load(SCALE + row, mask=unit < inner, other=0.0)
    elif BITS == 4:
        scale = first_scales(SCALE, row, unit < inner, K, COLUMNS)
    wait(PDL)
    if BITS == 4:
        y = row_products_4(w, scale, X, NORM, eps, W, SCALE, row, unit < inner, K, ROWS, COLUMNS, True)
    else:
        y = row_products(w, X, NORM, eps, W, row, unit < inner, K, ROWS, COLUMNS, True)
    if BITS == 8:
        y *= scale
    gate, up = tl.split(tl.reshape(y, (ROWS // 2, 2)))
    unit = tl.program_id(0) * (ROWS // 2) + tl.arange(0, ROWS // 2)
    tl.store(Y + unit, gate / (1.0 + tl.exp(-gate)) * up, mask=unit < inner)
