"""Other programs' clients, as they are: `make test-serve`."""

import asyncio
import contextlib
import http.client
import io
import json
import socket

import pytest

# Warnings are the packages' own affair.
pytestmark = [pytest.mark.serve, pytest.mark.filterwarnings("ignore")]
FRAME = 2048


def decoded(data):
    """Samples at 24 kHz that FFmpeg makes of it."""
    import av

    with av.open(io.BytesIO(data)) as container:
        return sum(frame.samples * 24_000 / frame.sample_rate for frame in container.decode(audio=0))


@pytest.fixture
def openai(server):
    openai = pytest.importorskip("openai", reason="pip install -r requirements-serve-dev.txt")
    with openai.OpenAI(base_url=f"{server.address}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_openai(openai, tmp_path):
    speech = openai.audio.speech.create(model="tts-1", voice="alloy", input="Good morning.")
    assert decoded(speech.content) >= 6 * FRAME
    with openai.audio.speech.with_streaming_response.create(
        model="gpt-4o-mini-tts", voice="nova", input="Yes.", response_format="opus", speed=1.5
    ) as speech:
        speech.stream_to_file(tmp_path / "yes.opus")
    assert abs(decoded((tmp_path / "yes.opus").read_bytes()) - 6 * FRAME / 1.5) < 1500
    with openai.audio.speech.with_streaming_response.create(
        model="tts-1", voice="ash", input="Yes.", stream_format="sse"
    ) as speech:
        events = [json.loads(line[6:]) for line in speech.iter_lines() if line]
    assert events[-1]["type"] == "speech.audio.done" and len(events) > 2
    assert [model.id for model in openai.models.list()][0] == "small" and openai.models.retrieve("tts-1").id == "tts-1"


def test_openais_errors(openai):
    import openai as package

    with pytest.raises(package.NotFoundError, match="does not exist"):
        openai.audio.speech.create(model="tts-9", voice="alloy", input="Yes.")
    with pytest.raises(package.BadRequestError) as raised:
        openai.audio.speech.create(model="tts-1", voice="alloy", input="Yes.", instructions="Whisper.")
    assert raised.value.param == "instructions"


def test_openai_asynchronously(server):
    package = pytest.importorskip("openai", reason="pip install -r requirements-serve-dev.txt")

    async def main():
        async with package.AsyncOpenAI(base_url=f"{server.address}/v1", api_key="none") as client:
            asked = {"model": "tts-1", "voice": "alloy", "response_format": "pcm"}
            whole = await client.audio.speech.create(input="Yes.", **asked)
            async with client.audio.speech.with_streaming_response.create(input="Yes.", **asked) as speech:
                streamed = b"".join([chunk async for chunk in speech.iter_bytes()])
            return whole.content, streamed

    whole, streamed = asyncio.run(main())
    assert whole == streamed and len(whole) == 12 * FRAME


def test_whatever_the_description_allows_and_does_not(server):
    """No answer is a server error, whatever is asked."""
    schemathesis = pytest.importorskip("schemathesis", reason="pip install -r requirements-serve-dev.txt")
    server.talker.frames = 3
    schema = schemathesis.openapi.from_url(f"{server.address}/openapi.json")
    seen = []

    for result in schema.get_all_operations():
        _try(result.ok().as_strategy(), seen)
    assert len(seen) > 100


def _try(strategy, seen):
    from hypothesis import HealthCheck, given, settings

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(strategy)
    def ask(case):
        response = case.call(timeout=30)
        seen.append(response.status_code)
        assert response.status_code < 500, (response.status_code, response.text, case.body)

    ask()


# --- voice agents, with the packages they are built with ---


def test_livekit(server):
    pytest.importorskip("livekit.plugins.openai", reason="pip install -r requirements-serve-dev.txt")
    from livekit.agents import APIStatusError
    from livekit.plugins.openai import TTS

    async def frames(text="Good morning.", **options):
        speaker = TTS(base_url=f"{server.address}/v1", api_key="none", **options)
        try:
            async with speaker.synthesize(text) as stream:
                return [event.frame async for event in stream]
        finally:
            await speaker.aclose()

    for options in ({}, {"model": "tts-1"}, {"voice": "bob", "response_format": "wav"}, {"response_format": "pcm"}):
        made = asyncio.run(frames(**options))
        samples = sum(frame.samples_per_channel for frame in made)
        assert 6 * FRAME <= samples < 6 * FRAME + 3600, options
        assert {(frame.sample_rate, frame.num_channels) for frame in made} == {(24_000, 1)}
    assert abs(sum(frame.samples_per_channel for frame in asyncio.run(frames(speed=2.0))) - 3 * FRAME) < 3600
    with pytest.raises(APIStatusError, match="unknown voice 'eve'"):
        asyncio.run(frames(voice="eve"))


def test_pipecat(server):
    pytest.importorskip("pipecat.services.openai.tts", reason="pip install -r requirements-serve-dev.txt")
    from pipecat.frames.frames import ErrorFrame, TTSAudioRawFrame
    from pipecat.services.openai.tts import VALID_VOICES, OpenAITTSService

    async def frames(**settings):
        service = OpenAITTSService(
            base_url=f"{server.address}/v1", api_key="none", settings=OpenAITTSService.Settings(**settings)
        )
        service._sample_rate = 24_000  # a pipeline says so when it starts
        try:
            return [frame async for frame in service.run_tts("Good morning.", "context")]
        finally:
            await service._client.close()

    for voice in VALID_VOICES:
        made = [frame for frame in asyncio.run(frames(voice=voice)) if isinstance(frame, TTSAudioRawFrame)]
        assert sum(len(frame.audio) for frame in made) == 12 * FRAME
    refused = asyncio.run(frames(voice="alloy", instructions="Whisper."))
    assert [type(frame) for frame in refused] == [ErrorFrame] and "instructions" in refused[0].error


# --- programs, by the requests in their sources ---


def posted(server, fields, headers):
    """(content type, body) of speech; httpx would not send a header that ends in a space."""
    client = http.client.HTTPConnection(server.address.removeprefix("http://"), timeout=30)
    with contextlib.closing(client):
        client.request("POST", "/v1/audio/speech", json.dumps(fields), {"Content-Type": "application/json", **headers})
        answer = client.getresponse()
        return answer.headers["content-type"], answer.read()


def test_open_webui(server):
    """backend/open_webui/routers/audio.py: what it lists, and what it sends; it sends the settings' model and no format."""
    assert [row["id"] for row in server.http.get("/v1/audio/models").json()["models"]][0] == "small"
    voices = {row["id"]: row["name"] for row in server.http.get("/v1/audio/voices").json()["voices"]}
    assert voices["bob"] == "bob" and "alloy" in voices
    for headers in (
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer none", "X-OpenWebUI-User-Name": "Anna%20B"},
    ):
        kind, made = posted(server, {"model": "tts-1", "input": "Good morning.", "voice": "alloy"}, headers)
        assert kind == "audio/mpeg" and decoded(made) >= 6 * FRAME
    refused = server.http.post("/v1/audio/speech", json={"model": "tts-1", "input": "Yes.", "voice": "eve"})
    assert refused.status_code == 400 and "unknown voice" in refused.json()["error"]["message"]


def test_sillytavern(server):
    """src/endpoints/openai.js sends what public/scripts/extensions/tts/openai-compatible.js says to the address as it is typed."""
    for voice, speed in (("alloy", 1), ("bob", 2), ("nova", 0.25)):
        fields = {
            "model": "tts-1",
            "input": "*Good* morning.",
            "voice": voice,
            "response_format": "mp3",
            "speed": speed,
        }
        kind, made = posted(server, fields, {"Authorization": "Bearer "})  # where no key is set
        assert kind == "audio/mpeg" and abs(decoded(made) - 6 * FRAME / speed) < 3600


# --- WebSockets whose frames are broken ---

HELLO = (
    b"GET /v1/audio/speech/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
BROKEN = {
    "no mask": b"\x81\x02{}",
    "reserved bits": b"\xf1\x80\x00\x00\x00\x00",
    "an opcode that does not exist": b"\x83\x80\x00\x00\x00\x00",
    "a continuation of nothing": b"\x80\x80\x00\x00\x00\x00",
    "text that is no UTF-8": b"\x81\x82\x00\x00\x00\x00\xff\xfe",
    "a long ping": b"\x89\xfe\x00\x80\x00\x00\x00\x00" + b"a" * 128,
    "a ping in parts": b"\x09\x80\x00\x00\x00\x00",
    "a length that is said too long": b"\x81\xfe\x00\x02\x00\x00\x00\x00{}",
    "16 exabytes": b"\x81\xff" + b"\xff" * 8 + b"\x00" * 4,
    "a close of one byte": b"\x88\x81\x00\x00\x00\x00\x03",
    "a close for no reason that exists": b"\x88\x82\x00\x00\x00\x00\x00\x01",
    "half a frame": b"\x81",
    "noise": bytes(range(256)) * 20,
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_frames_end_the_connection_alone(server, what):
    address = server.address.removeprefix("http://").split(":")
    with socket.create_connection((address[0], int(address[1])), timeout=10) as client:
        client.sendall(HELLO)
        assert client.recv(4096).startswith(b"HTTP/1.1 101")
        client.sendall(BROKEN[what])
        client.shutdown(socket.SHUT_WR)
        while client.recv(4096):
            pass
    made = server.http.post("/v1/audio/speech", json={"input": "Yes.", "response_format": "pcm"})
    assert made.status_code == 200 and len(made.content) == 12 * FRAME
    assert server.speaker.admission.active == 0
