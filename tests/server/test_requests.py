"""What is refused, before a word is spoken and in OpenAI's shape; and the lists."""

import json

import httpx
import pytest

from orpheus.common.audio import decode_audio
from orpheus.server.voices import OPENAI_VOICES, Catalogue, ServedModel, public_name, stand_ins
from tests.fakes.server import serving, wait_for


@pytest.mark.parametrize(
    "fields, status, param, message",
    [
        ({"input": ""}, 400, "input", "input is empty"),
        ({"input": " \n"}, 400, "input", "input is empty"),
        ({"input": None}, 400, "input", "input: input should be a valid string"),
        ({"input": "..."}, 400, "input", "nothing to speak in '...'"),
        ({"input": "\ud800"}, 400, "input", "nothing to speak"),
        (
            {"input": "a" * 100_001},
            400,
            "input",
            "input has 100,001 characters, and 100,000 are the most: send it in parts",
        ),
        ({"input": "a " * 10_001, "stream": False}, 400, "input", "and 20,000 are the most: leave `stream: false` out"),
        ({"model": "gpt-5"}, 404, "model", "the model 'gpt-5' does not exist; there are small, orpheus, tts-1"),
        ({"model": "../../etc/passwd"}, 404, "model", "the model '../../etc/passwd' does not exist"),
        ({"voice": "eve"}, 400, "voice", "unknown voice 'eve'; small has ann, bob"),
        ({"voice": {"id": "../ann"}}, 400, "voice", "unknown voice '../ann'"),
        ({"voice": {"name": "ann"}}, 400, "voice.id", "voice.id is missing"),
        ({"voice": 5}, 400, "voice", "voice: "),
        ({"response_format": "ogg"}, 400, "response_format", "'mp3', 'opus', 'aac', 'flac', 'wav' or 'pcm', not 'ogg'"),
        ({"speed": 0.2}, 400, "speed", "speed: input should be greater than or equal to 0.25, not 0.2"),
        ({"speed": 4.5}, 400, "speed", "less than or equal to 4, not 4.5"),
        ({"speed": "fast"}, 400, "speed", "speed: input should be a valid number"),
        ({"instructions": "Be glad."}, 400, "instructions", "these voices take no instructions"),
        ({"stream_format": "ndjson"}, 400, "stream_format", "'audio' or 'sse'"),
        ({"seed": -1}, 400, "seed", "seed: "),
        ({"temperature": 0.001}, 400, "temperature", "temperature must be 0 or between 0.01 and 5, not 0.001"),
        ({"top_p": 0}, 400, "top_p", "top_p: "),
        ({"max_new_tokens": 3000}, 400, "input", "exceed the pool's length 1536"),
        ({"pitch": 2}, 400, "pitch", "pitch is not known here, and would not be honoured: leave it out"),
        ({"timestamps": True}, 400, "timestamps", 'ask for "stream_format": "sse"'),
        ({"stream": False, "stream_format": "sse"}, 400, "stream", "leave out stream, or stream_format"),
    ],
)
def test_refusals(shared, fields, status, param, message):
    response = shared.http.post(
        "/v1/audio/speech",
        content=json.dumps({"input": "Good morning."} | fields),
        headers={"content-type": "application/json"},
    )
    error = response.json()["error"]
    assert response.status_code == status, error
    assert error["param"].startswith(param) and error["type"] == "invalid_request_error" and message in error["message"]
    assert set(error) == {"message", "type", "param", "code"}
    wait_for(lambda: shared.speaker.admission.active == 0 and shared.speaker.engine.streams == 0)


def test_bodies_that_are_no_requests(shared):
    for body, kind, message in (
        (b"{", "application/json", "the body is no JSON"),
        (b"[]", "application/json", "the body: "),
        (b"\xff\xfe", "application/json", "body"),
        (b'{"input": NaN}', "application/json", "input"),
        (b"", "application/json", "missing"),
        (b'{"input": "hi"}', "text/plain", "the body"),
        (b"input=hi", "application/x-www-form-urlencoded", "the body"),
    ):
        response = shared.http.post("/v1/audio/speech", content=body, headers={"content-type": kind})
        assert 400 <= response.status_code < 500, body
        assert message in response.json()["error"]["message"], body


def test_paths_that_are_not_there(shared):
    for method, path, status in (
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/audio/speech", 405),
        ("DELETE", "/v1/models", 405),
        ("GET", "/docs", 404),
    ):
        response = shared.http.request(method, path)
        assert response.status_code == status and response.json()["error"]["type"] == "invalid_request_error"


def speak(server, **fields):
    return server.http.post("/v1/audio/speech", json={"input": "Good morning.", "response_format": "pcm"} | fields)


def test_what_is_empty_is_not_refused(shared):
    for fields in (
        {"instructions": ""},
        {"instructions": None},
        {"voice": None, "model": None},
        {"voice": {"id": "bob"}},
        {"seed": None},
    ):
        assert speak(shared, **fields).status_code == 200


@pytest.mark.parametrize("name", OPENAI_VOICES)
def test_openais_voices_are_spoken_by_ours(shared, name):
    assert speak(shared, voice=name).status_code == 200


# --- lists ---


