"""Sequences that join and leave between steps (continuous batching), each in its slot of one cache.

A joining sequence's prompt, except its last token, is read by the same step function as everything else; the last token
is then fed like any other sequence's. On CUDA a step takes some tokens of the waiting prompts along, since it reads all
weights anyway, and its matrix products are filled up to a whole number of tiles; the step that reads a prompt's end draws
the first token. Prompts that are too long for that are read between two steps, while few sequences run.

On CUDA a step is one captured graph per number of sequences (1, 2, 4, ... up to the slots), padded with a spare slot
that nobody reads. The next step is launched before the tokens of the last one are read, since it needs none of them;
what it draws for a sequence that turns out to be over is dropped.
"""

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
import torch

from orpheus.codec.graphs import record
from orpheus.common.errors import OrpheusError
from orpheus.engines import ENDED, WAITING, check_length
from orpheus.engines.fast.head import State
from orpheus.engines.fast.llama import Tokens
from orpheus.engines.fast.rows import MOST, RowSteps
from orpheus.engines.fast.sizes import MANY, sizes_up_to, taken_along

PREFILL_TOKENS = 512  # prompt tokens read between two steps: about as much work as three steps at the 3B shape
_PREFILL_SIZES = (64, 128, 256, 512)  # of captured prefills; longer ones run uncaptured


@dataclass(eq=False)
class _Sequence:
    slot: int
    prompt: list
    sampling: object
    seed: int
    prompt_read: int = 0  # tokens of the prompt that are in the cache, or on their way

    @property
    def unread(self):  # tokens of the prompt; the last one is fed by a step
        return len(self.prompt) - 1 - self.prompt_read


@dataclass
class _Flight:
    """A launched step: the slots that it draws for, the number of each one's sequence, and where their tokens arrive."""

    slots: np.ndarray
    numbers: np.ndarray
    tokens: torch.Tensor
    event: object


