"""The engine: one request a sequence, each in a thread of its own, and lost connections resumed from the ids so far.

A sequence that was resumed equals the uninterrupted one where tokens are not drawn (temperature 0); else it goes on with a draw
of its own. Either way nothing is repeated and nothing is missing.
"""

import threading
import time
import warnings
from collections import deque
from contextlib import closing

import numpy as np

from orpheus.common.errors import EndpointError, InputError, OrpheusWarning
from orpheus.engines import ENDED, WAITING, SequenceError
from orpheus.engines.endpoint.client import Lost
from orpheus.engines.endpoint.dialects import AT_LIMIT, STOPPED, Ask

PARALLEL = 32  # requests at once; more wait for their turn
_STEP = 0.02  # seconds that a step of slots waits for a token


class _Sequence:
    """One sequence's request and the ids that it has answered."""

    def __init__(self, engine, prompt, sampling, seed, arrived=None):
        self._engine, self._prompt, self._sampling, self._seed = engine, [int(i) for i in prompt], sampling, seed
        self._items, self._arrived = deque(), arrived or threading.Condition()
        self._closed, self._stream = threading.Event(), None
        self._over = False
        threading.Thread(target=self._run, name="orpheus-endpoint", daemon=True).start()

    # --- for the consumer ---

    def next(self, wait=True):
        """The next id; ENDED after the last; WAITING where there is none yet and `wait` is off. Raises EndpointError."""
        while True:
            with self._arrived:
                while wait and not self.ready:
                    self._arrived.wait(1)
                if self._over or not self._items:
                    return ENDED if self._over else WAITING
                item = self._items.popleft()
            if isinstance(item, OrpheusWarning):
                warnings.warn(item, stacklevel=3)
                continue
            self._over = item == ENDED or isinstance(item, Exception)
            if isinstance(item, Exception):
                raise item
            return item

    @property
    def failure(self):
        """The error that `next` would raise now, or None."""
        first = self._items[0] if self._items else None
        return first if isinstance(first, Exception) and not isinstance(first, OrpheusWarning) else None

    @property
    def ready(self):
        return self._over or bool(self._items)

    def close(self):
        """Hangs up."""
        self._closed.set()
        if (stream := self._stream) is not None:
            stream.hang_up()

    # --- in its thread ---

    def _put(self, item):
        with self._arrived:
            self._items.append(item)
            self._arrived.notify_all()

    def _run(self):
        try:
            with self._engine.turns:
                for token in self._tokens():
                    self._put(token)
            self._put(ENDED)
        except Exception as error:  # raised in the consumer's thread
            self._put(error)

    def _tokens(self):
        """Ids up to the first that is out of range, or max_new_tokens, over as many connections as it takes."""
        client, done, failures, waited = self._engine.client, [], 0, 0.0
        patience = client.patience
        while not self._closed.is_set():
            try:
                with closing(self._ids(done)) as ids:
                    for token in ids:
                        done.append(token)
                        failures = waited = 0
                        yield token
                        if len(done) >= self._sampling.max_new_tokens or not self._is_valid(token, len(done) - 1):
                            return
                return
            except Lost as lost:
                if self._closed.is_set():
                    return
                failures += 1
                pause = min(patience.pause * 2 ** (failures - 1), patience.longest_pause)
                pause = pause if lost.wait is None else lost.wait
                waited += pause
                if lost.overloaded and waited > patience.overload:
                    asks = f"; it asks to be left alone for {lost.wait:g} s" if lost.wait else ""
                    raise EndpointError(
                        f"{lost}{asks}. Try again later, or send it fewer texts at once (--batch-size)"
                    ) from lost
                if not lost.overloaded and failures >= patience.tries:
                    raise EndpointError(
                        f"{lost}: given up after {failures} tries, with {len(done)} tokens of this piece spoken. Is the server running? "
                        "Its own log may say more"
                    ) from lost
                self._closed.wait(pause)

    def _is_valid(self, token, position):
        return bool(self._engine.layout.is_valid(token, position))

    def _ids(self, done):
        """The ids of one connection. Raises Lost, EndpointError."""
        engine, ended = self._engine, None
        ask = Ask(
            self._prompt,
            list(done),
            self._sampling,
            self._seed + len(done),
            engine.served,
            engine.spelling,
            engine.client.url,
        )
        dialect, count, last = engine.dialect(ask), 0, None
        stream = engine.client.stream(dialect.path, dialect.body())
        self._stream = stream
        try:
            if self._closed.is_set():
                return
            for event in stream:
                try:
                    ids, ended = dialect.read(event)
                except ValueError as error:
                    raise engine.client.garbled(f"answers {error}", dialect.cure) from error
                for token in ids:
                    if not 0 <= token < engine.vocabulary:
                        raise engine.client.garbled(
                            f"answers the id {token}, and the model's vocabulary has {engine.vocabulary}",
                            "it runs another model than --model names",
                        )
                    stream.moved()
                    count, last = count + 1, token
                    yield token
                if ended:
                    break
        finally:
            self._stream = None
            stream.close()
        if ended is None:
            raise Lost(f"{engine.client.url} ended its answer without saying why")
        if ended == STOPPED:
            yield from self._stopped(ask, dialect, count, last)
        elif ended == AT_LIMIT and count < ask.left:
            self._put(
                OrpheusWarning(
                    f"{engine.client.url} ended after {len(ask.done) + count} of {self._sampling.max_new_tokens} tokens, at a limit of its own: "
                    "give it a longer context"
                )
            )

    def _stopped(self, ask, dialect, count, last):
        """The end token, where the server stopped at it without showing it."""
        if dialect.textual and not count and not ask.done:
            raise self._engine.client.garbled("answers no audio tokens", dialect.cure)
        if last is None or self._is_valid(last, len(ask.done) + count - 1):
            yield self._engine.layout.end_of_speech


