"""Products of frozen weights in FP8 (e4m3): half the bytes and twice the arithmetic of 16 bits.

Each token's row and each row of a weight has a scale of its own. Gradients, sums and the adapter stay as they are, but for the
copy of the adapter that takes part in the weights' products.
"""

from typing import NamedTuple

import torch

TOP = 448.0  # the largest number of e4m3
HEADROOM = 56.0  # what a row's largest number becomes: an adapter's share may be 8 times as large. What that costs lies below
# 2^-6 / 56 of the largest, where numbers begin to lose digits
CAPABILITY = (8, 9)  # of the GPUs with FP8 products: Ada (RTX 40, L4) and Hopper


class Eight(NamedTuple):
    """values: e4m3 (rows, width); scales: float32 (rows,). A row is values * scale."""

    values: torch.Tensor
    scales: torch.Tensor

    def wide(self):
        """The float32 matrix that it stands for."""
        return self.values.float() * self.scales[:, None]


class EightWeight:
    """A group's weight [W | B] (see LoraLinear) for both directions: `forward` (out, in + R), `backward` its transpose.

    fused: the 16-bit weight; passes: kernels or passes
    """

    def __init__(self, fused, width, passes):
        self.fused, self.width, self.passes = fused, width, passes
        self.forward = self._empty(*fused.shape)
        self.backward = self._empty(*fused.shape[::-1])
        base = fused[:, :width]
        passes.quantize(base, (self.forward.values[:, :width], self.forward.scales))
        passes.quantize(base.T, (self.backward.values[:width], self.backward.scales[:width]))
        self.refresh()

    def _empty(self, rows, width):
        values = torch.empty(rows, width, dtype=torch.float8_e4m3fn, device=self.fused.device)
        return Eight(values, torch.empty(rows, dtype=torch.float32, device=self.fused.device))

    def refresh(self):
        """Takes over the B's."""
        bs = self.fused[:, self.width :]
        self.passes.append(bs, self.forward.scales, self.forward.values[:, self.width :])
        self.passes.quantize(bs.T, (self.backward.values[self.width :], self.backward.scales[self.width :]))


def product(x, w, dtype):
    """x (T, n) @ w^T (n, out) of two Eights, as (T, out) of a dtype."""
    if not x.values.is_cuda:
        return (x.wide() @ w.wide().T).to(dtype)
    return torch._scaled_mm(
        x.values, w.values.T, x.scales[:, None], w.scales[None], out_dtype=dtype, use_fast_accum=True
    )
