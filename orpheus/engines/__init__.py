"""Engines: prompt ids in, token ids out. They know nothing of text or audio.

A new engine is one file with a class that keeps this protocol, and one line in orpheus/loading.py where it is chosen.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from orpheus.options import SamplingOptions
from orpheus.tokens import TokenLayout

ENDED = -1  # stands for a row that has ended
WAITING = -2  # stands for a row whose first token is yet to come; only `Slots.step` of the fast engine yields it


class Engine(Protocol):
    layout: TokenLayout

    def generate(
        self, prompts: Sequence[Sequence[int]], sampling: SamplingOptions, seeds: Sequence[int]
    ) -> Iterator[np.ndarray]:
        """Speaks several prompts side by side.

        Yields one int64 array (rows,) per step: each row's next token, ENDED once the row is over. A row is over after the
        first token that is out of range for its slot (end-of-speech is one), which is still yielded, or after
        `max_new_tokens`; the others go on. What a row gets depends on its prompt and seed, not on its neighbours.
        Closing the iterator stops the work.
        """
        ...
