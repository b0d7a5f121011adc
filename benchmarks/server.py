"""Many listeners over HTTP: what the server adds to its pool, and how it bears a day's load.

    python -m benchmarks.server                                        the demo voice (CPU); Orpheus-3B's shape, random weights (CUDA)
    python -m benchmarks.server --streams 220 --seconds 60 --out benchmarks/results/server.json
    python -m benchmarks.server --model demo --streams 2 --seconds 1800 --overload 4      half an hour
    python -m benchmarks.server --streams 4 --peer http://127.0.0.1:8880 --peer-model kokoro --peer-voice af_heart

Clients in processes of their own ask for texts, and for the next one when a text ends: raw HTTP, 16-bit PCM in chunks. Measured is what
happens once all have a first sound. "Real-time streams" are seconds of sound that arrive per second. A gap is the time between two
chunks; its ratio is to the speech of the earlier one, which plays meanwhile. "Start buffer" is how much speech a player must hold back
so that it never runs dry. Probes are short texts, sent while all the others speak: their first sound. The bare pool speaks the same texts
and probes afterwards, without a server. --overload adds clients that the queue has no room for, who ask for every format and hang up at
times: most must be refused (429; 504 where their turn is too late), and cost the others nothing. --peer asks another server the same, one
that speaks OpenAI's protocol, which is started beforehand. The last line of standard output is JSON with everything.
"""

import json
import multiprocessing
import os
import statistics
import time
from dataclasses import dataclass

from benchmarks.common.clients import Clients, Target, errors, first_sounds, outcomes
from benchmarks.common.listening import PIECE_TOKENS, PROBE_TOKENS, SENTENCE, gaps_and_buffers, percentiles
from benchmarks.common.processes import PROCESSES, Watched
from orpheus.common.frame import SAMPLE_RATE

LONG, SHORT = 40, 2  # sentences of a text; short ones with --overload, so that places change hands
LOOK = 5.0  # seconds between two looks at memory
MINUTE = 60.0
BARE_POLL = (
    0.2  # seconds between two looks at the bare pool: each takes Python from it, which a busy CPU gives back late
)


@dataclass(frozen=True)
class Arguments:
    model: str = "auto"
    """auto, full (Orpheus-3B's shape, random weights), demo, a folder or a hub id."""
    streams: int = 0
    """Clients that listen at the same time; 220 with CUDA, else 2."""
    overload: int = 0
    """Clients on top of a full queue, who ask all the time."""
    seconds: float = 0.0
    """Measured; 60 with CUDA, else 20."""
    format: str = "pcm"
    """What the clients ask for; figures in seconds of speech need pcm."""
    fronts: int = 1
    """Processes of the server that talk to clients."""
    processes: int = 4
    """Processes that the clients run in."""
    cache: str = "same"
    """Or fp8. See orpheus.server.pool.StreamPool."""
    bare: bool = True
    """Whether the pool alone is measured as well."""
    peer: str = ""
    """Address of a server of others, asked the same by the same clients after ours."""
    peer_name: str = "the peer"
    """What it is called in the report."""
    peer_model: str = "tts-1"
    """The model that it is asked for."""
    peer_voice: str = "alloy"
    """The voice that it is asked for."""
    peer_key: str = ""
    """Its key, where it wants one."""
    peer_rate: int = SAMPLE_RATE
    """Samples per second of its PCM."""
    out: str = ""
    """Where the JSON goes as well."""


# --- the server, in a process of its own ---


def random_pools(spec):
    """What the engine's process opens for --model full."""
    from dataclasses import replace

    from benchmarks.common.models import our_engine, random_model
    from orpheus.server.pool import StreamPool

    model = random_model("cuda")
    model = replace(model, engine=our_engine(model.engine.model, model.engine.layout))
    return {"full": StreamPool(model, spec.slots, spec.length, spec.waiting, cache=spec.cache)}


def run_server(connection, model, slots, length, queue, cache, fronts):
    """Serves until the connection says otherwise; tells its address, and the ids of the processes that talk and of the one that speaks."""
    import threading
    from functools import partial

    from orpheus.server.engine import Engine
    from orpheus.server.engine_process import EngineSpec, run_engine
    from orpheus.server.fronts import Fronts
    from orpheus.server.options import ServerOptions
    from orpheus.server.running import Running

    options = ServerOptions(port=0, max_streams=slots, length=length, queue=queue, fronts=fronts)
    names = {} if model == "full" else {"model": model, "lora": "none"}
    spec = EngineSpec(((None, names),), slots, length, queue, cache)
    work = partial(run_engine, open_pools=random_pools) if model == "full" else run_engine
    if fronts > 1:
        server = Fronts(options, {}, spec, make_engine=partial(Engine, work=work))
    else:
        server = Running(options, {}, engine=Engine(spec, options.ahead_seconds, work))

    def watch():
        while not (server.ready or server.failed):
            time.sleep(0.05)
        connection.send(None if server.failed else (server.address, *server.processes))
        connection.recv()
        server.end()

    threading.Thread(target=watch, daemon=True).start()
    with open(os.devnull, "w") as nowhere:  # a line for each text
        os.dup2(nowhere.fileno(), 2)
    server.run()


