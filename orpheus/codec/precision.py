"""float32 without TF32."""

from contextlib import contextmanager

import torch


@contextmanager
def full_precision():
    """Turns off TF32, cuDNN's default for convolutions: with it, windows differ from decoding everything at once, and
    one code in a hundred changes."""
    matmul = torch.backends.cuda.matmul
    name, value = ("fp32_precision", "ieee") if hasattr(matmul, "fp32_precision") else ("allow_tf32", False)
    before = getattr(matmul, name)
    setattr(matmul, name, value)
    try:
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            yield
    finally:
        setattr(matmul, name, before)
