"""Adapters as voices of one pool: over HTTP and in Python, each with what is its own, in one batch."""

import itertools
import json
import threading

import numpy as np
import pytest

from orpheus.common.errors import InputError
from orpheus.server.engine_process import EngineSpec, run_engine
from orpheus.server.pool import StreamPool
from orpheus.speech.several import load_models
from orpheus.speech.synthesis import OrpheusInference
from tests.fakes.adapters import anna_and_ben
from tests.fakes.server import serving

TEXT = "Good morning to you."
OPTIONS = {"seed": 5, "max_new_tokens": 56}

pytestmark = pytest.mark.filterwarnings("ignore:speech was cut off")


@pytest.fixture(scope="module")
def lora(small_voice_folder, tmp_path_factory):
    """{name: an adapter's folder}"""
    made = anna_and_ben(tmp_path_factory.mktemp("voices"), small_voice_folder)
    (made["anna"] / "voices.json").write_text(json.dumps(["annabel"]))
    (made["ben"] / "orpheus.json").write_text(json.dumps({"language": "de"}))
    return made


@pytest.fixture(scope="module")
def wanted(small_voice_folder, lora):
    first = {"model": str(small_voice_folder), "lora": "none", "device": "cpu"}
    return ((None, first), *((name, first | {"lora": str(folder)}) for name, folder in lora.items()))


@pytest.fixture(scope="module")
def models(wanted):
    (group,) = load_models(wanted)
    return dict(zip(("small", "anna", "ben"), group.models.values()))


def heard(speech):
    return np.concatenate(list(speech))


@pytest.fixture(scope="module")
def expected(wanted):
    """{name: what a model of its own says}"""
    made = {}
    for name, (id, names) in zip(("small", "anna", "ben"), wanted):
        (group,) = load_models(((id, names),))
        made[name] = OrpheusInference(next(iter(group.models.values()))).synthesize(TEXT, **OPTIONS).audio
    for one, other in itertools.combinations(made.values(), 2):  # by more than what is called equal below
        assert len(one) != len(other) or np.abs(one - other).max() > 0.005
    return made


def test_one_batch_speaks_with_all_of_them(models, expected):
    with StreamPool(models["small"], slots=6, voices=models) as pool:
        asked = ["anna", None, "ben", "ben", "anna", "small"]
        found = [heard(speech) for speech in [pool.submit(TEXT, voice, **OPTIONS) for voice in asked]]
        assert pool.counts["steps"] < 0.5 * pool.counts["tokens"]  # side by side, not one after the other
        for voice, audio in zip(asked, found):
            whole = expected[voice or "small"]
            assert len(audio) == len(whole) and np.abs(audio - whole).max() < 1e-4, voice
        with pytest.raises(InputError, match="unknown voice 'zoe'"):
            pool.submit(TEXT, "zoe")
        own = heard(pool.voices["anna"].submit(TEXT, "annabel", **OPTIONS))
    assert len(own)


def test_a_pool_of_one_voice_alone(models, expected):
    with StreamPool(models["anna"], slots=2) as pool:
        assert len(heard(pool.submit(TEXT, **OPTIONS))) == len(expected["anna"])


def test_two_adapters_over_http(models, expected):
    import httpx

    names = {name: name for name in ("anna", "ben")}
    with serving(models, voice_models=names, together=True) as server, httpx.Client(base_url=server.address) as client:

        def ask(**fields):
            body = {"input": TEXT, "response_format": "pcm"} | OPTIONS | fields
            answer = client.post("/v1/audio/speech", json=body, timeout=60)
            assert answer.status_code == 200, answer.text
            return np.frombuffer(answer.content, "<i2") / 32768

        for fields, name in (
            ({"voice": "anna"}, "anna"),
            ({"model": "anna"}, "anna"),
            ({"voice": "ben"}, "ben"),
            ({"model": "ben"}, "ben"),
            ({}, "small"),
        ):
            found = ask(**fields)
            assert len(found) == len(expected[name]) and np.abs(found - expected[name]).max() < 1e-3, fields
        # Each has its own voices and its own language.
        answer = client.post("/v1/audio/speech", json={"input": TEXT, "model": "ben", "voice": "annabel"})
        assert answer.status_code == 400 and answer.json()["error"]["code"] == "voice_not_found"
        assert len(ask(model="anna", voice="annabel"))
        rows = {row["id"]: row for row in client.get("/v1/audio/voices").json()["voices"]}
        assert rows["anna"]["model"] == "anna" and rows["ben"]["model"] == "ben" and rows["ben"]["language"] == "de"
        assert {"small", "anna", "ben"} <= {model["id"] for model in client.get("/v1/models").json()["data"]}
        # Six at once share the slots of the one pool.
        results, threads = {}, []
        for index in range(6):
            voice = ("anna", "ben", None)[index % 3]
            fields = {"voice": voice} if voice else {}
            threads.append(threading.Thread(target=lambda i=index, f=fields: results.update({i: ask(**f)})))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        for index, audio in results.items():
            assert np.abs(audio - expected[("anna", "ben", "small")[index % 3]]).max() < 1e-3
        assert len(results) == 6


def test_the_engines_process_opens_one_pool_for_all(wanted, small_voice_folder, monkeypatch):
    """What `python -m orpheus.server --voice-model` has its process do."""
    told = []

    class Connection:
        def send(self, message):
            told.append(message)

        def recv(self):
            raise EOFError

    monkeypatch.setattr("orpheus.server.engine_process.end_with_parent", lambda: None)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    opened = []
    original = StreamPool.__init__
    monkeypatch.setattr(StreamPool, "__init__", lambda self, *a, **o: (opened.append(self), original(self, *a, **o))[1])
    run_engine(Connection(), EngineSpec(wanted, 3, 1536, 8))
    (kind, facts), (pool,) = told[0], opened
    assert kind == "ready" and list(facts["models"]) == [small_voice_folder.name, "anna", "ben"]
    assert facts["models"]["ben"]["language"] == "de" and facts["models"]["anna"]["voices"][0] == "annabel"
    assert facts["slots"] == 3 and not pool.alive
