"""The voice that the repository carries, through the same code as any other."""

import numpy as np
import pytest

from orpheus.engines.options import SamplingOptions
from tests.engines.test_transformers import rows_of

TEXTS = [
    "Good morning, how did you sleep last night?",
    "Yes.",
    "It takes five minutes to walk from the swimming pool to the museum.",
    "I missed you <laugh> so much!",
]


def test_it_knows_two_voices(demo_voice):
    assert demo_voice.voices == ("nora", "theo") and demo_voice.default_voice == "nora"


@pytest.fixture(scope="module")
def spoken(demo_voice):
    """{voice: what it says}"""
    return {voice: demo_voice.synthesize(TEXTS[0], voice) for voice in demo_voice.voices}


@pytest.mark.parametrize("voice", ["nora", "theo"])
def test_it_speaks_and_ends_by_itself(spoken, voice):
    speech = spoken[voice]
    assert speech.finish_reason == "end_of_speech"
    assert 1.5 < speech.seconds < 4
    level = np.sqrt(np.mean(speech.audio**2))
    assert 0.02 < level < 0.3 and np.abs(speech.audio).max() <= 1
    assert np.abs(speech.audio[-480:]).max() < 0.1  # it ends in quiet, not in the middle of a sound


def test_a_batch_gives_each_row_what_it_gets_alone(demo_voice):
    """Prompts of 16 to 70 tokens, greedy and sampled, exact ids."""
    prompts = [demo_voice.prompts.prompt(text, "theo") for text in TEXTS]
    for sampling in (SamplingOptions(temperature=0, max_new_tokens=49), SamplingOptions(max_new_tokens=77)):
        together = rows_of(demo_voice.engine, prompts, sampling, [7] * 4)
        assert together == [rows_of(demo_voice.engine, [prompt], sampling, [7])[0] for prompt in prompts]


def test_streamed_equals_whole(demo_voice):
    whole = demo_voice.synthesize(TEXTS[3], "theo", seed=5)
    chunks = list(demo_voice.stream(TEXTS[3], "theo", seed=5))
    assert len(chunks[0]) == 1387  # what the first three frames decide
    assert np.abs(np.concatenate(chunks) - whole.audio).max() < 1e-5


def test_a_recording_survives_the_codec(demo_voice, spoken):
    """Encoded and decoded again, speech keeps its loudness over time (correlation of 85 ms levels)."""
    audio = spoken["nora"].audio
    again = demo_voice.codec.decode(demo_voice.codec.encode([audio])[0])
    levels = [np.log(np.sqrt(np.mean(x.reshape(-1, 2048) ** 2, axis=1)) + 1e-3) for x in (audio, again)]
    assert np.corrcoef(*levels)[0, 1] > 0.9
