"""From the last layer's output to the next token: which rows of the head are read, and drawing among them.

"position"  reads the rows of the codes allowed at the token's position in its frame, and of the control tokens: 4,106
            of Orpheus-3B's 156,940. All other tokens (text, codes of another position) would end the speech as out of
            range; they cannot be drawn, and their probability is shared out among the rest in proportion.
"full"      reads all rows, as `transformers` does.

Which tokens can be drawn is the only difference: if the whole vocabulary's draw is in range, so is the position's, and
greedy decoding gives the same token.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F

from orpheus.codec.copies import sent
from orpheus.common.frame import CODES_PER_FRAME
from orpheus.common.tokens import CONTROL_TOKENS
from orpheus.engines import ENDED
from orpheus.engines.layers import rms_norm
from orpheus.engines.sampling import draw_rows, penalize, uniforms, whole

HEADS = ("position", "full")
_ALIGNED = 16  # rows: a GPU is faster at products of a matrix whose rows are a multiple of this


@dataclass
class State:
    """Sampling state of every slot, on the device. `counts` is how many tokens the sequence has drawn."""

    ids: torch.Tensor  # int64 (slots,), the token fed next
    positions: torch.Tensor  # int64 (slots,), its position in the sequence
    counts: torch.Tensor  # int64 (slots,)
    mass: torch.Tensor  # int64 (slots,), whole(top_p)
    temperature: torch.Tensor  # float32 (slots,)
    penalty: torch.Tensor  # float32 (slots,)
    uniforms: torch.Tensor  # float32 (slots, length)
    seen: torch.Tensor  # bool (slots, columns)

    @classmethod
    def empty(cls, slots, length, columns, device):
        whole_numbers = (torch.zeros(slots, dtype=torch.int64, device=device) for _ in range(4))
        numbers = (torch.ones(slots, device=device) for _ in range(2))
        return cls(
            *whole_numbers,
            *numbers,
            torch.zeros(slots, length, device=device),
            torch.zeros(slots, columns, dtype=torch.bool, device=device),
        )


class Head:
    """A Llama's head for one token layout. Columns are the ids it covers; `first` is column 0."""

    def __init__(self, llama, layout, kind="position"):
        if kind not in HEADS:
            raise ValueError(f"head must be {' or '.join(HEADS)}, not {kind!r}")
        self.kind, self.layout, self.norm, self.eps = kind, layout, llama.norm, llama.shape.eps
        self.weight = llama.head  # (vocabulary, hidden)
        self.codes = layout.codebook_size
        self.first = layout.base if kind == "position" else 0
        self.columns = CONTROL_TOKENS + CODES_PER_FRAME * self.codes if kind == "position" else len(llama.head)
        self.width = CONTROL_TOKENS + self.codes if kind == "position" else self.columns  # how many can be drawn
        self.above = min(-self.columns % _ALIGNED, self.first)  # rows before `first` that are read too, for alignment

    def audio_rows(self):
        """The rows of all columns, plus a few before them: (above + columns, hidden)."""
        return self.weight[self.first - self.above : self.first + self.columns]

    def runs(self, place):
        """`drawable` at one position in the frame as slices."""
        if self.kind == "full":
            return [slice(0, self.width)]
        start = CONTROL_TOKENS + place * self.codes
        return [slice(0, CONTROL_TOKENS), slice(start, start + self.codes)]

    def logits(self, x, counts):
        """x (T, hidden), counts int64 (T,) -> float32 (T, width)."""
        hidden = rms_norm(x, self.norm, self.eps)
        if self.kind == "full":
            return F.linear(hidden, self.weight).float()
        places = counts % CODES_PER_FRAME
        if len(x) == 1 and not x.is_cuda:  # the position is known here
            rows = [self.weight[self.first + run.start : self.first + run.stop] for run in self.runs(int(places))]
            return torch.cat([F.linear(hidden, part) for part in rows], dim=1).float()
        logits = F.linear(hidden, self.audio_rows())[:, self.above :].float()
        return logits.gather(1, self.drawable(places))

    def drawable(self, places):
        """The columns that can be drawn at each position in the frame (0 to 6): int64 (T, width)."""
        column = torch.arange(self.width, device=places.device)
        if self.kind == "full":
            return column.expand(len(places), -1)
        return column + torch.where(column < CONTROL_TOKENS, 0, places[:, None] * self.codes)

    def next_tokens(self, x, slots, state):
        """Draws the next token of the slots int64 (T,) and records it in their state. Returns int64 (T,)."""
        counts, temperature = state.counts[slots], state.temperature[slots, None]
        logits = self.logits(x, counts)
        columns = self.drawable(counts % CODES_PER_FRAME)
        seen = state.seen[slots].gather(1, columns)
        logits = penalize(logits, seen, state.penalty[slots, None])
        uniform = state.uniforms[slots].gather(1, counts[:, None])[:, 0]
        drawn = draw_rows(logits, uniform, temperature.clamp(min=0.01), state.mass[slots, None])
        drawn = torch.where(temperature[:, 0] == 0, logits.argmax(dim=-1), drawn)
        columns = columns.gather(1, drawn[:, None])[:, 0]
        ids = columns + self.first
        state.ids[slots] = ids
        state.positions[slots] += 1
        state.counts[slots] += 1
        state.seen.view(-1).index_fill_(
            0, slots * self.columns + columns, True
        )  # unlike [...] = True it can be captured
        return ids

    def join(self, state, sequences):
        """Starts sequences. sequences: [(slot, prompt, SamplingOptions, seed)]"""
        there = partial(sent, device=state.ids.device)
        numbers = np.zeros((5, len(sequences)), dtype=np.int64)
        fractions = np.zeros((2, len(sequences)), dtype=np.float32)
        seen = []
        for index, (slot, prompt, sampling, _) in enumerate(sequences):
            columns = np.asarray(prompt) - self.first
            seen.append(slot * self.columns + columns[(columns >= 0) & (columns < self.columns)])
            numbers[:, index] = slot, prompt[-1], len(prompt) - 1, 0, whole(sampling.top_p)
            fractions[:, index] = sampling.temperature, sampling.repetition_penalty
        slots, *numbers = there(numbers)
        for target, values in zip((state.ids, state.positions, state.counts, state.mass), numbers):
            target[slots] = values
        state.temperature[slots], state.penalty[slots] = there(fractions)
        state.uniforms[slots] = there(uniforms([seed for *_, seed in sequences], state.uniforms.shape[1]).numpy())
        state.seen.index_fill_(0, slots, False)
        state.seen.view(-1).index_fill_(0, there(np.concatenate(seen)), True)

    def ends(self, tokens, counts):
        """Whether sequences are over with these tokens as their `counts`-th (from 0): int64 (T,) both, bool (T,)."""
        return (tokens == ENDED) | ~self.layout.is_valid(tokens, counts)
