"""How many threads PyTorch's operations take on a CPU."""

from contextlib import contextmanager

import torch


@contextmanager
def one_thread():
    """PyTorch's operations run in the calling thread alone."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
