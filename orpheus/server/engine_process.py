"""The process that speaks: models and pools. It knows nothing of requests' formats, keys and connections.

It is told what to speak and tells what becomes of it, all through one connection; everything that is ready goes out in one message, so
that a step with many streams wakes the other side once. Where the other side is gone, it ends.
"""

import contextlib
import os
import pickle
import queue
import signal
import threading
from dataclasses import dataclass, replace
from multiprocessing import AuthenticationError, current_process, parent_process
from multiprocessing import connection as connections

from orpheus.common.command import say
from orpheus.common.errors import BusyError, InputError, OrpheusError
from orpheus.server.warming import warm_pools


@dataclass(frozen=True)
class EngineSpec:
    """What the process is to load."""

    models: tuple  # (id or None for the model's own name, keyword arguments of load_model); the first is the default
    slots: int | None  # None: 32 with CUDA, 4 without
    length: int
    waiting: int
    cache: str = "same"
    threads: int | None = None  # of PyTorch on the CPU; None: all cores
    door: str | None = None  # path of a Unix socket where other processes of the server may come in


def run_engine(connection, spec, open_pools=None):
    """The process' work. connection: of multiprocessing; spec: EngineSpec; open_pools: spec -> {id: StreamPool}, instead of loading
    its models"""
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)  # who started it ends it, after the last stream
    end_with_parent()
    try:
        if spec.threads is not None:
            _share_cores(spec.threads)
        pools = (open_pools or _open)(spec)
        warm_pools(pools)
        from orpheus.server.pooled import keep_what_lives

        keep_what_lives()
    except (OrpheusError, OSError, MemoryError) as error:
        connection.send(("failed", str(error)))
        return
    except Exception as error:
        connection.send(("failed", f"{type(error).__name__}: {error}"))
        raise
    closing = []
    try:
        facts = facts_of(pools)
        if spec.door is not None:
            open_door(spec.door, pools, facts, lambda: closing or os._exit(1))
        serve(connection, pools, facts)
    finally:
        closing.append(True)
        for pool in pools.values():
            pool.close()


def end_with_parent():
    """Ends this process where the one that started it has ended, however that came."""

    def watch(parent):
        connections.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, args=(parent_process(),), daemon=True).start()


def _share_cores(threads):
    import torch

    torch.set_num_threads(threads)


def open_door(address, pools, facts, broken):
    """Lets other processes of the same server in, and serves each in a thread. broken: called where a pool has stopped"""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(address)  # of a process that was killed
    listener = connections.Listener(address, "AF_UNIX", backlog=64, authkey=current_process().authkey)

    def look_after(connection):
        with connection:
            serve(connection, pools, facts)
        if not all(pool.alive for pool in pools.values()):
            broken()  # nobody else may notice before the next text

    def let_in():
        while True:
            try:
                connection = listener.accept()
            except (OSError, EOFError, AuthenticationError):  # it left while it came in
                continue
            threading.Thread(target=look_after, args=(connection,), daemon=True).start()

    threading.Thread(target=let_in, name="orpheus-door", daemon=True).start()


def _open(spec):
    """{id: StreamPool, or one of its voices}"""
    import warnings

    from orpheus.server.pool import StreamPool
    from orpheus.server.voices import public_name
    from orpheus.speech.several import load_models

    warnings.showwarning = lambda message, *_: say(f"warning: {message}")
    named, pools = {id for id, _ in spec.models}, {}
    for group in load_models(spec.models):
        models = {id if id in named else public_name(id): model for id, model in group.models.items()}
        model = next(iter(models.values()))
        slots = spec.slots or (32 if str(getattr(model.codec, "device", "cpu")).startswith("cuda") else 4)
        voices = models if len(models) > 1 else None
        pool = StreamPool(model, slots, spec.length, spec.waiting, cache=spec.cache, voices=voices)
        pools |= pool.voices or dict.fromkeys(models, pool)
    return pools


def facts_of(pools):
    """What the other side must know of pools, {id: StreamPool or PooledVoice}: their models, what reads texts for them, and the slots of each."""
    facts = {"models": {}, "texts": {}, "slots": min(pool.slots for pool in pools.values())}
    for id, pool in pools.items():
        model = pool.model
        facts["models"][id] = {
            "voices": tuple(model.voices),
            "default_voice": model.default_voice,
            "language": model.description.language,
            "languages": tuple(model.description.languages.items()),
            "tags": tuple(model.description.taught),
            "closed": model.description.closed,
        }
        facts["texts"][id] = pickle.dumps(replace(model, engine=None, codec=None, clips={}))
    return facts


def serve(connection, pools, facts):
    """Speaks what it is told to, until it is told to stop or the connection ends. pools: {id: pool}"""
    outbox = queue.SimpleQueue()
    sender = threading.Thread(target=_send, args=(connection, outbox), name="orpheus-sender", daemon=True)
    connection.send(("ready", facts))
    sender.start()
    speeches = {}
    while all(pool.alive for pool in pools.values()):  # one that could not open its slots again does not speak any more
        try:
            kind, number, *rest = connection.recv()
        except (EOFError, OSError):
            break
        if kind == "stop":
            break
        if kind == "start":
            _start(pools, speeches, outbox, number, *rest)
        elif number in speeches:
            speech = speeches[number]
            if kind == "close":
                speech.close()
                speeches.pop(number, None)
            elif kind == "hold":
                speech.hold()
            elif kind == "resume":
                speech.resume()
    outbox.put(None)  # what comes after it is not sent: a text that is closed here is not over
    for speech in list(speeches.values()):
        speech.close()
    sender.join(5)


def _start(pools, speeches, outbox, number, model, work):
    from orpheus.server.pooled import OVER
    from orpheus.speech.request import Utterance

    ended = threading.Event()

    def end(kind, value):
        ended.set()
        speeches.pop(number, None)
        outbox.put((number, kind, value))

    def listen(item):
        if isinstance(item, Utterance):
            made = item.assembler
            outbox.put((number, "piece", (made.position, made.finish_reason)))
        elif isinstance(item, Exception):
            end("error", _told(item))
        elif item is OVER:
            end("over", None)
        else:
            outbox.put((number, "chunk", item))

    try:
        speech = pools[model].start(*pickle.loads(work), listen)
    except Exception as error:
        outbox.put((number, "error", _told(error)))
        return
    speeches[number] = speech
    if ended.is_set():  # before it was kept
        speeches.pop(number, None)


def _told(error):
    """(kind, message) of an error."""
    kind = "input" if isinstance(error, InputError) else "busy" if isinstance(error, BusyError) else "engine"
    return kind, str(error) or type(error).__name__


def _send(connection, outbox):
    """Sends what is ready, as much as there is, in one message."""
    item = outbox.get()
    while item is not None:
        batch = [item]
        while not outbox.empty() and (item := outbox.get()) is not None:
            batch.append(item)
        try:
            connection.send(("made", batch))
        except (OSError, ValueError):
            return
        if item is not None:
            item = outbox.get()
