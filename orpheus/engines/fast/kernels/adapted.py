"""The operations of a layer for matrices that adapters are added to: products of many rows, and nothing of one row alone."""

from orpheus.engines.fast.adapters import Adapted
from orpheus.engines.fast.kernels.layer import KernelOperations


class AdaptedOperations(KernelOperations):
    """See orpheus.engines.fast.adapters. A step has at least two rows."""

    def product(self, x, matrix):
        if isinstance(matrix, Adapted):
            return matrix.add(x, super().product(x, matrix.matrix))
        return super().product(x, matrix)

    def add_product(self, x, y, matrix):
        if isinstance(matrix, Adapted):
            return matrix.add(y, super().add_product(x, y, matrix.matrix))
        return super().add_product(x, y, matrix)
