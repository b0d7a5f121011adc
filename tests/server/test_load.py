"""Many clients, slow ones, and those that hang up: what is refused, what is freed, what is bounded."""

import http.client
import socket
import threading
import time
from urllib.parse import urlsplit

import httpx
import pytest

from orpheus.server.failures import Refusal
from orpheus.server.limits import Admission
from orpheus.server.options import ServerOptions
from tests.fakes.server import serving, wait_for

pytestmark = pytest.mark.serve  # half a minute of waiting; run with `make test-serve`

BODY = b'{"input": "Good morning.", "response_format": "pcm", "max_new_tokens": 1400}'


def ask(running, body=BODY, headers=b"", receive=None):
    """A socket that has sent a request."""
    where = urlsplit(running.address)
    client = socket.socket()
    if receive:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    client.settimeout(20)
    client.connect((where.hostname, where.port))
    head = b"POST /v1/audio/speech HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    client.sendall(head + headers + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    return client


def heard(client):
    """All that comes until the other side closes."""
    parts = []
    with client:
        while part := client.recv(65_536):
            parts.append(part)
    return b"".join(parts)


@pytest.fixture
def slowly(server):
    """The server, whose texts take two seconds each."""
    server.talker.frames, server.talker.pause = 190, 0.0015
    return server


def test_a_hang_up_frees_its_row_at_once(slowly):
    client = ask(slowly)
    assert client.recv(100).startswith(b"HTTP/1.1 200")
    pool = slowly.speaker.engine.pools["small"]
    assert len(pool._jobs) == 1
    steps = pool.counts["steps"]
    client.close()
    wait_for(lambda: not pool._jobs, "a free row")
    assert pool.counts["steps"] - steps < 190 * 7 / 2
    wait_for(lambda: slowly.speaker.admission.active == 0)
    assert b'reason="hang_up"} 1.0' in slowly.speaker.metrics.page()


def test_one_that_hangs_up_while_it_waits_gives_up_its_place(slowly):
    clients = [ask(slowly) for _ in range(4)]  # two of them wait
    wait_for(lambda: slowly.speaker.engine.streams == 4)
    clients[3].close()
    wait_for(lambda: slowly.speaker.admission.active == 3)
    for client in clients[:3]:
        client.close()
    wait_for(lambda: slowly.speaker.admission.active == 0)
    assert slowly.speaker.engine.pools["small"].backlog() == 0


def test_what_is_beyond_the_queue_is_refused_and_told_when(talker):
    engine, model = talker
    engine.frames, engine.pause = 190, 0.0015
    with serving({"small": model}, slots=1, queue=1) as running:
        first, second = ask(running), ask(running)
        wait_for(lambda: running.speaker.engine.streams == 2)
        third = ask(running, headers=b"Connection: close\r\n")
        answer = heard(third)
        assert (
            answer.startswith(b"HTTP/1.1 429")
            and b"retry-after: " in answer
            and b'"code": "rate_limit_exceeded"' in answer
        )
        first.close(), second.close()
        wait_for(lambda: running.speaker.admission.active == 0)
        engine.frames = 3
        assert heard(ask(running, headers=b"Connection: close\r\n")).startswith(b"HTTP/1.1 200")


def test_admission_by_key():
    now = [0.0]
    options = ServerOptions(streams_per_key=2, requests_per_minute=3, queue=0)
    admission = Admission(options, 3, None, clock=lambda: now[0])
    first, second = admission.admit("a"), admission.admit("a")
    with pytest.raises(Refusal, match="2 texts of yours"):
        admission.admit("a")
    third = admission.admit("b")
    with pytest.raises(Refusal, match="3 texts are being spoken and 0 are waiting") as refused:
        admission.admit("c")
    assert refused.value.status == 429 and int(refused.value.headers["retry-after"]) >= 1
    for ticket in (first, first, second, third):  # given back once
        ticket.leave()
    assert admission.active == 0
    admission.admit("a").leave()
    with pytest.raises(Refusal, match="3 texts a minute") as refused:
        admission.admit("a")
    assert refused.value.headers == {"retry-after": "60"}
    now[0] = 60.0
    admission.admit("a").leave()
    admission.draining = True
    with pytest.raises(Refusal, match="about to stop") as refused:
        admission.admit("b")
    assert refused.value.status == 503


@pytest.fixture
def small_buffers(monkeypatch):
    """The kernel keeps little for a client, so that a text need not be long."""
    monkeypatch.setattr("orpheus.server.transport._KERNEL_BYTES", 4096)