class Slots:
    """`slots` sequences side by side, each of at most `length` tokens, prompt included. See FastEngine.open.

    fixed: the number of sequences that every step computes; None for the smallest that holds the running ones
    weights: RowWeights, with which few sequences' steps run in numpy; None for a device or a model that numpy is not for
    """

    @torch.inference_mode()
    def __init__(self, llama, make_head, slots, length, captured, cache="same", weights=None):
        self.llama, self.slots, self.length, self.captured = llama.seated(slots + 1), slots, length, captured
        self.spare, self.fixed = slots, None
        self._many = MANY if captured else math.inf  # from so many running sequences on, steps take prompt tokens along
        self.head = make_head(self.spare)
        self.cache = llama.cache(slots + 1, length, cache)
        self.rope = llama.rope(length)
        self.state = State.empty(slots + 1, length, self.head.columns, llama.device)
        self._rows = weights and cache == "same" and RowSteps(weights, self.head, self.cache, self.rope, self.state)
        self._seats, self._joined = [None] * slots, 0
        # Of each slot: the number of its sequence; steps that draw for it, and tokens read; the most of them; whether more come, and
        # whether its prompt is read.
        self._numbers, self._launched, self._counts, self._limits = np.zeros((4, slots), dtype=np.int64)
        self._runs, self._read = np.zeros((2, slots), dtype=bool)
        self._waiting, self._flights = deque(), deque()
        self._steps, self._prefills, self._pool = {}, {}, None
        self._arrivals = [torch.zeros(slots, dtype=torch.int64, pin_memory=captured) for _ in range(3)]
        self._launches = 0

    # --- sequences ---

    @property
    def free(self):
        """How many sequences can join now."""
        return self._seats.count(None)

    @property
    def running(self):
        """How many sequences are not over, waiting ones included."""
        return int(self._runs.sum())

    def join(self, prompt, sampling, seed, adapter=None):
        """Adds a sequence; returns its slot, an int. Its first token comes with one of the next steps.

        prompt: token ids; sampling: SamplingOptions; seed: 0..2^63-1; adapter: the name of one of the engine's, None for none
        Raises InputError for an adapter that there is not, and if prompt and max_new_tokens exceed `length`, OrpheusError if no slot is free.
        """
        if not len(prompt):
            raise ValueError("a prompt needs at least one token")
        check_length([prompt], sampling, self.length)
        if None not in self._seats:
            raise OrpheusError(f"all {self.slots} slots are taken: leave one first")
        sequence = _Sequence(self._seats.index(None), [int(token) for token in prompt], sampling, int(seed))
        slot, self._joined = sequence.slot, self._joined + 1
        self.llama.choose(slot, adapter)
        self._seats[slot] = sequence
        self._numbers[slot], self._limits[slot] = self._joined, sampling.max_new_tokens
        self._launched[slot] = self._counts[slot] = self._read[slot] = 0
        self._runs[slot] = True
        self._waiting.append(sequence)
        return slot

    def leave(self, slot):
        """Frees a slot, whether or not its sequence is over."""
        sequence, self._seats[slot] = self._seats[slot], None
        self._runs[slot] = False
        if sequence in self._waiting:
            self._waiting.remove(sequence)

    def clear(self):
        """Frees all slots."""
        for slot in range(self.slots):
            self.leave(slot)

    # --- steps ---

    @torch.inference_mode()
    def step(self):
        """One token for every running sequence: int64 (slots,), ENDED for slots that are empty or over, WAITING for
        sequences whose first token is yet to come (their prompt is queued, or the step that reads it is in flight)."""
        if self._waiting and not self._along(len(self._ready())):
            self._admit(PREFILL_TOKENS)
        while self._flights and not self._alive(self._flights[0]).any():
            self._flights.popleft()
        while len(self._flights) < 1 + self.captured and self._launch():
            pass
        tokens = np.where(self._runs, WAITING, ENDED)
        if self._flights:
            self._land(self._flights.popleft(), tokens)
        return tokens

    @torch.inference_mode()
    def admit_all(self):
        """Reads the prompts of all waiting sequences now, instead of a limited number of tokens per step; those that the
        next step takes along stay."""
        while self._waiting and not self._along(len(self._ready())):
            self._admit(_PREFILL_SIZES[-1])

    def _alive(self, flight):
        """Which of a flight's sequences are still there and not over: bool (sequences,)."""
        return self._runs[flight.slots] & (self._numbers[flight.slots] == flight.numbers)

    def _land(self, flight, tokens):
        """Waits for a step and records what it drew."""
        if flight.event:
            flight.event.synchronize()
        alive = self._alive(flight)
        slots, drawn = flight.slots[alive], np.asarray(flight.tokens)[alive]
        tokens[slots] = drawn
        over = self.head.ends(drawn, self._counts[slots])
        self._counts[slots] += 1
        self._runs[slots] = ~over & (self._counts[slots] < self._limits[slots])

    def _ready(self):
        """The slots of the sequences that have tokens to come, their prompts read."""
        return np.flatnonzero(self._runs & self._read & (self._launched < self._limits))

    def _size(self, count):
        """The number of sequences that a step computes for `count` of them."""
        return self.fixed or next(size for size in sizes_up_to(self.slots) if size >= count)

    def _launch(self):
        """Starts a step for the sequences that have tokens to come; returns whether there are any."""
        slots, prompts, prompt_spans = self._ready(), None, ()
        size = self._size(len(slots))
        if self._waiting and self._along(len(slots)):
            size = self._size(len(slots) + len(self._waiting))
            whole, prompts, prompt_spans = self._take(size)
            if whole:
                self._begin(whole)
                slots = np.concatenate([slots, [sequence.slot for sequence in whole]])
        if not len(slots):
            return False
        arrival = self._arrivals[self._launches % len(self._arrivals)][: len(slots)]
        event = None
        if self.captured:
            along = 0 if prompts is None else prompts.shape[1]
            graph, inputs, drawn = self._steps.get((size, along)) or self._capture(size, along)
            inputs.set(slots, self.spare)
            if along:
                inputs.prompts.copy_(prompts, non_blocking=True)
            graph.replay()
            arrival.copy_(drawn[: len(slots)], non_blocking=True)
            event = torch.cuda.Event()
            event.record()
        elif self._rows and prompts is None and len(slots) <= MOST and not self.llama.adapted(slots):
            arrival = np.array(self._rows.advance(slots.tolist()))
        else:
            positions = [len(self._seats[slot].prompt) - 1 + int(self._launched[slot]) for slot in slots]
            spans = [(index, index + 1, *place) for index, place in enumerate(zip(slots.tolist(), positions))]
            spans += [(first + len(slots), end + len(slots), *place) for first, end, *place in prompt_spans]
            arrival.copy_(self._advance(torch.tensor(slots, device=self.llama.device), prompts, spans))
        self._launched[slots] += 1
        self._launches += 1
        self._flights.append(_Flight(slots, self._numbers[slots], arrival, event))
        return True

    def _advance(self, slots, prompts=None, spans=None):
        """One step of the slots `slots` int64 (B,); returns what each draws. prompts: int64 (3, P), ids, slots and positions
        of prompt tokens that it reads along."""
        parts = self.state.ids[slots], slots, self.state.positions[slots]
        if prompts is not None:
            parts = (torch.cat(both) for both in zip(parts, prompts))
        x = self.llama.hidden(Tokens(*parts, spans), self.cache, self.rope)
        return self.head.next_tokens(x[: len(slots)], slots, self.state)

    # --- prompts ---

    def _admit(self, budget):
        """Reads waiting sequences' prompts, first come, first served: at least one, more while they fit the budget."""
        batch = []
        while self._waiting and (not batch or budget >= len(self._waiting[0].prompt)):
            batch.append(self._waiting.popleft())
            budget -= len(batch[-1].prompt)
        if batch:
            self._prefill([sequence for sequence in batch if sequence.unread])
            self._begin(batch)

    def _begin(self, sequences):
        """Has the next step draw for sequences whose prompts are read."""
        self._read[[sequence.slot for sequence in sequences]] = True
        self.head.join(
            self.state, [(sequence.slot, sequence.prompt, sequence.sampling, sequence.seed) for sequence in sequences]
        )

    def _along(self, ready):
        """Whether the next step takes waiting prompts along, while so many sequences run: with many, always; with few, if
        they fit. A prompt that ends in a step has its first token drawn by that step."""
        if not self.fixed and ready >= self._many:
            return True
        room = taken_along(self._size(ready + len(self._waiting)))
        return self.captured and sum(sequence.unread for sequence in self._waiting) <= room

    def _take(self, size):
        """Prompt tokens for a step of `size` sequences: (the sequences whose prompts end with it, int64 (3, tokens) of ids, slots
        and positions, their spans), first come, first served."""
        left = room = taken_along(size)
        parts, whole = [], []
        while self._waiting and (left or not self._waiting[0].unread):
            sequence = self._waiting[0]
            parts.append((sequence, sequence.prompt_read, min(left, sequence.unread)))
            sequence.prompt_read += parts[-1][2]
            left -= parts[-1][2]
            if not sequence.unread:
                whole.append(self._waiting.popleft())
        return whole, *self._tokens(parts, room if self.captured else room - left)

    def _tokens(self, parts, size):
        """(int64 (3, size) of ids, slots and positions, filled up with the spare slot; the spans of `parts`).

        parts: [(sequence, first token of its prompt, number of tokens)]
        """
        ids, slots, positions, spans = [], [], [], []
        for sequence, first, count in parts:
            if not count:
                continue
            spans.append((len(ids), len(ids) + count, sequence.slot, first))
            ids += sequence.prompt[first : first + count]
            slots += [sequence.slot] * count
            positions += range(first, first + count)
        filling = size - len(ids)
        rows = [ids + [0] * filling, slots + [self.spare] * filling, positions + [0] * filling]
        return torch.tensor(rows, pin_memory=self.captured), spans

    def _prefill(self, sequences):
        """Fills the cache with what is not yet read of the sequences' prompts, except their last tokens."""
        count = sum(sequence.unread for sequence in sequences)
        if not count:
            return
        size = next((size for size in _PREFILL_SIZES if size >= count), count) if self.captured else count
        inputs, spans = self._tokens(
            [(sequence, sequence.prompt_read, sequence.unread) for sequence in sequences], size
        )
        for sequence in sequences:
            sequence.prompt_read += sequence.unread
        if self.captured and size in _PREFILL_SIZES:
            graph, buffer = self._prefills.get(size) or self._capture_prefill(size)
            buffer.copy_(inputs, non_blocking=True)
            graph.replay()
        else:
            inputs = inputs.to(self.llama.device, non_blocking=True)
            self.llama.hidden(Tokens(*inputs, None if self.captured else spans), self.cache, self.rope)

    # --- CUDA graphs ---

    @torch.inference_mode()
    def capture(self, sizes=None, prefill=()):
        """Captures the steps for these numbers of sequences (default: all), with and without prompts, and the prefills of so
        many tokens, before their first use."""
        for size in sizes or sizes_up_to(self.slots):
            for along in (0, taken_along(size)):
                if self.captured and (size, along) not in self._steps:
                    self._capture(size, along)
        for size in prefill:
            if self.captured and size not in self._prefills:
                self._capture_prefill(size)

    def _capture(self, size, along=0):
        inputs = _Inputs(torch.full((size,), self.spare, dtype=torch.int64, device=self.llama.device))
        if along:
            inputs.prompts = torch.zeros(3, along, dtype=torch.int64, device=self.llama.device)
            inputs.prompts[1] = self.spare
        drawn = torch.zeros_like(inputs.tensor)
        graph = self._graph(lambda: drawn.copy_(self._advance(inputs.tensor, inputs.prompts)))
        self._steps[size, along] = graph, inputs, drawn
        return self._steps[size, along]

    def _capture_prefill(self, size):
        buffer = torch.zeros(3, size, dtype=torch.int64, device=self.llama.device)
        buffer[1] = self.spare
        graph = self._graph(lambda: self.llama.hidden(Tokens(*buffer), self.cache, self.rope))
        self._prefills[size] = graph, buffer
        return self._prefills[size]

    def _graph(self, work):
        """A CUDA graph of `work`, which runs twice first, to compile kernels and set up libraries."""
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        return record(work, self._pool)[0]


class _Inputs:
    """The slots that a captured step reads, and what was put there; and the prompt tokens that it takes along."""

    def __init__(self, tensor):
        self.tensor, self.prompts = tensor, None
        self._filled = np.zeros(len(tensor), dtype=np.int64) - 1

    def set(self, slots, spare):
        """Has it read these slots, and the spare one after them."""
        filled = np.full_like(self._filled, spare)
        filled[: len(slots)] = slots
        if not np.array_equal(filled, self._filled):
            self.tensor.copy_(torch.from_numpy(filled), non_blocking=True)
            self._filled = filled
