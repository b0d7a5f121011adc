"""Random crops of the corpus for the codec's training, cut on the device."""

import torch

from orpheus.common.frame import FRAME_SAMPLES
from recipes.demo_voice.corpus.labels import FRAME, TRACK_HOP
from recipes.demo_voice.corpus.read import load_corpus


class Crops:
    """Draws batches of crops that touch no held-out clip.

    `choose` draws; `take` cuts. They are apart so that `take` can be part of a CUDA graph, which always reads
    the same tensors.
    """

    LEVEL_DB = (-5.0, 2.0)

    def __init__(self, folder, device, batch, frames, part_frames=0, voices=()):
        """part_frames: of what `part` cuts out, 0 for all; voices: whose clips are taken, all where empty."""
        self.device = device
        self.audio, self.track, clips = load_corpus(folder, device)
        self.held_out = [clip for clip in clips if clip["held_out"]]
        self.barred = self.held_out + [clip for clip in clips if voices and clip["voice"] not in voices]
        self.samples = frames * FRAME_SAMPLES
        self.begins = self._allowed_begins()
        self.offsets = torch.arange(self.samples, device=device)
        self.class_offsets = torch.arange(FRAME // 2, self.samples, FRAME, device=device)
        self.starts = torch.zeros(batch, dtype=torch.long, device=device)
        self.gains = torch.ones(batch, 1, device=device)
        self.part_offsets = self.offsets[: part_frames * FRAME_SAMPLES or self.samples]
        self.part_start = torch.zeros((), dtype=torch.long, device=device)

    def _allowed_begins(self):
        """Track entries at which a crop may begin."""
        allowed = torch.ones(len(self.track), dtype=torch.bool)
        margin = self.samples // TRACK_HOP + 1
        for clip in self.barred:
            first = clip["start"] // TRACK_HOP
            last = (clip["start"] + clip["samples"]) // TRACK_HOP + 1
            allowed[max(0, first - margin) : last] = False
        allowed[len(allowed) - margin :] = False
        return allowed.nonzero()[:, 0].to(self.device)

    def choose(self):
        batch = len(self.starts)
        picked = torch.randint(len(self.begins), (batch,), device=self.device)
        self.starts.copy_(self.begins[picked] * TRACK_HOP)
        low, high = self.LEVEL_DB
        level_db = low + (high - low) * torch.rand(batch, 1, device=self.device)
        self.gains.copy_(10 ** (level_db / 20))
        self.part_start.random_(self.samples - len(self.part_offsets) + 1)

    def take(self):
        """(audio (batch, 1, samples), classes (batch, samples / 512))."""
        audio = self.audio[self.starts[:, None] + self.offsets].float() / 32767
        classes = self.track[(self.starts[:, None] + self.class_offsets) // TRACK_HOP].long()
        return (audio * self.gains).clamp(-1, 1)[:, None], classes

    def part(self, audio):
        """The same stretch of every row of (batch, samples)."""
        return audio.index_select(1, self.part_start + self.part_offsets)