def test_a_slow_reader_is_bounded_and_dropped_and_others_go_on(talker, small_buffers):
    engine, model = talker
    engine.frames = 20
    text = ("Good morning to you, my friend. " * 300).encode()
    body = b'{"input": "%s", "response_format": "pcm"}' % text
    with (
        serving({"small": model}, ahead_seconds=1, stall_seconds=2) as running,
        httpx.Client(base_url=running.address, timeout=60) as client,
    ):
        lazy = ask(running, body, receive=4096)
        wait_for(lambda: running.speaker.engine.streams == 1)
        stream = next(iter(running.speaker.engine._streams.values()))
        wait_for(lambda: stream._held, "a text on hold")
        pool = running.speaker.engine.pools["small"]
        wait_for(lambda: not pool._jobs, "a free row")
        assert stream._samples / 24_000 < 1 + 20 * 2048 / 24_000 + 1  # what is ahead, and the piece that was begun
        for _ in range(3):
            assert (
                len(client.post("/v1/audio/speech", json={"input": "Yes.", "response_format": "pcm"}).content)
                == 40 * 2048
            )
        wait_for(lambda: running.speaker.admission.active == 0, "a dropped client")
        assert b"orpheus_slow_readers_dropped_total 1.0" in running.speaker.metrics.page()
        with pytest.raises(http.client.IncompleteRead):
            sound_of(heard(lazy))


def test_a_reader_that_comes_back_gets_everything(talker, small_buffers):
    engine, model = talker
    engine.frames = 10
    text = b"Good morning to you, my friend. " * 70
    body = b'{"input": "%s", "response_format": "pcm"}' % text
    with serving({"small": model}, ahead_seconds=1) as running:
        whole = heard(ask(running, body, headers=b"Connection: close\r\n"))
        wait_for(lambda: running.speaker.engine.streams == 0)
        lazy = ask(running, body, headers=b"Connection: close\r\n", receive=4096)
        wait_for(lambda: running.speaker.engine.streams == 1)
        stream = next(iter(running.speaker.engine._streams.values()))
        wait_for(lambda: stream._held, "a text on hold")
        made = heard(lazy)
    assert len(sound_of(made)) == len(sound_of(whole)) > 10 * 10 * 2048


def sound_of(answer):
    """The body of a chunked response; its mark of the end must be there."""
    response = http.client.HTTPResponse(_Bytes(answer))
    response.begin()
    return response.read()


class _Bytes:
    def __init__(self, data):
        self.data = data

    def makefile(self, *_):
        import io

        return io.BytesIO(self.data)


def test_a_text_has_an_end(talker):
    engine, model = talker
    engine.frames, engine.pause = 190, 0.01
    with serving({"small": model}, request_seconds=1) as running:
        with pytest.raises(http.client.IncompleteRead):  # the body ends without its mark
            sound_of(heard(ask(running)))
        assert b'reason="time_limit"} 1.0' in running.speaker.metrics.page()


def test_a_first_sound_that_does_not_come(talker):
    engine, model = talker
    engine.pause = 1.5
    with serving({"small": model}, first_audio_seconds=0.5) as running:
        answer = heard(ask(running, headers=b"Connection: close\r\n"))
        assert answer.startswith(b"HTTP/1.1 504") and b"no sound within 0.5 s" in answer
        engine.pause = 0


def test_draining(slowly):
    client = ask(slowly, headers=b"Connection: close\r\n")
    assert client.recv(10)
    slowly.handle_exit(15, None)
    assert slowly.http.get("/readyz").status_code == 503 and slowly.http.get("/healthz").status_code == 200
    refused = slowly.http.post("/v1/audio/speech", json={"input": "Yes."})
    assert refused.status_code == 503 and refused.headers["retry-after"]
    assert heard(client).endswith(b"0\r\n\r\n")  # to its end
    wait_for(lambda: slowly.should_exit, "the end")


def test_a_thousand_connects_and_disconnects(slowly):
    started = time.monotonic()

    def rush(count):
        for index in range(count):
            client = (
                ask(slowly)
                if index % 3
                else socket.create_connection((urlsplit(slowly.address).hostname, urlsplit(slowly.address).port))
            )
            client.close()

    threads = [threading.Thread(target=rush, args=(250,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_for(lambda: slowly.speaker.admission.active == 0, "free places", 60)
    wait_for(lambda: not slowly.speaker.engine.pools["small"]._jobs, "free rows")
    slowly.talker.frames = 3
    speech = {"input": "Yes.", "response_format": "pcm"}
    wait_for(lambda: len(slowly.http.post("/v1/audio/speech", json=speech).content) == 6 * 2048, "speech", 60)
    wait_for(lambda: slowly.speaker.engine.streams == 0)
    assert time.monotonic() - started < 60
