"""Copies from the host to the device."""

import numpy as np
import torch


def sent(array, device):
    """A numpy array as a tensor on the device. On CUDA from pinned memory: a copy from ordinary memory may wait for all that the device
    has to do before."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device, non_blocking=True)
