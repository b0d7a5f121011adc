"""The operations of a layer for matrices that adapters are added to: products of many rows, and nothing of one row alone."""

import torch

from orpheus.engines.fast.adapters import Adapted
from orpheus.engines.fast.kernels.layer import KernelOperations


class AdaptedOperations(KernelOperations):
    """See orpheus.engines.fast.adapters. A step has at least two rows."""

    _side = None  # the stream of products by A, which run beside the matrix's own: they are small

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
        stack, mask = matrix.stack, matrix.mask
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
