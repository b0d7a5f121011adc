"""Sequences that join and leave between steps (continuous batching), each in its slot of one cache.

A joining sequence's prompt, except its last token, is read by the same step function as everything else; the last token
is then fed like any other sequence's. So the next step draws the sequence's first token.

On CUDA a step is one captured graph per number of sequences (1, 2, 4, ... up to the slots), padded with a spare slot
that nobody reads. The next step is launched before the tokens of the last one are read, since it needs none of them;
what it draws for a sequence that turns out to be over is dropped.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np
import torch

from orpheus.common.errors import OrpheusError
from orpheus.engines import ENDED, WAITING, check_length
from orpheus.engines.fast.head import State
from orpheus.engines.fast.llama import Tokens
from orpheus.engines.fast.rows import MOST, RowSteps

PREFILL_TOKENS = 512  # prompt tokens read between two steps: about as much work as three steps at the 3B shape
_PREFILL_SIZES = (64, 128, 256, 512)  # of captured prefills; longer ones run uncaptured


@dataclass(eq=False)
class _Sequence:
    slot: int
    prompt: list
    sampling: object
    seed: int
    launched: int = 0  # steps that draw for it
    count: int = 0  # tokens read
    over: bool = False

    @property
    def position(self):
        """Of the token fed next."""
        return len(self.prompt) - 1 + self.launched


@dataclass
class _Flight:
    """A launched step: its sequences and where their tokens arrive."""

    sequences: list
    tokens: torch.Tensor
    event: object


def sizes_up_to(slots):
    """Numbers of sequences that each get a captured step: powers of two, and `slots`."""
    return [*(2**power for power in range((slots - 1).bit_length())), slots]


class Slots:
    """`slots` sequences side by side, each of at most `length` tokens, prompt included. See FastEngine.open.

    fixed: the number of sequences that every step computes; None for the smallest that holds the running ones
    weights: RowWeights, with which few sequences' steps run in numpy; None for a device or a model that numpy is not for
    """

    @torch.inference_mode()
    def __init__(self, llama, make_head, slots, length, captured, cache="same", weights=None):
        self.llama, self.slots, self.length, self.captured = llama.seated(slots + 1), slots, length, captured
        self.spare, self.fixed = slots, None
        self.head = make_head(self.spare)
        self.cache = llama.cache(slots + 1, length, cache)
        self.rope = llama.rope(length)
        self.state = State.empty(slots + 1, length, self.head.columns, llama.device)
        self._rows = weights and cache == "same" and RowSteps(weights, self.head, self.cache, self.rope, self.state)
        self._seats = [None] * slots
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
        return sum(sequence is not None and not sequence.over for sequence in self._seats)

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
        self.llama.choose(sequence.slot, adapter)
        self._seats[sequence.slot] = sequence
        self._waiting.append(sequence)
        return sequence.slot

    def leave(self, slot):
        """Frees a slot, whether or not its sequence is over."""
        sequence, self._seats[slot] = self._seats[slot], None
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
        self._admit(PREFILL_TOKENS)
        while self._flights and not any(self._lives(sequence) for sequence in self._flights[0].sequences):
            self._flights.popleft()
        while len(self._flights) < 1 + self.captured and self._launch():
            pass
        tokens = np.full(self.slots, ENDED, dtype=np.int64)
        for sequence in self._seats:
            if sequence and not sequence.over:
                tokens[sequence.slot] = WAITING
        if self._flights:
            self._land(self._flights.popleft(), tokens)
        return tokens

    @torch.inference_mode()
    def admit_all(self):
        """Reads the prompts of all waiting sequences now, instead of a limited number of tokens per step."""
        while self._waiting:
            self._admit(_PREFILL_SIZES[-1])

    def _lives(self, sequence):
        return self._seats[sequence.slot] is sequence and not sequence.over

    def _land(self, flight, tokens):
        """Waits for a step and records what it drew."""
        if flight.event:
            flight.event.synchronize()
        for sequence, token in zip(flight.sequences, flight.tokens.tolist()):
            if self._lives(sequence):
                tokens[sequence.slot] = token
                sequence.over = self.head.ends(token, sequence.count)
                sequence.count += 1
                sequence.over |= sequence.count >= sequence.sampling.max_new_tokens

    def _launch(self):
        """Starts a step for the sequences that have tokens to come; returns whether there are any."""
        waiting = set(map(id, self._waiting))
        sequences = [
            sequence
            for sequence in self._seats
            if sequence
            and not sequence.over
            and id(sequence) not in waiting
            and sequence.launched < sequence.sampling.max_new_tokens
        ]
        if not sequences:
            return False
        slots = [sequence.slot for sequence in sequences]
        arrival = self._arrivals[self._launches % len(self._arrivals)][: len(sequences)]
        event = None
        if self.captured:
            size = self.fixed or next(size for size in sizes_up_to(self.slots) if size >= len(sequences))
            graph, inputs, drawn = self._steps.get(size) or self._capture(size)
            if inputs.slots != slots:
                inputs.set(slots + [self.spare] * (size - len(sequences)), slots)
            graph.replay()
            arrival.copy_(drawn[: len(sequences)], non_blocking=True)
            event = torch.cuda.Event()
            event.record()
        elif self._rows and len(slots) <= MOST and not self.llama.adapted(slots):
            arrival = np.array(self._rows.advance(slots))
        else:
            spans = [(index, index + 1, sequence.slot, sequence.position) for index, sequence in enumerate(sequences)]
            arrival.copy_(self._advance(torch.tensor(slots, device=self.llama.device), spans))
        for sequence in sequences:
            sequence.launched += 1
        self._launches += 1
        self._flights.append(_Flight(sequences, arrival, event))
        return True

    def _advance(self, slots, spans=None):
        """One step of the slots `slots` int64 (B,); returns what each draws."""
        tokens = Tokens(self.state.ids[slots], slots, self.state.positions[slots], spans)
        return self.head.next_tokens(self.llama.hidden(tokens, self.cache, self.rope), slots, self.state)

    # --- prompts ---

    def _admit(self, budget):
        """Reads waiting sequences' prompts, first come, first served: at least one, more while they fit the budget."""
        batch = []
        while self._waiting and (not batch or budget >= len(self._waiting[0].prompt)):
            batch.append(self._waiting.popleft())
            budget -= len(batch[-1].prompt)
        if batch:
            self._prefill([sequence for sequence in batch if len(sequence.prompt) > 1])
            self.head.join(
                self.state, [(sequence.slot, sequence.prompt, sequence.sampling, sequence.seed) for sequence in batch]
            )

    def _prefill(self, sequences):
        """Fills the cache with the sequences' prompts, except their last tokens."""
        ids, slots, positions, spans = [], [], [], []
        for sequence in sequences:
            count = len(sequence.prompt) - 1
            spans.append((len(ids), len(ids) + count, sequence.slot, 0))
            ids += sequence.prompt[:-1]
            slots += [sequence.slot] * count
            positions += range(count)
        if not ids:
            return
        size = next((size for size in _PREFILL_SIZES if size >= len(ids)), len(ids)) if self.captured else len(ids)
        filling = size - len(ids)
        inputs = torch.tensor([ids + [0] * filling, slots + [self.spare] * filling, positions + [0] * filling])
        if self.captured and size in _PREFILL_SIZES:
            graph, buffer = self._prefills.get(size) or self._capture_prefill(size)
            buffer.copy_(inputs, non_blocking=True)
            graph.replay()
        else:
            inputs = inputs.to(self.llama.device, non_blocking=True)
            self.llama.hidden(Tokens(*inputs, None if self.captured else spans), self.cache, self.rope)

    # --- CUDA graphs ---

    @torch.inference_mode()
    def capture(self, sizes=None, prefill=(64,)):
        """Captures the steps for these numbers of sequences (default: all) and the prefills, before their first use."""
        for size in sizes or sizes_up_to(self.slots):
            if self.captured and size not in self._steps:
                self._capture(size)
        for size in prefill:
            if self.captured and size not in self._prefills:
                self._capture_prefill(size)

    def _capture(self, size):
        inputs = _Inputs(torch.full((size,), self.spare, dtype=torch.int64, device=self.llama.device))
        drawn = torch.zeros_like(inputs.tensor)
        graph = self._graph(lambda: drawn.copy_(self._advance(inputs.tensor)))
        self._steps[size] = graph, inputs, drawn
        return self._steps[size]

    def _capture_prefill(self, size):
        buffer = torch.zeros(3, size, dtype=torch.int64, device=self.llama.device)
        buffer[1] = self.spare
        graph = self._graph(lambda: self.llama.hidden(Tokens(*buffer), self.cache, self.rope))
        self._prefills[size] = graph, buffer
        return self._prefills[size]

    def _graph(self, work):
        """A CUDA graph of `work`, which runs twice first, to compile kernels and set up libraries."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(2):
                work()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        with torch.cuda.graph(graph, pool=self._pool):
            work()
        return graph


class _Inputs:
    """The slots that a captured step reads, and what was put there."""

    def __init__(self, tensor):
        self.tensor, self.slots = tensor, None

    def set(self, filled, slots):
        self.tensor.copy_(torch.tensor(filled), non_blocking=True)
        self.slots = slots
