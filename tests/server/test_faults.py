"""The server goes on: an engine that dies, a step that fails, a log that cannot be written, a clock that jumps."""

import base64
import json
import sys
import time

import httpx
import pytest

from orpheus.common.errors import OrpheusError
from orpheus.server.journal import tell
from tests.fakes.server import serving, wait_for

pytestmark = pytest.mark.serve  # engines are killed; run with `make test-serve`

LONG = {"input": "Yes.", "response_format": "pcm", "max_new_tokens": 1330}


@pytest.fixture
def slowly(server):
    """The server, whose texts take two seconds each."""
    server.talker.frames, server.talker.pause = 190, 0.0015
    return server


def test_an_engine_that_dies_cuts_its_texts_off_and_comes_back(slowly):
    with slowly.http.stream("POST", "/v1/audio/speech", json=LONG) as response:
        chunks = response.iter_raw()
        next(chunks)
        slowly.speaker.engine.die()
        with pytest.raises(httpx.RemoteProtocolError):
            for _ in chunks:
                pass
    refused = slowly.http.post("/v1/audio/speech", json=LONG)
    assert refused.status_code == 503 and refused.headers["retry-after"] == "5"
    assert slowly.http.get("/v1/audio/voices").status_code == 200  # lists stay
    wait_for(lambda: slowly.speaker.ready)
    slowly.talker.frames = 3
    assert len(slowly.http.post("/v1/audio/speech", json=LONG).content) == 6 * 2048
    assert slowly.speaker.engine.launches == 2 and slowly.speaker.admission.active == 0
    assert b'reason="engine_error"} 1.0' in slowly.speaker.metrics.page()


def test_events_say_that_they_were_cut_off(slowly):
    with slowly.http.stream("POST", "/v1/audio/speech", json=LONG | {"stream_format": "sse"}) as response:
        lines = response.iter_lines()
        assert base64.b64decode(json.loads(next(lines)[6:])["audio"])
        slowly.speaker.engine.die()
        last = None
        with pytest.raises(httpx.RemoteProtocolError):
            for line in lines:
                last = json.loads(line[6:]) if line else last
    assert (
        last["type"] == "speech.audio.error" and "the engine stopped while this was spoken" in last["error"]["message"]
    )


def test_a_whole_file_is_all_or_nothing(slowly):
    slowly.talker.fail = OrpheusError("the device is lost")
    response = slowly.http.post("/v1/audio/speech", json=LONG | {"stream": False})
    assert response.status_code == 500 and "the device is lost" in response.json()["error"]["message"]


def test_a_step_that_fails_takes_its_own_texts_only(slowly):
    pool = slowly.speaker.engine.pools["small"]
    with slowly.http.stream("POST", "/v1/audio/speech", json=LONG) as response:
        chunks = response.iter_raw()
        next(chunks)
        slowly.talker.fail = RuntimeError("CUDA error: an illegal memory access")
        with pytest.raises(httpx.RemoteProtocolError):
            for _ in chunks:
                pass
    slowly.talker.frames = 3
    assert len(slowly.http.post("/v1/audio/speech", json=LONG).content) == 6 * 2048
    assert pool.alive and slowly.talker.opened == [2, 2]


def test_slots_that_cannot_be_opened_again_take_the_engine_with_them(slowly, monkeypatch):
    slowly.talker.frames, opens = 3, slowly.talker.open
    monkeypatch.setattr(slowly.talker, "open", lambda *_: 1 / 0)
    slowly.talker.fail = RuntimeError("the device is gone")
    ask = lambda: slowly.http.post("/v1/audio/speech", json=LONG).status_code  # noqa: E731
    assert ask() == 500
    wait_for(lambda: not slowly.speaker.engine.pools["small"].alive)
    monkeypatch.setattr(slowly.talker, "open", opens)
    assert ask() == 500  # finds it so
    wait_for(lambda: slowly.speaker.engine.launches == 2 and slowly.speaker.ready)
    assert ask() == 200


def test_memory_that_is_too_short_makes_fewer_slots(talker, monkeypatch):
    engine, model = talker
    opens = engine.open
    monkeypatch.setattr(engine, "open", lambda slots, length: opens(slots, length) if slots < 4 else _full())
    with serving({"small": model}, slots=5) as running:
        assert running.speaker.admission.slots == 3
        assert httpx.post(f"{running.address}/v1/audio/speech", json={"input": "Yes."}).status_code == 200


def _full():
    raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")


def test_a_log_that_cannot_be_written_stops_nobody(server, speak, monkeypatch):
    class Full:
        def write(self, text):
            raise OSError(28, "No space left on device")

        flush = write

    monkeypatch.setattr(sys, "stderr", Full())
    tell("this is lost")
    assert speak().status_code == 200 and speak(voice="eve").status_code == 400


def test_a_clock_that_jumps_changes_nothing(slowly, monkeypatch):
    slowly.talker.frames = 40
    with slowly.http.stream("POST", "/v1/audio/speech", json=LONG) as response:
        chunks = response.iter_raw()
        made = len(next(chunks))
        now = time.time
        monkeypatch.setattr(time, "time", lambda: now() + 10**7)
        made += sum(map(len, chunks))
    assert made == 2 * 40 * 2048
