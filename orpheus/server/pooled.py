"""One text in a pool of streams: what its caller gets."""

import gc
import os
import queue
import time
from collections import deque
from dataclasses import dataclass, fields

import numpy as np

from orpheus.common.audio import silence
from orpheus.common.errors import InputError, OrpheusError
from orpheus.common.frame import SAMPLE_RATE
from orpheus.speech.options import StreamOptions
from orpheus.speech.request import NOTHING_SAMPLES, first_trouble, warn_about_end

_FULL = 1_000  # collections of younger objects before a full one, 10 by default: several minutes with 400 texts
OVER = object()  # the last thing that is known of a text


class _Listener:
    """Puts what becomes of a text where it is told, instead of into a queue."""

    def __init__(self, tell):
        self.put = tell


class PooledSpeech:
    """Iterator of one text's float32 chunks at 24 kHz. For one consumer, in any thread.

    With a listener it is no iterator: the listener is called with each thing that becomes of the text, in the pool's thread, which it
    must not hold up: a chunk, an Utterance whose last chunk has come, an Exception, or OVER. After these two nothing follows.
    """

    def __init__(self, pool, request, sampling, listener=None, speaker=None):
        self.sample_rate = SAMPLE_RATE
        self.finish_reason = None  # known after the last chunk
        self.arrivals = []  # (seconds after `submit`, samples) of every chunk so far
        self._pool, self._request, self._sampling = pool, request, sampling
        self._speaker = speaker or {}  # what the engine is told beside that: {"adapter": its name}
        self._utterances = deque(request.utterances)  # those not started yet
        self.first = request.utterances[0]
        self._items = _Listener(listener) if listener else queue.SimpleQueue()
        self.submitted, self._closed, self._held = time.perf_counter(), False, False

    def __iter__(self):
        return self

    def __next__(self):
        while True:
            self._pool.check_process()
            item = self._items.get()
            if item is OVER or isinstance(item, Exception):
                self._items.put(item)  # for whoever asks again
                if item is OVER:
                    raise StopIteration
                raise item
            if isinstance(item, np.ndarray):
                return item
            warn_about_end(item)  # here, so that the consumer gets the warning

    def close(self):
        """Stops generating and frees the slot."""
        self._pool.check_process()
        self._closed = True
        self._items.put(OVER)
        self._pool._forget(self)

    def hold(self):
        """Begins no further piece until `resume`: the listener has enough to play. Its slot is free for others meanwhile."""
        self._held = True

    def resume(self):
        self._pool._resume(self)

    def _give(self, samples):
        if len(samples) and not self._closed:
            self.arrivals.append((time.perf_counter() - self.submitted, len(samples)))
            self._items.put(samples)

    def _end_utterance(self, utterance):
        """After the last chunk of an utterance."""
        self._items.put(utterance)
        if not utterance.assembler.frames:
            self._give(np.zeros(NOTHING_SAMPLES, np.float32))
        if utterance is not self._request.utterances[-1]:
            self._give(silence(utterance.pause))
        else:
            self.finish_reason = first_trouble(self._request.finish_reasons)
            self._items.put(OVER)


@dataclass(eq=False)
class Job:
    """One utterance of one text, in progress."""

    speech: PooledSpeech
    utterance: object
    slot: int  # of the engine
    stream: int  # of the decoder
    ended: bool = False  # no more tokens will come
    _early: np.ndarray | None = None  # the first samples, kept back

    @property
    def opens(self):
        """Whether its sound is a text's first."""
        return self.utterance is self.speech.first

    def give(self, samples):
        """Hands samples out. The first of an utterance are less than the time until the next ones: of a text's first utterance
        they begin its sound at once, of a later one they come with the next."""
        if self._early is None and len(samples):
            self._early = samples[:0]
            if not self.opens:
                self._early = samples
                return
        if self._early is not None and len(self._early):
            samples, self._early = np.concatenate([self._early, samples]), samples[:0]
        self.speech._give(samples)

    def end(self):
        """After the last samples."""
        if self._early is not None and len(self._early):
            self.speech._give(self._early)
        self.speech._end_utterance(self.utterance)


class PooledVoice:
    """One of a pool's `voices`: a model that speaks in the pool's batch, to be used as a pool of its own."""

    def __init__(self, pool, name, model):
        self.pool, self.name, self.model = pool, name, model

    def submit(self, text, voice=None, **options):
        """See StreamPool.submit. voice: one of this model's own."""
        return self.pool._submit(self.model, text, voice, options)

    def start(self, request, sampling, listener=None):
        """See StreamPool.start."""
        return self.pool.start(request, sampling, listener, self.model)

    @property
    def slots(self):
        return self.pool.slots

    @property
    def length(self):
        return self.pool.length

    @property
    def alive(self):
        return self.pool.alive

    def close(self):
        """Closes the pool, for all voices."""
        self.pool.close()


def keep_what_lives():
    """For a process whose pools stay open. Python no longer looks through what lives now for garbage, which stops every stream for
    0.3 s with a model of billions of weights, and seldom through what has lived for long: 0.1 s with 400 texts."""
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, _FULL)


def check_not_forked(process):
    """Raises OrpheusError in a process that was forked from `process`, a pool's: the pool's thread is not in it."""
    if os.getpid() != process:
        raise OrpheusError(
            f"this process was forked from the one that opened the pool ({process}), and the pool's thread stayed there: "
            "open a pool after forking, or start processes with multiprocessing's spawn"
        )


def check_fits(request, sampling, length):
    """Raises InputError where a piece of a Request may take more tokens than a pool has room for."""
    longest = max(len(utterance.prompt) for utterance in request.utterances) + sampling.max_new_tokens
    if longest > length:
        raise InputError(
            f"the prompt and max_new_tokens, {longest} tokens together, exceed the pool's length {length}: "
            "lower max_new_tokens or piece_seconds, give shorter reference clips, or raise the pool's length"
        )


def check_options(options):
    """Refuses what a pool does not let one choose. Raises InputError."""
    for name in options:
        if name in {field.name for field in fields(StreamOptions)}:
            raise InputError(f"{name} is not a pool option: leave it out; a pool's audio is exact, frame by frame")


def is_out_of_memory(error):
    """Whether an error, or what caused it, says that the device's memory is full."""
    while error is not None:
        if isinstance(error, MemoryError) or "out of memory" in str(error).lower() or "out of GPU memory" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def cache_arguments(engine, cache):
    """What `open` of an engine is told, for it to keep keys and values as `cache`. Raises InputError where it cannot."""
    if cache not in getattr(engine, "caches", ("same",)):
        raise InputError(f"this engine has no cache in {cache}: it is the fast engine's on CUDA; leave it out here")
    return {} if cache == "same" else {"cache": cache}
