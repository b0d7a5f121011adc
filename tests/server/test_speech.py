"""POST /v1/audio/speech: what comes, in which shape, and that it is the pool's own sound."""

import base64
import io
import json

import av
import numpy as np
import pytest

from orpheus.common.audio import decode_audio
from orpheus.common.encoders import MEDIA_TYPES
from orpheus.server.pool import StreamPool
from tests.fakes.server import wait_for

FRAME = 2048
FORMATS = ("mp3", "opus", "aac", "flac", "wav", "pcm")


def samples(response):
    assert response.status_code == 200, response.text
    return np.frombuffer(response.content, "<i2")


def events(response):
    lines = response.text.split("\n\n")
    assert lines[-1] == ""
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


def test_it_is_the_sound_that_the_model_makes(server, speak, voice, talker):
    with StreamPool(talker[1], slots=1) as pool:
        expected = np.concatenate(list(pool.submit("Good morning.", "bob", seed=5)))
    made = samples(speak(voice="bob", seed=5))
    assert made.shape == expected.shape == (6 * FRAME,)
    assert np.abs(made / 32767 - expected).max() < 1e-4


@pytest.mark.parametrize("format", FORMATS)
def test_formats(speak, format):
    response = speak(response_format=format)
    assert response.status_code == 200 and response.headers["content-type"] == MEDIA_TYPES[format]
    assert response.headers["transfer-encoding"] == "chunked" and "content-length" not in response.headers
    if format == "pcm":
        assert len(response.content) == 12 * FRAME
        return
    with av.open(io.BytesIO(response.content)) as container:
        frames = list(container.decode(audio=0))
    made = sum(frame.samples for frame in frames) * 24_000 / frames[0].sample_rate
    assert made == 6 * FRAME if format in ("opus", "flac", "wav") else 6 * FRAME <= made < 6 * FRAME + 3600


def test_mp3_is_what_comes_without_asking(server):
    response = server.http.post("/v1/audio/speech", json={"input": "Yes.", "voice": "alloy", "model": "tts-1"})
    assert response.headers["content-type"] == "audio/mpeg" and response.content[0] == 0xFF


def test_a_whole_file_says_its_length(speak):
    streamed, whole = speak(response_format="wav"), speak(response_format="wav", stream=False)
    assert whole.headers["content-length"] == str(44 + 12 * FRAME) and "transfer-encoding" not in whole.headers
    assert streamed.content[40:44] == b"\xff" * 4 and whole.content[40:44] == (12 * FRAME).to_bytes(4, "little")
    assert streamed.content[44:] == whole.content[44:]


@pytest.mark.parametrize("speed", [0.25, 0.5, 1.25, 4])
def test_speed(speak, speed):
    made = samples(speak(speed=speed))
    assert abs(len(made) - 6 * FRAME / speed) < 2000
    assert len(decode_audio(speak(speed=speed, response_format="flac").content, "flac")[0]) == len(made)


def test_events(speak):
    plain = speak(seed=3).content
    response = speak(seed=3, stream_format="sse")
    assert response.headers["content-type"] == "text/event-stream"
    *deltas, done = events(response)
    assert {event["type"] for event in deltas} == {"speech.audio.delta"} and len(deltas) > 2
    assert b"".join(base64.b64decode(event["audio"]) for event in deltas) == plain
    usage = done["usage"]
    assert done["type"] == "speech.audio.done" and done["finish_reason"] == "end_of_speech"
    assert usage["output_tokens"] == 42 and usage["input_tokens"] > 5
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert done["seconds"] == round(6 * FRAME / 24_000, 4)


@pytest.mark.parametrize("speed", [1, 2])
def test_word_times(speak, speed):
    text = "Good morning to you. How did you sleep tonight?"
    made = events(speak(text, stream_format="sse", timestamps=True, speed=speed))
    words = [word for event in made if event["type"] == "speech.audio.words" for word in event["words"]]
    assert [word["word"] for word in words] == text.split()
    times = [time for word in words for time in (word["start"], word["end"])]
    assert times == sorted(times) and times[-1] <= made[-1]["seconds"] + 0.03
    assert times[-1] > 0.6 * made[-1]["seconds"]


def test_sound_comes_before_the_text_is_over(server):
    server.talker.frames, server.talker.pause = 120, 0.002
    with server.http.stream("POST", "/v1/audio/speech", json={"input": "Yes.", "response_format": "pcm"}) as response:
        chunks = response.iter_raw()
        first = next(chunks)
        assert 0 < len(first) < 40 * FRAME
        assert server.speaker.engine.streams == 1
        rest = b"".join(chunks)
    assert len(first) + len(rest) == 2 * 120 * FRAME


def test_texts_are_spoken_side_by_side(server, speak, at_once):
    server.talker.frames = 20
    alone = [samples(speak(seed=seed)).astype(int) for seed in range(5)]
    together = at_once(*(lambda seed=seed: samples(speak(seed=seed)) for seed in range(5)))
    for one, other in zip(alone, together, strict=True):
        assert np.abs(one - other).max() <= 1  # of 32,768
    assert len({one.tobytes() for one in alone}) == 5


def test_options_of_the_model_arrive(server, speak):
    with_text = len(server.talker.spoken)
    assert len(samples(speak(max_new_tokens=21))) == 3 * FRAME
    assert (
        len(samples(speak("I have 3.", normalize="on", temperature=0, top_p=0.5, repetition_penalty=1.2))) == 6 * FRAME
    )
    assert len(server.talker.spoken) == with_text + 2


def test_a_text_of_many_pieces(server, speak):
    text = "Good morning to you. " * 60
    made = samples(speak(text))
    assert len(made) > 5 * 6 * FRAME
    wait_for(lambda: server.speaker.admission.active == 0)
