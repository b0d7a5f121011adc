"""Other programs' clients, as they are: `make test-serve`."""

import asyncio
import io
import json

import pytest

pytestmark = pytest.mark.serve
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
