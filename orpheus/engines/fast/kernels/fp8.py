"""The operations of a layer for weights in FP8: many rows are multiplied in FP8, on both sides.

Each token's input of a product gets a scale, so that its largest value is 448, and each row of a weight has one. The
product itself is PyTorch's without scales; the kernel that follows it multiplies by both. One row reads the weights as
they are and keeps its input in 16 bits (orpheus/engines/fast/kernels/row.py).
"""

import torch
import triton
import triton.language as tl

from orpheus.engines.fast.kernels.layer import KernelOperations
from orpheus.engines.fast.matrix import FP8


@triton.jit
def _quantize(y, Y, SCALES, row, at, inside, K):
    """Writes one row y in FP8, and its scale."""
    scale = tl.maximum(tl.max(tl.abs(y), axis=0), 1e-12) / 448.0
    tl.store(SCALES + row, scale)
    tl.store(Y + row * K + at, y / scale, mask=inside)


@triton.jit
def _rows_kernel(X, NORM, eps, Y, SCALES, K, NORMED: tl.constexpr, BLOCK: tl.constexpr):
    """Rows X (T, K), or their RMS norm, in FP8."""
    row, at = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK)
    y = tl.load(X + row * K + at, mask=at < K, other=0.0).to(tl.float32)
    if NORMED:
        norm = tl.load(NORM + at, mask=at < K, other=0.0).to(tl.float32)
        y = y * tl.rsqrt(tl.sum(y * y, axis=0) / K + eps) * norm
    _quantize(y, Y, SCALES, row, at, at < K, K)


@triton.jit
def _silu_kernel(GATE_UP, X_SCALES, W_SCALES, Y, SCALES, inner, BLOCK: tl.constexpr):
    """silu(gate) * up in FP8, of products (T, 2 * inner) without their scales."""
    row, at = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK)
    inside, scale = at < inner, tl.load(X_SCALES + row)
    gate = tl.load(GATE_UP + row * 2 * inner + at, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(GATE_UP + row * 2 * inner + inner + at, mask=inside, other=0.0).to(tl.float32)
    gate *= scale * tl.load(W_SCALES + at, mask=inside, other=0.0)
    up *= scale * tl.load(W_SCALES + inner + at, mask=inside, other=0.0)
    _quantize(gate / (1.0 + tl.exp(-gate)) * up, Y, SCALES, row, at, inside, inner)


@triton.jit
def _add_kernel(X, PRODUCTS, X_SCALES, W_SCALES, K, BLOCK: tl.constexpr):
    """X (T, K) += products without their scales."""
    row, at = tl.program_id(0).to(tl.int64), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    y = tl.load(PRODUCTS + row * K + at, mask=at < K, other=0.0).to(tl.float32)
    y *= tl.load(X_SCALES + row) * tl.load(W_SCALES + at, mask=at < K, other=0.0)
    x = tl.load(X + row * K + at, mask=at < K, other=0.0).to(tl.float32)
    tl.store(X + row * K + at, x + y, mask=at < K)


def _empty(count, width, device):
    """Rows in FP8 and their scales, to be filled."""
    return torch.empty(count, width, dtype=FP8, device=device), torch.empty(count, device=device)


def in_fp8(x, norm=None, eps=0.0):
    """x (T, K), or its RMS norm: (in FP8, scales float32 (T,))"""
    count, width = x.shape
    y, scales = _empty(count, width, x.device)
    block = triton.next_power_of_2(width)
    _rows_kernel[(count,)](x, norm, eps, y, scales, width, NORMED=norm is not None, BLOCK=block, num_warps=8)
    return y, scales


class Fp8Operations(KernelOperations):
    """The operations of TorchOperations, for matrices in FP8. Those of another kind, and one row, as ever."""

    _one = None  # the scale that a product is told

    def products(self, x, matrix, dtype):
        """x in FP8 (T, in) -> (T, out), without the scales of either."""
        if x.device.type == "cpu":  # only in Triton's interpreter
            return (x.float() @ matrix.values.float().T).to(dtype)
        out = torch.bfloat16 if dtype == torch.bfloat16 else torch.float32  # float16 ends at 65,504
        if self._one is None:
            self._one = torch.ones((), device=x.device)
        return torch._scaled_mm(x, matrix.values.T, self._one, self._one, out_dtype=out)

    def qkv(self, x, layer, shape, rope, tokens, cache):
        if len(x) == 1 or layer.qkv.values.dtype != FP8:
            return super().qkv(x, layer, shape, rope, tokens, cache)
        y, scales = in_fp8(x, layer.norm, shape.eps)
        q = torch.empty(len(x), shape.heads, shape.dim, dtype=x.dtype, device=x.device)
        to = (*rope, tokens.slots, tokens.positions, q, cache.keys, cache.values)
        self.rotate(self.products(y, layer.qkv, x.dtype), to, cache, shape, scales, layer.qkv.scale)
        return q

    def add_product(self, x, y, matrix):
        if len(x) == 1 or matrix.values.dtype != FP8:
            return super().add_product(x, y, matrix)
        y, scales = y if isinstance(y, tuple) else in_fp8(y)
        count, width = x.shape
        _add_kernel[(count, triton.cdiv(width, 1024))](
            x, self.products(y, matrix, x.dtype), scales, matrix.scale, width, BLOCK=1024
        )
        return x

    def gate_up(self, x, layer, shape):
        """(T, inner); of many rows (in FP8, scales), if the product that follows is in FP8 too."""
        if len(x) == 1 or layer.gate_up.values.dtype != FP8 or layer.down.values.dtype != FP8:
            return super().gate_up(x, layer, shape)
        y, scales = in_fp8(x, layer.mlp_norm, shape.eps)
        both, inner = self.products(y, layer.gate_up, x.dtype), layer.gate_up.shape[0] // 2
        y, inner_scales = _empty(len(x), inner, x.device)
        block = triton.next_power_of_2(inner)
        _silu_kernel[(len(x),)](both, scales, layer.gate_up.scale, y, inner_scales, inner, BLOCK=block, num_warps=16)
        return y, inner_scales
