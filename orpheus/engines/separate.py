"""Slots for an engine that has none: sequences join and leave between steps, and each is generated separately.

No faster than one text after another, but it lets any engine serve a pool: the demo voice on a CPU does.
"""

import numpy as np

from orpheus.engines import ENDED


class SeparateSlots:
    """What `engine.open(slots, length)` returns, built on `engine.generate`.

    slots: the most sequences side by side; length: the most tokens of a sequence, prompt included
    """

    def __init__(self, engine, slots, length):
        self.engine, self.length = engine, length
        self._sequences = [None] * slots

    @property
    def free(self):
        """How many slots are free."""
        return self._sequences.count(None)

    def join(self, prompt_ids, sampling, seed):
        """Starts a sequence; returns its slot, from 0. Its first token comes with the next step."""
        slot = self._sequences.index(None)
        self._sequences[slot] = self.engine.generate([prompt_ids], sampling, [seed])
        return slot

    def leave(self, slot):
        """Stops a sequence, finished or not, and frees its slot."""
        self._sequences[slot].close()
        self._sequences[slot] = None

    def step(self):
        """int64 (slots,): each sequence's next token, ENDED for a slot that is empty or whose sequence is over."""
        tokens = [ENDED if sequence is None else int(next(sequence, (ENDED,))[0]) for sequence in self._sequences]
        return np.array(tokens, dtype=np.int64)
