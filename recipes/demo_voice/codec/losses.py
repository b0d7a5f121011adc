"""Losses of the codec besides the discriminators: multi-scale mel, phoneme heads on the codes, a phonetic listener."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from orpheus.common.frame import SAMPLE_RATE
from recipes.demo_voice.corpus.labels import CLASS_COUNT, IGNORE


def mel_filters(fft_size: int, bands: int) -> torch.Tensor:
    """Slaney's mel filters from 0 to the Nyquist frequency, (bands, fft_size / 2 + 1), as librosa's default."""

    def to_mel(hertz):
        above = 15 + np.log(np.maximum(hertz, 1e-9) / 1000) * 27 / np.log(6.4)
        return np.where(hertz < 1000, hertz * 3 / 200, above)

    def to_hertz(mel):
        return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))

    bins = np.linspace(0, SAMPLE_RATE / 2, fft_size // 2 + 1)
    points = to_hertz(np.linspace(0, to_mel(np.array(SAMPLE_RATE / 2)), bands + 2))
    low, middle, high = points[:-2, None], points[1:-1, None], points[2:, None]
    triangle = np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle))
    return torch.from_numpy(np.maximum(0, triangle) * 2 / (high - low)).float()


class LogMel(nn.Module):
    """log10 of the mel magnitudes of (batch, samples): (batch, bands, samples / hop + 1)."""

    def __init__(self, fft_size: int, bands: int):
        super().__init__()
        self.fft_size = fft_size
        self.register_buffer("filters", mel_filters(fft_size, bands), persistent=False)
        self.register_buffer("window", torch.hann_window(fft_size), persistent=False)

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        spectrum = torch.stft(audio, self.fft_size, self.fft_size // 4, window=self.window, return_complex=True)
        magnitude = (spectrum.real.square() + spectrum.imag.square() + 1e-14).sqrt()
        return torch.matmul(self.filters, magnitude).clamp(min=1e-5).log10()


class MelLoss(nn.Module):
    """Sum over window sizes of the mean difference of log-mel spectra (Descript Audio Codec's loss)."""

    SCALES = ((32, 5), (64, 10), (128, 20), (256, 40), (512, 80), (1024, 160), (2048, 320))

    def __init__(self):
        super().__init__()
        self.scales = nn.ModuleList([LogMel(size, bands) for size, bands in self.SCALES])

    def forward(self, made: torch.Tensor, true: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(sum over the scales, the one of 1,024 samples) for audio (batch, samples)."""
        losses = []
        for scale in self.scales:
            with torch.no_grad():
                target = scale(true)
            losses.append((scale(made) - target).abs().mean())
        return torch.stack(losses).sum(), losses[5]


class PhonemeHeads(nn.Module):
    """Reads the sounds off the quantised latents after each level; trained with the codec, then thrown away.

    The codes of a level come `stride` fine steps apart, so its head predicts the classes of all of them at once.
    """

    def __init__(self, latent: int, strides: list[int], width: int = 192):
        super().__init__()
        self.strides = strides
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(latent, width, 3, padding=1),
                nn.GELU(),
                nn.Conv1d(width, width, 3, padding=1),
                nn.GELU(),
                nn.Conv1d(width, CLASS_COUNT * stride, 1),
            )
            for stride in strides
        )

    def forward(self, latents: list[torch.Tensor]) -> list[torch.Tensor]:
        """Per level the logits (batch, classes, steps)."""
        outputs = []
        for latent, stride, head in zip(latents, self.strides, self.heads):
            logits = head(latent[..., ::stride])
            batch, _, steps = logits.shape
            logits = logits.view(batch, CLASS_COUNT, stride, steps).transpose(2, 3)
            outputs.append(logits.reshape(batch, CLASS_COUNT, steps * stride))
        return outputs


class Listener(nn.Module):
    """A small classifier of sounds that hears log-mel spectra; what it hears in the decoder's audio should be
    what it hears in the original."""

    def __init__(self, width: int = 192, bands: int = 80):
        super().__init__()
        self.mel = LogMel(1024, bands)
        sizes = [bands, width, width, width]
        self.layers = nn.ModuleList(nn.Conv1d(a, b, 5, padding=2) for a, b in zip(sizes, sizes[1:]))
        self.classes = nn.Conv1d(width, CLASS_COUNT, 1)

    def forward(self, audio: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """(logits (batch, classes, samples / 512), features of the layers)."""
        hidden, features = (self.mel(audio) + 2.0) * 0.8, []
        for index, layer in enumerate(self.layers):
            hidden = F.gelu(layer(hidden))
            if index:
                features.append(hidden)
            hidden = F.dropout(hidden, 0.1, self.training)
        return self.classes(hidden)[..., 1::2], features


def class_loss(logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Cross-entropy over the steps that carry a class."""
    return F.cross_entropy(logits.float(), classes, ignore_index=IGNORE)


def accuracy(logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    known = classes != IGNORE
    return ((logits.argmax(1) == classes) & known).sum() / known.sum()
