"""The operations of a layer for matrices that adapters are added to: products of many rows, and nothing of one row alone.

What adapters add to few rows is two kernels for each matrix, after its product. The first multiplies the rows by the adapters' A, in
shares of the inputs, so that there is work for the whole GPU; the second sums the shares in their order, multiplies by B and adds. A
tile of adapters that none of its rows has is left out: what a step reads depends on who speaks, not on how many could.

Many rows take PyTorch's products, several times as fast there; those by A run beside the matrix's own product.
"""

import torch
import triton
import triton.language as tl

from orpheus.engines.fast.adapters import Adapted
from orpheus.engines.fast.kernels.layer import KernelOperations

_COLUMNS, _OUT, _BLOCK = 32, 64, 128  # columns of A, outputs, and inputs at a time
_PROGRAMS = 256  # about so many begin at once
_SHORTEST = 256  # inputs of a share, at least
_FEW = 4  # rows


@triton.jit
def _narrow_kernel(
    X, A, CHOSEN, OWNERS, Z, rows, columns, K, share, ROWS: tl.constexpr, COLUMNS: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """Z (shares, T, columns): a share of the products of X (T, K) and A (columns, K), 0 where a column is not the row's own."""
    c, t = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS), tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    chosen = tl.load(CHOSEN + t, mask=t < rows, other=0)
    owner = tl.load(OWNERS + c, mask=c < columns, other=-1)
    own = chosen[:, None] == owner[None, :]
    total = tl.zeros([ROWS, COLUMNS], tl.float32)
    if tl.max(tl.max(own.to(tl.int32), axis=1), axis=0) > 0:
        first = tl.program_id(2) * share
        end = tl.minimum(first + share, K)
        for start in range(first, end, BLOCK):
            k = start + tl.arange(0, BLOCK)
            x = tl.load(X + t[:, None] * K + k[None, :], mask=(t < rows)[:, None] & (k < end)[None, :], other=0.0)
            a = tl.load(A + c[None, :] * K + k[:, None], mask=(c < columns)[None, :] & (k < end)[:, None], other=0.0)
            total += tl.dot(x, a, input_precision="ieee")
    at = (tl.program_id(2) * rows + t)[:, None] * columns + c[None, :]
    tl.store(Z + at, tl.where(own, total, 0.0), mask=(t < rows)[:, None] & (c < columns)[None, :])


@triton.jit
def _widen_kernel(
    Z, B, TILES, CHOSEN, OWNERS, Y, rows, columns, width, shares, ROWS: tl.constexpr, COLUMNS: tl.constexpr, OUT: tl.constexpr
):  # fmt: skip
    """Y (T, width) += Z @ B, tile by tile of its outputs. TILES: for each its first output, how many it has, its columns' first and
    end, where its B begins, and how long a row of it is."""
    tile, t = TILES + tl.program_id(0) * 6, tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    first, count, column, end = tl.load(tile), tl.load(tile + 1), tl.load(tile + 2), tl.load(tile + 3)
    begin, stride = tl.load(tile + 4), tl.load(tile + 5)
    n = tl.arange(0, OUT)
    chosen = tl.load(CHOSEN + t, mask=t < rows, other=0)
    total = tl.zeros([ROWS, OUT], tl.float32)
    for start in range(column, end, COLUMNS):
        c = start + tl.arange(0, COLUMNS)
        owner = tl.load(OWNERS + c, mask=c < end, other=-1)
        own = chosen[:, None] == owner[None, :]
        if tl.max(tl.max(own.to(tl.int32), axis=1), axis=0) > 0:
            z = tl.zeros([ROWS, COLUMNS], tl.float32)
            for share in range(0, shares):
                at = (share * rows + t)[:, None] * columns + c[None, :]
                z += tl.load(Z + at, mask=(t < rows)[:, None] & (c < end)[None, :], other=0.0)
            inside = (c < end)[:, None] & (n < count)[None, :]
            b = tl.load(B + begin + (c - column)[:, None] * stride + n[None, :], mask=inside, other=0.0)
            total += tl.dot(z.to(b.dtype), b, input_precision="ieee")
    at = t[:, None] * width + first + n[None, :]
    inside = (t < rows)[:, None] & (n < count)[None, :]
    tl.store(Y + at, tl.load(Y + at, mask=inside, other=0.0).to(tl.float32) + total, mask=inside)


def _tiles(stack):
    """What _widen_kernel reads: int64 (tiles, 6)."""
    tiles, begin = [], 0
    for place, columns, b in stack.parts:
        count = place.stop - place.start
        for start in range(0, count, _OUT):
            some = min(_OUT, count - start)
            tiles.append([place.start + start, some, columns.start, columns.stop, begin + start, count])
        begin += b.numel()
    return torch.tensor(tiles, device=stack.a.device)


class AdaptedOperations(KernelOperations):
    """See orpheus.engines.fast.adapters. A step has at least two rows."""

    def __init__(self, tiles=None, overlap=False):
        super().__init__(tiles, overlap)
        self._tiles, self._side = {}, None  # tiles of each stack; the stream of products by A

    def product(self, x, matrix):
        if isinstance(matrix, Adapted):
            return self._beside(matrix, x, super().product, x, matrix.matrix)
        return super().product(x, matrix)

    def add_product(self, x, y, matrix):
        if isinstance(matrix, Adapted):
            return self._beside(matrix, y, super().add_product, x, y, matrix.matrix)
        return super().add_product(x, y, matrix)

    def _beside(self, matrix, x, work, *arguments):
        """What `work` returns (T, out), and what the rows' adapters add to it for x (T, in)."""
        if len(x) <= _FEW:
            return self._add(matrix, x, work(*arguments))
        stack, rows = matrix.stack, matrix.rows
        mask = rows.mask(stack.owners)
        if not x.is_cuda:  # only in Triton's interpreter
            return stack.widen(stack.narrow(x, mask), work(*arguments))
        current = torch.cuda.current_stream()
        self._side = self._side or torch.cuda.Stream()
        self._side.wait_stream(current)  # also for whoever reads what was in z's place before
        with torch.cuda.stream(self._side):
            z = stack.narrow(x, mask)
        y = work(*arguments)
        current.wait_stream(self._side)
        return stack.widen(z, y)

    def _add(self, matrix, x, y):
        """y (T, out) with what the rows' adapters add for x (T, in), in place."""
        stack, chosen = matrix.stack, matrix.rows.chosen
        if stack not in self._tiles:
            self._tiles[stack] = _tiles(stack)
        tiles, (columns, width), rows = self._tiles[stack], stack.a.shape, len(x)
        size = max(16, min(64, triton.next_power_of_2(rows)))
        grid = triton.cdiv(columns, _COLUMNS), triton.cdiv(rows, size)
        shares = max(1, min(_PROGRAMS // (grid[0] * grid[1]), width // _SHORTEST))
        share = triton.cdiv(triton.cdiv(width, shares), _BLOCK) * _BLOCK
        shares = triton.cdiv(width, share)
        z = torch.empty(shares, rows, columns, dtype=torch.float32, device=x.device)
        _narrow_kernel[(*grid, shares)](
            x, stack.a, chosen, stack.owners, z, rows, columns, width, share, ROWS=size, COLUMNS=_COLUMNS, BLOCK=_BLOCK, num_warps=4
        )  # fmt: skip
        _widen_kernel[(len(tiles), grid[1])](
            z, stack.b, tiles, chosen, stack.owners, y, rows, columns, y.shape[1], shares, ROWS=size, COLUMNS=_COLUMNS, OUT=_OUT,
            num_warps=4
        )  # fmt: skip
        return y
