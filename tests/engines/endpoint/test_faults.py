"""Servers that fail: each fault has an end and a message with the address and the cure."""

import socket
import time
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest

from orpheus.common.errors import EndpointError, InputError
from orpheus.engines import SequenceError
from orpheus.engines.endpoint.client import Client, key_from_environment, retry_after
from orpheus.engines.endpoint.finding import find
from orpheus.engines.options import API_KEY, EndpointOptions, SamplingOptions
from tests.engines.endpoint.conftest import FRAMES, PROMPT, QUICK, SPEECH, ids_of

GREEDY = SamplingOptions(temperature=0, max_new_tokens=60)
LATER = (503, {"error": {"message": "Loading model"}}, (("Retry-After", "0.05"),))


@pytest.mark.parametrize("status", [429, 503])
def test_an_overloaded_server_is_waited_for(status, connect):
    engine, fake = connect("llama.cpp")
    fake.faults = [(status, {"error": "busy"}, (("Retry-After", "0.05"),))] * 4
    began = time.monotonic()
    assert ids_of(engine, [PROMPT], GREEDY) == [SPEECH]
    assert time.monotonic() - began >= 0.2 and len(fake.requests) == 5


def test_but_not_for_ever(connect):
    engine, fake = connect("llama.cpp")
    fake.faults = [LATER] * 50
    with pytest.raises(
        EndpointError, match=rf"{fake.url} is overloaded \(503: Loading model\).*Try again later"
    ) as caught:
        ids_of(engine, [PROMPT], GREEDY)
    assert len(fake.requests) < 10 and "--batch-size" in str(caught.value)


def test_a_server_that_asks_for_an_hour_is_not_waited_for(connect):
    engine, fake = connect("llama.cpp")
    fake.faults = [(429, b"slow down", (("Retry-After", "3600"),))]
    began = time.monotonic()
    with pytest.raises(EndpointError, match="left alone for 3600 s"):
        ids_of(engine, [PROMPT], GREEDY)
    assert time.monotonic() - began < 60


def test_retry_after_in_seconds_as_a_date_and_as_nonsense():
    soon = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=30), usegmt=True)
    assert 25 < retry_after(soon) <= 30
    assert [retry_after(value) for value in ("2", "-1", None, "", "soon")] == [2, 0, None, None, None]


@pytest.mark.parametrize("status", [500, 502, 504])
def test_a_server_that_fails_is_asked_a_few_times(status, connect):
    engine, fake = connect("vllm")
    fake.faults = [(status, b"<html>Bad gateway</html>")] * 2
    assert ids_of(engine, [PROMPT], GREEDY) == [SPEECH]
    fake.faults = [(status, b"<html>Bad gateway</html>")] * 20
    with pytest.raises(EndpointError, match=rf"{fake.url} failed \({status}\): given up after 3 tries"):
        ids_of(engine, [PROMPT], GREEDY)


@pytest.mark.parametrize(
    "fault, message",
    [
        ((400, {"error": {"message": "exceeds the context size"}}), r"refuses the request \(400: exceeds the context size\)"),
        ((404, {"error": "no"}), r"has no /completion, or not the model \(404: no\).*--dialect"),
        ((401, {"error": "no"}), r"refuses access \(401: no\): set ORPHEUS_API_KEY to its key"),
        ((307, b"", (("Location", "http://elsewhere"),)), r"sends on to http://elsewhere \(307\): give that as --url"),
        ((200, b"<html>hello</html>", (("Content-Type", "text/html"),)), "answers /completion with a web page"),
        (lambda n, event, _: b"{nonsense", "answers b'{nonsense', which is no JSON"),
        (lambda n, event, _: b"[1, 2]", "where an object is expected"),
        (lambda n, event, _: b"[" * 100_000, "which is no JSON"),
        (lambda n, event, _: {"content": "hello", "stop": False}, "answers an answer without token ids: llama-server"),
        (lambda n, event, _: event | {"tokens": ["7"]}, "an answer without token ids"),
        (lambda n, event, _: event | {"tokens": [10**9]}, "answers the id 1000000000, and the model's vocabulary has 7436"),
        (lambda n, event, _: event | {"tokens": [-1]}, "answers the id -1"),
    ],
)  # fmt: skip
def test_what_no_second_try_can_mend_is_an_error_at_once(fault, message, connect):
    engine, fake = connect("llama.cpp")
    fake.faults = [fault]
    with pytest.raises(EndpointError, match=message) as caught:
        ids_of(engine, [PROMPT], GREEDY)
    assert fake.url in str(caught.value) and len(fake.requests) == 1


