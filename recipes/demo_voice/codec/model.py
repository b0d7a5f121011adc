"""The codec: its files, and the training forward pass of a `snac.SNAC` whose vectors lie on the unit sphere.

The package picks a code by cosine but then looks the raw codebook row up. Here the projected latents and the
codebook rows both have length one while training, values included. With such rows stored, the package's own
`encode` and `decode` compute exactly the same, and the commitment loss cannot grow without bound.
"""

from __future__ import annotations

import json
import os
from typing import NamedTuple

import torch
import torch.nn.functional as F

FP16_ROUNDING = 5e-4
"""How far rounding to fp16 moves the length of a codebook's row of length one: 2**-11 at most, as each of its numbers."""


def save_codec(state: dict[str, torch.Tensor], config: dict, folder: str) -> None:
    """config.json and model.safetensors (fp16), with codebook rows of length one."""
    from safetensors.torch import save_file

    os.makedirs(folder, exist_ok=True)
    tensors = {}
    for name, value in state.items():
        value = value.detach().float()
        if name.endswith("codebook.weight"):
            length = value.norm(dim=1, keepdim=True)
            rounded = (length - 1).abs() < FP16_ROUNDING  # such rows stay as they are
            value = torch.where(rounded, value, value / length)
        tensors[name] = value.to("cpu", torch.float16).contiguous()
    save_file(tensors, f"{folder}/model.safetensors.tmp", metadata={"format": "pt"})
    os.replace(f"{folder}/model.safetensors.tmp", f"{folder}/model.safetensors")
    with open(f"{folder}/config.json", "w") as file:
        json.dump(config, file, indent=1)


def load_codec(folder: str, device: torch.device | str = "cpu"):
    """The `snac.SNAC` of a folder in float32, in evaluation mode, and its configuration."""
    import snac
    from safetensors.torch import load_file

    with open(f"{folder}/config.json") as file:
        config = json.load(file)
    codec = snac.SNAC(**config)
    codec.load_state_dict({name: value.float() for name, value in load_file(f"{folder}/model.safetensors").items()})
    return codec.eval().to(device), config


class Quantised(NamedTuple):
    latents: list[torch.Tensor]
    """Sum of the levels up to each one, (batch, latent, steps)."""
    commitment: torch.Tensor
    """Squared distance between latents and their codes, summed over dimensions and levels."""
    codes: list[torch.Tensor]
    """Per level, (batch * steps of that level,)."""
    directions: list[torch.Tensor]
    """Per level, the unit vectors before quantisation, (batch * steps, codebook dimension)."""


def encode(codec, audio: torch.Tensor, half: bool) -> torch.Tensor:
    """Audio (batch, 1, samples) to latents (batch, latent, samples / 512); the first layer stays float32."""
    with torch.autocast(audio.device.type, enabled=False):
        hidden = codec.encoder.block[0](audio)
    if half:
        hidden = hidden.bfloat16()
    for layer in codec.encoder.block[1:]:
        hidden = layer(hidden)
    return hidden.float()


def quantise(codec, latents: torch.Tensor, share: torch.Tensor | float = 1.0) -> Quantised:
    """Residual quantisation on the sphere; `share` 0 passes the latents unquantised, 1 is the package's forward."""
    residual, total, commitment = latents, torch.zeros_like(latents), latents.new_zeros(())
    sums, codes, directions = [], [], []
    for level in codec.quantizer.quantizers:
        pooled = F.avg_pool1d(residual, level.stride, level.stride) if level.stride > 1 else residual
        direction = F.normalize(level.in_proj(pooled), dim=1)
        batch, size, steps = direction.shape
        flat = direction.detach().transpose(1, 2).reshape(-1, size)
        book = F.normalize(level.codebook.weight.detach())
        code = (flat @ book.t()).argmax(1)
        chosen = book.index_select(0, code).view(batch, steps, size).transpose(1, 2)
        commitment = commitment + (direction - chosen).square().sum(1).mean()
        value = level.out_proj(direction + share * (chosen - direction).detach())
        if level.stride > 1:
            value = value[..., None].expand(-1, -1, -1, level.stride).reshape(batch, value.shape[1], -1)
        total, residual = total + value, residual - value
        sums.append(total)
        codes.append(code)
        directions.append(flat)
    return Quantised(sums, commitment, codes, directions)


