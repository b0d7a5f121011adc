"""Several processes that talk to clients, and the engines that they share: started, brought back, and ended by this one.

It owns the port, and what there is one of: who is let in, what was counted, when it ends. Sound does not pass through it.
"""

import asyncio
import contextlib
import multiprocessing
import os
import secrets
import shutil
import signal
import socket
import tempfile
import time
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge

from orpheus.common.errors import InputError, OrpheusError
from orpheus.common.options import check
from orpheus.server.engine import Deaths, Engine
from orpheus.server.failures import Refusal
from orpheus.server.front import run_front
from orpheus.server.journal import tell
from orpheus.server.limits import Admission
from orpheus.server.link import Link
from orpheus.server.metrics import lasting, merge, page_of
from orpheus.server.running import BACKLOG, address_of, greeting

_TO_COUNT = 2.0  # seconds that a front may take to say what it counted
_TO_END = 10.0  # seconds that it may take to end
_LOOK = 0.1  # seconds between two looks at whether all texts are over


class _Front:
    """A front's process as it is seen here."""

    def __init__(self, process):
        self.process, self.link, self.ready, self.gone, self.reason = process, None, False, False, None
        self.tickets, self.counted = {}, []  # {number: (Ticket, engine)}; families


class Fronts:
    """options: ServerOptions; keys: {key: name}; spec: EngineSpec; engines: processes that speak; the rest as for Running and Engine"""

    def __init__(self, options, keys, spec, engines=1, voice_models=(), make_engine=Engine):
        self.options, self.keys, self.voice_models = options, keys, dict(voice_models)
        self._folder = Path(tempfile.gettempdir()) / f"orpheus-{secrets.token_hex(8)}"  # where fronts find engines
        self.engines = [make_engine(part, options.ahead_seconds) for part in shares(spec, engines, self._folder)]
        self.fronts = {}  # {number: _Front}
        self.admission = Admission(options, 1, None)
        self.failed, self.listening, self.ready, self.draining = None, None, False, False
        self._speaking = [0] * engines  # texts that were given to each engine
        self._deaths = [Deaths() for _ in range(options.fronts)]
        self._past = []  # families of fronts that have ended
        self._counts, self._numbers = {}, count()  # {(front's number, question's): the future of its answer}
        self._model = self._wyoming = None  # what a front tells of itself
        registry = CollectorRegistry()
        own = {"registry": registry, "namespace": "orpheus"}
        self._restarts = Counter("engine_restarts", "Times that an engine was brought back", **own)
        self._front_restarts = Counter("front_restarts", "Times that a front was brought back", **own)
        self._there = Gauge("fronts", "Fronts that talk to clients", **own)
        self._registry = registry

    @property
    def address(self):
        """http://host:port"""
        return address_of(self.listening)

    @property
    def processes(self):
        """[ids of processes that talk to clients, and of this one], [ids of those that speak]"""
        fronts = [front.process.pid for front in self.fronts.values()]
        return [os.getpid(), *fronts], [engine.pid for engine in self.engines]

    def run(self):
        """Serves until it is told to stop. Raises OrpheusError where a model cannot be loaded or the port not be had."""
        with self._listen() as self.listening:
            self._folder.mkdir(mode=0o700)  # for nobody else; what is removed is what was made here
            try:
                asyncio.run(self._serve())
            finally:
                shutil.rmtree(self._folder, ignore_errors=True)
        if self.failed:
            raise self.failed

    def _listen(self):
        host, port = self.options.host, self.options.port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            return socket.create_server((host, port), family=family, backlog=BACKLOG)
        except OSError as error:
            reason = error.strerror or error
            raise InputError(f"{host}:{port} cannot be listened at: {reason}; --port takes another one") from error

    async def _serve(self):
        self._loop, self._end, self._begun = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        with contextlib.suppress(ValueError, NotImplementedError, RuntimeError):  # in a thread, as in tests
            for name in (signal.SIGINT, signal.SIGTERM):
                self._loop.add_signal_handler(name, self.stop)
        for engine in self.engines:
            engine.on_ready, engine.on_restart = self._learn, self._restarts.inc
            engine.start()
        for number in range(self.options.fronts):
            self._launch(number)
        starting = self._loop.create_task(self._begin())
        await self._end.wait()
        starting.cancel()
        await self._close()

    async def _begin(self):
        began = time.monotonic()
        try:
            await asyncio.gather(*(engine.settled() for engine in self.engines))
        except OrpheusError as error:
            return self._fail(error)
        await self._begun.wait()
        self.ready = True
        lines = greeting(
            self.address,
            self._model,
            self.admission.slots,
            self.keys,
            time.monotonic() - began,
            self._wyoming,
            self.options.fronts,
        )
        for line in lines:
            tell(line)

    def _fail(self, error):
        if not self.failed:
            self.failed = error
            self._end.set()

    # --- engines ---

    def _learn(self, _):
        self.admission.slots = sum(engine.facts["slots"] for engine in self.engines if engine.facts)

    def _choose(self):
        """The number of the engine with the most room; None where none can speak."""
        ready = [number for number, engine in enumerate(self.engines) if engine.state == "ready"]
        room = {number: self.engines[number].facts["slots"] - self._speaking[number] for number in ready}
        return max(room, key=room.get, default=None)

    # --- fronts ---

    def _launch(self, number):
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        doors = [engine.spec.door for engine in self.engines]
        options = options_of_front(self.options, number)
        work = (theirs, self.listening, options, self.keys, doors, self.voice_models, self.ready)
        process = context.Process(target=run_front, args=work, name=f"orpheus-front-{number}")
        process.start()
        theirs.close()
        self._deaths[number].begin()
        front = self.fronts[number] = _Front(process)
        front.link = Link(ours, partial(self._heard, number, front), partial(self._died, number, front), process.join)

    def _heard(self, number, front, kind, *rest):
        if kind == "admit":
            self._admit(front, *rest)
        elif kind == "leave":
            self._leave(front, *rest)
        elif kind == "counted":
            asked, front.counted = rest
            if (future := self._counts.get((number, asked))) is not None and not future.done():
                future.set_result(None)
        elif kind == "page":
            self._loop.create_task(self._page(front, *rest))
        elif kind == "ready":
            self._front_ready(front, *rest)
        elif kind == "failed":
            front.reason = rest[0]

    def _front_ready(self, front, model, wyoming):
        front.ready, self._model = True, model
        self._wyoming = wyoming or self._wyoming
        if len(self.fronts) == self.options.fronts and all(one.ready for one in self.fronts.values()):
            self._begun.set()

    def _admit(self, front, number, key):
        try:
            ticket = self.admission.admit(key)
        except Refusal as refusal:
            front.link.send("refused", number, refusal.parts)
            return
        engine = self._choose()
        if engine is not None:
            self._speaking[engine] += 1
        front.tickets[number] = ticket, engine
        front.link.send("answer", number, engine)

    def _leave(self, front, number):
        ticket, engine = front.tickets.pop(number, (None, None))
        if ticket is not None:
            ticket.leave()
        if engine is not None:
            self._speaking[engine] -= 1

    def _died(self, number, front):
        lost = len(front.tickets)
        for ticket in list(front.tickets):
            self._leave(front, ticket)
        front.link.close()
        self._past = merge([*self._past, *lasting(front.counted)])
        front.counted, front.ready, front.gone = [], False, True
        if self._end.is_set():
            return
        status = front.process.exitcode
        if not self.ready:
            reason = front.reason or f"a front's process ended with status {status} while it began"
            return self._fail(OrpheusError(reason))
        pause = self._deaths[number].pause()
        why = f": {front.reason}" if front.reason else ""
        tell(
            f"front {number + 1}'s process ended with status {status}{why}; {lost} texts were cut off; it starts again in {pause:g} s"
        )
        self._front_restarts.inc()
        self._loop.call_later(pause, self._again, number)

    def _again(self, number):
        if not self._end.is_set():
            self._launch(number)
            if self.draining:
                self.fronts[number].link.send("drain")

    # --- what was counted ---

    async def _page(self, asking, number):
        """Answers a front with what all of them counted."""
        waited = []
        question = next(self._numbers)
        for name, front in self.fronts.items():
            if not front.gone:
                self._counts[name, question] = self._loop.create_future()
                waited.append((name, question))
                front.link.send("count", question)
        if waited:
            await asyncio.wait([self._counts[one] for one in waited], timeout=_TO_COUNT)
        for one in waited:
            self._counts.pop(one, None)
        asking.link.send("answer", number, page_of(self._families()))

    def _families(self):
        self._there.set(sum(front.ready for front in self.fronts.values()))
        own = list(self._registry.collect())
        names = {family.name for family in own}
        counted = [*self._past, *(family for front in self.fronts.values() for family in front.counted)]
        return [*merge([family for family in counted if family.name not in names]), *own]

    # --- the end ---

    def stop(self):
        """The first call lets the texts end that are being spoken; a second one does not."""
        if self.draining:
            self._end.set()
            return
        self.draining = self.admission.draining = True
        for front in self.fronts.values():
            front.link.send("drain")
        self._loop.create_task(self._drain())

    def end(self):
        """Ends it at once. From any thread."""
        self._loop.call_soon_threadsafe(self._end.set)

    async def _drain(self):
        deadline = time.monotonic() + self.options.drain_seconds
        while self.admission.active and time.monotonic() < deadline:
            await asyncio.sleep(_LOOK)
        if self.admission.active:
            tell(f"{self.admission.active} texts were not over after {self.options.drain_seconds:g} s, and are cut off")
        self._end.set()

    async def _close(self):
        processes = [front.process for front in self.fronts.values()]
        for front in self.fronts.values():
            front.link.send("stop")
        await self._loop.run_in_executor(None, _end, processes)
        await asyncio.gather(*(self._loop.run_in_executor(None, engine.close) for engine in self.engines))


def _end(processes):
    deadline = time.monotonic() + _TO_END
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.exitcode is None:
            process.kill()
            process.join()


def shares(spec, engines, folder):
    """An EngineSpec for each of several processes. folder: for the sockets where fronts come in"""
    check(
        hasattr(socket, "AF_UNIX"),
        "several fronts need sockets that Windows has not: leave out --fronts, or run it in WSL",
    )
    check(
        spec.slots is None or spec.slots >= engines,
        f"max_streams {spec.slots} is too few for {engines} fronts, each of which speaks: raise it, or start fewer fronts",
    )
    cores = os.cpu_count() or 1
    parts = []
    for number in range(engines):
        slots = spec.slots and spec.slots // engines + (number < spec.slots % engines)
        threads = max(1, cores // engines) if engines > 1 else None
        parts.append(replace(spec, slots=slots, threads=threads, door=str(folder / f"engine-{number}")))
    return parts


def options_of_front(options, number):
    """What a front is told: connections are split, and the first one speaks Wyoming."""
    connections = -(-options.connections // options.fronts)
    return replace(options, connections=connections, wyoming=options.wyoming if number == 0 else None)
