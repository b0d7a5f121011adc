"""The server as it is started, with processes of its own: it loads, loses its engine and gets it back, and ends in order."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import time

import httpx
import pytest

from orpheus.common.options import ROOT
from orpheus.server.engine_process import EngineSpec
from orpheus.server.failures import Refusal
from orpheus.server.options import ServerOptions
from orpheus.server.preparing import Preparer
from orpheus.server.running import Running
from tests.fakes.server import check_end, wait_for

SPEECH = {"input": "Good morning.", "response_format": "pcm", "seed": 4}

pytestmark = pytest.mark.serve  # a minute: whole servers are started, killed and ended; run with `make test-serve`


@pytest.fixture(scope="module")
def running(small_voice_folder):
    spec = EngineSpec(((None, {"model": str(small_voice_folder), "lora": "none", "device": "cpu"}),), 2, 1536, 8)
    server = Running(ServerOptions(port=0), {}, spec)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_for(lambda: server.started and server.speaker.ready, "the server", 90)
    with httpx.Client(base_url=server.address, timeout=60) as server.http:
        yield server
    server.should_exit = True
    thread.join(60)
    assert not thread.is_alive() and server.speaker.engine.state == "closed"


def speak(running, **fields):
    return running.http.post("/v1/audio/speech", json=SPEECH | fields)


def test_it_is_called_by_its_folders_name_and_speaks(running, small_voice_folder):
    assert running.speaker.catalogue.default == small_voice_folder.name
    first, second = speak(running), speak(running)
    assert first.status_code == 200 and len(first.content) > 4096 and first.content == second.content


def test_a_long_text_has_a_process_of_its_own(running):
    with running.http.stream(
        "POST", "/v1/audio/speech", json=SPEECH | {"input": "Good morning to you. " * 300}
    ) as response:
        assert response.status_code == 200 and next(response.iter_raw())


def test_the_engine_is_killed_and_comes_back(running):
    text = "Good morning to you. " * 100
    with running.http.stream("POST", "/v1/audio/speech", json=SPEECH | {"input": text}) as response:
        chunks = response.iter_raw()
        next(chunks)
        os.kill(running.speaker.engine.pid, signal.SIGKILL)
        with pytest.raises(httpx.RemoteProtocolError):  # the body ends without its mark
            for _ in chunks:
                pass
    refused = speak(running)
    assert refused.status_code == 503 and refused.headers["retry-after"]
    assert running.http.get("/readyz").status_code == 503 and running.http.get("/v1/models").status_code == 200
    wait_for(lambda: running.speaker.ready, "the engine", 90)
    assert speak(running).status_code == 200
    assert b"orpheus_engine_restarts_total 1.0" in running.speaker.metrics.page()


def test_the_command_starts_and_ends(small_voice_folder, tmp_path):
    command = [
        sys.executable,
        "-m",
        "orpheus.server",
        "--model",
        str(small_voice_folder),
        "--lora",
        "none",
        "--port",
        "0",
    ]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        greeting, curl = process.stderr.readline(), process.stderr.readline()
        address = re.match(r"(http://127.0.0.1:\d+) speaks with small \(ann, bob\), 4 texts at once", greeting)[1]
        assert curl.startswith(f"curl {address}/v1/audio/speech ") and curl.endswith("-o hello.mp3\n")
        check_end(process, address, SPEECH)
    finally:
        process.kill()
        process.stderr.close()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--model", "no-such-folder/here/x"), "error: "),
        (("--host", "0.0.0.0"), "error: host '0.0.0.0' lets the network in"),
        (("--keys", "no-such-file"), "error: --keys no-such-file cannot be read"),
    ],
)
def test_what_cannot_start_says_why(arguments, message):
    environment = {name: value for name, value in os.environ.items() if name != "ORPHEUS_SERVER_KEYS"}
    command = [sys.executable, "-m", "orpheus.server", "--port", "0", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


def test_the_process_that_talks_needs_no_torch():
    program = "import sys, orpheus.server.running, orpheus.server.cli; print([n for n in ('torch', 'transformers') if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True).stdout == "[]\n"


def test_adapters_are_voices_of_their_own(small_voice_folder, tmp_path):
    from orpheus.server.cli import models_of, parse
    from tests.fakes.adapters import train_adapter

    adapter = train_adapter(tmp_path / "lora_anna", small_voice_folder)
    arguments = parse(
        ["--model", str(small_voice_folder), "--lora", "none", "--device", "cpu", "--voice-model", f"anna={adapter}"]
    )
    options = ServerOptions(port=0, voice_model=arguments.serving.voice_model)
    spec = EngineSpec(models_of(arguments), 2, 1536, 8)
    server = Running(options, {}, spec, voice_models={name: name for name in options.voice_models})
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        wait_for(lambda: server.started and server.speaker.ready, "the server", 90)
        with httpx.Client(base_url=server.address, timeout=60) as client:
            made = {}
            for name, fields in {"base": {}, "voice": {"voice": "anna"}, "model": {"model": "anna"}}.items():
                made[name] = client.post("/v1/audio/speech", json=SPEECH | fields).content
            assert made["voice"] == made["model"] != made["base"] and len(made["base"]) > 2000
            assert "anna" in [voice["id"] for voice in client.get("/v1/audio/voices").json()["voices"]]
            assert "anna" in [model["id"] for model in client.get("/v1/models").json()["data"]]
    finally:
        server.should_exit = True
        thread.join(60)


# --- the processes that read texts ---


def test_a_text_that_takes_too_long_costs_only_itself():
    async def main():
        preparer = Preparer({"short": 1.0, "long": 1.0})
        try:
            with pytest.raises(Refusal, match="the text cannot be read") as refused:
                await preparer.plan("nobody", "Yes.", None, {})
            assert refused.value.status == 500
            lane = preparer._lanes["short"]
            pid = lane._process.pid
            os.kill(pid, signal.SIGSTOP)  # as one that is busy
            began = time.monotonic()
            with pytest.raises(Refusal, match="takes too long to be read"):
                await preparer.plan("nobody", "Yes.", None, {})
            assert time.monotonic() - began < 60
            with pytest.raises(Refusal, match="the text cannot be read"):  # by another process
                await preparer.plan("nobody", "Yes.", None, {})
            os.kill(lane._process.pid, signal.SIGKILL)
            with pytest.raises(Refusal, match="died with this one"):
                await preparer.plan("nobody", "Yes.", None, {})
        finally:
            preparer.close()

    asyncio.run(main())
