"""The benchmark's clients: what becomes of a text, whatever a server does, and what is told of it."""

import asyncio
import socketserver
import threading
from contextlib import contextmanager, suppress
from itertools import takewhile

import pytest

from benchmarks.common.clients import LEFT, Clients, Target, Text, ask, errors, first_sounds, outcomes
from benchmarks.server import costs, figures, growth, minutes
from orpheus.common.frame import SAMPLE_RATE

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: audio/pcm\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
CHUNK = b"1000\r\n" + bytes(4096) + b"\r\n"


@contextmanager
def answering(*parts):
    """A server that answers each request with these bytes, and hangs up: yields (address, requests)."""
    asked = []

    class Answer(socketserver.StreamRequestHandler):
        def handle(self):
            head = b"".join(takewhile(bool, iter(self.rfile.readline, b"\r\n")))  # to its end, or its client's
            if not head.endswith(b"\r\n"):
                return  # it has left already
            length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
            asked.append((head, self.rfile.read(length)))
            with suppress(OSError):
                for part in parts:
                    self.wfile.write(part)

        def finish(self):
            with suppress(OSError):
                super().finish()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "parts, outcome, samples",
    [
        ((CHUNKED, CHUNK, CHUNK, b"0\r\n\r\n"), 200, [2048, 2048]),
        ((CHUNKED, CHUNK, CHUNK), "cut off", [2048, 2048]),  # no mark of the end
        ((CHUNKED, CHUNK[:100]), "IncompleteReadError", []),
        ((HEAD + b"Content-Length: 8192\r\n\r\n", bytes(8192)), 200, [4096]),
        ((HEAD + b"Content-Length: 8192\r\n\r\n", bytes(5000)), "cut off", [2500]),
        ((b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\n\r\n{}",), 429, []),
        ((b"SSH-2.0-x\r\n",), "IndexError", []),
        ((), "IndexError", []),
    ],
)
def test_what_becomes_of_a_text(parts, outcome, samples):
    with answering(*parts) as (address, asked):
        text = Text(0.0)
        assert asyncio.run(ask(Target(f"{address}/v1", key="secret-key"), {"input": "Yes."}, text)) == outcome
    assert sum(count for _, count in text.arrivals) == sum(samples)
    (head, body), *_ = asked
    assert head.startswith(b"POST /v1/audio/speech ") and b"Bearer secret-key" in head and body == b'{"input": "Yes."}'


def test_one_hangs_up_at_the_first_sound():
    with answering(CHUNKED, *[CHUNK] * 1000) as (address, _):
        text = Text(0.0)
        assert asyncio.run(ask(Target(address), {}, text, leave=True)) == LEFT and len(text.arrivals) == 1


def test_nobody_there_is_an_error():
    assert asyncio.run(ask(Target("http://127.0.0.1:9"), {}, Text(0.0))) == "ConnectionRefusedError"


def text(asked, outcome, *arrivals, ended=0.0, pcm=True):
    return Text(asked, list(arrivals), outcome, ended, pcm)


TEXTS = [
    text(10.0, 200, (10.2, 24_000), (11.2, 24_000), (12.2, 12_000), ended=12.2),
    text(11.0, 200, (11.5, 500), ended=70.5, pcm=False),
    text(12.0, 429, ended=12.1),
    text(13.0, LEFT, (13.1, 2048), ended=13.1),
    text(14.0, "cut off", (14.3, 2048), ended=71.0),
    text(15.0, None),
]


def test_ends_are_counted():
    assert outcomes(TEXTS) == {"200": 2, "429": 1, "cut off": 1, LEFT: 1} and errors(TEXTS) == 1
    assert first_sounds(TEXTS[:1]) == [pytest.approx(200), pytest.approx(200)]
    assert first_sounds(TEXTS, 13.5, 20) == [pytest.approx(300), pytest.approx(300)] and first_sounds([]) == [
        None,
        None,
    ]


def test_speech_is_counted_where_it_can_be():
    found = figures(TEXTS[:3], 10.0, 20.0, SAMPLE_RATE)
    assert found["real_time_streams"] == 0.25 and found["chunks"] == 2  # compressed bytes are no samples
    assert figures(TEXTS[:1], 10.0, 20.0, 48_000)["real_time_streams"] == 0.12
    assert figures(TEXTS[:1], 11.0, 12.0, SAMPLE_RATE)["real_time_streams"] == 1.0


def test_memory_is_told_from_a_tenth_of_the_time_on():
    held = [[50.0 + min(index, 10), 400.0, 100.0 - index / 100] for index in range(100)]
    found = growth(held)
    assert found["front"] == {"begin": 60.0, "end": 60.0, "least": 60.0, "most": 60.0, "growth": 0.0}
    assert found["readers"]["growth"] == pytest.approx(-0.008, abs=2e-4) and found["readers"]["least"] == 99.01
    assert growth([[1.0, 2.0, 4.0]])["engine"]["growth"] == 0.0
    assert growth([[100.0, 1.0, 1.0]] + [[100.0 + 10 * i, 1.0, 1.0] for i in range(9)])["front"]["growth"] == 0.8


def test_each_minute_has_a_row():
    held = [(10.0 + 5 * index, [1.0 * index, 2.0, 3.0]) for index in range(1, 25)]
    first, second = minutes(TEXTS, held, 10.0, 131.0)
    assert first == {
        "minute": 1,
        "200": 1,
        "429": 1,
        LEFT: 1,
        "memory_mb": {"front": 11.0, "engine": 2.0, "readers": 3.0},
    }
    assert second["200"] == second["cut off"] == 1 and second["memory_mb"]["front"] == 23.0


@pytest.mark.parametrize(
    "served, bare, cost, by_time",
    [((2.0, 1.0), (2.0, 1.0), 0.0, 0.0), ((1.0, 0.5), (2.0, 1.0), 0.5, 0.0), ((1.9, 1.0), (2.0, 1.0), 0.05, 0.05)],
)
def test_a_cost_is_told_by_processor_time_too(served, bare, cost, by_time):
    ours = {"real_time_streams": served[0], "processors": {"front": 0.1 * served[1], "engine": 0.9 * served[1]}}
    alone = {"real_time_streams": bare[0], "processors": bare[1]}
    assert costs(ours, alone, cuda=False) == {
        "cost": pytest.approx(cost),
        "cost_by_processor_time": pytest.approx(by_time),
    }
    assert costs(ours, alone, cuda=True) == {"cost": pytest.approx(cost)}


def test_clients_ask_again_until_they_are_stopped():
    with answering(CHUNKED, CHUNK, b"0\r\n\r\n") as (address, asked):
        clients = Clients(Target(address, {"input": "Yes."}), 3, "listen")
        assert clients.wait(60)
        texts = clients.stop()
    assert len(texts) >= 3 and errors(texts) == 0 and {t.outcome for t in texts} <= {200, None}
    assert len({body for _, body in asked}) > 3  # a seed for each
