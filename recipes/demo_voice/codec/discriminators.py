"""Discriminators: several periods of the waveform (HiFi-GAN), several resolutions of the complex spectrum (as in Descript
Audio Codec, in one band). Few large layers, since small kernels are what a step waits for."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.parametrizations import weight_norm

PERIODS = (2, 3, 5, 7, 11)
RESOLUTIONS = (2048, 1024, 512)

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
    """Looks at the complex spectrum of (batch, samples)."""

    def __init__(self, fft_size: int, width: int):
        super().__init__()
        self.fft_size = fft_size
        self.register_buffer("window", torch.hann_window(fft_size), persistent=False)
        shapes = [(2, (3, 9), (1, 1)), *[(width, (3, 9), (1, 2))] * 3, (width, (3, 3), (1, 1))]
        self.layers = nn.ModuleList(conv(inputs, width, kernel, stride) for inputs, kernel, stride in shapes)
        self.score = conv(width, 1, (3, 3))

    def forward(self, audio: torch.Tensor) -> Verdict:
        with torch.autocast(audio.device.type, enabled=False):
            spectrum = torch.stft(
                audio.float(), self.fft_size, self.fft_size // 4, window=self.window, return_complex=True
            )
            spectrum = torch.view_as_real(spectrum).permute(0, 3, 2, 1)
        hidden, features = spectrum.contiguous(memory_format=torch.channels_last), []
        for layer in self.layers:
            hidden = F.leaky_relu(layer(hidden), 0.1)
            features.append(hidden)
        return self.score(hidden), features


class Discriminators(nn.Module):
    def __init__(self, width: int = 16):
        super().__init__()
        periods = [PeriodDiscriminator(period, width) for period in PERIODS]
        spectra = [SpectrumDiscriminator(size, 2 * width) for size in RESOLUTIONS]
        self.all = nn.ModuleList(periods + spectra)
        self.to(memory_format=torch.channels_last)

    def forward(self, audio: torch.Tensor) -> list[Verdict]:
        """Verdicts on (batch, samples); the level of the audio plays no part."""
        audio = audio - audio.mean(-1, keepdim=True)
        audio = 0.8 * audio / (audio.abs().amax(-1, keepdim=True) + 1e-5)
        return [discriminator(audio) for discriminator in self.all]


def adversarial_losses(verdicts: list[Verdict]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(discriminators' loss, the codec's by their scores, the codec's by their features), least squares.

    The first half of the rows is real, the other half made. Nothing is learnt from what is real but by the discriminators.
    """
    judged, fooling, difference = [], [], []
    for scores, features in verdicts:
        real, made = scores.float().chunk(2)
        judged.append((1 - real).square().mean() + made.square().mean())
        fooling.append((1 - made).square().mean())
        for feature in features:
            real, made = feature.chunk(2)
            difference.append(F.l1_loss(made, real.detach()).float())
    return torch.stack(judged).sum(), torch.stack(fooling).sum(), torch.stack(difference).sum()