class EndpointEngine:
    """See orpheus.engines.Engine.

    client: Client; found: Found; layout: TokenLayout; spelling: Spelling; vocabulary: how many tokens the model knows
    Raises EndpointError where the server's vocabulary is not the model's.
    """

    def __init__(self, client, found, layout, spelling, vocabulary, parallel=PARALLEL):
        self.client, self.layout, self.spelling = client, layout, spelling
        self.dialect, self.served = found.dialect, found.model
        self.vocabulary = max(vocabulary, found.tokens or 0)
        self.turns = threading.Semaphore(parallel)
        if found.tokens is not None and found.tokens <= layout.last_audio:
            raise EndpointError(
                f"{client.url} runs a model with {found.tokens:,} tokens, and the tokenizer's audio tokens go up to {layout.last_audio:,}: "
                "--model names another model than the server runs"
            )

    def release(self):
        """Nothing is kept."""

    def _check(self, prompts, sampling):
        if not all(len(prompt) for prompt in prompts):
            raise InputError("a prompt has no tokens")
        self.dialect.check(sampling)

    def generate(self, prompts, sampling, seeds):
        self._check(prompts, sampling)
        sequences = [_Sequence(self, prompt, sampling, seed) for prompt, seed in zip(prompts, seeds, strict=True)]
        try:
            for _ in range(sampling.max_new_tokens):
                tokens = np.array([sequence.next() for sequence in sequences], np.int64)
                if (tokens == ENDED).all():
                    return
                yield tokens
        finally:
            for sequence in sequences:
                sequence.close()

    def open(self, slots, length):
        return EndpointSlots(self, slots, length)


class EndpointSlots:
    """See orpheus.engines.Slots. A step takes what has arrived: sequences need not keep pace with one another."""

    def __init__(self, engine, slots, length):
        self._engine, self.length = engine, length
        self._sequences, self._arrived = [None] * slots, threading.Condition()

    @property
    def free(self):
        return self._sequences.count(None)

    def join(self, prompt_ids, sampling, seed):
        self._engine._check([prompt_ids], sampling)
        slot = self._sequences.index(None)
        self._sequences[slot] = _Sequence(self._engine, prompt_ids, sampling, seed, self._arrived)
        return slot

    def leave(self, slot):
        self._sequences[slot].close()
        self._sequences[slot] = None

    def step(self):
        """int64 (slots,): as in the protocol. Raises SequenceError for one sequence that failed; the others go on."""
        running = [sequence for sequence in self._sequences if sequence is not None]
        until = time.monotonic() + _STEP
        with self._arrived:
            while (
                running and not any(sequence.ready for sequence in running) and (left := until - time.monotonic()) > 0
            ):
                self._arrived.wait(left)
        for slot, sequence in enumerate(self._sequences):
            if sequence is not None and (failure := sequence.failure):
                raise SequenceError(slot, failure)
        tokens = [ENDED if sequence is None else sequence.next(wait=False) for sequence in self._sequences]
        return np.array(tokens, np.int64)
