"""The parts that every Llama here shares: the norm and the rotary position embedding."""

import torch


def rms_norm(x, weight, eps):
    wide = x.float()
    return weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)).to(x.dtype)


def rotate(x, cos, sin):
    """Rotary position embedding: x (..., T, heads, d), cos, sin (..., T, d)."""
    half = x.shape[-1] // 2
    turned = torch.cat([-x[..., half:], x[..., :half]], dim=-1)
    return x * cos[..., None, :] + turned * sin[..., None, :]


def inverse_frequencies(config, device):
    """Rotary frequencies (head_dim / 2,) and the scale of cos and sin."""
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    rope = config.rope_parameters
    if rope["rope_type"] != "default":
        return ROPE_INIT_FUNCTIONS[rope["rope_type"]](config, device)
    dim = config.head_dim
    return 1.0 / rope["rope_theta"] ** (torch.arange(0, dim, 2, device=device).float() / dim), 1.0


def rope(positions, frequencies, scale, dtype):
    """(cos, sin), each (..., head_dim), of int64 positions (...)."""
    angles = positions[..., None].float() * frequencies
    angles = torch.cat([angles, angles], dim=-1)
    return (angles.cos() * scale).to(dtype), (angles.sin() * scale).to(dtype)
