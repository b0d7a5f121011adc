"""Discriminators after Descript Audio Codec: several periods of the waveform, several resolutions of the spectrum."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.parametrizations import weight_norm

PERIODS = (2, 3, 5, 7, 11)
RESOLUTIONS = (2048, 1024, 512)
BANDS = ((0.0, 0.1), (0.1, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.0))
"""Shares of the spectrum that have convolutions of their own."""

Verdict = tuple[torch.Tensor, list[torch.Tensor]]
"""(scores, features of the inner layers)."""


def conv(inputs: int, outputs: int, kernel: tuple[int, int], stride: tuple[int, int] = (1, 1)) -> nn.Module:
    padding = ((kernel[0] - 1) // 2, (kernel[1] - 1) // 2)
    return weight_norm(nn.Conv2d(inputs, outputs, kernel, stride, padding=padding))


class PeriodDiscriminator(nn.Module):
    """Looks at the waveform (batch, samples) folded into rows of `period` samples."""

    def __init__(self, period: int, width: int):
        super().__init__()
        self.period = period
        sizes = [1, width * 2, width * 8, width * 24, width * 32, width * 32]
        self.layers = nn.ModuleList(conv(sizes[i], sizes[i + 1], (5, 1), (3, 1) if i < 4 else (1, 1)) for i in range(5))
        self.score = conv(sizes[-1], 1, (3, 1))

    def forward(self, audio: torch.Tensor) -> Verdict:
        batch, samples = audio.shape
        padding = -samples % self.period
        if padding:
            audio = F.pad(audio[:, None], (0, padding), mode="reflect")[:, 0]
        hidden = audio.view(batch, 1, -1, self.period).to(memory_format=torch.channels_last)
        features = []
        for layer in self.layers:
            hidden = F.leaky_relu(layer(hidden), 0.1)
            features.append(hidden)
        return self.score(hidden), features


class SpectrumDiscriminator(nn.Module):
    """Looks at the complex spectrum of (batch, samples) band by band."""

    def __init__(self, fft_size: int, width: int):
        super().__init__()
        self.fft_size = fft_size
        self.register_buffer("window", torch.hann_window(fft_size), persistent=False)
        bins = fft_size // 2 + 1
        self.limits = [(int(low * bins), int(high * bins)) for low, high in BANDS]
        self.stacks = nn.ModuleList(
            nn.ModuleList(
                [
                    conv(2, width, (3, 9)),
                    conv(width, width, (3, 9), (1, 2)),
                    conv(width, width, (3, 9), (1, 2)),
                    conv(width, width, (3, 9), (1, 2)),
                    conv(width, width, (3, 3)),
                ]
            )
            for _ in BANDS
        )
        self.score = conv(width, 1, (3, 3))

    def forward(self, audio: torch.Tensor) -> Verdict:
        with torch.autocast(audio.device.type, enabled=False):
            spectrum = torch.stft(
                audio.float(), self.fft_size, self.fft_size // 4, window=self.window, return_complex=True
            )
            spectrum = torch.view_as_real(spectrum).permute(0, 3, 2, 1)
        outputs, features = [], []
        for (low, high), stack in zip(self.limits, self.stacks):
            hidden = spectrum[..., low:high].contiguous(memory_format=torch.channels_last)
            for layer in stack:
                hidden = F.leaky_relu(layer(hidden), 0.1)
                features.append(hidden)
            outputs.append(hidden)
        return self.score(torch.cat(outputs, -1)), features


class Discriminators(nn.Module):
    def __init__(self, width: int = 16):
        super().__init__()
        periods = [PeriodDiscriminator(period, width) for period in PERIODS]
        spectra = [SpectrumDiscriminator(size, width) for size in RESOLUTIONS]
        self.all = nn.ModuleList(periods + spectra)
        self.to(memory_format=torch.channels_last)

    def forward(self, audio: torch.Tensor) -> list[Verdict]:
        """Verdicts on (batch, samples); the level of the audio plays no part."""
        audio = audio - audio.mean(-1, keepdim=True)
        audio = 0.8 * audio / (audio.abs().amax(-1, keepdim=True) + 1e-5)
        return [discriminator(audio) for discriminator in self.all]


def discriminator_loss(real: list[Verdict], made: list[Verdict]) -> torch.Tensor:
    """Least squares."""
    pairs = zip(real, made)
    return torch.stack([(1 - a.float()).square().mean() + b.float().square().mean() for (a, _), (b, _) in pairs]).sum()


def generator_losses(made: list[Verdict], real: list[Verdict]) -> tuple[torch.Tensor, torch.Tensor]:
    """(adversarial loss, difference of the features); nothing is learnt from what is real."""
    adversarial = torch.stack([(1 - scores.float()).square().mean() for scores, _ in made]).sum()
    differences = [
        (a.float() - b.detach().float()).abs().mean()
        for (_, made_features), (_, real_features) in zip(made, real)
        for a, b in zip(made_features, real_features)
    ]
    return adversarial, torch.stack(differences).sum()
