"""The operations of a layer (see orpheus/engines/fast/llama.py) as Triton kernels.

One row reads 5.6 GB of weights per token at the 3B shape and computes next to nothing, so a layer is five kernels that
each stream one weight: norm, qkv, rotation and cache; attention; o and sum; norm, gate, up and SiLU; down and sum. Many
rows use PyTorch's matrix products, and kernels for what lies between them. Sums run in a fixed order without atomics:
the same input gives the same output, bit for bit.

If the GPU can (compute capability 9.0), a kernel starts before the previous one has ended, fetches its first weights
and only then waits (programmatic dependent launch; PDL below). Before the wait a kernel reads only what no kernel of the
same step before the draw writes: weights, where its token stands, and what the draw keeps of the tokens before.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
import triton
import triton.language as tl

from orpheus.common.cards import Card
from orpheus.engines.fast.kernels.row import (
    add_row_kernel,
    begin,
    fetch,
    gate_up_row_kernel,
    qkv_row_kernel,
    wait,
)
from orpheus.engines.fast.kernels.whole import add_whole_kernel, gate_up_whole_kernel, plain_kernel, qkv_whole_kernel
from orpheus.engines.fast.matrix import FP8

# Attention of one row: positions at a time. The wide one is for blocks that may take the shared memory for it (`attention_tile`).
WIDE = {"BLOCK": 256, "num_warps": 8, "num_stages": 1}
NARROW = {"BLOCK": 64, "num_warps": 4, "num_stages": 3}
LINE = tl.constexpr(128)  # bytes that a cache fetches at once
GROUP = 16  # query heads of one key head, padded: the smallest tile of a matrix product


class Tile(NamedTuple):
    """How a kernel cuts a weight: rows and columns at a time, and warps. The order of its sums depends on it."""

    rows: int
    columns: int
    warps: int


class Walk(NamedTuple):
    """How a kernel walks through a weight in 8 or 4 bits: whole rows at a time, so often in one program, and warps.

    registers: the most that a thread may take, so that more programs fit at once; 0: as many as the compiler likes
    """

    rows: int
    steps: int
    warps: int
    registers: int = 0


# Fixed, not chosen at run time: which of two equally fast tiles wins varies, and the last bits of every sum vary with
# it. The fastest of twelve on an H100, by `benchmarks/generate.py --tune`.
TILES = {
    "qkv": Tile(8, 512, 4),
    "o": Tile(8, 1024, 4),
    "gate_up": Tile(2, 2048, 8),
    "down": Tile(4, 2048, 8),
    "head": Tile(8, 512, 4),
}
TILES_INT8 = {
    "qkv": Walk(8, 2, 4, 128),
    "o": Walk(8, 1, 8),
    "gate_up": Walk(4, 4, 4, 96),
    "down": Walk(4, 3, 16),
}
TILES_INT4 = {
    "qkv": Walk(4, 2, 4),
    "o": Walk(8, 1, 4),
    "gate_up": Walk(8, 4, 4),
    "down": Walk(8, 2, 8),
}
TILES_FP8 = {
    "qkv": Tile(8, 512, 4),
    "o": Tile(2, 512, 4),
    "gate_up": Tile(4, 512, 4),
    "down": Tile(2, 512, 4),
}
_TILES = {torch.int8: TILES_INT8, torch.int32: TILES_INT4, FP8: TILES_FP8}
_ROWS = {"qkv": qkv_row_kernel, "add": add_row_kernel, "gate_up": gate_up_row_kernel}
_WHOLE = {"qkv": qkv_whole_kernel, "add": add_whole_kernel, "gate_up": gate_up_whole_kernel}


@triton.jit
def _attend_kernel(
    Q, KEYS, VALUES, KEY_SCALES, VALUE_SCALES, SLOTS, POSITIONS, Y, length, scale, GROUP: tl.constexpr, FILLED: tl.constexpr,
    KV_HEADS: tl.constexpr, DIM: tl.constexpr, BLOCK: tl.constexpr, SCALED: tl.constexpr, PDL: tl.constexpr
):  # fmt: skip
    """Attention of the query heads of one key head, for one token, over its slot up to its position.

    SCALED: keys and values are FP8 with scales, and are multiplied in float16, which holds all of FP8
    """
    begin(PDL)
    token, head = tl.program_id(0), tl.program_id(1)
    slot, position = tl.load(SLOTS + token).to(tl.int64), tl.load(POSITIONS + token)
    first = (slot * KV_HEADS + head) * length * DIM
    g, d, n = tl.arange(0, FILLED), tl.arange(0, DIM), tl.arange(0, BLOCK)
    if PDL:  # what earlier steps wrote comes to the L2 cache while the kernel before still runs
        size: tl.constexpr = KEYS.dtype.element_ty.primitive_bitwidth // 8
        line = tl.arange(0, BLOCK * DIM * size // LINE) * (LINE // size)
        for start in range(0, position, BLOCK):
            at = first + tl.minimum(start * DIM + line, position * DIM)
            fetch(KEYS + at)
            fetch(VALUES + at)
    wait(PDL)
    own = (token * KV_HEADS + head) * GROUP * DIM
    q = tl.load(Q + own + g[None, :] * DIM + d[:, None], mask=(g < GROUP)[None, :], other=0.0)
    scales = (slot * KV_HEADS + head) * length
    if SCALED:
        q = q.to(tl.float16)
    largest = tl.full([FILLED], float("-inf"), tl.float32)
    weight = tl.zeros([FILLED], tl.float32)
    total = tl.zeros([FILLED, DIM], tl.float32)
    for start in range(0, position + 1, BLOCK):
        at = start + n
        inside = (at <= position)[:, None]
        k = tl.load(KEYS + first + at[:, None] * DIM + d[None, :], mask=inside, other=0.0)
        v = tl.load(VALUES + first + at[:, None] * DIM + d[None, :], mask=inside, other=0.0)
        if SCALED:  # keys stay in registers while they become float16: they are the left side of the product
            key_scale = tl.load(KEY_SCALES + scales + at, mask=at <= position, other=0.0)
            scores = tl.dot(k.to(tl.float16), q) * (scale * key_scale)[:, None]
        else:
            scores = tl.dot(k, q, input_precision="ieee") * scale
        scores = tl.where(inside, scores, float("-inf"))
        larger = tl.maximum(largest, tl.max(scores, axis=0))
        p, shrink = tl.exp(scores - larger[None, :]), tl.exp(largest - larger)
        weight = weight * shrink + tl.sum(p, axis=0)
        if SCALED:  # 448 times as much, so that small shares keep their digits
            value_scale = tl.load(VALUE_SCALES + scales + at, mask=at <= position, other=0.0) * 448.0
            share = tl.trans((p * value_scale[:, None]).to(tl.float16))
            total = total * shrink[:, None] + tl.dot(share, v.to(tl.float16))
        else:
            total = total * shrink[:, None] + tl.dot(tl.trans(p.to(v.dtype)), v, input_precision="ieee")
        largest = larger
    if SCALED:
        weight *= 448.0
    to = Y + own + g[:, None] * DIM + d[None, :]
    tl.store(to, total / weight[:, None], mask=(g < GROUP)[:, None])


@triton.jit
def norm_kernel(X, NORM, eps, Y, K, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    row = tl.program_id(0).to(tl.int64) * K
    x = tl.load(X + row + at, mask=at < K, other=0.0).to(tl.float32)
    norm = tl.load(NORM + at, mask=at < K, other=0.0).to(tl.float32)
    tl.store(Y + row + at, x * tl.rsqrt(tl.sum(x * x, axis=0) / K + eps) * norm, mask=at < K)


@triton.jit
def rotate_kernel(
    QKV, COS, SIN, SLOTS, POSITIONS, Q, KEYS, VALUES, KEY_SCALES, VALUE_SCALES, length, X_SCALES, W_SCALES, GROUP: tl.constexpr,
    KV_HEADS: tl.constexpr, FILLED: tl.constexpr, DIM: tl.constexpr, SCALED: tl.constexpr, RAW: tl.constexpr
):  # fmt: skip
    """A token's queries of KV_HEADS heads, or its keys, or its values: rotated, and put where they belong.

    SCALED: keys and values become FP8; RAW: QKV are sums of FP8 products, to be multiplied by X_SCALES (T,) and W_SCALES (rows,)
    """
    token, block = tl.program_id(0), tl.program_id(1)
    h, i = tl.arange(0, FILLED)[:, None], tl.arange(0, DIM // 2)[None, :]
    there = (h < KV_HEADS) & (i >= 0)
    row = (block * KV_HEADS + h) * DIM + i
    at = QKV + token.to(tl.int64) * ((GROUP + 2) * KV_HEADS * DIM) + row
    a = tl.load(at, mask=there, other=0.0).to(tl.float32)
    b = tl.load(at + DIM // 2, mask=there, other=0.0).to(tl.float32)
    if RAW:
        of_token = tl.load(X_SCALES + token)
        a *= of_token * tl.load(W_SCALES + row, mask=there, other=0.0)
        b *= of_token * tl.load(W_SCALES + row + DIM // 2, mask=there, other=0.0)
    slot, position = tl.load(SLOTS + token).to(tl.int64), tl.load(POSITIONS + token)
    if block <= GROUP:
        cos, sin = tl.load(COS + position * DIM + i).to(tl.float32), tl.load(SIN + position * DIM + i).to(tl.float32)
        a, b = a * cos - b * sin, b * cos + a * sin
    if block < GROUP:
        query = Q + token.to(tl.int64) * (GROUP * KV_HEADS * DIM) + row
        tl.store(query, a, mask=there)
        tl.store(query + DIM // 2, b, mask=there)
    else:
        place = (slot * KV_HEADS + h) * length + position
        if SCALED:
            scale = tl.maximum(tl.maximum(tl.max(tl.abs(a), axis=1), tl.max(tl.abs(b), axis=1)), 1e-12)[:, None] / 448.0
            a, b = a / scale, b / scale
            if block == GROUP:
                tl.store(KEY_SCALES + place, scale, mask=h < KV_HEADS)
            else:
                tl.store(VALUE_SCALES + place, scale, mask=h < KV_HEADS)
        to = place * DIM + i
        if block == GROUP:
            tl.store(KEYS + to, a, mask=there)
            tl.store(KEYS + to + DIM // 2, b, mask=there)
        else:
            tl.store(VALUES + to, a, mask=there)
            tl.store(VALUES + to + DIM // 2, b, mask=there)


@triton.jit
def _silu_kernel(GATE_UP, Y, inner, BLOCK: tl.constexpr):
    token = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    gate = tl.load(GATE_UP + token * 2 * inner + at, mask=at < inner, other=0.0).to(tl.float32)
    up = tl.load(GATE_UP + token * 2 * inner + inner + at, mask=at < inner, other=0.0).to(tl.float32)
    tl.store(Y + token * inner + at, gate / (1.0 + tl.exp(-gate)) * up, mask=at < inner)


def rms_norm(x, norm, eps):
    """x (T, hidden) -> (T, hidden)"""
    y = torch.empty_like(x)
    norm_kernel[(len(x),)](x, norm, eps, y, x.shape[1], BLOCK=triton.next_power_of_2(x.shape[1]), num_warps=8)
    return y


def plain(matrix, dtype):
    """The weight (out, in) of a matrix in 4 bits, as `dtype`."""
    rows, words = matrix.values.shape
    weight = torch.empty(matrix.shape, dtype=dtype, device=matrix.values.device)
    plain_kernel[(rows, triton.cdiv(words, 512))](matrix.values, matrix.scale, weight, words, BLOCK=512)
    return weight


def can_overlap(device):
    """Whether a kernel can start before the previous one has ended (PDL)."""
    return (
        device.type == "cuda"
        and Card(*torch.cuda.get_device_capability(device)).overlaps
        and hasattr(getattr(tl.extra, "cuda", None), "gdc_wait")
    )


def attention_tile(shared, dim, size):
    """The tile of one row's attention. shared: bytes of shared memory that a block may take; size: bytes of a number of the queries"""
    needs = 2 * WIDE["BLOCK"] * dim * size + 2**14  # keys and values, and what the products' layouts take
    return WIDE if needs <= shared else NARROW


