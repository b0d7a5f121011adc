"""A request on its way to speech: checked, let in, made ready, spoken, counted. What HTTP, WebSockets and Wyoming share."""

import asyncio
import time
from dataclasses import dataclass, field

from orpheus.common.frame import SAMPLE_RATE
from orpheus.server.engine import EngineError
from orpheus.server.failures import Refusal, broken, busy, invalid, late, unavailable
from orpheus.server.journal import tell
from orpheus.server.limits import Admission
from orpheus.server.sound import encoding_threads
from orpheus.server.voices import Catalogue, ServedModel

_LOADING = 5  # seconds after which one should ask again


@dataclass(frozen=True)
class Wanted:
    """What is to be spoken."""

    text: str
    model: str | None = None
    voice: str | None = None
    choices: dict = field(default_factory=dict)  # options of orpheus.speech
    whole: bool = False  # whether it is kept until it is complete


class Speaker:
    """options: ServerOptions; engine: Engine, which `start` starts; preparer: Preparer; metrics: Metrics; voice_models: {voice: model's id}

    listener: a words.Listener, or None where word times are by piece
    """

    def __init__(self, options, engine, preparer, metrics, voice_models=(), listener=None):
        self.options, self.engine, self.preparer, self.metrics = options, engine, preparer, metrics
        self.voice_models, self.listener = dict(voice_models), listener
        self.catalogue, self.threads = None, encoding_threads()
        self.admission = Admission(options, 1, metrics)
        self._ready, self._tasks, self._created = asyncio.Event(), set(), int(time.time())
        engine.on_ready, engine.on_restart = self._learn, self._lost

    def _learn(self, facts):
        """What the engine tells of itself."""
        models = {id: ServedModel(id, created=self._created, **known) for id, known in facts["models"].items()}
        self.catalogue = Catalogue(models, self.voice_models)
        self.admission.slots = facts["slots"]
        self._later(self._teach(facts["texts"]))

    async def _teach(self, texts):
        await self.preparer.teach(texts)
        self.metrics.ready.set(1)
        self._ready.set()

    def _lost(self):
        self.metrics.ready.set(0)
        self.metrics.restarts.inc()
        self._ready.clear()

    def _later(self, work):
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def ready(self):
        return self._ready.is_set() and self.engine.state == "ready"

    async def settled(self):
        """Waits until it can speak. Raises OrpheusError where the engine cannot be loaded."""
        await self.engine.settled()
        await self._ready.wait()

    def check_names(self, model, voice):
        """Raises Refusal where there is no such model or voice, or nothing is known yet."""
        if self.catalogue is None:
            raise unavailable("the model is being loaded: ask again in some seconds", _LOADING)
        self.catalogue.find(model, voice)

    def language(self, model, voice):
        """The language that a model's voice speaks; None where nobody says."""
        try:
            self.check_names(model, voice)
        except Refusal:
            return None
        id, voice = self.catalogue.find(model, voice)
        return self.catalogue.models[id].language_of(voice)

    async def open(self, wanted, key):
        """A Speech whose first sound is there. key: whose it is. Raises Refusal."""
        began = time.monotonic()
        self._check(wanted)
        if not self.ready:
            raise unavailable("the model is being loaded: ask again in some seconds", _LOADING)
        model, voice = self.catalogue.find(wanted.model, wanted.voice)
        ticket = self.admission.admit(key)
        speech = Speech(self, ticket, began)
        try:
            await asyncio.wait_for(speech.begin(model, voice, wanted), self.options.first_audio_seconds)
        except asyncio.TimeoutError as error:
            speech.close("late")
            raise late(
                f"no sound within {self.options.first_audio_seconds:g} s: try again when less is going on"
            ) from error
        except BaseException as error:
            speech.close("refused" if isinstance(error, Refusal) else "hang_up")
            raise
        self.metrics.characters.inc(len(wanted.text))
        return speech

    def _check(self, wanted):
        if not wanted.text.strip():
            raise invalid("input is empty: say what is to be spoken", "input", "invalid_value")
        most = self.options.longest_whole if wanted.whole else self.options.longest_text
        if len(wanted.text) > most:
            cure = (
                "leave `stream: false` out, or send it in parts"
                if len(wanted.text) <= self.options.longest_text
                else "send it in parts"
            )
            raise invalid(
                f"input has {len(wanted.text):,} characters, and {most:,} are the most: {cure}",
                "input",
                "string_above_max_length",
            )

    def close(self):
        """Ends engine and processes. Blocks."""
        self.engine.close()
        self.preparer.close()
        self.threads.shutdown(wait=False, cancel_futures=True)
        if self.listener is not None:
            self.listener.close()


