"""Products of frozen weights in FP8 (e4m3): half the bytes and twice the arithmetic of 16 bits.

Each token's row and each row of a weight has a scale of its own. Gradients, sums and the adapter stay as they are, but for the
copy of the adapter that takes part in the weights' products.
"""

from typing import NamedTuple

import torch

from orpheus.common.errors import InputError

TOP = 448.0  # the largest number of e4m3
HEADROOM = 56.0  # what a row's largest number becomes: the adapter's share that is appended to it may be 8 times as large before
# the row needs another scale. What that costs lies below 2^-6 / 56 of the largest, where numbers begin to lose digits
WIDTHS = 16  # a matrix' sizes are multiples of this


class Eight(NamedTuple):
    """values: e4m3 (rows, width); scales: float32 (rows,). A row is values * scale."""

    values: torch.Tensor
    scales: torch.Tensor

    def wide(self):
        """The float32 matrix that it stands for."""
        return self.values.float() * self.scales[:, None]


class EightWeight:
    """A group's weights for both directions: `forward` is [W, B] (out, in + R), `backward` [W; A] turned over (in, out + R).

    fused: LoraGroup's [[W, B], [A, 0]] in 16 bits; out, width: the size of W; passes: kernels or passes
    """

    def __init__(self, fused, out, width, passes):
        self.passes = passes
        self.parts = [self._part(fused[:out], width), self._part(fused[:, :width].T, out)]
        self.forward, self.backward = (eight for _, eight, _ in self.parts)
        self.refresh()

    def _part(self, matrix, width):
        if matrix.is_cuda and any(size % WIDTHS for size in matrix.shape):
            rank = matrix.shape[1] - width
            raise InputError(
                f"--fp8 needs widths that are multiples of {WIDTHS}, and a layer of this model has {len(matrix)} x {width} with "
                f"{rank} of its adapters: leave it out"
            )
        eight = empty(*matrix.shape, matrix.device)
        self.passes.quantize(matrix[:, :width], (eight.values[:, :width], eight.scales))
        return matrix, eight, width

    def refresh(self):
        """Takes over the adapters."""
        for matrix, eight, width in self.parts:
            self.passes.append(matrix[:, width:], matrix[:, :width], eight)


def empty(rows, width, device):
    """An Eight to write into."""
    values = torch.empty(rows, width, dtype=torch.float8_e4m3fn, device=device)
    return Eight(values, torch.empty(rows, dtype=torch.float32, device=device))


def product(x, w, dtype):
    """x (T, n) @ w^T (n, out) of two Eights, as (T, out) of a dtype."""
    if not x.values.is_cuda:
        return (x.wide() @ w.wide().T).to(dtype)
    return torch._scaled_mm(
        x.values, w.values.T, x.scales[:, None], w.scales[None], out_dtype=dtype, use_fast_accum=True
    )