# --- figures ---


def figures(texts, began, ended, rate):
    """Gaps, buffers and speech of what arrived in began..ended. rate: samples per second"""
    seen = [
        [(when, count * SAMPLE_RATE / rate) for when, count in text.arrivals if began <= when <= ended]
        for text in texts
        if text.pcm
    ]
    samples = sum(count for chunks in seen for _, count in chunks)
    _, ratios, buffers = gaps_and_buffers(seen)
    return {
        "real_time_streams": round(samples / SAMPLE_RATE / (ended - began), 2),
        "gap_ratio_p50_p99": percentiles(ratios, 50, 99),
        "start_buffer_ms_p50_p99_max": percentiles(buffers * 1e3, 50, 99, 100),
        "chunks": len(ratios),
    }


def growth(held):
    """What is told of memory, [[MB of each of PROCESSES]] at even times: from a tenth of the time on to the end, in medians of a tenth."""
    tenth = max(1, len(held) // 10)
    rest = held[min(tenth, len(held) - 1) :]
    found = {}
    for name, values in zip(PROCESSES, zip(*rest)):
        begin, end = statistics.median(values[:tenth]), statistics.median(values[-tenth:])
        found[name] = {
            "begin": begin,
            "end": end,
            "least": min(values),
            "most": max(values),
            "growth": round(end / begin - 1, 4),
        }
    return found


def minutes(texts, held, began, ended):
    """A row for each minute: how texts ended in it, and the memory at its end."""
    rows = []
    for number in range(int((ended - began) // MINUTE)):
        start = began + number * MINUTE
        row = {"minute": number + 1} | outcomes([text for text in texts if start <= text.ended < start + MINUTE])
        at = [mb for when, mb in held if when < start + MINUTE]
        rows.append(row | {"memory_mb": dict(zip(PROCESSES, at[-1]))})
    return rows


def listen(target, probe, arguments, count, seconds, extra=0, watched=None, rate=SAMPLE_RATE):
    """What clients of a Target find; probe: a Target for short texts; extra: clients on top; watched: the Watched of its processes;
    rate: samples per second"""
    clients = Clients(target, count, "listen", arguments.processes)
    all_heard = clients.wait()
    probes = Clients(probe, 1, "probe")
    probes.wait()
    crowd = Clients(target, extra, "crowd", 2) if extra else None
    time.sleep(2)
    began, spent, held = time.monotonic(), watched and watched.processor(), []
    while time.monotonic() - began < seconds:
        time.sleep(min(LOOK, max(0.01, seconds - (time.monotonic() - began))))
        if watched:
            held.append((time.monotonic(), watched.memory()))
    ended, spent = time.monotonic(), watched and watched.processor() - spent
    crowded = crowd.stop() if crowd else []
    texts, probed = clients.stop(), probes.stop()
    everyone = [*texts, *probed, *crowded]
    report = figures(everyone, began, ended, rate) | {
        "clients": count,
        "seconds": round(ended - began, 1),
        "first_sound_ms_p50_p99": first_sounds(texts),
        "first_sound_under_load_ms_p50_p99": first_sounds(probed, began, ended),
        "outcomes": outcomes(everyone),
        "errors": errors(everyone),
    }
    if not all_heard:
        report["not_all_heard"] = True
    if watched:
        report["memory_mb"] = growth([mb for _, mb in held])
        report["processors"] = dict(zip(PROCESSES, (round(float(one) / (ended - began), 3) for one in spent)))
        report["minutes"] = minutes(everyone, held, began, ended)
    return report


def measure(model, count, length, arguments, seconds, tokens):
    """The report's part about the server."""
    ours, theirs = multiprocessing.Pipe()
    queue = max(2, count // 8)
    work = (theirs, model, count + 1, length, queue, arguments.cache, arguments.fronts)
    server = multiprocessing.get_context("spawn").Process(target=run_server, args=work)
    server.start()
    if (there := ours.recv()) is None:
        raise SystemExit("the server could not be started")
    address, *processes = there
    text = SENTENCE * (SHORT if arguments.overload else LONG)
    target = Target(address, {"input": text, "max_new_tokens": tokens, "response_format": arguments.format})
    probe = Target(address, {"input": "Good morning.", "max_new_tokens": PROBE_TOKENS})
    extra = arguments.overload + queue if arguments.overload else 0
    found = listen(target, probe, arguments, count, seconds, extra, Watched(*processes))
    ours.send("stop")
    server.join()
    return found


def measure_peer(arguments, count, seconds):
    """The report's part about another server: it is asked for OpenAI's fields alone."""
    names = {"model": arguments.peer_model, "voice": arguments.peer_voice, "response_format": arguments.format}
    target, probe = (
        Target(arguments.peer, {"input": text, **names}, arguments.peer_key, seeds=False)
        for text in (SENTENCE * LONG, "Good morning.")
    )
    return {"name": arguments.peer_name} | listen(target, probe, arguments, count, seconds, rate=arguments.peer_rate)


def measure_bare(model, count, length, seconds, tokens, cache):
    """The same texts and probes in a pool of this process, without a server."""
    from dataclasses import replace

    from benchmarks.common.listening import chunk_figures
    from benchmarks.common.models import our_engine, random_model
    from benchmarks.streams import Listeners
    from orpheus.server.pool import StreamPool
    from orpheus.speech.model import load_model

    if model == "full":
        loaded = random_model("cuda")
        loaded = replace(loaded, engine=our_engine(loaded.engine.model, loaded.engine.layout))
    else:
        loaded = load_model(model, "none")[0]
    with StreamPool(loaded, count + 1, length, 64, cache=cache) as pool:
        listeners = Listeners(pool, tokens, poll=BARE_POLL)
        listeners.arrive(count, 100)
        began, spent, probes, next_probe = time.perf_counter(), time.process_time(), [], 0.0
        while time.perf_counter() - began < seconds:
            listeners.look_after()
            now = time.perf_counter()
            if probes and not probes[-1].finish_reason:
                next_probe = now + 1  # a second after it has ended
            elif now >= next_probe:
                probes.append(listeners.probe())
        ended, spent = time.perf_counter(), time.process_time() - spent
        everyone = [*listeners.speeches, *listeners.over, *probes]
        found = chunk_figures(everyone, began, ended)
        samples = sum(
            count for speech in everyone for at, count in speech.arrivals if began <= speech.submitted + at <= ended
        )
        for speech in everyone:
            speech.close()
    first = [probe.arrivals[0][0] * 1e3 for probe in probes if probe.arrivals]
    return {
        "real_time_streams": round(samples / SAMPLE_RATE / (ended - began), 2),
        "first_sound_under_load_ms_p50_p99": percentiles(first, 50, 99),
        "processors": round(spent / (ended - began), 3),
    } | found


def costs(served, bare, cuda):
    """What the server takes of what the pool alone does; on a CPU also for the same processor time, whatever else keeps it busy."""
    found = {"cost": round(1 - served["real_time_streams"] / bare["real_time_streams"], 4)}
    if not cuda:
        each = served["real_time_streams"] / sum(served["processors"].values())
        found["cost_by_processor_time"] = round(1 - each / (bare["real_time_streams"] / bare["processors"]), 4)
    return found


def table_rows(report):
    """For docs/speed.md."""
    ours, bare = report["server"], report.get("bare")
    first, buffer = ours["first_sound_under_load_ms_p50_p99"][1], ours["start_buffer_ms_p50_p99_max"][1]
    row = {
        "what": f"{ours['clients']} clients over HTTP held for {ours['seconds']:.0f} s: real-time streams served",
        "ours": f"{ours['real_time_streams']:.1f}, {ours['errors']} errors",
    }
    row["ours"] += "" if buffer is None else f", p99 of start buffer {buffer:.0f} ms"
    row["ours"] += "" if first is None else f", p99 of first sound under load {first:.0f} ms"
    others = {"the bare pool": bare} | {peer["name"]: peer for peer in [report.get("peer")] if peer}
    rows = [
        row
        | {
            "peer": name,
            "theirs": f"{other['real_time_streams']:.1f}",
            "ratio": ours["real_time_streams"] / max(other["real_time_streams"], 0.01),
        }
        for name, other in others.items()
        if other
    ]
    return rows or [row]


def main(arguments):
    import torch

    from benchmarks.common.report import finish_report, start_report

    cuda = torch.cuda.is_available()
    report = start_report("server")
    model = arguments.model if arguments.model != "auto" else "full" if cuda else "demo"
    count = arguments.streams or (220 if cuda else 2)
    seconds = arguments.seconds or (60.0 if cuda else 20.0)
    tokens = PIECE_TOKENS if model == "full" else 140
    length = tokens + 336
    report |= {"model": model, "server": measure(model, count, length, arguments, seconds, tokens)}
    print(json.dumps(report["server"], indent=1), flush=True)
    if arguments.bare:
        report["bare"] = measure_bare(model, count, length, min(seconds, 60), tokens, arguments.cache)
        report |= costs(report["server"], report["bare"], cuda)
        print(
            json.dumps({name: report[name] for name in report if name.startswith(("bare", "cost"))}, indent=1),
            flush=True,
        )
    if arguments.peer:
        report["peer"] = measure_peer(arguments, count, min(seconds, 60))
        print(json.dumps({"peer": report["peer"]}, indent=1), flush=True)
    report["table"] = table_rows(report)
    finish_report(report, arguments.out)


if __name__ == "__main__":
    import tyro

    main(tyro.cli(Arguments, description=__doc__))
