"""float32 matrix products on tensor cores; a row's result does not depend on what other rows there are.

Tensor cores multiply TF32, 11 significant bits. Each factor is split into two of these numbers, x = big + small, and
small * big + big * small + big * big equals float32's product to within 2**-22 of it (Ootomo & Yokota 2022, "Recovering
single precision accuracy from Tensor Cores"; CUTLASS calls it 3xTF32). Weights are split once, activations on the fly.
Tensor cores truncate their sums instead of rounding them, so those sums stay short: BLOCK_K terms, joined by ordinary
additions. One program sums a result from the first term to the last, in an order that depends only on its tile, and the
tile depends only on the weight's shape: no library chooses by the number of rows.
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl

VECTOR = 4  # float32 numbers loaded at once; what a row leaves out begins and ends at a multiple of this
_VECTOR = tl.constexpr(VECTOR)
_CACHED = 2**25  # bytes: a weight up to this stays in the level 2 cache while rows pass by; a larger one is read once


class Tile(NamedTuple):
    """What one program computes, and how."""

    rows: int
    columns: int
    terms: int  # BLOCK_K
    warps: int
    stages: int  # tiles of terms in flight at once


# (terms, columns) of a product -> its tile, if not the ordinary one. Only `terms` affects results, in their last bits.
TILES: dict[tuple[int, int], Tile] = {}


def tile_of(terms, columns):
    """The tile of a product with this many terms and columns."""
    most = 128 if terms > 512 else 64  # a short product waits for memory: smaller tiles, more of them at once
    wide = min(most, triton.next_power_of_2(max(columns, 16)))
    ordinary = Tile(128, wide, 32 if terms % 32 == 0 else 16, 8 if wide >= 64 else 4, 3 if terms > 64 else 2)
    return TILES.get((terms, columns), ordinary)


@triton.jit
def _big(x):
    """x rounded to TF32's 11 significant bits."""
    return ((x.to(tl.int32, bitcast=True) + 4096) & -8192).to(tl.float32, bitcast=True)


@triton.jit
def multiply(
    before,
    here,
    low,
    high,
    column,
    WEIGHT,
    EDGE: tl.constexpr,
    K: tl.constexpr,
    SMALL: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Sum over k of row[k] * weight[column, k], (BLOCK_M, BLOCK_N).

    here: (BLOCK_M,) pointers to each row's k = 0; before: the same for k < EDGE, a multiple of BLOCK_K
    low, high: (BLOCK_M,) in VECTORs; terms outside read as zero
    SMALL: how far behind the big parts the small ones are in WEIGHT
    """
    k = tl.arange(0, BLOCK_K)
    weight = WEIGHT + (column[None, :] * K + k[:, None])
    total = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
    for start in range(0, K, BLOCK_K):
        row = here
        if EDGE > 0:
            row = tl.where(start < EDGE, before, here)
        vector = (start + k) // _VECTOR
        inside = (vector[None, :] >= low[:, None]) & (vector[None, :] < high[:, None])
        x = tl.load(row[:, None] + (start + k)[None, :], mask=inside, other=0.0)
        big = _big(x)
        weight_big = tl.load(weight + start)
        weight_small = tl.load(weight + (start + SMALL))
        part = tl.dot(x - big, weight_big, input_precision="tf32")
        part = tl.dot(big, weight_small, part, input_precision="tf32")
        total += tl.dot(big, weight_big, part, input_precision="tf32")
    return total


@triton.jit
def place_of(rows, N: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, ROWS_FIRST: tl.constexpr):
    """First row and first column of a program's tile."""
    program = tl.program_id(0)
    if ROWS_FIRST:
        high = (rows + BLOCK_M - 1) // BLOCK_M
        return program % high * BLOCK_M, program // high * BLOCK_N
    wide: tl.constexpr = (N + BLOCK_N - 1) // BLOCK_N
    return program // wide * BLOCK_M, program % wide * BLOCK_N


class Product:
    """A weight (columns, terms) split and laid out for `multiply`, and its bias (columns,)."""

    def __init__(self, weight, bias):
        columns, terms = weight.shape
        self.columns, self.bias = columns, bias.detach().float().contiguous()
        self.tile = tile_of(terms, columns)
        self.terms = -(-terms // self.tile.terms) * self.tile.terms
        self.whole = self.terms == terms  # no term was added to fill a tile
        padded = weight.new_zeros(-(-columns // self.tile.columns) * self.tile.columns, self.terms)
        padded[:columns, :terms] = weight.detach()
        big = ((padded.view(torch.int32) + 4096) & -8192).view(torch.float32)
        self.weight = torch.stack([big, padded - big])  # the rest is less than half of TF32's last place
        self.options = {
            "K": self.terms,
            "N": columns,
            "SMALL": padded.numel(),
            "ROWS_FIRST": self.weight.nbytes > _CACHED,
            "BLOCK_M": self.tile.rows,
            "BLOCK_N": self.tile.columns,
            "BLOCK_K": self.tile.terms,
            "num_warps": self.tile.warps,
            "num_stages": self.tile.stages,
        }

    def grid(self, rows):
        return (triton.cdiv(rows, self.tile.rows) * (self.weight.shape[1] // self.tile.columns),)
