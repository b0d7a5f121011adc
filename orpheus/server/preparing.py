"""Texts are made ready to be spoken in processes of their own: one that is slow to read silences nobody.

Short texts and long ones have a process each. One that takes too long is ended with its text, and another one started.
"""

import asyncio
import multiprocessing
import pickle
import re
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from orpheus.common.errors import InputError, OrpheusError
from orpheus.server.failures import broken, invalid, unavailable
from orpheus.server.warming import TEXT

_SHORT = 1000  # characters; more go to the process for long texts
_SLOW = re.compile(r"\S{60}")  # what has no spaces may be a number of many digits
_BEGINS = 60.0  # seconds that a process may take to begin, on a busy machine
_SECONDS = {"short": 5.0, "long": 60.0}  # that a text may take; 100,000 characters of prose take 0.3 s


@dataclass(frozen=True)
class Plan:
    """A text that is ready."""

    model: str
    work: bytes  # pickled (Request, SamplingOptions), for the engine's process
    pieces: tuple  # what the model reads: one text each
    tokens: int  # of all prompts
    warnings: tuple


def plan_text(model, text, voice, options):
    """(work, pieces, tokens, warnings) of a text, see Plan. model: a LoadedModel, which needs no engine. Raises InputError."""
    from orpheus.speech.request import plan_stream

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        request, sampling, _ = plan_stream(model, text, voice, options)
    pieces = tuple(utterance.text for utterance in request.utterances)
    tokens = sum(len(utterance.prompt) for utterance in request.utterances)
    return pickle.dumps((request, sampling)), pieces, tokens, tuple(str(warning.message) for warning in caught)


def _serve(connection):
    """The loop of a process that prepares."""
    import signal

    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)  # it ends when its connection does
    import orpheus.speech.request  # noqa: F401 (now, and not when the first text has come)

    connection.send("begun")
    models = {}
    while True:
        try:
            kind, *arguments = connection.recv()
        except (EOFError, OSError):
            return
        if kind == "models":
            models = {id: pickle.loads(data) for id, data in arguments[0].items()}
            continue
        id, text, voice, options = arguments
        try:
            answer = ("plan", *plan_text(models[id], text, voice, options))
        except InputError as error:
            answer = ("input", str(error))
        except OrpheusError as error:
            answer = ("error", str(error))
        except Exception as error:  # a text that the rules for texts fail at
            answer = ("error", f"{type(error).__name__}: {error}"[:300])
        try:
            connection.send(answer)
        except OSError:
            return


class _Lane:
    """A process, and one text at a time for it."""

    def __init__(self, seconds):
        self._seconds, self._models, self._process, self._connection = seconds, {}, None, None
        self._lock = threading.Lock()

    def teach(self, models):
        with self._lock:
            self._models = models
            if self._process is not None:
                self._connection.send(("models", models))

    def _start(self):
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), name="orpheus-texts", daemon=True)
        self._process.start()
        theirs.close()
        self._connection.send(("models", self._models))
        if not self._connection.poll(_BEGINS):
            raise EOFError
        self._connection.recv()

    def ask(self, *question):
        """The process' answer; raises TimeoutError where it takes too long, EOFError where it dies. In a thread."""
        with self._lock:
            try:
                if self._process is None:
                    self._start()
                self._connection.send(("plan", *question))
                if not self._connection.poll(self._seconds):
                    raise TimeoutError
                return self._connection.recv()
            except (TimeoutError, EOFError, OSError):
                self._end()
                raise

    def warm(self):
        """Starts the process, which takes seconds, and reads a text for each model that it knows."""
        with self._lock:
            try:
                if self._process is None:
                    self._start()
                for id in self._models:
                    self._connection.send(("plan", id, TEXT, None, {}))
                    if not self._connection.poll(_BEGINS):
                        raise EOFError
                    self._connection.recv()
            except (EOFError, OSError):
                self._end()
                raise

    def _end(self):
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._connection.close()
            self._process = None

    def close(self):
        self._end()


class Preparer:
    """Texts to Plans, for the event loop."""

    def __init__(self, seconds=None):
        self._lanes = {name: _Lane(limit) for name, limit in (_SECONDS | (seconds or {})).items()}
        self._threads = {name: ThreadPoolExecutor(1, f"orpheus-{name}-texts") for name in self._lanes}

    def start(self):
        """Starts the processes; returns at once."""
        for name, lane in self._lanes.items():
            self._threads[name].submit(lane.warm)  # where it fails, `teach` tries again, and says so

    async def teach(self, models):
        """models: {id: pickled LoadedModel without engine and codec}. Raises OrpheusError."""

        def learn(lane):
            lane.teach(models)
            lane.warm()

        loop = asyncio.get_running_loop()
        try:
            work = (loop.run_in_executor(self._threads[name], learn, lane) for name, lane in self._lanes.items())
            await asyncio.gather(*work)
        except (EOFError, OSError) as error:
            raise OrpheusError(f"a process that reads texts ended, or did not begin within {_BEGINS:g} s") from error

    async def plan(self, model, text, voice, options):
        """A Plan. Raises Refusal."""
        name = "long" if len(text) > _SHORT or _SLOW.search(text) else "short"
        loop = asyncio.get_running_loop()
        try:
            kind, *answer = await loop.run_in_executor(
                self._threads[name], self._lanes[name].ask, model, text, voice, options
            )
        except TimeoutError as error:
            raise invalid(
                "this text takes too long to be read: send it in parts, or without what no one would say", "input"
            ) from error
        except (EOFError, OSError) as error:
            raise broken("the process that reads texts died with this one; the next text has another") from error
        except RuntimeError as error:  # its threads are shut down
            raise unavailable("the server is about to stop", 5) from error
        if kind == "input":
            raise refusal_of(answer[0], options)
        if kind == "error":
            raise broken(f"the text cannot be read: {answer[0]}")
        return Plan(model, *answer)

    def close(self):
        for lane in self._lanes.values():
            lane.close()
        for threads in self._threads.values():
            threads.shutdown(wait=False, cancel_futures=True)


def refusal_of(message, options):
    """The Refusal for what orpheus.speech says of a text or its options: it names the field."""
    if message.startswith("unknown voice"):
        field = "voice"
    else:
        field = next((name for name in options if message.startswith(f"{name} ")), "input")
    return invalid(message, field, "invalid_value")
