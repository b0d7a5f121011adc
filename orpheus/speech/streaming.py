"""Turns tokens into audio as they arrive, as soon as it can be exact: every frame once, in order, including the tail.

A sample is sent once the `lookahead` frames after it are known, or all that affect it; CONTEXT_FRAMES frames before it
are decoded with it and thrown away. With a look-ahead of 3, the chunks equal decoding everything at once, sample for
sample. With less, speech starts sooner but with an error (energy relative to the speech; the demo voice's codec on
speech, and the 24 kHz SNAC's shape with random weights):

    lookahead   tokens before the first audio   error, demo voice   24 kHz shape
    3           21 (256 ms of speech)           exact (1e-5)        exact (1e-5)  of the first chunk, 58 ms; 28 for the second
    2           21 (256 ms)                     -67 dB              -81 dB        inaudible
    1           14 (171 ms)                     -30 dB              -39 dB        a faint roughness
    0           7 (85 ms)                       -9 dB               -20 dB        an audible seam at every chunk

Many streams at once (orpheus/server/pool.py) decode frame by frame instead, and hand each on as it comes.
"""

import numpy as np

from orpheus.common.frame import (
    CODES_PER_FRAME,
    CONTEXT_FRAMES,
    DECODER_REACH,
    EARLY_CODES,
    EARLY_SAMPLES,
    FRAME_SAMPLES,
)
from orpheus.engines import ENDED


class FrameAssembler:
    """Collects an utterance's tokens into frames and stops at the first that is out of range for its position."""

    def __init__(self, layout):
        self.layout, self.position, self.ended_by = layout, 0, None
        self.codes = []  # one list of 7 per frame, the last may be incomplete

    def fresh(self):
        """An empty one with the same layout."""
        return FrameAssembler(self.layout)

    def push(self, token):
        """Takes one token; returns False once speech has ended (this token is not audio for its position)."""
        if not self.layout.is_valid(token, self.position):
            self.ended_by = int(token)
            return False
        if self.position % CODES_PER_FRAME == 0:
            self.codes.append([])
        self.codes[-1].append(int(token) - self.layout.range_start(self.position))
        self.position += 1
        return True

    @property
    def frames(self):
        """Complete frames so far."""
        return self.position // CODES_PER_FRAME

    def window(self, first, end):
        """Codes of the frames first..end-1, int64 (end - first, 7); zeros where an incomplete one lacks them."""
        rows = [row + [0] * (CODES_PER_FRAME - len(row)) for row in self.codes[first:end]]
        return np.array(rows, dtype=np.int64).reshape(-1, CODES_PER_FRAME)

    @property
    def finish_reason(self):
        if self.ended_by is None:
            return "max_new_tokens"
        return "end_of_speech" if self.ended_by == self.layout.end_of_speech else "out_of_range"


class Assemblers:
    """FrameAssemblers side by side, each at a place 0..count-1: `push` does to each what its own does, in a few operations for all.

    While one is here, what it holds is its whole frames; `leave` gives it the rest.
    """

    def __init__(self, count):
        self._made = [None] * count
        self._first, self._size, self._most, self._position = np.zeros((4, count), dtype=np.int64)
        self.codes = np.zeros((count, CODES_PER_FRAME), dtype=np.int64)  # of each one's last frame

    def join(self, place, assembler, most):
        """Takes over a fresh FrameAssembler, which is over after `most` tokens."""
        self._made[place] = assembler
        self._first[place], self._size[place] = assembler.layout.first_audio, assembler.layout.codebook_size
        self._most[place], self._position[place] = most, 0

    def push(self, places, tokens):
        """One token for each of the places, int64 (n,) both. ENDED is no token: a place that gets it is over.

        returns: how many tokens were taken; the places whose frame is whole now; the places that are over; int64 both
        """
        position = self._position[places]
        column, size = position % CODES_PER_FRAME, self._size[places]
        codes = tokens - self._first[places] - column * size
        runs = (codes >= 0) & (codes < size)
        self.codes[places[runs], column[runs]] = codes[runs]
        position += runs
        self._position[places] = position
        whole = places[runs & (column == CODES_PER_FRAME - 1)]
        for place in whole.tolist():
            self._made[place].codes.append(self.codes[place].tolist())
            self._made[place].position += CODES_PER_FRAME
        for place, token in zip(places[~runs].tolist(), tokens[~runs].tolist()):
            self._made[place].ended_by = None if token == ENDED else token
        return int(runs.sum()), whole, places[~runs | (position >= self._most[places])]

    def leave(self, place):
        """Frees a place."""
        made, position = self._made[place], int(self._position[place])
        if position > made.position:
            made.codes.append(self.codes[place, : position % CODES_PER_FRAME].tolist())
            made.position = position
        self._made[place] = None


def stream_audio(tokens, decode, assembler, lookahead, max_chunk_frames, early=False):
    """Yields float32 chunks as `tokens` arrive.

    tokens: iterable of ids, read no further than the one that ends speech
    decode: (codes (frames, 7), index of the first frame) -> float32 (frames * 2048,)
    assembler: a fresh FrameAssembler; afterwards it holds the frames and says why speech ended
    early: with the full look-ahead, sends the first 363 samples (15 ms) after 18 tokens, as soon as those settle them.
        They are exact unless speech ends within its third frame. For what makes the next 3 tokens, and decodes, in 15 ms

    With the full look-ahead, the first chunk is the 1,387 samples that three frames determine; with less it is one
    frame. The next is one frame, and each later one twice the last, up to `max_chunk_frames`, since decoding a chunk
    costs up to 2 * CONTEXT_FRAMES frames of context. With `decode` = Codec.decode_window, the joined chunks equal
    Codec.decode of all the codes.
    """
    exact = lookahead == CONTEXT_FRAMES
    ahead = (
        CONTEXT_FRAMES * FRAME_SAMPLES - DECODER_REACH if exact else 0
    )  # samples sent beyond the frames that are due
    done, chunk = 0, 1  # samples sent so far; frames in the next chunk
    due = 0 if exact else 1  # frames, not counting the look-ahead, at which it is sent

    def emit(end):
        """The samples done..end, decoded with all frames so far to their right."""
        first = max(0, done // FRAME_SAMPLES - CONTEXT_FRAMES)
        last = -(-end // FRAME_SAMPLES) + CONTEXT_FRAMES
        window = decode(assembler.window(first, min(last, assembler.frames)), first)
        return window[done - first * FRAME_SAMPLES : end - first * FRAME_SAMPLES]

    for token in tokens:
        if not assembler.push(token):
            break
        if early and exact and assembler.position == EARLY_CODES:
            yield decode(assembler.window(0, CONTEXT_FRAMES), 0)[:EARLY_SAMPLES]
            done = EARLY_SAMPLES
        if assembler.position % CODES_PER_FRAME == 0 and assembler.frames - lookahead == due:
            end = due * FRAME_SAMPLES + ahead
            yield emit(end)
            chunk = 1 if exact and not due else min(2 * chunk, max_chunk_frames)
            done, due = end, due + chunk
    total = assembler.frames * FRAME_SAMPLES
    while done < total:  # the tail: all its context is known
        end = min((done // FRAME_SAMPLES + max_chunk_frames) * FRAME_SAMPLES, total)
        yield emit(end)
        done = end
