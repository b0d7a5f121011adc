"""A linear layer's weight for the fast engine: as it is, in 8 bits or in 4.

    weights   what one weight takes   scales
    same      16 or 32 bits           none
    int8      8 bits                  one for each row of the matrix, so that its largest value is 127
    fp8       8 bits (e4m3)           one for each row of the matrix, so that its largest value is 448
    int4      4.5 bits                one for each GROUP weights of a row; of a few candidates the one with the least squared error

Quantised weights lie so that what a kernel loads at once meets runs of its input: see Matrix.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F

WEIGHTS = ("same", "int8", "int4", "fp8")
FP8 = torch.float8_e4m3fn
FP8_LARGEST = 448.0
FP8_ALIGNED = 16  # what both sides of a matrix must be multiples of for products in FP8
GROUP = 32  # weights with one scale, in 4 bits: four words
NIBBLES = 8  # 4-bit numbers in a word
ZERO = 8  # a nibble of this is no weight at all
_AT_ONCE = 2**21  # values that are quantised at once: what that takes beside the weights is a few times as many floats
# In 4 bits a group's value of the largest magnitude becomes -8, or any becomes at most 7, or a little is cut off.
_SHARES = (1.0, 0.94, 0.88, 0.82)
_LARGEST = torch.finfo(torch.float16).max


class Matrix(NamedTuple):
    """A linear layer's weight.

    values: (out, in) in the model's data type, or in FP8; or int8 with columns of the first and second half alternating
    (0, in / 2, 1, in / 2 + 1, ...), so that two adjacent bytes hold what a kernel multiplies by two runs of its input;
    or int32 (out, in / 8), whose nibble j of word c is ZERO + the weight of input c + j * in / 8
    scale: None; or float32 (out,), which int8 and FP8 rows are multiplied by; or float16 (out, in / 32), one for four words each
    """

    values: torch.Tensor
    scale: torch.Tensor | None = None

    @property
    def bits(self):
        """Of a weight: 8, 4, or None where they are as the model's."""
        return {torch.int8: 8, FP8: 8, torch.int32: 4}.get(self.values.dtype)

    @property
    def whole(self):
        """Whether they are whole numbers."""
        return self.values.dtype in (torch.int8, torch.int32)

    @property
    def shape(self):
        """(out, in)"""
        rows, columns = self.values.shape
        return rows, columns * (NIBBLES if self.bits == 4 else 1)

    @property
    def nbytes(self):
        """What a step reads of it."""
        return self.values.nbytes + (0 if self.scale is None else self.scale.nbytes)

    def __call__(self, x):
        """x (T, in) -> (T, out)"""
        if self.bits is None:
            return F.linear(x, self.values)
        if self.bits == 4:
            return F.linear(x, self.plain(x.dtype))
        if self.values.dtype == FP8:
            return (F.linear(x, self.values.to(x.dtype)) * self.scale).to(x.dtype)
        return (F.linear(_in_turn(x), self.values.to(x.dtype)) * self.scale).to(x.dtype)

    def plain(self, dtype):
        """The weight (out, in) of a matrix in 4 bits, as `dtype`."""
        shifts = 4 * torch.arange(NIBBLES, dtype=torch.int32, device=self.values.device)
        weight = ((self.values[:, None] >> shifts[:, None]) & 15) - ZERO
        scale = self.scale.float().repeat_interleave(GROUP // NIBBLES, dim=1)
        return (weight * scale[:, None]).to(dtype).flatten(1)


def _in_turn(x):
    """(n, 2 * half) with the columns of both halves alternating."""
    return x.unflatten(1, (2, -1)).transpose(1, 2).flatten(1)


def empty_matrix(rows, width, device, weights):
    """A Matrix (rows, width) in 8 or 4 bits, to be filled by `quantize_into`. A shape that int4 or fp8 cannot have takes int8."""
    if weights == "int4" and width % GROUP == 0:
        values = torch.empty(rows, width // NIBBLES, dtype=torch.int32, device=device)
        return Matrix(values, torch.empty(rows, width // GROUP, dtype=torch.float16, device=device))
    fp8 = weights == "fp8" and not (rows % FP8_ALIGNED or width % FP8_ALIGNED)
    values = torch.empty(rows, width, dtype=FP8 if fp8 else torch.int8, device=device)
    return Matrix(values, torch.empty(rows, dtype=torch.float32, device=device))


def quantize_into(matrix, first, weight):
    """Writes a weight (n, in) as rows `first` to `first` + n of a Matrix in 8 or 4 bits."""
    step = max(1, _AT_ONCE // weight.shape[1])
    quantize = {torch.int8: _in_8_bits, torch.int32: _in_4_bits, FP8: in_fp8}[matrix.values.dtype]
    for start in range(0, len(weight), step):
        rows = weight[start : start + step].float()
        place = slice(first + start, first + start + len(rows))
        matrix.values[place], matrix.scale[place] = quantize(rows)


def quantized(weight, weights):
    """A weight (out, in) as a Matrix in 8 or 4 bits."""
    matrix = empty_matrix(*weight.shape, weight.device, weights)
    quantize_into(matrix, 0, weight)
    return matrix


def in_fp8(rows):
    """(rows as FP8, their scales) of (..., dim)."""
    scales = rows.float().abs().amax(dim=-1).clamp(min=1e-12) / FP8_LARGEST
    return (rows.float() / scales[..., None]).to(FP8), scales


def _in_8_bits(rows):
    scale = rows.abs().amax(dim=1).clamp(min=1e-12) / 127
    return _in_turn((rows / scale[:, None]).round().to(torch.int8)), scale


def _in_4_bits(rows):
    """(words, scales) of rows (n, in)"""
    words = rows.shape[1] // NIBBLES
    # (n, groups, nibble, word of the group)
    grouped = rows.unflatten(1, (NIBBLES, words // (GROUP // NIBBLES), GROUP // NIBBLES)).transpose(1, 2)
    flat = grouped.flatten(2)
    largest = flat.gather(2, flat.abs().argmax(dim=2, keepdim=True))
    best = torch.full_like(largest, torch.inf)
    scale = torch.zeros_like(largest)
    for whole in (largest / -ZERO, largest.abs() / (ZERO - 1)):
        for share in _SHARES:
            tried = (whole * share).clamp(-_LARGEST, _LARGEST).half().float()
            error = _steps(flat, tried).mul_(tried).sub_(flat).square_().sum(dim=2, keepdim=True)
            better = error < best
            best, scale = torch.where(better, error, best), torch.where(better, tried, scale)
    nibbles = _steps(flat, scale).add_(ZERO).to(torch.int32).unflatten(2, (NIBBLES, -1)).transpose(1, 2).flatten(2)
    packed = nibbles[:, 0].clone()
    for place in range(1, NIBBLES):
        packed |= nibbles[:, place] << 4 * place
    return packed, scale[:, :, 0].half()


def _steps(values, scale):
    """The whole numbers from -8 to 7 nearest to values / scale; 0 where the scale is."""
    return (values / torch.where(scale == 0, torch.inf, scale)).round_().clamp_(-ZERO, ZERO - 1)
