"""Many listeners over HTTP: what the server adds to its pool, and how it bears a day's load.

    python -m benchmarks.server                                        the demo voice (CPU); Orpheus-3B's shape, random weights (CUDA)
    python -m benchmarks.server --streams 220 --seconds 60 --out benchmarks/results/server.json
    python -m benchmarks.server --model demo --streams 2 --seconds 1800 --overload 4      half an hour

Clients in processes of their own ask for long texts, and for the next one when a text ends: raw HTTP, 16-bit PCM in chunks. Measured is
what happens once all have a first sound. "Real-time streams" are seconds of speech that arrive per second. A gap is the time between two
chunks; its ratio is to the speech of the earlier one, which plays meanwhile. "Start buffer" is how much speech a player must hold back
so that it never runs dry. Probes are short texts, sent while all the others speak: their first sound. --overload adds clients that the
queue has no room for: they must be refused (429; 504 where their turn is too late), and cost the others nothing. The bare pool runs the same texts afterwards, without
a server. The last line of standard output is JSON with everything.
"""

import asyncio
import json
import multiprocessing
import os
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np

from benchmarks.common.listening import PIECE_TOKENS, PROBE_TOKENS, gaps_and_buffers, percentiles
from orpheus.common.frame import SAMPLE_RATE

TEXT = "It takes five minutes to walk from the swimming pool to the museum, and ten more to the old bridge. " * 40
REFUSED = ("429", "504")  # what overload is answered with: no room, or no sound in time
LOOK = 5.0  # seconds between two looks at memory


@dataclass(frozen=True)
class Arguments:
    model: str = "auto"
    """auto, full (Orpheus-3B's shape, random weights), demo, a folder or a hub id."""
    streams: int = 0
    """Clients that listen at the same time; 220 with CUDA, else 2."""
    overload: int = 0
    """Clients on top that ask all the time, although the queue is full."""
    seconds: float = 0.0
    """Measured; 60 with CUDA, else 20."""
    format: str = "pcm"
    """What the clients ask for; figures in seconds of speech need pcm."""
    processes: int = 4
    """Processes that the clients run in."""
    cache: str = "same"
    """Or fp8. See orpheus.server.pool.StreamPool."""
    bare: bool = True
    """Whether the pool alone is measured as well."""
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


def run_server(connection, model, slots, length, queue, cache):
    """Serves until the connection says otherwise; tells its address and processes."""
    import threading
    from functools import partial

    from orpheus.server.engine import Engine
    from orpheus.server.engine_process import EngineSpec, run_engine
    from orpheus.server.options import ServerOptions
    from orpheus.server.running import Running

    options = ServerOptions(port=0, max_streams=slots, length=length, queue=queue)
    names = {} if model == "full" else {"model": model, "lora": "none"}
    spec = EngineSpec(((None, names),), slots, length, queue, cache)
    work = partial(run_engine, open_pools=random_pools) if model == "full" else run_engine
    engine = Engine(spec, options.ahead_seconds, work)
    server = Running(options, {}, engine=engine)

    def watch():
        while not (server.started and server.speaker.ready or server.failed):
            time.sleep(0.05)
        connection.send((None, None) if server.failed else (server.address, engine.pid))
        connection.recv()
        server.should_exit = True

    threading.Thread(target=watch, daemon=True).start()
    with open(os.devnull, "w") as nowhere:  # a line for each text
        os.dup2(nowhere.fileno(), 2)
    server.run()


# --- clients ---