def test_an_error_in_the_middle_of_a_stream_is_not_the_end_of_speech(connect):
    engine, fake = connect("vllm")
    fake.faults = [lambda n, event, _: {"error": {"message": "CUDA error"}} if n == 4 else event] * 1
    assert ids_of(engine, [PROMPT], GREEDY) == [SPEECH]
    assert len(fake.requests) == 2
    fake.faults = [lambda n, event, _: {"error": {"message": "CUDA error"}}] * 9
    with pytest.raises(EndpointError, match="failed: CUDA error: given up after 3 tries, with 0 tokens"):
        ids_of(engine, [PROMPT], GREEDY)


def test_a_stream_that_ends_without_an_end_is_taken_up_again(connect):
    engine, fake = connect("llama.cpp")
    fake.faults = [lambda n, event, _: {"tokens": []} if event["stop"] else event]
    assert ids_of(engine, [PROMPT], GREEDY) == [SPEECH]
    assert fake.requests[1][1]["prompt"] == [*PROMPT, *FRAMES]


def _drip(n, event, handler):
    """Keeps the connection open with comments, and sends no token."""
    for _ in range(40):
        handler.send(b": still here\n\n")
        time.sleep(0.02)
    return event


def _silent(n, event, handler):
    time.sleep(0.8)
    return event


@pytest.mark.parametrize("fault, message", [(_drip, "sent no token for 0.3 s"), (_silent, "was silent for too long")])
def test_a_slow_server_counts_as_lost(fault, message, connect):
    engine, fake = connect("llama.cpp", patience=replace(QUICK, token=0.3, ask=0.5))
    fake.faults = [fault]
    assert ids_of(engine, [PROMPT], GREEDY) == [SPEECH]
    fake.faults = [fault] * 9
    with pytest.raises(EndpointError, match=message):
        ids_of(engine, [PROMPT], GREEDY)


def test_a_server_that_is_not_there():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(EndpointError, match=rf"{url} cannot be reached .*Is it running"):
        find(Client(url, None, QUICK))


def test_one_sequence_of_several_fails_alone(connect):
    engine, fake = connect("llama.cpp")
    slots = engine.open(2, 100)
    fake.faults = [(400, {"error": "no"})]
    failed = slots.join(PROMPT, GREEDY, 0)
    until = time.monotonic() + 60
    with pytest.raises(SequenceError, match="refuses the request") as caught:
        while time.monotonic() < until:
            slots.step()
    assert caught.value.slot == failed and isinstance(caught.value.reason, EndpointError)
    slots.leave(failed)
    slots.join(PROMPT, GREEDY, 0)
    got = []
    while len(got) < len(SPEECH) and time.monotonic() < until:
        got += [int(token) for token in slots.step() if token >= 0]
    assert got == SPEECH


# --- keys and addresses ---


def test_the_key_is_sent_and_never_shown(connect, monkeypatch):
    monkeypatch.setenv(API_KEY, " sekret-7 ")
    assert key_from_environment() == "sekret-7"
    engine, fake = connect("llama.cpp", key="sekret-7")
    assert ids_of(engine, [PROMPT], GREEDY) == [SPEECH]
    assert fake.headers[0]["Authorization"] == "Bearer sekret-7"
    with pytest.raises(
        EndpointError, match=r"refuses access \(401: Invalid key Bearer \(the key\)\)|refuses access"
    ) as caught:
        fake.key = "another"
        find(engine.client)
    assert "sekret" not in str(caught.value) and "is not the right one" in str(caught.value)
    with pytest.raises(EndpointError, match=f"set {API_KEY} to its key"):
        find(Client(fake.url, None, QUICK))
    monkeypatch.setenv(API_KEY, "sekr\net")
    with pytest.raises(InputError) as caught:
        key_from_environment()
    assert "sekr" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["localhost:8080", "ftp://here", "http://", "", "http://a:b", "http://me:secret@here", "http://here?x=1", 7]
)
def test_addresses_that_are_none(url):
    with pytest.raises(InputError) as caught:
        EndpointOptions(url=url)
    assert "secret" not in str(caught.value)
