"""Triton kernels that stream one weight in 8 or 4 bits for one row: products of whole numbers, four at a time.

Every program turns the row's input into int8, with a scale for each group (what four words of a weight's row meet: 32
inputs in 4 bits, 16 in 8), and keeps it in registers for all the rows of the weight that it multiplies. The sum of a
group is exact; then it is multiplied by both scales. What a group's scale costs is 0.3 to 0.4 % of the input, far less
than the weights' own.
"""

import triton
import triton.language as tl

from orpheus.engines.fast.kernels.row import begin, normed, store_head, wait

EIGHTS = tl.constexpr(0x08080808)  # what a nibble holds beside its weight
NIBBLES = tl.constexpr(0x0F0F0F0F)


@triton.jit
def _dot4(a, b, c, ASM: tl.constexpr):
    """c plus the products of the four int8 in a and b. ASM: as one instruction, which Triton's interpreter lacks."""
    if ASM:
        c = tl.inline_asm_elementwise(
            "dp4a.s32.s32 $0, $1, $2, $3;", "=r,r,r,r", [a, b, c], dtype=tl.int32, is_pure=True, pack=1
        )
    else:
        for byte in tl.static_range(4):
            c += ((a << (24 - 8 * byte)) >> 24) * ((b << (24 - 8 * byte)) >> 24)
    return c


@triton.jit
def _input(X, NORM, at, inside, NORMED: tl.constexpr):
    """(X times NORM, X squared) in float32."""
    x, y = normed(X, NORM, at, inside, NORMED)
    return y, x * x


@triton.jit
def _byte(y, inverse):
    """y * inverse rounded to a whole number, in the last 8 bits: where a float of this size has its ones."""
    return (y * inverse + 12582912.0).to(tl.int32, bitcast=True) & 0xFF


@triton.jit
def _packed(a, b, c, d, inverse):
    return _byte(a, inverse) | (_byte(b, inverse) << 8) | (_byte(c, inverse) << 16) | (_byte(d, inverse) << 24)


@triton.jit
def _scales(largest, WORDS: tl.constexpr):
    """(scales of groups, their inverse for each word) of the largest magnitude in each word."""
    groups: tl.constexpr = WORDS // 4
    scale = tl.maximum(tl.max(tl.reshape(largest, (groups, 4)), axis=1), 1e-30) / 127.0
    return scale, tl.reshape(tl.broadcast_to((1.0 / scale)[:, None], (groups, 4)), (WORDS,))


@triton.jit
def _pairs(X, at, inside):
    """Numbers 2 at and 2 at + 1, as they lie: of 16 bits both in one word (twice), else in two. For `_apart`."""
    if X.dtype.element_ty.primitive_bitwidth == 16:
        both = tl.load(X.to(tl.pointer_type(tl.int32), bitcast=True) + at, mask=inside, other=0)
        return both, both
    else:
        return tl.load(X + 2 * at, mask=inside, other=0.0), tl.load(X + 2 * at + 1, mask=inside, other=0.0)


@triton.jit
def _apart(even, odd, TYPE: tl.constexpr):
    """`_pairs` of numbers of a type, in float32."""
    if TYPE.primitive_bitwidth == 16:
        even = even.to(tl.int16).to(TYPE, bitcast=True)
        odd = (odd >> 16).to(tl.int16).to(TYPE, bitcast=True)
    return even.to(tl.float32), odd.to(tl.float32)


@triton.jit
def norm_words(NORM, K: tl.constexpr, WORDS: tl.constexpr, BITS: tl.constexpr, NORMED: tl.constexpr):
    """What `prepare` reads of NORM in 8 bits: a weight, so it can be loaded before the wait."""
    word = tl.arange(0, WORDS)
    if NORMED and BITS == 8:
        left, left_odd = _pairs(NORM, word, word < K)
        right, right_odd = _pairs(NORM, word + K, word < K)
        return left, left_odd, right, right_odd
    else:
        return word, word, word, word


