"""orpheus/training/passes.py as Triton kernels: `layer` between the products of a layer, `loss`, `eight` for FP8."""

from orpheus.training.kernels.eight import append, quantize, quantize_with_room
from orpheus.training.kernels.layer import (
    add_norm,
    norm_again,
    norm_backward,
    rotate,
    swiglu,
    swiglu_backward,
    unrotate,
)
from orpheus.training.kernels.loss import cross_entropy

__all__ = [
    "add_norm",
    "append",
    "cross_entropy",
    "norm_again",
    "norm_backward",
    "quantize",
    "quantize_with_room",
    "rotate",
    "swiglu",
    "swiglu_backward",
    "unrotate",
]
