"""Two replicas on Ray Serve, one of which is killed. `make test-ray`"""

import os
import signal
import socket
import threading
import time
from pathlib import Path

import httpx
import pytest

from orpheus.common.errors import InputError
from orpheus.common.options import ROOT

pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("ignore")]  # Ray leaves sockets open
LONG = "This is one of many sentences of a text. " * 60


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture(scope="module")
def address(small_voice_folder):
    """Where two replicas of the small voice answer."""
    ray = pytest.importorskip("ray")
    from ray import serve

    from deploy.ray_serve import application

    port = free_port()
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ray.init(
        num_cpus=4,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
        runtime_env={"env_vars": environment},
    )
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    options = {"model": str(small_voice_folder), "lora": "none", "device": "cpu", "replicas": "2", "cpus": "1"}
    serve.run(application(options | {"max_streams": "8"}), name="orpheus", route_prefix="/")
    yield f"http://127.0.0.1:{port}"
    serve.shutdown()
    ray.shutdown()


def replicas():
    """Process ids of the replicas, by what the processes call themselves."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"ray::ServeReplica:orpheus"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def speak(address, text, **fields):
    return httpx.post(
        f"{address}/v1/audio/speech", json={"input": text, "response_format": "pcm", **fields}, timeout=120
    )


def test_replicas_speak_as_the_server_does(address, small_voice):
    assert httpx.get(f"{address}/readyz").text == "ready"
    answers = [speak(address, "Good morning.", seed=7) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200] * 4
    expected = small_voice.synthesize("Good morning.", seed=7).audio
    assert {len(answer.content) for answer in answers} == {2 * len(expected)}
    refused = speak(address, "Good morning.", voice="nobody-of-that-name")
    assert refused.status_code == 400 and refused.json()["error"]["param"] == "voice"


def test_a_killed_replica_loses_only_its_own_streams(address):
    ends = {}

    def listen(number):
        try:
            asked = {"input": LONG, "response_format": "pcm", "seed": number}
            with httpx.stream("POST", f"{address}/v1/audio/speech", json=asked, timeout=240) as answer:
                for _ in answer.iter_raw():
                    ends.setdefault(number, "begun")
            ends[number] = "whole"
        except httpx.HTTPError as error:
            ends[number] = type(error).__name__

    threads = [threading.Thread(target=listen, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    while len(ends) < 6:
        time.sleep(0.05)
    assert set(ends.values()) == {"begun"}
    first, second = replicas()
    os.kill(first, signal.SIGKILL)
    assert [speak(address, "Good morning.").status_code for _ in range(6)] == [200] * 6
    for thread in threads:
        thread.join()
    assert set(ends.values()) == {"whole", "RemoteProtocolError"}  # cut off, and seen to be
    deadline = time.monotonic() + 120
    while len(replicas()) < 2 and time.monotonic() < deadline:
        time.sleep(0.5)
    assert second in replicas() and len(replicas()) == 2 and first not in replicas()


def test_what_makes_no_sense_is_refused():
    pytest.importorskip("ray")
    from deploy.ray_serve import application

    for args, message in (
        ({"replicas": "two"}, "replicas must be a whole number, not 'two'"),
        ({"replicas": "0"}, "replicas must be between 1 and 10,000, not 0"),
        ({"cpus": "-1"}, "cpus must be between 0 and 10,000, not -1"),
        ({"host": "0.0.0.0", "device": "cpu"}, "lets the network in"),
    ):
        with pytest.raises(InputError, match=message):
            application(args)
