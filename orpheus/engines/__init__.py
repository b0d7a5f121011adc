"""Engines: prompt ids in, token ids out. They know nothing of text or audio.

An engine is one file with a class that implements this protocol, and one line in loading.py that chooses it.

loading         from a checkpoint to an engine               options     which engine, and how it draws
fast/           a hand-written Llama step                    layers      the parts that every Llama here shares
transformers    any causal language model                    sampling    drawing the next token
separate        slots for an engine that has none             merging     an adapter onto a model, by peft
plain_lora      the usual adapters, without peft             faults      what can be wrong with a checkpoint
endpoint/       a server of another program                   llama_cpp   GGUF files, through llama.cpp
"""

from __future__ import annotations  # the protocols' types are not needed to run: `--help` does without numpy

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from orpheus.common.errors import InputError, OrpheusError

if TYPE_CHECKING:
    import numpy as np

    from orpheus.common.tokens import TokenLayout
    from orpheus.engines.options import SamplingOptions

ENDED = -1  # stands for a sequence that has ended
WAITING = -2  # stands for a sequence whose next token is yet to come; only `Slots.step` yields it


class SequenceError(OrpheusError):
    """One sequence of several slots failed, for the reason that is its cause's; the others go on."""

    def __init__(self, slot, reason):
        super().__init__(str(reason))
        self.slot, self.reason = slot, reason


class Slots(Protocol):
    """Slots for sequences that join and leave between steps."""

    free: int  # how many sequences can join now

    def join(self, prompt_ids: Sequence[int], sampling: SamplingOptions, seed: int) -> int:
        """Starts a sequence; returns its slot, from 0. Its first token comes with one of the next steps. Where an engine has adapters,
        `adapter` names the one that speaks."""
        ...

    def leave(self, slot: int) -> None:
        """Stops a sequence, finished or not, and frees its slot."""
        ...

    def step(self) -> np.ndarray:
        """int64 (slots,): each sequence's next token; ENDED for a slot that is free or whose sequence is over, WAITING
        if it is yet to come. Raises SequenceError for one that failed: `leave` its slot, and step again."""
        ...


class Engine(Protocol):
    layout: TokenLayout

    def generate(
        self, prompts: Sequence[Sequence[int]], sampling: SamplingOptions, seeds: Sequence[int]
    ) -> Iterator[np.ndarray]:
        """Continues several prompts side by side, each with its seed.

        Yields one int64 array (sequences,) per step: each one's next token, ENDED once it is over. A sequence is over after
        the first token that is out of range for its position (end-of-speech is one), which is still yielded, or after
        `max_new_tokens`; the others go on. What a sequence gets depends on its prompt and seed, not on its neighbours.
        Closing the iterator stops the work.
        """
        ...

    def open(self, slots: int, length: int) -> Slots:
        """Room for `slots` sequences of at most `length` tokens each, prompt included.

        An engine that has no slots returns `separate.SeparateSlots(self, slots, length)`.
        """
        ...

    def release(self) -> None:
        """Frees the memory kept for the next call."""
        ...


def too_large(sequences):
    """The error for a batch that does not fit the GPU's memory."""
    return OrpheusError(
        f"out of GPU memory with {sequences} pieces side by side: lower --batch-size or --max-new-tokens, "
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
