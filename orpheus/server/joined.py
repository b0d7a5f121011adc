"""Engines' processes as a front sees them: others start them and bring them back, and a front joins them."""

import asyncio
import contextlib
import threading
import time
from multiprocessing import AuthenticationError, current_process
from multiprocessing.connection import Client

from orpheus.server.engine import Engine, EngineError
from orpheus.server.link import Link

_AGAIN = 0.1  # seconds between two tries to join one that is loading


class JoinedEngine(Engine):
    """A process that was started elsewhere. door: see EngineSpec"""

    def __init__(self, door, ahead_seconds=30.0):
        super().__init__(None, ahead_seconds)
        self._door = door

    def _launch(self):
        """Joins it, whenever it lets one in."""
        threading.Thread(target=self._knock, name="orpheus-joining", daemon=True).start()

    def _knock(self):
        while not self._closing:
            try:
                connection = Client(self._door, "AF_UNIX", authkey=current_process().authkey)
            except (OSError, EOFError, AuthenticationError):  # it is loading
                time.sleep(_AGAIN)
                continue
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._join, connection)
            return

    def _join(self, connection):
        self._link = Link(connection, self._heard, self._left)

    def _left(self):
        """It has gone."""
        self._cut_off()
        if self._closing:
            return
        self.state = "loading"
        if self.on_restart:
            self.on_restart()
        self._launch()

    def close(self, seconds=10.0):
        self._closing, self.state = True, "closed"
        if self._link is not None:
            self._link.send("stop", None)
            self._link.close()


class Engines:
    """Several engines of the same models as one; see Engine. They are there as soon as one of them is."""

    def __init__(self, engines):
        self._engines = engines
        self.on_ready = self.on_restart = self.reason = self.pid = None
        self._closed = False
        for engine in engines:
            engine.on_ready, engine.on_restart = self._one_is_ready, self._one_is_lost

    def _ready(self):
        return [engine for engine in self._engines if engine.state == "ready"]

    def _one_is_ready(self, facts):
        if len(self._ready()) == 1:
            self.on_ready(facts)

    def _one_is_lost(self):
        if not self._ready():
            self.on_restart()

    @property
    def state(self):
        return "closed" if self._closed else "ready" if self._ready() else "loading"

    @property
    def streams(self):
        return sum(engine.streams for engine in self._engines)

    def start(self):
        for engine in self._engines:
            engine.start()

    async def settled(self):
        tasks = [asyncio.ensure_future(engine.settled()) for engine in self._engines]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()

    def speak(self, plan, which=None):
        """which: the number of the one that is to speak, if it can"""
        ready = self._ready()
        if not ready:
            raise EngineError("loading", "the engine is being loaded: ask again in some seconds")
        chosen = self._engines[which] if which is not None else ready[0]
        return (chosen if chosen in ready else min(ready, key=lambda engine: engine.streams)).speak(plan)

    def close(self):
        self._closed = True
        for engine in self._engines:
            engine.close()