def decode(codec, latents: torch.Tensor, half: bool) -> torch.Tensor:
    """Latents to audio (batch, 1, samples); the waveform's own layers stay float32."""
    hidden = latents.bfloat16() if half else latents
    for layer in codec.decoder.model[:-3]:
        hidden = layer(hidden)
    with torch.autocast(latents.device.type, enabled=False):
        hidden = hidden.float()
        for layer in codec.decoder.model[-3:]:
            hidden = layer(hidden)
    return hidden


def random_rows(vectors: torch.Tensor, count: int) -> torch.Tensor:
    return vectors[torch.randint(len(vectors), (count,), device=vectors.device)]


class Codebooks:
    """Moving averages that keep the codebooks in the middle of their vectors, and revive unused codes."""

    DECAY = 0.99
    DEAD = 0.03
    """A code used less than this share of the mean is set anew."""

    def __init__(self, codec):
        self.levels = list(codec.quantizer.quantizers)
        self.counts = [torch.ones_like(level.codebook.weight[:, 0]) for level in self.levels]
        self.sums = [F.normalize(level.codebook.weight.detach()) for level in self.levels]
        self.recent: list[torch.Tensor | None] = [None] * len(self.levels)

    def tensors(self) -> list[torch.Tensor]:
        return self.counts + self.sums

    @torch.no_grad()
    def update(self, quantised: Quantised) -> None:
        for index, level in enumerate(self.levels):
            code, vectors = quantised.codes[index], quantised.directions[index]
            count, total = self.counts[index], self.sums[index]
            share = (1 - self.DECAY) * len(count) / len(code)
            count.mul_(self.DECAY).index_add_(0, code, torch.ones_like(code, dtype=count.dtype) * share)
            total.mul_(self.DECAY).index_add_(0, code, vectors * share)
            level.codebook.weight.copy_(F.normalize(total, eps=1e-20))
            if self.recent[index] is None:
                self.recent[index] = torch.empty_like(vectors)
            self.recent[index].copy_(vectors)

    @torch.no_grad()
    def revive(self) -> torch.Tensor:
        """Puts codes that went out of use where vectors are; returns how many per level."""
        revived = []
        for level, count, total, recent in zip(self.levels, self.counts, self.sums, self.recent):
            dead = count < self.DEAD * count.mean()
            picked = random_rows(recent, len(count))
            fresh = F.normalize(picked + 0.02 * torch.randn_like(picked))
            level.codebook.weight.copy_(torch.where(dead[:, None], fresh, level.codebook.weight))
            total.copy_(torch.where(dead[:, None], fresh * count.mean(), total))
            count.copy_(torch.where(dead, count.mean(), count))
            revived.append(dead.sum())
        return torch.stack(revived)

    @torch.no_grad()
    def fit(self, latents: torch.Tensor, rounds: int = 10) -> None:
        """k-means on the sphere, level after level, on the latents (batch, latent, steps) of a few batches."""
        residual = latents
        for level, count, total in zip(self.levels, self.counts, self.sums):
            pooled = F.avg_pool1d(residual, level.stride, level.stride) if level.stride > 1 else residual
            direction = F.normalize(level.in_proj(pooled), dim=1)
            vectors = direction.transpose(1, 2).reshape(-1, direction.shape[1])
            size = len(count)
            start = random_rows(vectors, size)
            book = F.normalize(start + 1e-3 * torch.randn_like(start))
            for _ in range(rounds):
                code = (vectors @ book.t()).argmax(1)
                members = torch.bincount(code, minlength=size)
                mean = torch.zeros_like(book).index_add_(0, code, vectors)
                book = torch.where(members[:, None] > 0, F.normalize(mean), random_rows(vectors, size))
            level.codebook.weight.copy_(book)
            total.copy_(book)
            count.fill_(1.0)
            code = (vectors @ book.t()).argmax(1)
            value = level.out_proj(book[code].view(direction.shape[0], -1, direction.shape[1]).transpose(1, 2))
            residual = residual - value.repeat_interleave(level.stride, -1)

    def usage(self) -> str:
        parts = []
        for count in self.counts:
            share = count / count.sum()
            perplexity = torch.exp(-(share * (share + 1e-12).log()).sum())
            parts.append(f"{perplexity.item():.0f}")
        return "/".join(parts)
