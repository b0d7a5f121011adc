"""SNAC's Snake as one Triton kernel: in plain PyTorch it reads and writes every sample four times."""

import functools

import torch
import triton
import triton.language as tl

from orpheus.fused_encoder import _snake

_LARGEST_BLOCK = 1024


@triton.jit(do_not_specialize=["channels", "length"])
def _kernel(X, ALPHA, Y, channels, length, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    time = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    at = row.to(tl.int64) * length + time
    x = tl.load(X + at, mask=time < length, other=0.0)
    tl.store(Y + at, _snake(x, tl.load(ALPHA + row % channels)), mask=time < length)


def snake(x, alpha):
    """x + sin(alpha x)^2 / alpha; x float32 (B, C, T) on a CUDA device, alpha (1, C, 1)."""
    x = x.contiguous()
    batch, channels, length = x.shape
    y, block = torch.empty_like(x), min(triton.next_power_of_2(length), _LARGEST_BLOCK)
    grid = (batch * channels, triton.cdiv(length, block))
    _kernel[grid](x, alpha, y, channels, length, BLOCK=block, num_warps=max(1, min(4, block // 128)))
    return y


@functools.cache
def runs(device):
    """Whether Triton can build the kernel for this device, and it computes Snake."""
    x, alpha = (
        torch.linspace(-30, 30, 2 * 3 * 100, device=device).view(2, 3, 100),
        torch.rand(1, 3, 1, device=device) + 0.5,
    )
    try:
        return bool((snake(x, alpha) - (x + torch.sin(alpha * x).square() / (alpha + 1e-9))).abs().max() < 1e-4)
    except Exception:  # compilers, drivers and Triton each have errors of their own
        return False