class KernelOperations:
    """The operations of TorchOperations.

    tiles: {name: Tile} instead of those above; overlap: whether to use PDL; shared: bytes of shared memory that a block may take, by
    default the least of all cards'
    """

    def __init__(self, tiles=None, overlap=False, shared=0):
        self.tiles, self.overlap, self.shared = tiles or {}, overlap, shared

    def tile(self, name, matrix):
        return self.tiles.get(name) or _TILES.get(matrix.values.dtype, TILES)[name]

    def launch(self, name, matrix):
        """(weight, arguments) of a kernel that streams a matrix for one row."""
        weight, tile = matrix.values, self.tile(name, matrix)
        if matrix.whole:
            weight = weight.view(torch.int32)
            sizes = {"BITS": matrix.bits, "STEPS": tile.steps, "WORDS": triton.next_power_of_2(weight.shape[1])}
            sizes["ASM"] = weight.is_cuda
            if tile.registers:
                sizes["maxnreg"] = tile.registers
        else:
            sizes = {"COLUMNS": min(tile.columns, triton.next_power_of_2(weight.shape[1]))}
        sizes |= {"K": weight.shape[1], "ROWS": tile.rows, "num_warps": tile.warps}
        return weight, sizes | self.pdl

    def stream(self, kind, name, matrix, units, before, after, more=None):
        """Runs a kernel that streams a matrix for one row: over `units` rows, or pairs of rows."""
        weight, options = self.launch(name, matrix)
        kernel = (_WHOLE if matrix.whole else _ROWS)[kind]
        if not matrix.whole:
            options["SCALED"] = matrix.scale is not None
        grid = (triton.cdiv(units, options.get("STEPS", 1) * options["ROWS"] // (1 if kind == "add" else 2)),)
        kernel[grid](*before, weight, matrix.scale, *after, **options, **(more or {}))

    def product(self, x, matrix):
        """x (T, in) -> (T, out), for many rows."""
        return matrix(x) if matrix.bits != 4 else F.linear(x, plain(matrix, x.dtype))

    @property
    def pdl(self):
        return {"PDL": True, "launch_pdl": True} if self.overlap else {"PDL": False}

    def qkv(self, x, layer, shape, rope, tokens, cache):
        heads, kv_heads, dim, eps = shape
        q = torch.empty(len(x), heads, dim, dtype=x.dtype, device=x.device)
        to = (*rope, tokens.slots, tokens.positions, q, cache.keys, cache.values)
        scaled = cache.key_scales is not None
        if (
            len(x) == 1 and not scaled
        ):  # a scale needs the whole head, of which a program of the other kernel has a part
            options = {"HEADS": heads, "KV_HEADS": kv_heads, "DIM": dim}
            units = (heads + 2 * kv_heads) * dim // 2
            self.stream("qkv", "qkv", layer.qkv, units, (x, layer.norm, eps), (*to, cache.length), options)
        else:
            self.rotate(self.product(rms_norm(x, layer.norm, eps), layer.qkv), to, cache, shape)
        return q

    @staticmethod
    def rotate(y, to, cache, shape, x_scales=None, w_scales=None):
        """Products with qkv (T, rows) to the queries and the cache. The scales: of FP8 products, which they are multiplied by."""
        heads, kv_heads, dim, _ = shape
        group = heads // kv_heads
        sizes = {"GROUP": group, "KV_HEADS": kv_heads, "FILLED": triton.next_power_of_2(kv_heads), "DIM": dim}
        rotate_kernel[(len(y), group + 2)](
            y, *to, cache.key_scales, cache.value_scales, cache.length, x_scales, w_scales, **sizes,
            SCALED=cache.key_scales is not None, RAW=x_scales is not None, num_warps=4
        )  # fmt: skip

    def attend(self, q, cache, tokens):
        count, heads, dim = q.shape
        kv_heads, y = cache.keys.shape[1], torch.empty(count, heads * dim, dtype=q.dtype, device=q.device)
        sizes = {"GROUP": heads // kv_heads, "FILLED": GROUP, "KV_HEADS": kv_heads, "DIM": dim}
        pdl = self.pdl if count == 1 else {"PDL": False}
        _attend_kernel[(count, kv_heads)](
            q, *cache, tokens.slots, tokens.positions, y, cache.length, dim**-0.5, **sizes, SCALED=cache.key_scales is not None, **pdl,
            **(attention_tile(self.shared, dim, q.itemsize) if count == 1 else {"BLOCK": 64, "num_warps": 2, "num_stages": 3})
        )  # fmt: skip
        return y

    def add_product(self, x, y, matrix):
        if len(x) > 1:
            if matrix.bits is None:
                return x.addmm_(y, matrix.values.T)
            return x.add_(self.product(y, matrix))
        name = "down" if matrix.shape[1] > matrix.shape[0] else "o"
        self.stream("add", name, matrix, x.shape[1], (x, y), (x.shape[1],))
        return x

    def gate_up(self, x, layer, shape):
        inner = layer.gate_up.shape[0] // 2
        y = torch.empty(len(x), inner, dtype=x.dtype, device=x.device)
        if len(x) == 1:
            self.stream("gate_up", "gate_up", layer.gate_up, inner, (x, layer.mlp_norm, shape.eps), (y, inner))
        else:
            both = self.product(rms_norm(x, layer.mlp_norm, shape.eps), layer.gate_up)
            _silu_kernel[(len(x), triton.cdiv(inner, 1024))](both, y, inner, BLOCK=1024)
        return y
