"""Examples of the language model: the corpus as codes, several encodings of every clip, and its sounds."""

from __future__ import annotations

import random
from typing import NamedTuple

import torch

from orpheus.common.frame import FRAME_SAMPLES
from recipes.demo_voice.codec.model import encode, quantise
from recipes.demo_voice.corpus.labels import FRAME, IGNORE, SILENCE, TRACK_HOP

LABELS_PER_FRAME = FRAME_SAMPLES // FRAME
CODES_PER_FRAME = 7


class Encoded(NamedTuple):
    clip: int
    """Index into the list of clips."""
    codes: torch.Tensor
    """(frames, 7), in frame order."""
    sounds: torch.Tensor
    """(frames, 4), the class in the middle of each quarter of the frame."""


def frame_order(codes: list[torch.Tensor]) -> torch.Tensor:
    """Per level (batch, frames * 1 / 2 / 4) to (batch, frames, 7), as `orpheus.common.tokens.interleave` but for a batch."""
    coarse, middle, fine = codes
    columns = [coarse, middle[:, 0::2], fine[:, 0::4], fine[:, 1::4], middle[:, 1::2], fine[:, 2::4], fine[:, 3::4]]
    return torch.stack(columns, -1)


@torch.no_grad()
def encode_clips(codec, audio, track, clips: list[dict], variants: int, longest: int, limit: int) -> list[Encoded]:
    """Every clip `variants` times (held-out ones once): as it is, then later by part of a frame and at another level.

    Clips of equal frame count go through the codec together, which changes no code. `longest` is in frames;
    `limit` bounds the frames of one batch.
    """
    device, rng = audio.device, random.Random(0)
    by_length: dict[int, list[tuple[int, int, float]]] = {}
    for index, clip in enumerate(clips):
        for variant in range(1 if clip["held_out"] else variants):
            shift = rng.randrange(64, FRAME_SAMPLES, TRACK_HOP) if variant else 0
            gain = 10 ** (rng.uniform(-2, 1) / 20) if variant else 1.0
            frames = -(-(clip["samples"] + shift) // FRAME_SAMPLES)
            if frames <= longest:
                by_length.setdefault(frames, []).append((index, shift, gain))
    made = []
    half = device.type == "cuda"
    for frames, jobs in sorted(by_length.items()):
        size = max(1, limit // frames)
        samples = torch.arange(frames * FRAME_SAMPLES, device=device)
        middles = torch.arange(FRAME // 2, frames * FRAME_SAMPLES, FRAME, device=device)
        for begin in range(0, len(jobs), size):
            part = jobs[begin : begin + size]
            starts = torch.tensor([clips[i]["start"] for i, _, _ in part], device=device)[:, None]
            lengths = torch.tensor([clips[i]["samples"] for i, _, _ in part], device=device)[:, None]
            shifts = torch.tensor([shift for _, shift, _ in part], device=device)[:, None]
            gains = torch.tensor([gain for _, _, gain in part], device=device)[:, None]
            at = samples - shifts
            inside = (at >= 0) & (at < lengths)
            wave = audio[torch.where(inside, starts + at, 0)].float() / 32767 * gains * inside
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
                latents = encode(codec, wave[:, None], half)
            quantised = quantise(codec, latents)
            levels = [code.view(len(part), -1) for code in quantised.codes]
            codes = frame_order(levels).to(torch.int16).cpu()
            at = middles - shifts
            inside = (at >= 0) & (at < lengths)
            sounds = torch.where(inside, track[torch.where(inside, starts + at, 0) // TRACK_HOP], SILENCE)
            sounds = sounds.view(len(part), frames, LABELS_PER_FRAME).to(torch.int8).cpu()
            made += [Encoded(i, codes[row], sounds[row]) for row, (i, _, _) in enumerate(part)]
    return made


class Examples:
    """Token ids of all examples end to end in a few tensors on the device, and batches of examples of like length.

    `ids` int64; `audio` bool, whether a token belongs to the codes and their end (the rest is prompt);
    `sounds` int8 (tokens, 4), the classes of the frame that comes next where the next token begins one.
    """

    def __init__(self, encoded: list[Encoded], clips: list[dict], builder, device: torch.device):
        layout = builder.layout
        ids, audio, sounds, lengths = [], [], [], []
        offsets = torch.arange(CODES_PER_FRAME) * layout.codebook_size + layout.first_audio
        ending = torch.tensor([layout.end_of_speech, layout.end_of_ai])
        prompts: dict[int, list[int]] = {}
        for clip, codes, classes in encoded:
            if clip not in prompts:
                prompts[clip] = builder.prompt(clips[clip]["text"], clips[clip]["voice"])
            prompt = prompts[clip]
            ids.append(torch.cat([torch.tensor(prompt), (codes.long() + offsets).reshape(-1), ending]))
            length = len(ids[-1])
            is_audio = torch.ones(length, dtype=torch.bool)
            is_audio[: len(prompt)] = False
            audio.append(is_audio)
            following = torch.full((length, LABELS_PER_FRAME), IGNORE, dtype=torch.int8)
            first = len(prompt) - 1
            following[first : first + CODES_PER_FRAME * len(codes) : CODES_PER_FRAME] = classes
            sounds.append(following)
            lengths.append(length)
        self.lengths = torch.tensor(lengths)
        self.device = device
        ids.append(torch.full((1,), layout.pad))
        audio.append(torch.zeros(1, dtype=torch.bool))
        sounds.append(torch.full((1, LABELS_PER_FRAME), IGNORE, dtype=torch.int8))
        self.ids, self.audio = torch.cat(ids).to(device), torch.cat(audio).to(device)
        self.sounds = torch.cat(sounds).to(device)
        self.starts = (self.lengths.cumsum(0) - self.lengths).to(device)
        self.device_lengths = self.lengths.to(device)

    def __len__(self) -> int:
        return len(self.lengths)

    def gather(self, chosen: torch.Tensor, width: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """(ids, inside, audio, sounds) of the examples `chosen` (batch,), padded on the right to `width`; no waits for the device."""
        columns = torch.arange(width, device=self.device)
        inside = columns < self.device_lengths[chosen][:, None]
        at = torch.where(inside, self.starts[chosen][:, None] + columns, len(self.ids) - 1)
        return self.ids[at], inside, self.audio[at], self.sounds[at]

    def by_width(self, step: int) -> dict[int, list[int]]:
        """Examples by their length rounded up to a multiple of `step`."""
        widths: dict[int, list[int]] = {}
        for example, length in enumerate(self.lengths.tolist()):
            widths.setdefault(-(-length // step) * step, []).append(example)
        return widths

    def batches(self, tokens: int, step: int, rng: random.Random) -> list[tuple[int, list[int]]]:
        """An epoch in random order: (width, examples); all batches of a width have equally many.

        Widths are multiples of `step`; a batch holds about `tokens` tokens; a width's last batch is
        filled up with random ones of the same width.
        """
        made = []
        for width, examples in self.by_width(step).items():
            size = max(1, tokens // width)
            rng.shuffle(examples)
            for begin in range(0, len(examples), size):
                part = examples[begin : begin + size]
                part += rng.choices(examples, k=size - len(part))
                made.append((width, part))
        rng.shuffle(made)
        return made