def test_lists(shared):
    models = shared.http.get("/v1/models").json()
    assert models["object"] == "list" and [model["id"] for model in models["data"]] == [
        "small",
        "orpheus",
        "tts-1",
        "tts-1-hd",
        "gpt-4o-mini-tts",
    ]
    assert models["data"][2]["stands_for"] == "small" and models["data"][0]["object"] == "model"
    assert shared.http.get("/v1/models/tts-1").json()["id"] == "tts-1"
    assert shared.http.get("/v1/models/none").status_code == 404
    assert shared.http.get("/v1/audio/models").json()["models"][0] == {"id": "small", "name": "small"}
    voices = shared.http.get("/v1/audio/voices").json()["voices"]
    assert [voice["id"] for voice in voices[:2]] == ["ann", "bob"]
    assert {voice["id"] for voice in voices} == {"ann", "bob", *OPENAI_VOICES}
    assert all({"id", "name", "language", "preview"} <= set(voice) for voice in voices)
    assert voices[0]["preview"] == "/v1/audio/voices/ann/preview"
    assert next(voice for voice in voices if voice["id"] == "alloy")["stands_for"] in ("ann", "bob")


def test_previews_are_spoken_once(server, at_once):
    def ask(voice="ann"):
        return server.http.get(f"/v1/audio/voices/{voice}/preview")

    first, second = at_once(ask, ask)
    assert first.status_code == 200 and first.headers["content-type"] == "audio/mpeg"
    assert first.content == second.content == ask().content and len(server.talker.spoken) == 1
    samples, rate = decode_audio(first.content, "mp3")
    assert rate == 24_000 and len(samples) >= 6 * 2048
    assert ask("bob").status_code == ask("alloy").status_code == 200  # alloy stands for one of the two
    one, other = server.talker.spoken
    assert one != other  # the prompts
    unknown = ask("eve")
    assert unknown.status_code == 404 and unknown.json()["error"]["code"] == "voice_not_found"
    assert ask("..%2F..%2Fetc%2Fpasswd").status_code == 404


def test_a_preview_that_breaks_off_is_not_kept(server):
    server.talker.fail = RuntimeError("a step failed")
    assert server.http.get("/v1/audio/voices/ann/preview").status_code == 500
    assert server.http.get("/v1/audio/voices/ann/preview").status_code == 200
    wait_for(lambda: server.speaker.admission.active == 0)


def test_root_health_and_metrics(server, speak):
    assert server.http.get("/").status_code == 200
    assert server.http.get("/healthz").text == "ok" and server.http.get("/readyz").text == "ready"
    speak()
    speak(voice="eve")
    page = server.http.get("/metrics").text
    for line in (
        'orpheus_requests_total{reason="done"} 1.0',
        'orpheus_refusals_total{status="400"} 1.0',
        "orpheus_first_audio_seconds_count 1.0",
        "orpheus_streams 0.0",
        "orpheus_waiting 0.0",
        "orpheus_ready 1.0",
    ):
        assert line in page.splitlines()


def test_a_page_is_shown_to_who_asks_for_nothing(server):
    response = server.http.get("/")
    assert response.status_code == 200 and response.headers["content-type"].startswith("text/html")
    assert "<textarea" in response.text


def test_the_description_is_complete(server):
    described = server.http.get("/openapi.json").json()
    assert {"/v1/audio/speech", "/v1/models", "/v1/audio/voices"} <= set(described["paths"])


# --- names ---


def test_a_model_of_its_own_voice():
    meant = stand_ins(("tara", "leah", "leo", "dan", "echo"))
    assert "echo" not in meant and set(meant) == set(OPENAI_VOICES) - {"echo"}
    assert {meant[name] for name in ("alloy", "coral", "nova", "sage", "shimmer", "marin")} == {"tara", "leah"}
    assert {meant[name] for name in ("ash", "ballad", "fable", "onyx")} == {"leo", "dan"}
    assert stand_ins(()) == {}


def test_voices_that_are_models():
    base = ServedModel("orpheus-3b", ("tara",), "tara")
    anna = ServedModel("anna", (), None)
    names = Catalogue({"orpheus-3b": base, "anna": anna}, {"anna": "anna"})
    assert names.find(None, None) == ("orpheus-3b", None)
    assert names.find("tts-1", "tara") == ("orpheus-3b", "tara")
    assert names.find("tts-1", "anna") == names.find("anna", None) == names.find(None, "anna") == ("anna", None)
    assert names.find("anna", "alloy") == ("anna", None)  # it has no voices to choose among
    listed = names.listed_voices()["voices"]
    assert [(row["id"], row["model"]) for row in listed[:2]] == [("tara", "orpheus-3b"), ("anna", "anna")]


def test_no_path_is_told(tmp_path):
    folder = tmp_path / "my voice"
    folder.mkdir()
    assert public_name(str(folder)) == "my voice"
    assert public_name("unsloth/orpheus-3b-0.1-ft") == "unsloth/orpheus-3b-0.1-ft"
    assert public_name(f"demo_voice + {folder}") == "demo_voice + my voice"


def test_several_models(voice, talker):
    engine, model = talker
    with serving({"small": model, "other": model}) as running, httpx.Client(base_url=running.address) as client:
        for name, status in (("small", 200), ("other", 200), ("third", 404)):
            assert client.post("/v1/audio/speech", json={"input": "Yes.", "model": name}).status_code == status
