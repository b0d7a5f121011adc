"""Where speech is written and what is said about it."""

from pathlib import Path

import numpy as np
import pytest

import inference
from orpheus.common.encoders import FORMAT_OF
from orpheus.common.errors import InputError
from orpheus.speech.output import figures, output_paths, summary
from orpheus.speech.synthesis import Speech


def test_every_format_that_is_offered_is_known():
    assert set(inference.FORMATS) <= {suffix.strip(".") for suffix in FORMAT_OF}


def speech(seconds=2.0, taken=1.0, ends=("end_of_speech",), **more):
    return Speech(np.zeros(round(24_000 * seconds), np.float32), "Hi.", None, 0, ends, taken, **more)


@pytest.mark.parametrize(
    "out, count, format, names",
    [
        (None, 2, None, ["generated_audio/output_0.wav", "generated_audio/output_1.wav"]),
        (Path("here"), 2, "mp3", ["here/output_0.mp3", "here/output_1.mp3"]),
        (Path("here/deep"), 1, None, ["here/deep/output_0.wav"]),
        (Path("deep/story.m4a"), 1, None, ["deep/story.m4a"]),
        (Path("story.ogg"), 1, "opus", ["story.ogg"]),
        (Path("story.v2"), 1, None, ["story.v2/output_0.wav"]),
    ],
)
def test_files(in_empty_folder, out, count, format, names):
    assert output_paths(out, count, format) == [Path(name) for name in names]
    assert Path(names[0]).parent.is_dir()


@pytest.mark.parametrize(
    "out, count, format, said",
    [
        ("a.mp3", 2, None, "names one file for 2 texts"),
        ("a.mp3", 1, "wav", "two formats"),
        ("a.aiff", 1, None, ".aiff cannot be written"),
    ],
)
def test_what_cannot_be_meant(in_empty_folder, out, count, format, said):
    with pytest.raises(InputError, match=said):
        output_paths(Path(out), count, format)


@pytest.mark.parametrize(
    "made, said",
    [
        (speech(), "2.0 s of speech in 1.0 s (2.0 x real time)"),
        (speech(5.71, 40.0), "5.7 s of speech in 40.0 s (0.14 x real time)"),
        (speech(30, 0.5), "30.0 s of speech in 0.5 s (60 x real time)"),
        (
            speech(ends=("end_of_speech", "max_new_tokens")),
            "2.0 s of speech in 1.0 s (2.0 x real time), cut off by --max-new-tokens (max_new_tokens)",
        ),
        (
            speech(ends=("out_of_range",), retried_for=("loop", "misheard", "loop")),
            "2.0 s of speech in 1.0 s (2.0 x real time), ended at a token that is no sound (out_of_range), "
            "retries: 3 (loop x2, misheard x1)",
        ),
    ],
)
def test_what_became_of_a_text(made, said):
    assert summary(made) == said


def test_figures_have_two_or_three_digits():
    assert [figures(value) for value in (0, 0.0314, 0.314, 1.94, 12.3, 340.4)] == [
        "0",
        "0.031",
        "0.31",
        "1.9",
        "12",
        "340",
    ]


def test_pieces_have_the_times_at_which_they_are_heard(small_voice):
    made = small_voice.synthesize("One two three.\n\nFour five six.", paragraph_pause=0.5)
    stream = small_voice.stream("One two three.\n\nFour five six.", paragraph_pause=0.5)
    assert sum(map(len, stream)) == len(made.audio)
    assert [text for text, *_ in made.pieces] == ["One two three.", "Four five six."]
    (_, begin, middle), (_, after, end) = made.pieces
    assert begin == 0 and after == pytest.approx(middle + 0.5) and end == pytest.approx(made.seconds)
    assert np.allclose([times for _, *times in stream.pieces], [times for _, *times in made.pieces])
