"""The parts that every Llama here shares: the norm and the rotary position embedding."""

import math

import torch


def rms_norm(x, weight, eps):
    wide = x.float()
    return weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)).to(x.dtype)


def rotate(x, cos, sin):
    """Rotary position embedding: x (..., T, heads, d), cos, sin (..., T, d)."""
    half = x.shape[-1] // 2
    turned = torch.cat([-x[..., half:], x[..., :half]], dim=-1)
    return x * cos[..., None, :] + turned * sin[..., None, :]


def rope_settings(config):
    """What a config.json says of the rotary embedding, from the names of transformers 4 or 5 to those of 5, where `rope_scaling`
    wins; None where it is no object. The figures are not checked."""
    rope = config.get("rope_scaling") or config.get("rope_parameters") or {}
    if not isinstance(rope, dict):
        return None
    kind = rope.get("rope_type", rope.get("type", "default"))
    return {"rope_theta": config.get("rope_theta", 10_000.0)} | rope | {"rope_type": kind}


def inverse_frequencies(config, device):
    """Rotary frequencies (head_dim / 2,) and the scale of cos and sin. Equal to transformers', which is asked for rarer kinds.

    config: anything with `head_dim` and `rope_parameters`; of a rarer kind, a transformers configuration
    """
    rope, dim = config.rope_parameters, config.head_dim
    kind = rope["rope_type"]
    if kind not in ("default", "linear", "llama3") or (kind != "default" and rope.get("partial_rotary_factor", 1) != 1):
        from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

        return ROPE_INIT_FUNCTIONS[kind](config, device)
    frequencies = 1.0 / rope["rope_theta"] ** (torch.arange(0, dim, 2, device=device).float() / dim)
    if kind == "linear":
        frequencies /= rope["factor"]
    return (_for_long_texts(frequencies, rope) if kind == "llama3" else frequencies), 1.0


def _for_long_texts(frequencies, rope):
    """Llama 3's: long waves slowed down by `factor`, short ones as they are, those between mixed (arXiv 2407.21783)."""
    factor, low, high = rope["factor"], rope["low_freq_factor"], rope["high_freq_factor"]
    length = rope["original_max_position_embeddings"]
    wave = 2 * math.pi / frequencies
    slowed = torch.where(wave > length / low, frequencies / factor, frequencies)
    share = (length / wave - low) / (high - low)
    mixed = (1 - share) * slowed / factor + share * slowed
    return torch.where(~(wave < length / high) * ~(wave > length / low), mixed, slowed)


def rope(positions, frequencies, scale, dtype):
    """(cos, sin), each (..., head_dim), of int64 positions (...)."""
    angles = positions[..., None].float() * frequencies
    angles = torch.cat([angles, angles], dim=-1)
    return (angles.cos() * scale).to(dtype), (angles.sin() * scale).to(dtype)