async def ask(address, fields, arrivals):
    """Asks for speech; appends (time, samples) of each chunk to `arrivals`. Returns the status, or the name of what went wrong."""
    where = urlsplit(address)
    body = json.dumps({"response_format": "pcm"} | fields).encode()
    head = f"POST /v1/audio/speech HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    writer = None
    try:
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        writer.write(head.encode() + body)
        status = int((await reader.readline()).split()[1])
        while (await reader.readline()).strip():
            pass
        if status != 200:
            return status
        while size := int((await reader.readline()).strip() or b"-1", 16):
            if size < 0:
                return "cut off"
            data = await reader.readexactly(size + 2)
            arrivals.append((time.monotonic(), (len(data) - 2) // 2))
        return status
    except (OSError, EOFError, ValueError, IndexError, asyncio.IncompleteReadError) as error:
        return type(error).__name__
    finally:
        if writer:
            writer.close()


def run_clients(connection, address, numbers, kind, fields):
    """Keeps a client going for each number until the connection says stop; then sends [(asked, arrivals, outcome)] of all texts."""
    texts = []

    async def listen(number):
        turn = 0
        while True:
            arrivals = []
            record = [time.monotonic(), arrivals, None]
            texts.append(record)
            record[2] = await ask(address, fields | {"seed": number * 1000 + turn}, arrivals)
            turn += 1
            if record[2] != 200 or kind == "probe":
                await asyncio.sleep(1.0 if kind == "probe" else 0.25)

    async def main():
        tasks = [asyncio.create_task(listen(number)) for number in numbers]
        while not connection.poll():
            await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())
    connection.recv()
    connection.send(texts)


class Clients:
    """Clients in processes. kind: "listen", "probe" or "overload"."""

    def __init__(self, address, count, kind, fields, processes=1):
        context = multiprocessing.get_context("spawn")
        self.connections, self.processes = [], []
        first = {"listen": 1, "probe": 100_000, "overload": 200_000}[kind]
        for index in range(min(processes, count)):
            ours, theirs = context.Pipe()
            numbers = list(range(first + index, first + count, min(processes, count)))
            process = context.Process(target=run_clients, args=(theirs, address, numbers, kind, fields))
            process.start()
            self.connections.append(ours)
            self.processes.append(process)

    def stop(self):
        """[(asked, arrivals, outcome)] of all their texts."""
        for connection in self.connections:
            connection.send("stop")
        texts = [text for connection in self.connections for text in connection.recv()]
        for process in self.processes:
            process.join()
        return texts


# --- figures ---


def figures(texts, began, ended):
    """Gaps, buffers and speech of what arrived in began..ended."""
    seen = [[chunk for chunk in arrivals if began <= chunk[0] <= ended] for _, arrivals, _ in texts]
    samples = sum(count for chunks in seen for _, count in chunks)
    _, ratios, buffers = gaps_and_buffers(seen)
    return {
        "real_time_streams": round(samples / SAMPLE_RATE / (ended - began), 2),
        "gap_ratio_p50_p99": percentiles(ratios, 50, 99),
        "start_buffer_ms_p50_p99_max": percentiles(buffers * 1e3, 50, 99, 100),
        "chunks": len(ratios),
    }


def memory(*processes):
    """MB that processes hold, by their ids."""
    held = []
    for process in processes:
        with open(f"/proc/{process}/status") as status:
            held.append(int(next(line for line in status if line.startswith("VmRSS")).split()[1]) / 1024)
    return [round(one, 1) for one in held]


def processor(*processes):
    """Seconds of processor time that processes have taken."""
    ticks = os.sysconf("SC_CLK_TCK")
    taken = []
    for process in processes:
        with open(f"/proc/{process}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
        taken.append((int(fields[11]) + int(fields[12])) / ticks)
    return np.array(taken)


def measure(model, count, length, arguments, seconds, fields):
    """The report's part about the server."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    queue = max(2, count // 8)
    server = context.Process(target=run_server, args=(theirs, model, count + 1, length, queue, arguments.cache))
    server.start()
    address, engine = ours.recv()
    if address is None:
        raise SystemExit("the server could not be started")
    probe = Clients(address, 1, "probe", {"input": "Good morning.", "max_new_tokens": PROBE_TOKENS})
    clients = Clients(address, count, "listen", fields, arguments.processes)
    time.sleep(5 if count < 16 else 15)  # until all speak
    extra = Clients(address, arguments.overload + queue, "overload", fields, 2) if arguments.overload else None
    time.sleep(2)
    began, spent, held = time.monotonic(), processor(server.pid, engine), []
    while time.monotonic() - began < seconds:
        time.sleep(min(LOOK, max(0.01, seconds - (time.monotonic() - began))))
        held.append(memory(server.pid, engine))
    ended, spent = time.monotonic(), processor(server.pid, engine) - spent
    crowd = extra.stop() if extra else []
    texts, probes = clients.stop(), probe.stop()
    ours.send("stop")
    server.join()
    first = [(arrivals[0][0] - asked) * 1e3 for asked, arrivals, _ in texts if arrivals]
    probed = [(arrivals[0][0] - asked) * 1e3 for asked, arrivals, _ in probes if arrivals and began <= asked <= ended]
    everyone = [*texts, *crowd]
    outcomes = [str(outcome) for _, _, outcome in [*everyone, *probes] if outcome is not None]
    early, late = held[len(held) // 10], held[-1]
    return figures(everyone, began, ended) | {
        "clients": count,
        "seconds": round(ended - began, 1),
        "first_sound_ms_p50_p99": percentiles(first, 50, 99),
        "first_sound_under_load_ms_p50_p99": percentiles(probed, 50, 99),
        "outcomes": {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))},
        "errors": sum(outcome not in ("200", *REFUSED) for outcome in outcomes),
        "memory_mb_front_engine_begin": early,
        "memory_mb_front_engine_end": late,
        "memory_growth": [round(b / a - 1, 4) for a, b in zip(early, late)],
        "processors_front_engine": [round(float(one) / (ended - began), 3) for one in spent],
    }


def measure_bare(model, count, length, seconds, tokens, cache):
    """The same texts in a pool of this process, without a server."""
    from dataclasses import replace

    from benchmarks.common.models import our_engine, random_model
    from benchmarks.streams import Listeners, chunk_figures
    from orpheus.server.pool import StreamPool
    from orpheus.speech.model import load_model

    if model == "full":
        loaded = random_model("cuda")
        loaded = replace(loaded, engine=our_engine(loaded.engine.model, loaded.engine.layout))
    else:
        loaded = load_model(model, "none")[0]
    with StreamPool(loaded, count + 1, length, 64, cache=cache) as pool:
        listeners = Listeners(pool, tokens)
        listeners.arrive(count, 100)
        before, began = pool.counts["tokens"], time.perf_counter()
        while time.perf_counter() - began < seconds:
            listeners.look_after()
        ended, made = time.perf_counter(), pool.counts["tokens"] - before
        found = chunk_figures([*listeners.speeches, *listeners.over], began, ended)
        for speech in listeners.speeches:
            speech.close()
    return {"real_time_streams": round(made / 7 * 2048 / SAMPLE_RATE / (ended - began), 2)} | found


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
    if bare:
        row |= {"peer": "the bare pool", "theirs": f"{bare['real_time_streams']:.1f}"}
        row["ratio"] = ours["real_time_streams"] / bare["real_time_streams"]
    return [row]


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
    fields = {"input": TEXT, "max_new_tokens": tokens, "response_format": arguments.format}
    report |= {"model": model, "server": measure(model, count, length, arguments, seconds, fields)}
    print(json.dumps(report["server"], indent=1), flush=True)
    if arguments.bare:
        report["bare"] = measure_bare(model, count, length, min(seconds, 60), tokens, arguments.cache)
        report["cost"] = round(1 - report["server"]["real_time_streams"] / report["bare"]["real_time_streams"], 4)
        print(json.dumps({"bare": report["bare"], "cost": report["cost"]}, indent=1), flush=True)
    report["table"] = table_rows(report)
    finish_report(report, arguments.out)


if __name__ == "__main__":
    import tyro

    main(tyro.cli(Arguments, description=__doc__))
