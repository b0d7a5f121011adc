"""Engines: prompt ids in, token ids out. They know nothing of text or audio.

A new engine is one file with a class that keeps this protocol, and one line in orpheus/speech/model.py where it is chosen.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from orpheus.common.errors import InputError, OrpheusError
from orpheus.common.tokens import TokenLayout
from orpheus.engines.options import SamplingOptions

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

    def release(self) -> None:
        """Gives back the memory that is kept for the next call."""
        ...


def too_large(rows):
    """The error for a batch that does not fit the GPU's memory."""
    return OrpheusError(
        f"out of GPU memory with {rows} pieces side by side: lower --batch-size or --max-new-tokens, "
        "free the GPU's memory, or use --device cpu or --model demo"
    )


def check_length(prompts, sampling, limit):
    """Refuses prompts that leave no room for `max_new_tokens` in `limit` positions."""
    longest = max(map(len, prompts))
    if longest + sampling.max_new_tokens > limit:
        raise InputError(
            f"a prompt of {longest} tokens and max_new_tokens {sampling.max_new_tokens} exceed the model's {limit} positions: "
            "lower max_new_tokens or piece_seconds"
        )
