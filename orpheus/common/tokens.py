"""Every token id and the order of audio codes, defined in one place.

A SNAC frame is 7 codes: one coarse, two middle, four fine. Orpheus writes them interleaved in time,

    position 0      1       2       3         4         5         6
    code     c0[i]  c1[2i]  c2[4i]  c2[4i+1]  c1[2i+1]  c2[4i+2]  c2[4i+3]

and gives every position in the frame its own range of ids, so a token is valid at one position only.
"""

from dataclasses import dataclass

import numpy as np

from orpheus.common.frame import CODES_PER_FRAME, LEVEL_CODES

# Column of [c0 | c1 c1 | c2 c2 c2 c2] that each position in the frame holds.
_COLUMN_OF_PLACE = np.array([0, 1, 3, 4, 2, 5, 6])
_PLACE_OF_COLUMN = np.argsort(_COLUMN_OF_PLACE)

CONTROL_TOKENS = 10  # `<custom_token_0>` .. `<custom_token_9>` come before the first audio token


def interleave(levels):
    """Puts codes by level into frame order.

    levels: (c0, c1, c2), integers of shape (frames,), (2 * frames,), (4 * frames,)
    returns: int64 (frames, 7) in frame order
    """
    frames = len(levels[0])
    columns = [
        np.asarray(level, dtype=np.int64).reshape(frames, n) for level, n in zip(levels, LEVEL_CODES, strict=True)
    ]
    return np.concatenate(columns, axis=1)[:, _COLUMN_OF_PLACE]


def deinterleave(codes):
    """Undoes `interleave`: (frames, 7) in frame order to c0, c1, c2, shaped (frames,), (2 * frames,), (4 * frames,)."""
    columns = np.asarray(codes, dtype=np.int64).reshape(-1, CODES_PER_FRAME)[:, _PLACE_OF_COLUMN]
    c0, c1, c2 = np.split(columns, np.cumsum(LEVEL_CODES)[:-1], axis=1)
    return c0.reshape(-1), c1.reshape(-1), c2.reshape(-1)


@dataclass(frozen=True)
class TokenLayout:
    """Where a vocabulary keeps its control and audio tokens. The defaults are Orpheus-3B's."""

    codebook_size: int = 4096  # codes per SNAC level
    base: int = 128_256  # id of `<custom_token_0>`
    begin_of_text: int = 128_000  # `<|begin_of_text|>`
    end_of_turn: int = 128_009  # `<|eot_id|>`

    @property
    def start_of_speech(self):
        return self.base + 1

    @property
    def end_of_speech(self):
        return self.base + 2

    @property
    def start_of_human(self):
        return self.base + 3

    @property
    def end_of_human(self):
        return self.base + 4

    @property
    def start_of_ai(self):
        return self.base + 5

    @property
    def end_of_ai(self):
        return self.base + 6

    @property
    def pad(self):
        return self.base + 7

    @property
    def first_audio(self):
        return self.base + CONTROL_TOKENS

    @property
    def last_audio(self):
        """The highest audio id (inclusive)."""
        return self.first_audio + CODES_PER_FRAME * self.codebook_size - 1

    def range_start(self, position):
        """First id of the range valid for the audio token at `position` (0 is the first after start-of-speech)."""
        return self.first_audio + (position % CODES_PER_FRAME) * self.codebook_size

    def is_valid(self, token, position):
        """Whether `token` is an audio token in range for its position. Works on arrays too."""
        code = token - self.range_start(position)
        return (code >= 0) & (code < self.codebook_size)

    def first_out_of_range(self, tokens):
        """Index of the first token that is out of range for its position; len(tokens) if there is none."""
        tokens = np.asarray(tokens, dtype=np.int64)
        valid = self.is_valid(tokens, np.arange(len(tokens)))
        return len(tokens) if valid.all() else int(np.argmin(valid))

    def to_tokens(self, codes):
        """Turns codes in frame order, (frames, 7) in 0..codebook_size-1, into ids (7 * frames,); else ValueError."""
        codes = np.asarray(codes, dtype=np.int64).reshape(-1, CODES_PER_FRAME)
        if codes.size and not (codes.min() >= 0 and codes.max() < self.codebook_size):
            raise ValueError(f"codes {codes.min()}..{codes.max()} outside 0..{self.codebook_size - 1}")
        return (codes + self.range_start(np.arange(CODES_PER_FRAME))).reshape(-1)

    def to_codes(self, tokens):
        """Turns ids into codes in frame order (frames, 7).

        Stops at the first out-of-range token and drops an incomplete last frame. Nothing is clamped: a token that is
        out of range for its position ends the speech.
        """
        tokens = np.asarray(tokens, dtype=np.int64)
        frames = self.first_out_of_range(tokens) // CODES_PER_FRAME
        return tokens[: frames * CODES_PER_FRAME].reshape(frames, CODES_PER_FRAME) - self.range_start(
            np.arange(CODES_PER_FRAME)
        )

    def describe(self, token):
        """A token in words, for messages."""
        names = {
            self.start_of_speech: "start-of-speech",
            self.end_of_speech: "end-of-speech",
            self.start_of_human: "start-of-human",
            self.end_of_human: "end-of-human",
            self.start_of_ai: "start-of-AI",
            self.end_of_ai: "end-of-AI",
            self.pad: "pad",
            self.begin_of_text: "begin-of-text",
            self.end_of_turn: "end-of-turn",
        }
        if self.first_audio <= token <= self.last_audio:
            return f"{token} (audio, position {(token - self.first_audio) // self.codebook_size})"
        return f"{token} ({names.get(token, 'text' if token < self.base else 'unused')})"
