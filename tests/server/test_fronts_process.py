"""Several fronts as they are started: processes that are killed and come back, limits and counts of all together, an end in order."""

import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager

import httpx
import numpy as np
import pytest

from orpheus.common.options import ROOT
from orpheus.server.engine_process import EngineSpec
from orpheus.server.fronts import Fronts
from orpheus.server.options import ServerOptions
from tests.fakes.endpoints import MODELS, Fake, serving
from tests.fakes.server import check_end, wait_for

SPEECH = {"input": "Good morning.", "response_format": "pcm", "seed": 4}
LONG = SPEECH | {"input": "Good morning to you. " * 100}

pytestmark = pytest.mark.serve  # a minute: whole servers are started and killed; run with `make test-serve`


@contextmanager
def started(folder, slots=2, engines=1, endpoint=None, **options):
    names = {"model": str(folder), "lora": "none", "device": "cpu", **(endpoint or {})}
    chosen = ServerOptions(port=0, fronts=2, max_streams=slots, **options)
    fronts = Fronts(chosen, {}, EngineSpec(((None, names),), slots, 1536, chosen.queue), engines)
    thread = threading.Thread(target=fronts.run, daemon=True)
    thread.start()
    try:
        wait_for(lambda: fronts.ready or fronts.failed, "the fronts", 120)
        assert not fronts.failed
        yield fronts
    finally:
        fronts.end()
        thread.join(60)
        assert not thread.is_alive() and not fronts._folder.exists()


def ask(fronts, path="/v1/audio/speech", **fields):
    """A response over a connection of its own, which any front may take."""
    with httpx.Client(base_url=fronts.address, timeout=60) as client:
        return client.post(path, json=SPEECH | fields) if path.startswith("/v1/audio") else client.get(path)


def counted(fronts, name):
    """The sum of a metric's lines, as one front tells it for all."""
    lines = re.findall(rf"^{name}(?:{{.*}})? (\S+)$", ask(fronts, "/metrics").text, re.MULTILINE)
    return sum(map(float, lines))


@contextmanager
def speaking(fronts):
    """A long text that is being spoken: yields its response's iterator."""
    with httpx.stream("POST", f"{fronts.address}/v1/audio/speech", json=LONG, timeout=60) as response:
        chunks = response.iter_raw()
        next(chunks)
        yield chunks


def with_a_text(fronts):
    return next(front for front in fronts.fronts.values() if front.tickets)


@pytest.fixture(scope="module")
def fronts(small_voice_folder):
    with started(small_voice_folder, queue=1) as running:
        yield running


def test_all_fronts_take_texts_and_tell_of_all(fronts, at_once):
    assert ask(fronts, "/readyz").status_code == ask(fronts, "/healthz").status_code == 200
    first = ask(fronts).content
    for _ in range(8):
        assert ask(fronts).content == first and len(first) > 4096  # the same engine, whoever talks
    wait_for(lambda: all(front.ready for front in fronts.fronts.values()))
    assert counted(fronts, "orpheus_requests_total") == 9 and counted(fronts, "orpheus_fronts") == 2


def test_places_are_those_of_all_together(fronts):
    with speaking(fronts), speaking(fronts):
        wait_for(lambda: fronts.admission.active == 2)
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(ask(fronts))) for _ in range(6)]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(answers) == 5)  # one waits for its turn
        assert {answer.status_code for answer in answers} == {429} and answers[0].headers["retry-after"]
    for thread in threads:
        thread.join(60)
    assert sorted(answer.status_code for answer in answers) == [200, 429, 429, 429, 429, 429]
    wait_for(lambda: fronts.admission.active == 0)


def test_a_front_is_killed_and_comes_back(fronts, capfd):
    before = counted(fronts, "orpheus_requests_total")
    with speaking(fronts) as chunks:
        lost = with_a_text(fronts)
        os.kill(lost.process.pid, signal.SIGKILL)
        with pytest.raises(httpx.RemoteProtocolError):
            for _ in chunks:
                pass
    for _ in range(4):
        assert ask(fronts).status_code == 200  # by the other one
    wait_for(lambda: fronts.admission.active == 0 and not any(fronts._speaking))
    wait_for(lambda: all(front.ready for front in fronts.fronts.values()), "the front", 60)
    assert (
        lost not in fronts.fronts.values()
        and "'s process ended with status -9; 1 texts were cut off" in capfd.readouterr().err
    )
    assert (
        counted(fronts, "orpheus_requests_total") >= before + 4 and counted(fronts, "orpheus_front_restarts_total") == 1
    )


def test_the_engine_is_killed_and_comes_back(fronts):
    with speaking(fronts) as chunks:
        os.kill(fronts.engines[0].pid, signal.SIGKILL)
        with pytest.raises(httpx.RemoteProtocolError):
            for _ in chunks:
                pass
    wait_for(lambda: ask(fronts, "/readyz").status_code == 503)
    assert ask(fronts).status_code == 503 and ask(fronts, "/healthz").status_code == 200
    wait_for(lambda: all(ask(fronts, "/readyz").status_code == 200 for _ in range(4)), "the engine", 90)
    assert ask(fronts).status_code == 200
    assert counted(fronts, "orpheus_engine_restarts_total") == 1


@pytest.fixture
def endpoint(small_voice):
    """A llama-server that answers each prompt with 60 frames, slowly."""
    layout = small_voice.prompts.layout
    codes = np.random.default_rng(0).integers(0, 16, (60, 7))
    tokens = [*layout.to_tokens(codes).tolist(), layout.end_of_speech]
    vocabulary = {"data": [MODELS["llama.cpp"]["data"][0] | {"meta": {"n_vocab": 100_000}}]}
    with serving(Fake("llama.cpp", lambda asked: tokens, layout.base, vocabulary)) as fake:
        fake.pause = 0.005
        yield fake


def test_fronts_before_an_endpoint_have_an_engine_each(small_voice_folder, endpoint):
    with started(small_voice_folder, 4, 2, {"url": endpoint.url}) as fronts:
        asked = len(endpoint.requests)
        with speaking(fronts), speaking(fronts):
            assert fronts._speaking == [1, 1] and [engine.facts["slots"] for engine in fronts.engines] == [2, 2]
        wait_for(lambda: fronts.admission.active == 0)
        assert ask(fronts).status_code == 200 and len(endpoint.requests) >= asked + 3
        os.kill(fronts.engines[0].pid, signal.SIGKILL)
        wait_for(lambda: fronts.engines[0].state == "loading")
        for _ in range(3):
            assert ask(fronts, "/readyz").status_code == ask(fronts).status_code == 200  # by the other engine
        wait_for(lambda: fronts.engines[0].state == "ready", "the engine", 90)


def test_the_command_lets_texts_end(small_voice_folder):
    command = f"-m orpheus.server --lora none --port 0 --fronts 2 --model {small_voice_folder}".split()
    process = subprocess.Popen([sys.executable, *command], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        greeting = process.stderr.readline()
        address = re.match(
            r"(http://127.0.0.1:\d+) speaks with small \(ann, bob\), 4 texts at once, 2 fronts", greeting
        )[1]
        check_end(process, address, SPEECH)
    finally:
        process.kill()
        process.stderr.close()


@pytest.mark.parametrize(
    "arguments, message",
    [(("--model", "no-such-folder/here/x"), "error: "), (("--fronts", "0"), "fronts must be")],
)
def test_what_cannot_start_says_why(arguments, message):
    command = [sys.executable, "-m", "orpheus.server", "--port", "0", "--fronts", "2", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
