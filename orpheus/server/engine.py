"""The engine's process as the event loop sees it: it is started, brought back when it dies, and speaks texts as streams of chunks."""

import asyncio
import multiprocessing
import time
from collections import deque
from functools import partial

from orpheus.common.errors import OrpheusError
from orpheus.common.frame import SAMPLE_RATE
from orpheus.server.engine_process import run_engine
from orpheus.server.journal import tell
from orpheus.server.link import Link

_PAUSES = (0.5, 1, 2, 5, 10, 30)  # seconds before a process is started again, the last one from then on
_STEADY = 60.0  # seconds after which a death counts as the first again


class Deaths:
    """How often a process has died lately."""

    def __init__(self):
        self._count, self._started = 0, time.monotonic()

    def begin(self):
        """It is started."""
        self._started = time.monotonic()

    def pause(self):
        """It has died: seconds until it is to be started again."""
        self._count = 1 if time.monotonic() - self._started > _STEADY else self._count + 1
        return _PAUSES[min(self._count, len(_PAUSES)) - 1]


class EngineError(OrpheusError):
    """A text that the engine did not speak to its end. kind: "input", "busy" or "engine"."""

    def __init__(self, kind, message):
        super().__init__(message)
        self.kind = kind


class EngineStream:
    """What becomes of one text. For one task of the event loop."""

    def __init__(self, engine, number):
        self._engine, self._number = engine, number
        self._items, self._event = deque(), asyncio.Event()
        self._samples, self._held, self.over = 0, False, False  # samples not taken yet

    async def take(self):
        """[(kind, value, when)] of all that has come, at least one: ("chunk", float32), ("piece", (tokens, finish_reason)),
        ("over", None); when: time.monotonic() of its arrival.

        Raises EngineError; then nothing more comes.
        """
        while not self._items:
            self._event.clear()
            await self._event.wait()
        items, error = [], None
        while self._items:
            kind, value, when = self._items.popleft()
            if kind == "error":
                if items:  # first what came before it
                    self._items.appendleft((kind, value, when))
                    break
                error = EngineError(*value)
            else:
                items.append((kind, value, when))
        if error:
            self._items.append(("error", (error.kind, str(error)), when))
            raise error
        self._samples = 0
        if self._held:
            self._held = False
            self._engine.tell("resume", self._number)
        return items

    def give(self, kind, value):
        """From the engine."""
        self._items.append((kind, value, time.monotonic()))
        if kind == "chunk":
            self._samples += len(value)
            if not self._held and self._samples > self._engine.ahead_seconds * SAMPLE_RATE:
                self._held = True
                self._engine.tell("hold", self._number)
        elif kind in ("over", "error"):
            self.over = True
        self._event.set()

    def close(self):
        """Nothing more is wanted: the engine frees its row before its next step."""
        self._items.clear()
        self._engine.forget(self._number, tell=not self.over)


class Engine:
    """A process that speaks. Everything but what is said to be otherwise is for the event loop that `start` was called in.

    spec: EngineSpec, or what `work` takes; ahead_seconds: sound that may wait to be taken before a text is held; work: what the
    process runs. on_ready is called with what the process tells of itself, each time that it can speak; on_restart when it has died.
    """

    def __init__(self, spec, ahead_seconds=30.0, work=run_engine):
        self.spec, self.ahead_seconds, self._work = spec, ahead_seconds, work
        self.on_ready = self.on_restart = None
        self.state, self.reason, self.facts, self._deaths = "loading", None, None, Deaths()
        self._streams, self._next, self._process, self._link = {}, 0, None, None
        self._changed, self._closing, self._loop = None, False, None

    def start(self):
        """Starts the process; returns at once."""
        self._loop, self._changed = asyncio.get_running_loop(), asyncio.Event()
        self._launch()

    async def settled(self):
        """Waits until it can speak, or never will. Raises OrpheusError where it cannot be loaded."""
        while self.state == "loading":
            self._changed.clear()
            await self._changed.wait()
        if self.state == "failed":
            raise OrpheusError(self.reason)

    @property
    def pid(self):
        return self._process.pid if self._process is not None else None

    def _launch(self):
        ours, theirs = multiprocessing.Pipe()
        self._process = process = self._start_process(theirs)
        self._deaths.begin()
        self._link = Link(ours, self._heard, partial(self._died, process), process.join)

    def _start_process(self, theirs):
        """theirs: the process' end of the connection"""
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=self._work, args=(theirs, self.spec), name="orpheus-engine")
        process.start()
        theirs.close()
        return process

    def _heard(self, kind, value):
        if kind == "made":
            for number, what, item in value:
                stream = self._streams.get(number)
                if stream is not None:
                    stream.give(what, item)
        elif kind == "ready":
            self.facts, self.state = value, "ready"
            if self.on_ready:
                self.on_ready(value)
            self._changed.set()
        elif kind == "failed":
            self.reason = value

    def _died(self, process):
        if self._closing or process is not self._process:
            return
        first, status = self.facts is None, process.exitcode
        lost = self._cut_off()
        if first:  # it never spoke: the user is told why
            self.state = "failed"
            self.reason = self.reason or f"the engine's process ended with status {status} while it loaded"
            self._changed.set()
            return
        pause = self._deaths.pause()
        self.state = "loading"
        why = f": {self.reason}" if self.reason else ""
        tell(
            f"the engine's process ended with status {status}{why}; {lost} texts were cut off; it starts again in {pause:g} s"
        )
        self.reason = None
        if self.on_restart:
            self.on_restart()
        self._loop.call_later(pause, self._again)

    def _cut_off(self):
        """Ends what is being spoken; how many texts that were."""
        lost = len(self._streams)
        self._link.close()
        for stream in list(self._streams.values()):
            stream.give("error", ("engine", "the engine stopped while this was spoken"))
        self._streams.clear()
        return lost

    def _again(self):
        if not self._closing:
            self._launch()

    # --- texts ---

    def speak(self, plan, which=None):
        """An EngineStream for a Plan. which: see Engines. Raises EngineError while it cannot speak."""
        if self.state != "ready":
            raise EngineError("loading", "the engine is being loaded: ask again in some seconds")
        number, self._next = self._next, self._next + 1
        stream = self._streams[number] = EngineStream(self, number)
        self.tell("start", number, plan.model, plan.work)
        return stream

    def tell(self, kind, number, *rest):
        self._link.send(kind, number, *rest)

    def forget(self, number, tell=True):
        if self._streams.pop(number, None) is not None and tell:
            self.tell("close", number)

    @property
    def streams(self):
        """How many texts it has."""
        return len(self._streams)

    def close(self, seconds=10.0):
        """Ends the process; texts that are being spoken are cut off. Blocks. From any thread."""
        loading = self.state == "loading"
        self._closing, self.state = True, "closed"
        if self._process is None:
            return
        if loading:  # it does not listen yet
            self._process.kill()
        self._link.send("stop", None)
        self._link.close()
        self._process.join(seconds)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
