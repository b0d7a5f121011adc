"""The noise of SNAC's decoder as a function of (request seed, place, absolute position)."""

import torch
from torch import nn

_GOLDEN, _MASK = 0x9E3779B9, 0xFFFFFFFF


def _mix(x):
    """Scrambles 32-bit integers held in int64 ("lowbias32" by C. Wellons, nullprogram.com/blog/2018/07/31)."""
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & _MASK
    x = ((x ^ (x >> 15)) * 0x846CA68B) & _MASK
    return x ^ (x >> 16)


def position_noise(seeds, place, start, length):
    """Standard normal noise that depends only on seed, place and position.

    seeds, start: int64 tensors (B,) on one device; place: which noise block; length: positions
    returns: float32 (B, length)
    """
    position = start[:, None] + torch.arange(length, device=seeds.device)
    key = _mix((_mix(seeds & _MASK) ^ (seeds >> 32) ^ ((place + 1) * _GOLDEN)) & _MASK)[:, None]
    first = _mix((_mix(position & _MASK) + key) & _MASK)
    second = _mix(((first ^ key) + _GOLDEN) & _MASK)
    uniform = ((first >> 8).float() + 0.5) / 2**24  # in (0, 1)
    angle = (second >> 8).float() * (2 * torch.pi / 2**24)
    return torch.sqrt(-2 * torch.log(uniform)) * torch.cos(angle)  # Box-Muller


class PositionNoise(nn.Module):
    """Stands in for SNAC's NoiseBlock: same weights, `x + noise * linear(x)`, noise by position."""

    def __init__(self, block, place, context):
        super().__init__()
        self.linear, self.place, self.context = block.linear, place, context

    def forward(self, x):  # (B, C, T)
        per_frame = x.shape[-1] // self.context["frames"]
        noise = position_noise(self.context["seeds"], self.place, self.context["first_frame"] * per_frame, x.shape[-1])
        return x + noise.to(x.dtype)[:, None] * self.linear(x)


def index_noise(module, context):
    from snac.layers import NoiseBlock

    places = 0
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, NoiseBlock):
                setattr(parent, name, PositionNoise(child, places, context))
                places += 1
