"""Products with float32 weights that are float16 numbers: read in 16 bits, half the bytes, for the same sums in float32.

A voice saved in float16 has such weights where it computes in float32, on a CPU. PyTorch brings FBGEMM, which keeps a packed copy of a
matrix in 16 bits and widens it in registers (AVX2): a token of the demo voice reads 21 MB of layers instead of 42, and those fit into
the last cache. See docs/speed.md.
"""

import warnings

import torch
import torch.nn.functional as F

from orpheus.engines.fast.matrix import Matrix

# Tokens up to which one thread reads a small model's prompt. For more, PyTorch's products in float32 with all its threads pay; for
# fewer, waking a thread for each of 100 operations takes as long as it spares.
ALONE = 192
# Values that are looked at at once: one that is no float16 number is found early, and copies are small.
_AT_ONCE = 2**20


class Halves(Matrix):
    """A Matrix in float32 whose values are all float16 numbers, and `packed`, their copy for FBGEMM. `halved` makes them."""

    def __new__(cls, values, packed):
        self = super().__new__(cls, values)
        self.packed = packed
        return self

    @property
    def nbytes(self):
        return self.values.nbytes // 2

    def __call__(self, x):
        """x (T, in) -> (T, out)"""
        return product(x, self.packed) if len(x) <= ALONE else F.linear(x, self.values)


def product(x, packed):
    """x float32 (T, in), in one thread -> (T, out)"""
    return torch.fbgemm_linear_fp16_weight_fp32_activation(x, packed, None)


def halved(layers):
    """The layers of a Llama, each Matrix in float32 as Halves; it stays where a value would change, or where this PyTorch or
    processor has no such product."""
    return [type(layer)(*(_halved(part) if isinstance(part, Matrix) else part for part in layer)) for layer in layers]


def _halved(matrix):
    packed = packed_halves(matrix.values)
    return matrix if packed is None else Halves(matrix.values, packed)


def packed_halves(values):
    """A tensor (out, in) as `product` takes it; None where a value would change, or where there is no such product."""
    rows = max(1, _AT_ONCE // values.shape[1])
    if values.dtype != torch.float32 or not all(torch.equal(some.half().float(), some) for some in values.split(rows)):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the product may go one day, said once a process; then it is None
            packed = torch.fbgemm_pack_gemm_matrix_fp16(values)
            product(values[:1], packed)
            return packed
    except (AttributeError, TypeError, RuntimeError):  # no such name, a bias that may not be None, no FBGEMM or AVX2
        return None