@triton.jit
def prepare(
    X, NORM, norm, eps, K: tl.constexpr, WORDS: tl.constexpr, BITS: tl.constexpr, NORMED: tl.constexpr, ASM: tl.constexpr
):  # fmt: skip
    """X, or its RMS norm, for products with rows of K words: (int8 in words, in 4 bits a second half of them, scales of
    groups, what is to be added to a group's sum, a factor for the whole). norm: NORM's `norm_words`."""
    word = tl.arange(0, WORDS)
    inside = word < K
    if BITS == 4:
        a, s = _input(X, NORM, word, inside, NORMED)
        b, t = _input(X, NORM, word + K, inside, NORMED)
        c, u = _input(X, NORM, word + 2 * K, inside, NORMED)
        d, v = _input(X, NORM, word + 3 * K, inside, NORMED)
        squares = (s + t) + (u + v)
        e, s = _input(X, NORM, word + 4 * K, inside, NORMED)
        f, t = _input(X, NORM, word + 5 * K, inside, NORMED)
        g, u = _input(X, NORM, word + 6 * K, inside, NORMED)
        h, v = _input(X, NORM, word + 7 * K, inside, NORMED)
        squares += (s + t) + (u + v)
        largest = tl.maximum(tl.maximum(tl.abs(a), tl.abs(b)), tl.maximum(tl.abs(c), tl.abs(d)))
        largest = tl.maximum(largest, tl.maximum(tl.maximum(tl.abs(e), tl.abs(f)), tl.maximum(tl.abs(g), tl.abs(h))))
        scale, inverse = _scales(largest, WORDS)
        first, second = _packed(a, c, e, g, inverse), _packed(b, d, f, h, inverse)
        eights = tl.full([WORDS], EIGHTS, tl.int32)
        sums = _dot4(second, eights, _dot4(first, eights, tl.zeros([WORDS], tl.int32), ASM), ASM)
        added = -tl.sum(tl.reshape(sums, (WORDS // 4, 4)), axis=1)
    else:  # bytes: inputs 2 w and 2 w + 1 of both halves, which alternate
        left, left_odd = _pairs(X, word, inside)
        right, right_odd = _pairs(X, word + K, inside)
        a, c = _apart(left, left_odd, X.dtype.element_ty)
        b, d = _apart(right, right_odd, X.dtype.element_ty)
        squares = (a * a + b * b) + (c * c + d * d)
        if NORMED:
            left, left_odd = _apart(norm[0], norm[1], NORM.dtype.element_ty)
            right, right_odd = _apart(norm[2], norm[3], NORM.dtype.element_ty)
            a, b, c, d = a * left, b * right, c * left_odd, d * right_odd
        largest = tl.maximum(tl.maximum(tl.abs(a), tl.abs(b)), tl.maximum(tl.abs(c), tl.abs(d)))
        scale, inverse = _scales(largest, WORDS)
        first = _packed(a, b, c, d, inverse)
        second, added = first, tl.zeros([WORDS // 4], tl.int32)
    factor = 1.0
    if NORMED:
        factor = tl.rsqrt(tl.sum(squares, axis=0) / (K * (32 // BITS)) + eps)
    return first, second, scale, added, factor


@triton.jit
def _rows(W, SCALE, row, inside, K: tl.constexpr, WORDS: tl.constexpr, BITS: tl.constexpr):
    """Rows of a weight, int32 (ROWS, WORDS), and their scales."""
    word, group = tl.arange(0, WORDS), tl.arange(0, WORDS // 4)
    place = W + row.to(tl.int64)[:, None] * K + word[None, :]
    w = tl.load(place, mask=inside[:, None] & (word < K)[None, :], other=0)
    if BITS == 4:
        place = SCALE + row.to(tl.int64)[:, None] * (K // 4) + group[None, :]
        scale = tl.load(place, mask=inside[:, None] & (group < K // 4)[None, :], other=0.0)
    else:
        scale = tl.load(SCALE + row, mask=inside, other=0.0)
    return w, scale


@triton.jit
def _products(
    w, w_scale, first, second, scale, added, factor, ROWS: tl.constexpr, WORDS: tl.constexpr, BITS: tl.constexpr, ASM: tl.constexpr
):  # fmt: skip
    """Products of rows with a prepared input: float32 (ROWS,)."""
    zero = tl.zeros([ROWS, WORDS], tl.int32)
    if BITS == 4:
        sums = _dot4(w & NIBBLES, tl.broadcast_to(first[None, :], (ROWS, WORDS)), zero, ASM)
        sums = _dot4((w >> 4) & NIBBLES, tl.broadcast_to(second[None, :], (ROWS, WORDS)), sums, ASM)
        sums = tl.sum(tl.reshape(sums, (ROWS, WORDS // 4, 4)), axis=2) + added[None, :]
        products = tl.sum(sums.to(tl.float32) * (scale[None, :] * w_scale.to(tl.float32)), axis=1) * factor
    else:
        sums = _dot4(w, tl.broadcast_to(first[None, :], (ROWS, WORDS)), zero, ASM)
        sums = tl.sum(tl.reshape(sums, (ROWS, WORDS // 4, 4)), axis=2)
        products = tl.sum(sums.to(tl.float32) * scale[None, :], axis=1) * (factor * w_scale)
    return products


@triton.jit
def qkv_whole_kernel(
    X, NORM, eps, W, SCALE, COS, SIN, SLOTS, POSITIONS, Q, KEYS, VALUES, length, K: tl.constexpr, HEADS: tl.constexpr, KV_HEADS: tl.constexpr,
    DIM: tl.constexpr, ROWS: tl.constexpr, WORDS: tl.constexpr, STEPS: tl.constexpr, BITS: tl.constexpr, ASM: tl.constexpr, PDL: tl.constexpr
):  # fmt: skip
    begin(PDL)
    blocks: tl.constexpr = DIM // ROWS
    n, half = tl.arange(0, ROWS), tl.arange(0, ROWS // 2)
    block = tl.program_id(0) * STEPS
    end = tl.minimum(block + STEPS, (HEADS + 2 * KV_HEADS) * blocks)
    # two rows that are rotated together are side by side
    row = block // blocks * DIM + block % blocks * (ROWS // 2) + n // 2 + (n % 2) * (DIM // 2)
    w, w_scale = _rows(W, SCALE, row, row < (HEADS + 2 * KV_HEADS) * DIM, K, WORDS, BITS)
    norm = norm_words(NORM, K, WORDS, BITS, True)
    slot, position = tl.load(SLOTS).to(tl.int64), tl.load(POSITIONS)
    wait(PDL)
    first, second, scale, added, factor = prepare(X, NORM, norm, eps, K, WORDS, BITS, True, ASM)
    for step in range(STEPS):
        then = block + step + 1
        row = then // blocks * DIM + then % blocks * (ROWS // 2) + n // 2 + (n % 2) * (DIM // 2)
        following, scale_after = w, w_scale
        if STEPS > 1:
            following, scale_after = _rows(W, SCALE, row, then * ROWS + n < end * ROWS, K, WORDS, BITS)
        y = _products(w, w_scale, first, second, scale, added, factor, ROWS, WORDS, BITS, ASM)
        a, b = tl.split(tl.reshape(y, (ROWS // 2, 2)))
        head, i = (then - 1) // blocks, (then - 1) % blocks * (ROWS // 2) + half
        if head < HEADS + KV_HEADS:
            cos, sin = (
                tl.load(COS + position * DIM + i).to(tl.float32),
                tl.load(SIN + position * DIM + i).to(tl.float32),
            )
            a, b = a * cos - b * sin, b * cos + a * sin
        store_head(
            a,
            b,
            i,
            head,
            0,
            slot,
            position,
            Q,
            KEYS,
            VALUES,
            length,
            HEADS,
            KV_HEADS,
            DIM,
            (then - 1) * (ROWS // 2) + half < (HEADS + 2 * KV_HEADS) * (DIM // 2),
        )
        w, w_scale = following, scale_after


@triton.jit
def add_whole_kernel(
    X, Y, W, SCALE, count, K: tl.constexpr, ROWS: tl.constexpr, WORDS: tl.constexpr, STEPS: tl.constexpr, BITS: tl.constexpr, ASM: tl.constexpr,
    PDL: tl.constexpr
):  # fmt: skip
    """X (count,) += W (count, 32 / BITS * K) Y"""
    begin(PDL)
    row = tl.program_id(0) * (ROWS * STEPS) + tl.arange(0, ROWS)
    end = tl.minimum(tl.program_id(0) * (ROWS * STEPS) + ROWS * STEPS, count)
    w, w_scale = _rows(W, SCALE, row, row < count, K, WORDS, BITS)
    norm = norm_words(Y, K, WORDS, BITS, False)
    wait(PDL)
    first, second, scale, added, factor = prepare(Y, Y, norm, 0.0, K, WORDS, BITS, False, ASM)
    for _ in range(STEPS):
        x = tl.load(X + row, mask=row < count, other=0.0).to(tl.float32)
        following, scale_after = w, w_scale
        if STEPS > 1:
            following, scale_after = _rows(W, SCALE, row + ROWS, row + ROWS < end, K, WORDS, BITS)
        y = _products(w, w_scale, first, second, scale, added, factor, ROWS, WORDS, BITS, ASM)
        tl.store(X + row, x + y, mask=row < count)
        w, w_scale, row = following, scale_after, row + ROWS


@triton.jit
def gate_up_whole_kernel(
    X, NORM, eps, W, SCALE, Y, inner, K: tl.constexpr, ROWS: tl.constexpr, WORDS: tl.constexpr, STEPS: tl.constexpr, BITS: tl.constexpr,
    ASM: tl.constexpr, PDL: tl.constexpr
):  # fmt: skip
    """Y (inner,) = silu(gate) * up; W (2 * inner, ...) holds gate above up."""
    begin(PDL)
    n, half = tl.arange(0, ROWS), tl.arange(0, ROWS // 2)
    begins = tl.program_id(0) * (ROWS // 2 * STEPS)
    unit, end = begins + n // 2, tl.minimum(begins + ROWS // 2 * STEPS, inner)
    w, w_scale = _rows(W, SCALE, unit + (n % 2) * inner, unit < inner, K, WORDS, BITS)
    norm = norm_words(NORM, K, WORDS, BITS, True)
    wait(PDL)
    first, second, scale, added, factor = prepare(X, NORM, norm, eps, K, WORDS, BITS, True, ASM)
    for step in range(STEPS):
        following, scale_after = w, w_scale
        unit += ROWS // 2
        if STEPS > 1:
            following, scale_after = _rows(W, SCALE, unit + (n % 2) * inner, unit < end, K, WORDS, BITS)
        y = _products(w, w_scale, first, second, scale, added, factor, ROWS, WORDS, BITS, ASM)
        gate, up = tl.split(tl.reshape(y, (ROWS // 2, 2)))
        own = begins + step * (ROWS // 2) + half
        tl.store(Y + own, gate / (1.0 + tl.exp(-gate)) * up, mask=own < inner)
        w, w_scale = following, scale_after


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
