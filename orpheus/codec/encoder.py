"""Encodes clips in large batches and gives each clip the codes it would get alone.

On CUDA with Triton, `kernels.encoder` encodes everything, single clips too. Its sums do not depend on the rest of the
batch, so a clip's codes are the same alone and in any batch, by construction. They can differ from those of the `snac`
package's layers where float32 rounding decides between two equally near code vectors; `benchmarks/encode.py` prints the
share.

The package's own layers, used everywhere else, sum in a different order at a different batch size. That shifts what the
quantizer compares, and close to the border between two code vectors the other one can win. So these batches are
checked: `quantize` says how far each latent is from the nearest border, and a clip with any latent closer than the
tolerance is encoded again, alone, by the same call that defines its codes. All three levels are checked, since a code
also decides what the next level sees. `strict` asks for this check, and so for the package's codes, on the fused path
too. A CPU encodes clips one by one anyway, long ones in windows.
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch.nn.utils import parametrize

from orpheus.codec.precision import full_precision
from orpheus.common.errors import InputError
from orpheus.common.frame import CODES_PER_FRAME, CONTEXT_FRAMES, FRAME_SAMPLES, LEVEL_CODES, SAMPLE_RATE, WINDOW_FRAMES
from orpheus.common.tokens import interleave

ENCODE_SECONDS = 160  # audio per batch: an activation of the 24 kHz SNAC then takes 0.7 GiB, and up to five are alive
FIRST_BATCH = 1 / 8  # of a full batch; the next ones are twice, four times and eight times as large

# Latents are compared as points on a sphere of radius 1. Between two orders of summing in float32 they moved by a
# median of 9e-7 and at most 6e-5 (in near silence, where the encoder cancels most), and their distance to the nearest
# border by 3e-7 and at most 2.6e-5: demo codec, 24 clips, 9,912 codes. A code can only change if that distance is
# smaller than its shift. `benchmarks/encode.py` prints the largest shift. Half the tolerance: half the clips encoded
# twice.
TOLERANCE = 5e-5
FUSED_TOLERANCE = (
    2e-4  # the fused kernels use two TF32 numbers per float32: that distance moved by at most 6.5e-5 (demo codec)
)
DISTANCE_ROUNDING = 1e-6
RUNNERS_UP = 7


def quantize(quantizer, features):
    """SNAC's residual quantizer, and how far each latent is from getting a different code.

    features: float32 (channels, 4 * frames)
    returns: codes per level (frames,), (2 * frames,), (4 * frames,); and, in the same shapes, a lower bound on the
    distance to the nearest border on the unit sphere, negative if the rounding of the distances themselves may decide
    """
    residual, codes, borders = features, [], []
    for level in quantizer.quantizers:
        pooled = residual.unflatten(1, (-1, level.stride)).mean(2)
        latents = F.normalize(torch.addmm(level.in_proj.bias[:, None], level.in_proj.weight[..., 0], pooled).t())
        book = F.normalize(level.codebook.weight)
        distance = latents.pow(2).sum(1, keepdim=True) - 2 * latents @ book.t() + book.pow(2).sum(1)
        nearest, index = distance.topk(min(RUNNERS_UP + 1, len(book)), largest=False)
        # All are unit vectors, so the border with a runner-up is gap / (2 * apart) away. Anything after the last
        # runner-up has at least its gap and is at most 2 apart.
        gap = nearest[:, 1:] - nearest[:, :1]
        apart = (book[index[:, 1:]] - book[index[:, :1]]).norm(dim=2)
        apart[:, -1] = 2
        borders.append(((gap - DISTANCE_ROUNDING) / (2 * apart)).amin(1))
        codes.append(index[:, 0])
        vectors = level.codebook.weight[codes[-1]].t()
        found = torch.addmm(level.out_proj.bias[:, None], level.out_proj.weight[..., 0], vectors)
        residual = residual - found.repeat_interleave(level.stride, dim=1)
    return codes, borders


def _rows(levels):
    """Puts the codes of whole frames, given per level, into (frames, 7), one level after another."""
    return torch.cat([level.reshape(-1, count) for level, count in zip(levels, LEVEL_CODES, strict=True)], 1)


def _in_frame_order(rows):
    levels = np.split(rows[:, :CODES_PER_FRAME], np.cumsum(LEVEL_CODES)[:-1], axis=1)
    return interleave([level.reshape(-1) for level in levels])


def _to_host(tensor):
    """Starts a copy to the host; returns a function that waits for this copy only and returns the array."""
    if not tensor.is_cuda:
        return tensor.cpu().numpy
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record()

    def wait():
        copied.synchronize()
        return host.numpy()

    return wait


def _fused_encoder(model):
    """A FusedEncoder, or None if it cannot run here."""
    try:
        from orpheus.codec.kernels import encoder as fused_encoder
    except (ImportError, TypeError):  # no Triton, or too old
        return None
    return fused_encoder.load(model)


@dataclass(frozen=True)
class Encoded:
    codes: list
    """Per clip int64 (frames, 7) in frame order."""
    redone: list
    """Indices of the clips that were encoded again, alone."""


class BatchEncoder:
    """Encodes many clips with one SNAC.

    fused: whether clips of any length are laid end to end and encoded by `kernels.encoder` (CUDA and Triton); None
    means if that works. Otherwise clips of equal frame count share a batch through the model's own layers.
    tolerance: None means TOLERANCE, or FUSED_TOLERANCE if the kernels run.
    strict: whether codes must equal those of the package's layers for each clip alone: then the fused path encodes a
    clip again if a latent is close to a border (`tolerance`). Without the fused path they always do.
    seconds_per_batch: audio in a batch at most; a longer clip gets one of its own.
    """

    def __init__(self, model, fused=None, tolerance=None, strict=False, seconds_per_batch=ENCODE_SECONDS):
        self.model, self.strict, self._tolerance = model, strict, tolerance
        self.seconds_per_batch = seconds_per_batch
        self.device = next(model.parameters()).device
        self.batched = self.device.type != "cpu"  # a CPU is slower in batches: it maps and unmaps their large buffers
        self._wants_fused, self._fused = fused, None
        self._copies = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None

    @property
    def tolerance(self):
        """Distance to a border on the unit sphere below which a clip is encoded again, alone."""
        if self._tolerance is not None:
            return self._tolerance
        return FUSED_TOLERANCE if self._fused else TOLERANCE

    @property
    def fused(self):
        """Whether the kernels encode: known after the first call of `encode`."""
        return self._fused is not None

    def _load_fused(self):
        """Called at the first encode, not before: building the kernels takes seconds."""
        if self._wants_fused is None:
            self._fused = _fused_encoder(self.model)
            self._wants_fused = self._fused is not None
        if self._wants_fused and self._fused is None:
            from orpheus.codec.kernels.encoder import FusedEncoder

            self._fused = FusedEncoder(self.model)

    def _batches(self, frames):
        """Lists of clip indices; `frames` holds each clip's frame count.

        With the fused kernels the first batches are smaller, so that the device soon has work and the host lays out each
        batch while it computes the one before.
        """
        groups, most = defaultdict(list), 0
        if self.batched:
            most = self.seconds_per_batch * SAMPLE_RATE / FRAME_SAMPLES
        limit = most * FIRST_BATCH if self._fused else most
        for index, count in enumerate(frames):
            groups[None if self._fused else count].append(index)
        for group in groups.values():
            batch, total = [], 0
            for index in group:
                if batch and total + frames[index] > limit:
                    yield batch
                    batch, total, limit = [], 0, min(2 * limit, most)
                batch.append(index)
                total += frames[index]
            yield batch

    def features(self, audio, bounds):
        """The quantizer's input, (channels, 4 * frames), of joined clips; clip i is frames bounds[i]:bounds[i+1]."""
        if self._fused:
            return self._fused(audio, bounds).t()
        return self.model.encoder(audio.view(len(bounds) - 1, 1, -1)).transpose(0, 1).flatten(1)

    def _alone(self, audio):
        if self.device.type != "cpu" or len(audio) <= (WINDOW_FRAMES + CONTEXT_FRAMES) * FRAME_SAMPLES:
            return _rows(self.model.encode(audio[None, None]))
        return _rows(self.model.quantizer(self._in_windows(audio))[1])

    def _in_windows(self, audio):
        """Features (1, channels, 4 * frames) of audio (frames * 2048,): a third faster on a CPU than all at once."""
        parts, frames, rate = [], len(audio) // FRAME_SAMPLES, LEVEL_CODES[-1]
        for start in range(0, frames, WINDOW_FRAMES):
            first, end = max(0, start - CONTEXT_FRAMES), min(start + WINDOW_FRAMES, frames)
            window = audio[first * FRAME_SAMPLES : (end + CONTEXT_FRAMES) * FRAME_SAMPLES]
            parts.append(self.model.encoder(window[None, None])[..., (start - first) * rate : (end - first) * rate])
        return torch.cat(parts, 2)

    def _to_device(self, audio):
        """Starts the copy of pinned audio beside what the device computes; what is queued after this waits for the copy."""
        if self.device.type != "cuda":
            return audio.to(self.device)
        current = torch.cuda.current_stream()
        with torch.cuda.stream(self._copies):
            audio = audio.to(self.device, non_blocking=True)
        current.wait_stream(self._copies)
        audio.record_stream(current)  # its memory is used again only after what reads it here
        return audio

    def _start(self, clips, frames, indices):
        """Queues one batch. Returns what `collect` in `encode` needs."""
        bounds = np.cumsum([0, *(frames[index] for index in indices)])
        audio = torch.empty(int(bounds[-1]) * FRAME_SAMPLES, pin_memory=self.device.type == "cuda")
        samples = audio.numpy()
        for index, first, end in zip(indices, bounds * FRAME_SAMPLES, bounds[1:] * FRAME_SAMPLES):
            samples[first : first + len(clips[index])] = clips[index]
            samples[first + len(clips[index]) : end] = 0
        audio = self._to_device(audio)
        if self._fused and not self.strict:
            rows = _rows(self._fused.codes(audio, bounds))
        elif len(indices) == 1:
            rows = self._alone(audio)
        else:
            codes, borders = quantize(self.model.quantizer, self.features(audio, bounds))
            rows = torch.cat([_rows(codes), _rows(borders).amin(1, keepdim=True) < self.tolerance], 1)
        return indices, bounds, audio, _to_host(rows)

    @torch.inference_mode()
    def encode(self, clips):
        """Encodes clips, float32 (samples,) at 24 kHz; returns Encoded. Raises InputError for an empty clip."""
        for index, clip in enumerate(clips):
            if not len(clip):
                raise InputError(f"clip {index} is empty: nothing to encode")
        frames = [-(-len(clip) // FRAME_SAMPLES) for clip in clips]
        codes, again = [None] * len(clips), {}

        def collect(indices, bounds, audio, rows):
            rows = rows()
            ordered = _in_frame_order(rows)
            for index, first, end in zip(indices, bounds, bounds[1:]):
                if rows[first:end, CODES_PER_FRAME:].any():
                    again[index] = self._alone(audio[first * FRAME_SAMPLES : end * FRAME_SAMPLES])
                else:
                    codes[index] = ordered[first:end].copy()  # not a view, which would keep the whole batch alive

        on_device = torch.cuda.device(self.device if self.device.type == "cuda" else -1)
        with on_device, full_precision(), parametrize.cached():  # cached: weight norm once, not at every call
            if self.batched and clips and (len(clips) > 1 or not self.strict):
                self._load_fused()
            running = None
            for indices in self._batches(frames):
                batch = self._start(clips, frames, indices)
                if running:  # its results arrive while the next batch computes
                    collect(*running)
                running = batch
            if running:
                collect(*running)
            if again:  # one copy, so that the device never waits between them
                rows = torch.cat(list(again.values())).cpu().numpy()
                for index, part in zip(again, np.split(rows, np.cumsum([frames[index] for index in again])[:-1])):
                    codes[index] = _in_frame_order(part)
        return Encoded(codes, sorted(again))
