"""One of several processes that talk to clients: it takes connections of a port that all share, and asks the one that started it for places."""

import asyncio
import os
import signal
from itertools import count

from orpheus.common.errors import OrpheusError
from orpheus.server.app import settle_first
from orpheus.server.engine_process import end_with_parent
from orpheus.server.failures import Refusal
from orpheus.server.joined import Engines, JoinedEngine
from orpheus.server.link import Link
from orpheus.server.metrics import Metrics
from orpheus.server.running import BACKLOG, Running

_TELLS = 2.0  # seconds between two reports of what was counted: so much is lost of it with this process


def run_front(connection, listening, options, keys, doors, voice_models, others):
    """The process' work. connection: to Fronts; listening: the socket; doors: of the engines, see EngineSpec; others: whether others
    take connections until this one can speak; the rest as for Running"""
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)  # it is told when to end
    end_with_parent()
    front = Front(connection, options, keys, doors, voice_models, others)
    try:
        front.run([listening])
    except OrpheusError as error:
        front.link.send("failed", str(error))
    front.link.close(5)


class Front(Running):
    def __init__(self, connection, options, keys, doors, voice_models=(), others=False):
        self._connection, self.link = connection, None
        self._asked, self._numbers = {}, count()  # {number: the future of an answer}
        engines = Engines([JoinedEngine(door, options.ahead_seconds) for door in doors])
        super().__init__(
            options,
            keys,
            engine=engines,
            voice_models=voice_models,
            metrics=_Counted(self.ask),
            admission=AskedAdmission(self.ask, self._leave),
            backlog=1,  # others are there to take the next one
        )
        if others:
            settle_first(self.application, self.speaker)

    async def startup(self, sockets=None):
        self.link = Link(self._connection, self._heard, lambda: None)
        await super().startup(sockets)
        for listening in sockets or ():
            listening.listen(BACKLOG)
        self._telling = asyncio.get_running_loop().create_task(self._tell())

    async def _tell(self):
        while True:
            self.link.send("counted", None, self.speaker.metrics.families())
            await asyncio.sleep(_TELLS)

    def greet(self, seconds):
        catalogue = self.speaker.catalogue
        self.link.send("ready", catalogue.models[catalogue.default], self.wyoming_address)

    def handle_exit(self, sig, frame):
        """Signals are for the process that started it."""

    # --- what it asks and is told ---

    async def ask(self, kind, *rest):
        """(number, answer) of what is asked. Raises Refusal."""
        number = next(self._numbers)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        self.link.send(kind, number, *rest)
        try:
            return number, await answer
        except asyncio.CancelledError:
            self._leave(number)
            raise
        finally:
            del self._asked[number]

    def _leave(self, number):
        self.link.send("leave", number)

    def _heard(self, kind, *rest):
        if kind in ("answer", "refused"):
            number, value = rest
            future = self._asked.get(number)
            if future is not None and not future.done():
                future.set_result(value) if kind == "answer" else future.set_exception(Refusal(*value))
        elif kind == "count":
            self.link.send("counted", rest[0], self.speaker.metrics.families())
        elif kind == "drain":
            self.speaker.admission.draining = True
        elif kind == "stop":
            if not self.started:  # it waits for an engine, and nobody for it
                os._exit(0)
            self.should_exit = True


class _Counted(Metrics):
    def __init__(self, ask):
        super().__init__()
        self._ask = ask

    async def whole_page(self):
        return (await self._ask("page"))[1]


class AskedAdmission:
    """As Admission, of which there is one for all fronts. ask: Front.ask; leave: gives a place back"""

    def __init__(self, ask, leave):
        self._ask, self._give_back = ask, leave
        self.slots, self.active, self.draining = 1, 0, False  # active: texts of this front

    async def enter(self, key):
        number, engine = await self._ask("admit", key)
        self.active += 1
        return AskedTicket(self, number, engine)

    def leave(self, number):
        self.active -= 1
        self._give_back(number)


class AskedTicket:
    """A text's place; give it back once. engine: the number of the one that is to speak it"""

    def __init__(self, admission, number, engine):
        self._admission, self._number, self.engine, self._left = admission, number, engine, False

    def leave(self):
        if not self._left:
            self._left = True
            self._admission.leave(self._number)
