"""The server in this process: its engine is a thread with scripted pools, and texts are read right where they come."""

import pickle
import signal
import threading
import time
from contextlib import contextmanager

import httpx
import numpy as np

from orpheus.common.errors import InputError
from orpheus.engines import ENDED, WAITING
from orpheus.server.engine import Engine
from orpheus.server.engine_process import facts_of, serve
from orpheus.server.options import ServerOptions
from orpheus.server.pool import StreamPool
from orpheus.server.preparing import Plan, plan_text, refusal_of
from orpheus.server.running import Running


class Talker:
    """An engine that speaks as many frames as it is told to, in any number of slots, at most one step each `pause` seconds."""

    def __init__(self, layout, frames=6, pause=0.0):
        self.layout, self.frames, self.pause, self.fail, self.opened = layout, frames, pause, None, []
        self.spoken = []  # prompts

    def open(self, slots, length):
        self.opened.append(slots)
        return _Slots(self, slots)

    def release(self):
        pass

    def tokens(self, seed):
        codes = np.random.default_rng(seed).integers(0, 32, (self.frames, 7))
        return [*self.layout.to_tokens(codes).tolist(), self.layout.end_of_speech]


class _Slots:
    def __init__(self, engine, slots):
        self.engine, self.rows = engine, [None] * slots

    @property
    def free(self):
        return self.rows.count(None)

    def join(self, prompt_ids, sampling, seed):
        slot = self.rows.index(None)
        self.engine.spoken.append(list(prompt_ids))
        self.rows[slot] = iter([WAITING, *self.engine.tokens(seed)])
        return slot

    def leave(self, slot):
        self.rows[slot] = None

    def step(self):
        time.sleep(self.engine.pause)
        if self.engine.fail:
            error, self.engine.fail = self.engine.fail, None
            raise error
        return np.array([ENDED if row is None else next(row, ENDED) for row in self.rows], dtype=np.int64)


class _Thread:
    """What Engine wants of a process."""

    def __init__(self, target):
        self.pid, self.exitcode = 0, None
        self._thread = threading.Thread(target=self._run, args=(target,), daemon=True)
        self._thread.start()

    def _run(self, target):
        target()
        self.exitcode = 0

    def join(self, seconds=None):
        self._thread.join(seconds)

    def kill(self):
        pass


class ThreadEngine(Engine):
    """An engine without a process. models: {id: LoadedModel}; together: whether they are voices of one pool"""

    def __init__(self, models, slots, waiting, ahead_seconds=30.0, together=False):
        super().__init__(None, ahead_seconds)
        self._models, self._slots, self._waiting, self.pools = models, slots, waiting, {}
        self.launches, self._together = 0, together

    def _start_process(self, theirs):
        self.launches += 1
        self._theirs = theirs
        return _Thread(lambda: self._speak(theirs))

    def _speak(self, theirs):
        if self._together:
            first = next(iter(self._models.values()))
            self.pools = StreamPool(first, self._slots, 1536, self._waiting, voices=self._models).voices
        else:
            self.pools = {id: StreamPool(m, self._slots, 1536, self._waiting) for id, m in self._models.items()}
        serve(theirs, self.pools, facts_of(self.pools))
        for pool in self.pools.values():
            pool.close()
        theirs.close()

    def die(self):
        """As a process that is killed."""
        self.tell("stop", None)


class Reader:
    """Reads texts in the event loop's thread."""

    def __init__(self):
        self.models, self.texts = {}, []

    def start(self):
        pass

    async def teach(self, models):
        self.models = {id: pickle.loads(data) for id, data in models.items()}

    async def plan(self, model, text, voice, options):
        self.texts.append(text)
        try:
            return Plan(model, *plan_text(self.models[model], text, voice, options))
        except InputError as error:
            raise refusal_of(str(error), options) from error

    def close(self):
        pass


@contextmanager
def serving(models, keys=None, slots=2, voice_models=(), together=False, **options):
    """A server at a free port of this machine: yields the Running, whose `address` and `speaker.engine` are there.

    models: {id: LoadedModel}, and whether they are voices of one pool; keys: {key: name}; options: of ServerOptions
    """
    chosen = ServerOptions(port=0, **options)
    engine = ThreadEngine(models, slots, chosen.queue, chosen.ahead_seconds, together)
    server = Running(chosen, keys or {}, engine=engine, preparer=Reader(), voice_models=voice_models)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        wait_for(lambda: server.started and server.speaker.ready, "the server")
        yield server
    finally:
        server.should_exit = True
        thread.join(60)


def wait_for(condition, what="it", seconds=60):
    """Until something is so; fails after some seconds."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, f"{what}: not within {seconds} s"
        time.sleep(0.005)


def check_end(process, address, fields):
    """A server's process that is told to end while it speaks lets the text end, and says so. fields: of the request"""
    with httpx.stream("POST", f"{address}/v1/audio/speech", json=fields, timeout=60) as response:
        chunks = response.iter_raw()
        made = next(chunks)
        process.send_signal(signal.SIGTERM)
        made += b"".join(chunks)  # to its end
    assert len(made) > 4096
    assert process.wait(60) == 0
    assert "done after" in process.stderr.read()
