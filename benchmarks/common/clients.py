"""Clients of a speech server in processes of their own, which import no PyTorch: raw HTTP, sound in chunks, asked for again when it ends.

Kinds: "listen" asks for the next text when one ends, "probe" a second later; "crowd" asks for another format each time and hangs up at the
first sound of every fourth text.
"""

import asyncio
import json
import multiprocessing
import ssl
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from benchmarks.common.listening import percentiles

REFUSED = ("429", "504")  # what overload is answered with: no room, or no sound in time
LEFT = "hung up"  # by the client
_FIRST = {"listen": 1, "probe": 100_000, "crowd": 200_000}  # numbers, which seeds are made of
_FORMATS = ("mp3", "opus", "aac", "flac", "wav", "pcm")
_PART = 8192  # bytes of a body that has no chunks, read at a time
_TO_BEGIN = 120  # seconds for all to have a first sound


@dataclass(frozen=True)
class Target:
    """A server that speaks OpenAI's protocol. fields: of every request; seeds: whether it takes `seed`"""

    address: str
    fields: dict = field(default_factory=dict)
    key: str = ""
    seeds: bool = True


@dataclass
class Text:
    """What became of one. Times are seconds of time.monotonic, which all processes of a machine share."""

    asked: float
    arrivals: list = field(default_factory=list)  # (time, 16-bit samples) of each chunk
    outcome: object = None  # a status, or the name of what went wrong; None: it was not over at the end
    ended: float = 0.0
    pcm: bool = True  # whether its samples are samples


async def ask(target, fields, text, leave=False):
    """Asks for speech; the chunks go into text.arrivals. Returns the status, or the name of what went wrong. leave: at the first sound"""
    where = urlsplit(target.address)
    path = where.path.rstrip("/").removesuffix("/v1") + "/v1/audio/speech"
    body = json.dumps(fields).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
    head += f"Authorization: Bearer {target.key}\r\n" if target.key else ""
    writer = None
    try:
        secure = ssl.create_default_context() if where.scheme == "https" else None
        port = where.port or (443 if secure else 80)
        reader, writer = await asyncio.open_connection(where.hostname, port, ssl=secure)
        writer.write(f"{head}\r\n".encode() + body)
        status = int((await reader.readline()).split()[1])
        headers = {}
        while line := (await reader.readline()).strip():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip().lower()
        if status != 200:
            return status
        async for size in _parts(reader, headers):
            text.arrivals.append((time.monotonic(), size // 2))
            if leave:
                return LEFT
        return status
    except _CutOff:
        return "cut off"
    except (OSError, EOFError, ValueError, IndexError) as error:
        return type(error).__name__
    finally:
        if writer:
            writer.close()


class _CutOff(Exception):
    """The body ended without its mark."""


async def _parts(reader, headers):
    """The sizes of a body's parts, as they come."""
    if headers.get("transfer-encoding") == "chunked":
        while True:
            line = (await reader.readline()).strip()
            if not line:
                raise _CutOff
            size = int(line.split(b";")[0], 16)
            if not size:
                return
            await reader.readexactly(size + 2)
            yield size
    length = int(headers["content-length"]) if "content-length" in headers else None
    taken = 0
    while data := await reader.read(_PART):
        taken += len(data)
        yield len(data)
    if length is not None and taken < length:
        raise _CutOff


def _run(connection, target, numbers, kind):
    """Keeps a client going for each number until the connection says stop; then sends all their Texts."""
    texts, heard = [], set()

    async def talk(number):
        turn = number
        while True:
            fields = {"response_format": "pcm", **target.fields}
            if target.seeds:
                fields["seed"] = number * 1000 + turn
            if kind == "crowd":
                fields["response_format"] = _FORMATS[turn % len(_FORMATS)]
                if turn % 5 == 4:
                    fields["stream_format"] = "sse"
            text = Text(time.monotonic(), pcm=fields["response_format"] == "pcm" and "stream_format" not in fields)
            texts.append(text)
            text.outcome = await ask(target, fields, text, leave=kind == "crowd" and turn % 4 == 3)
            text.ended, turn = time.monotonic(), turn + 1
            if text.outcome not in (200, LEFT) or kind == "probe":
                await asyncio.sleep(1.0 if kind == "probe" else 0.25)

    async def main():
        tasks = [asyncio.create_task(talk(number)) for number in numbers]
        while not connection.poll():
            await asyncio.sleep(0.05)
            if len(heard) < len(numbers):
                heard.update(number for number, text in zip(numbers, texts) if text.arrivals)
                if len(heard) == len(numbers):
                    connection.send("all heard")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())
    connection.recv()
    connection.send(texts)


class Clients:
    """`count` clients of a Target, in processes. kind: "listen", "probe" or "crowd"; see above"""

    def __init__(self, target, count, kind, processes=1):
        context = multiprocessing.get_context("spawn")
        self._connections, self._processes = [], []
        processes = min(processes, count)
        for index in range(processes):
            ours, theirs = context.Pipe()
            numbers = list(range(_FIRST[kind] + index, _FIRST[kind] + count, processes))
            process = context.Process(target=_run, args=(theirs, target, numbers, kind))
            process.start()
            self._connections.append(ours)
            self._processes.append(process)

    def wait(self, seconds=_TO_BEGIN):
        """Until all have had a first sound; whether they have."""
        limit = time.monotonic() + seconds
        return all([connection.poll(max(0, limit - time.monotonic())) for connection in self._connections])

    def stop(self):
        """All their Texts."""
        for connection in self._connections:
            connection.send("stop")
        texts = []
        for connection in self._connections:
            while isinstance(found := connection.recv(), str):
                pass
            texts += found
        for process in self._processes:
            process.join()
        return texts


def outcomes(texts):
    """{outcome: how many texts had it}"""
    found = [str(text.outcome) for text in texts if text.outcome is not None]
    return {outcome: found.count(outcome) for outcome in sorted(set(found))}


def errors(texts):
    """How many texts ended as they should not."""
    return sum(count for outcome, count in outcomes(texts).items() if outcome not in ("200", LEFT, *REFUSED))


def first_sounds(texts, began=0.0, ended=float("inf")):
    """[p50, p99] of milliseconds to the first sound of what was asked in began..ended."""
    return percentiles(
        [(t.arrivals[0][0] - t.asked) * 1e3 for t in texts if t.arrivals and began <= t.asked <= ended], 50, 99
    )