class Speech:
    """A text that is being spoken: an asynchronous iterator of lists of (kind, value), see EngineStream.take, without the last "over".

    Close it, whatever happens. tokens_in, tokens_out, seconds: so far; finish_reason: of its pieces, the first that is not usual
    """

    def __init__(self, speaker, ticket, began):
        self._speaker, self._ticket, self._began = speaker, ticket, began
        self._stream, self._first, self.over, self._last = None, None, False, None
        self.plan, self.tokens_out, self.samples, self.finish_reason = None, 0, 0, "end_of_speech"
        self.first_seconds = None  # from its arrival to its first sound
        self._played_until, self._ended = 0.0, False

    @property
    def tokens_in(self):
        return self.plan.tokens

    @property
    def seconds(self):
        """Of sound, as it was spoken."""
        return self.samples / SAMPLE_RATE

    async def begin(self, model, voice, wanted):
        """Waits for the first sound. Raises Refusal."""
        metrics = self._speaker.metrics
        metrics.waiting.inc()
        try:
            self.plan = await self._speaker.preparer.plan(model, wanted.text, voice, wanted.choices)
            if self._speaker.options.log_text:
                for warning in self.plan.warnings:
                    tell(f"warning: {warning}")
            self._stream = self._speaker.engine.speak(self.plan)
            self._first = []
            while not any(kind == "chunk" for kind, *_ in self._first):
                self._first += await self._stream.take()
        except EngineError as error:
            raise _refusal(error) from error
        finally:
            metrics.waiting.dec()
        metrics.streams.inc()
        self.first_seconds = next(when for kind, _, when in self._first if kind == "chunk") - self._began
        metrics.first_audio.observe(self.first_seconds)

    def __aiter__(self):
        return self

    async def __anext__(self):
        """Raises EngineError where it breaks off."""
        if self.over:
            raise StopAsyncIteration
        items, self._first = self._first, None
        if items is None:
            items = await self._stream.take()
        given = []
        for kind, value, when in items:
            if kind == "over":
                self.over = True
                continue
            if kind == "piece":
                tokens, reason = value
                self.tokens_out += tokens
                if self.finish_reason == "end_of_speech":
                    self.finish_reason = reason
            else:
                self._count(len(value) / SAMPLE_RATE, when)
                self.samples += len(value)
            given.append((kind, value))
        if not given:
            raise StopAsyncIteration
        return given

    def _count(self, seconds, when):
        """A chunk's arrival, against the sound that the one before it holds."""
        metrics = self._speaker.metrics
        if self._last is not None:
            then, held = self._last
            metrics.gaps.observe((when - then) / held)
            metrics.late.inc(when > self._played_until)
        self._played_until = max(self._played_until, when) + seconds
        self._last = when, seconds
        metrics.audio.inc(seconds)

    def close(self, reason):
        """reason: how it ended, for the metrics"""
        if self._ended:
            return
        self._ended = True
        if self._stream is not None:
            self._stream.close()
        self._ticket.leave()
        metrics = self._speaker.metrics
        metrics.ends.labels(reason).inc()
        if self.first_seconds is not None:
            metrics.streams.dec()
            if self._last is not None:
                metrics.factor.observe((self._last[0] - self._began) / max(self.seconds, 0.001))


def _refusal(error):
    if error.kind == "input":
        return invalid(str(error), "input")
    if error.kind == "busy":
        return busy(str(error), _LOADING)
    if error.kind == "loading":
        return unavailable(str(error), _LOADING)
    return broken(f"this text could not be spoken: {error}")
