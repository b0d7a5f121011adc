"""SNAC's residual quantizer in Triton: a latent's codes do not depend on how many latents there are."""

import torch
import torch.nn.functional as F
import triton
import triton.language as tl

from orpheus.codec.kernels.products import Product, multiply

_ROWS, _CODES = 16, 128  # latents and codes that a program compares at once


@triton.jit(do_not_specialize=["rows"])
def _latents_kernel(
    X, WEIGHT, BIAS, Y, rows, K: tl.constexpr, N: tl.constexpr, SMALL: tl.constexpr, ROWS_FIRST: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    row, column = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M), tl.arange(0, BLOCK_N)
    here, none = X + row.to(tl.int64) * K, tl.zeros([BLOCK_M], tl.int32)
    last = tl.where(row < rows, K // 4, 0)
    total = multiply(here, here, none, last, column, WEIGHT, 0, K, SMALL, BLOCK_M, BLOCK_N, BLOCK_K)
    total += tl.load(BIAS + column, mask=column < N, other=0.0)[None, :]
    tl.store((Y + row * N)[:, None] + column[None, :], total, mask=(row < rows)[:, None] & (column < N)[None, :])


@triton.jit(do_not_specialize=["rows"])
def _nearest_kernel(
    LATENTS,
    BOOK,
    SQUARES,
    CODES,
    rows,
    SIZE: tl.constexpr,
    COUNT: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The code vector nearest to each latent, all scaled to length 1; the first one in a tie."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    latent, length = (), tl.zeros([ROWS], tl.float32)
    for part in tl.static_range(SIZE):
        value = tl.load(LATENTS + row * SIZE + part, mask=row < rows, other=1.0)
        latent, length = latent + (value,), tl.fma(value, value, length)
    scale, square = 1.0 / tl.maximum(tl.sqrt_rn(length), 1e-12), tl.zeros([ROWS], tl.float32)
    for part in tl.static_range(SIZE):
        square = tl.fma(latent[part] * scale, latent[part] * scale, square)
    best, found = tl.full([ROWS, BLOCK], float("inf"), tl.float32), tl.zeros([ROWS, BLOCK], tl.int32)
    for start in range(0, COUNT, BLOCK):
        code = start + tl.arange(0, BLOCK)
        product = tl.zeros([ROWS, BLOCK], tl.float32)
        for part in tl.static_range(SIZE):
            vector = tl.load(BOOK + part * COUNT + code, mask=code < COUNT, other=0.0)
            product = tl.fma((latent[part] * scale)[:, None], vector[None, :], product)
        other = tl.load(SQUARES + code, mask=code < COUNT, other=float("inf"))
        distance = square[:, None] - 2.0 * product + other[None, :]
        nearer = distance < best
        best, found = tl.where(nearer, distance, best), tl.where(nearer, code[None, :], found)
    nearest = tl.min(best, 1)
    found = tl.min(tl.where(best == nearest[:, None], found, COUNT), 1)
    tl.store(CODES + row, found.to(tl.int64), mask=row < rows)


class FusedQuantizer:
    """A SNAC model's quantizer; does not change the model."""

    def __init__(self, quantizer):
        self._levels = []
        for level in quantizer.quantizers:
            # The mean of `stride` neighbours, projected, is a product with all of them: they are side by side.
            weight = level.in_proj.weight[..., 0].repeat(1, level.stride) / level.stride
            vectors = level.codebook.weight.detach()
            book = F.normalize(vectors)
            table = vectors @ level.out_proj.weight[..., 0].t() + level.out_proj.bias  # (codes, channels)
            product = Product(weight, level.in_proj.bias)
            assert product.whole, product.tile  # rows of features are K apart
            self._levels.append((level.stride, product, book.t().contiguous(), book.square().sum(1), table.detach()))

    def __call__(self, features):
        """float32 (4 * frames, channels) -> codes per level, int64 (frames,), (2 * frames,), (4 * frames,)."""
        residual, found = features.contiguous(), []
        for stride, product, book, squares, table in self._levels:
            rows, size = len(residual) // stride, product.columns
            latents, codes = (
                residual.new_empty(rows, size),
                torch.empty(rows, dtype=torch.int64, device=residual.device),
            )
            weights = product.weight, product.bias
            _latents_kernel[product.grid(rows)](residual, *weights, latents, rows, **product.options)
            grid = (triton.cdiv(rows, _ROWS),)
            options = dict(SIZE=size, COUNT=len(squares), ROWS=_ROWS, BLOCK=_CODES)
            _nearest_kernel[grid](latents, book, squares, codes, rows, **options)
            residual = residual - table[codes].repeat_interleave(stride, 0)
            found.append(codes)
        return found
