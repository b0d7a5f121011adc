"""Many texts to streams of audio at once, on one device.

A thread runs one loop: a step of the engine gives every sequence a token; every few steps the new frames are decoded in
one batch, on CUDA alongside the next steps; chunks go to whoever asked for them. Sequences join and leave between
steps. What a text sounds like depends only on its options, not on its neighbours.
"""

import atexit
import os
import threading
import time
import weakref
from collections import deque

import numpy as np

from orpheus.codec.stream_decoder import StreamDecoder
from orpheus.common.command import say
from orpheus.common.errors import BusyError, OrpheusError
from orpheus.common.frame import CODES_PER_FRAME, CONTEXT_FRAMES
from orpheus.engines import WAITING, SequenceError
from orpheus.server import pooled
from orpheus.speech.request import plan_stream
from orpheus.speech.streaming import Assemblers
from orpheus.speech.synthesis import OrpheusInference

TICKS = 3  # decodes in `tick_steps`
_open_pools = weakref.WeakSet()


@atexit.register
def _close_pools():
    """A thread that is inside PyTorch while Python ends would have the process aborted."""
    for pool in list(_open_pools):
        pool.close()


class StreamPool:
    """Serves texts to streams of chunks with one model.

    model: a LoadedModel or an OrpheusInference; from now on only the pool may use it
    slots: texts spoken at the same time
    length: the most tokens of a piece, prompt and speech; the engine's cache is made for it
    waiting: texts that can wait for a slot before `submit` refuses
    tick_steps: the most steps that a frame waits for others to be decoded with: 7 decode each stream's frames one by one, in
        three batches for those that came in between; more in fewer, larger batches
    cache: "same", or "fp8" for more streams at once (see orpheus.engines.fast.engine.FastEngine.open)
    voices: {name: LoadedModel} of a Group of orpheus.speech.several, the model's own too: asked for by `voice`, in the same batch

    `with StreamPool(...) as pool` closes it at the end. Raises whatever loading and capturing raise.
    """

    def __init__(self, model, slots=8, length=1536, waiting=64, tick_steps=CODES_PER_FRAME, cache="same", voices=None):
        self.tts = model if isinstance(model, OrpheusInference) else OrpheusInference(model)
        self.slots, self.length, self.limit, self.tick_steps = slots, length, waiting, tick_steps
        self._ticks = {tick_steps * part // TICKS for part in range(TICKS)}
        self.model, self._shared = self.tts.model, self.tts.engine.engine if voices else self.tts.engine
        self.voices = {name: pooled.PooledVoice(self, name, voice) for name, voice in (voices or {}).items()}
        self._cache = pooled.cache_arguments(self._shared, cache)
        self.seconds = {"engine": 0.0, "decoder": 0.0}  # spent in the loop; the GPU may go on working after that
        self.counts = {"steps": 0, "tokens": 0, "ticks": 0, "decoder_steps": 0, "frames": 0}
        self._waiting, self._changed, self._closing, self._error = deque(), threading.Condition(), False, None
        self._set_aside = set()  # texts that are held, between two pieces
        self._left = set()  # texts that were closed since the last step
        self._process, self._asking = os.getpid(), threading.Lock()  # one text at a time through the tokenizer
        self._open()
        self._thread = threading.Thread(target=self._run, name="orpheus-pool", daemon=True)
        self._thread.start()
        _open_pools.add(self)

    def _open(self):
        self._jobs = {}  # those with an engine slot, by it
        self._assemblers = Assemblers(self.slots)
        self._fresh = {}  # those with something to decode, an ordered set
        self._in_flight = deque()  # (Decoded or None, {stream: job}, jobs that end with it)
        while True:
            try:
                self._engine = self._shared.open(self.slots, self.length, **self._cache)
                # Twice the slots: a piece's last frames may still be decoding when the next one already has its slot.
                self._decoder = StreamDecoder(self.tts.codec, 2 * self.slots, batch=self.slots)
                return
            except Exception as error:
                self._engine = self._decoder = None
                if not pooled.is_out_of_memory(error) or self.slots == 1:
                    raise
            self._take_fewer_slots()

    def _take_fewer_slots(self):
        wanted, self.slots = self.slots, max(1, self.slots * 3 // 4)
        say(f"memory is too short for {wanted} slots of {self.length} tokens: going on with {self.slots}")
        self._shared.release()

    # --- for callers ---

    def submit(self, text, voice=None, **options):
        """Asks for a text to be spoken; returns at once, with a PooledSpeech.

        voice: one of `voices`, or of the model's own; options: fields of SamplingOptions, TextOptions, LongTextOptions and
        ReferenceOptions. Raises InputError if the text cannot be spoken, BusyError if `waiting` texts are waiting already.
        """
        if voice in self.voices:
            return self.voices[voice].submit(text, **options)
        return self._submit(self.model, text, voice, options)

    def _submit(self, model, text, voice, options):
        pooled.check_options(options)
        self.check_process()
        with self._asking:
            request, sampling, _ = plan_stream(model, text, voice, options)
        return self.start(request, sampling, model=model)

    def start(self, request, sampling, listener=None, model=None):
        """The same for a text that is planned already, by orpheus.speech.request.plan_stream. listener: see PooledSpeech; model: that of
        one of `voices`, where it is not the pool's."""
        self.check_process()
        pooled.check_fits(request, sampling, self.length)
        speaker = {"adapter": (model or self.model).engine.adapter} if self.voices else {}
        speech = pooled.PooledSpeech(self, request, sampling, listener, speaker)
        with self._changed:
            if self._closing:
                raise OrpheusError("the pool is closed") from self._error
            if len(self._waiting) >= self.limit + self.slots - len(self._jobs):
                raise BusyError(
                    f"all {self.slots} slots are in use and {self.limit} texts are waiting: try again later, "
                    "or raise slots or waiting"
                )
            self._waiting.append(speech)
            self._changed.notify()
        return speech

    def check_process(self):
        """Raises OrpheusError in a process that was forked from the pool's: the pool's thread is not in it."""
        pooled.check_not_forked(self._process)

    def backlog(self):
        """How many texts wait for a slot."""
        with self._changed:
            return len(self._waiting)

    @property
    def alive(self):
        """Whether it still speaks: its thread runs, and nothing broke it."""
        return self._error is None and self._thread.is_alive()

    def close(self):
        """Stops the pool; texts still running or waiting end with an OrpheusError."""
        if os.getpid() != self._process:
            return  # it is another process' to close
        _open_pools.discard(self)
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    # --- the loop, in its own thread ---

    def _forget(self, speech):
        with self._changed:
            if speech in self._waiting:
                self._waiting.remove(speech)
            self._set_aside.discard(speech)
            self._left.add(speech)
            self._changed.notify()

    def _resume(self, speech):
        self.check_process()
        with self._changed:
            speech._held = False
            if speech in self._set_aside:
                self._set_aside.remove(speech)
                self._waiting.appendleft(speech)
                self._changed.notify()

    def _run(self):
        while True:
            with self._changed:
                while not (self._closing or self._waiting or self._jobs or self._in_flight or self._fresh):
                    self._changed.wait()
                if self._closing:
                    break
            try:
                self._turn()
            except Exception as error:  # whatever broke a step affects everyone in it
                try:
                    self._break(error)
                except Exception as again:
                    self._closing, self._error = True, again
        error = self._error or OrpheusError("the pool was closed before this text was spoken")
        with self._changed:
            left = [*self._waiting, *self._set_aside]
            self._waiting.clear()
            self._set_aside.clear()
        self._fail([*left, *self._unfinished()], error)
        self._engine = self._decoder = None

    def _turn(self):
        self._drop_closed()
        self._admit()
        if self._jobs:
            self._advance()
        self._decode()
        self._hand_out(wait=not self._jobs)

    def _unfinished(self):
        jobs = [*self._jobs.values(), *self._fresh, *(job for *_, over in self._in_flight for job in over)]
        return list(dict.fromkeys(job.speech for job in jobs))

    @staticmethod
    def _fail(speeches, error):
        for speech in speeches:
            speech._items.put(error)

    def _break(self, error):
        failed = self._unfinished()
        self._jobs, self._fresh, self._in_flight = {}, {}, deque()
        self._fail(failed, error)
        self._engine = self._decoder = None  # before making new ones: they can take gigabytes
        if pooled.is_out_of_memory(error) and self.slots > 1:
            self._take_fewer_slots()
        self._open()

    def _drop_closed(self):
        if self._left:
            with self._changed:
                left, self._left = self._left, set()
            for job in [job for job in self._jobs.values() if job.speech in left]:
                self._drop(job)

    def _drop_failed(self, error):
        """Ends the text of a sequence that failed; the others go on."""
        job = self._jobs[error.slot]
        self._fail([job.speech], error.reason)
        self._drop(job)

    def _drop(self, job):
        self._free(job)
        self._fresh.pop(job, None)
        self._decoder.leave(job.stream)

    def _free(self, job):
        """Gives a job's slot back."""
        self._engine.leave(job.slot)
        self._assemblers.leave(job.slot)
        del self._jobs[job.slot]

    def _admit(self):
        while self._waiting and self._engine.free and self._decoder.free:
            with self._changed:
                if not self._waiting:
                    return
                speech = self._waiting.popleft()
            if not speech._closed:
                self._begin(speech)

    def _begin(self, speech):
        """Gives a slot to the next piece of a text."""
        utterance = speech._utterances.popleft()
        try:
            slot = self._engine.join(utterance.prompt, speech._sampling, utterance.seed, **speech._speaker)
        except Exception as error:  # affects this text only
            self._fail([speech], error)
            return
        self._jobs[slot] = pooled.Job(speech, utterance, slot, self._decoder.join(utterance.seed))
        self._assemblers.join(slot, utterance.assembler, speech._sampling.max_new_tokens)

    def _advance(self):
        """One step of the engine; complete frames go to the decoder."""
        began = time.perf_counter()
        try:
            tokens = self._engine.step()
        except SequenceError as error:
            self._drop_failed(error)
            return
        self.seconds["engine"] += time.perf_counter() - began
        self.counts["steps"] += 1
        places = np.array(list(self._jobs))
        places = places[tokens[places] != WAITING]
        taken, whole, over = self._assemblers.push(places, tokens[places])
        self.counts["tokens"] += taken
        jobs = [self._jobs[place] for place in whole.tolist()]
        self._decoder.push_each([job.stream for job in jobs], self._assemblers.codes[whole])
        self._fresh.update(dict.fromkeys(jobs))
        over = [self._jobs[place] for place in over.tolist()]
        for job in over:
            job.ended = True
            self._fresh[job] = None
            self._decoder.finish(job.stream)
            self._free(job)
        for job in over:
            if job.speech._utterances:
                self._go_on(job.speech)

    def _go_on(self, speech):
        """To the next piece of a text, which keeps its turn unless it is held."""
        with self._changed:
            if speech._held and not speech._closed:
                self._set_aside.add(speech)
                return
            if not self._decoder.free:
                self._waiting.appendleft(speech)
                return
        if not speech._closed:
            self._begin(speech)

    def _decode(self):
        """Decodes new frames when due: all of them at a tick, a text's first samples as soon as possible.

        A stream gets a frame every 7 steps, so it is always the same tick, and chunks come at equal times. More than one for 7
        steps, since a batch that takes longer than a step would come late by one now and then.
        """
        if not self._fresh:
            return
        if self.counts["steps"] % self.tick_steps in self._ticks or len(self._fresh) >= len(self._jobs):
            due = list(self._fresh)
        else:
            due = [job for job in self._fresh if job.opens and job.utterance.assembler.frames == CONTEXT_FRAMES]
        if not due:
            return
        began = time.perf_counter()
        streams = {job.stream: job for job in due}
        while waiting := self._decoder.waiting(streams):
            for start in range(0, len(waiting), self._decoder.batch):
                chosen = waiting[start : start + self._decoder.batch]
                self._in_flight.append((self._decoder.step(chosen), streams, ()))
                self.counts["decoder_steps"] += 1
                self.counts["frames"] += len(chosen)
        over = [job for job in due if job.ended]
        for job in over:
            self._decoder.leave(job.stream)
        self._in_flight.append((None, streams, over))
        for job in due:
            del self._fresh[job]
        self.counts["ticks"] += 1
        self.seconds["decoder"] += time.perf_counter() - began

    def _hand_out(self, wait):
        """Hands out the samples that are ready; with `wait`, all that are in flight."""
        while self._in_flight and (wait or self._in_flight[0][0] is None or self._in_flight[0][0].ready):
            decoded, streams, over = self._in_flight.popleft()
            for stream, samples in decoded.chunks().items() if decoded else ():
                streams[stream].give(samples)
            for job in over:
                job.end()
