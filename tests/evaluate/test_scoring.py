"""From a clip to a row, from rows to the figures of a system."""

import json

import numpy as np
import pytest

from orpheus.evaluate.scoring import Judges, compare_systems, judge, silences, summarise, tag_counts
from orpheus.evaluate.tag_detector import Event
from tests.fakes.judges import OPTIONS, FakeDetector, FakeLikeness, FakeNaturalness, FakeRecognizer, clip, rows_of
from tests.fakes.recordings import speech, talk


def test_a_row_has_every_figure():
    judges = Judges(
        FakeRecognizer("come in the the sun"),
        FakeNaturalness(),
        FakeLikeness(),
        FakeDetector([Event("sigh", 0.6, 0.9, 0.8)]),
    )
    row = judge(clip("Come in, <laugh> the sun!", voice="nora", kind="tag", finish_reason="end_of_speech"), judges)
    assert row == {
        "text": "Come in, <laugh> the sun!",
        "voice": "nora",
        "kind": "tag",
        "take": 0,
        "seconds": 2.0,
        "finish_reason": "end_of_speech",
        "leading_silence": 0.0,
        "trailing_silence": 0.0,
        "spoken_seconds": 2.0,
        "heard": "come in the the sun",
        "words": 4,
        "word_errors": 1,
        "characters": 15,
        "character_errors": 4,
        "repeated": ["the"],
        "skipped": [],
        "words_repeated": 1,
        "words_skipped": 0,
        "clean": 0,
        "changes": [
            ["equal", "come", "come"],
            ["equal", "in", "in"],
            ["insert", "", "the"],
            ["equal", "the", "the"],
            ["equal", "sun", "sun"],
        ],
        "tags": [
            {"tag": "laugh", "realised": True, "named": False, "heard_as": "sigh", "start": 0.6, "end": 0.9},
        ],
        "events": [["sigh", 0.6, 0.9, 0.8]],
        "false_tag": None,
        "ovrl": 5.0,
        "sig": 3.5,
        "bak": 4.0,
        "p808": 3.2,
        "likeness": 0.9,
    }
    json.dumps(row)


def test_a_row_without_judges_has_what_needs_none():
    row = judge(clip("Hello.", 1.0), Judges())
    assert sorted(row) == sorted(
        [
            "text",
            "voice",
            "kind",
            "take",
            "seconds",
            "finish_reason",
            "leading_silence",
            "trailing_silence",
            "spoken_seconds",
        ]
    )


def test_a_sound_in_a_row_without_tags_is_a_false_one():
    judges = Judges(FakeRecognizer("hello", "hello"), detector=FakeDetector([Event("cough", 0.1, 0.4, 0.7)], []))
    assert [judge(clip("Hello."), judges)["false_tag"] for _ in range(2)] == [1, 0]


@pytest.mark.parametrize("before, after", [(0.3, 0.5), (0.0, 0.2), (0.1, 0.0)])
def test_silences_are_exact_to_a_window(before, after):
    audio = np.concatenate([np.zeros(round(24_000 * before)), speech(1.0)[:, 0], np.zeros(round(24_000 * after))])
    assert silences(audio.astype(np.float32)) == pytest.approx((before, after), abs=1e-6)


def test_silence_alone_is_all_before():
    assert silences(np.zeros(12_000, np.float32)) == (0.5, 0.0)
    assert silences(np.zeros(0, np.float32)) == (0.0, 0.0)


def test_a_loud_click_at_the_end_is_sound():
    audio = talk(0.5, 0.3, 0.2)[:, 0]
    assert silences(audio) == pytest.approx((0.0, 0.0), abs=1e-6)


# --- figures of a system ---


def test_figures_add_up_over_rows():
    rows = rows_of(("red cat sat down", "red cat sat"), ("big dog", "big big dog"))
    values = {name: e.value for name, e in summarise(rows, OPTIONS).items() if e.rows}
    assert values == {
        "wer": 2 / 6,
        "cer": 9 / 23,  # " down" and "big " over "red cat sat down" and "big dog"
        "clean_rows": 0.0,
        "repeated": 1 / 6,
        "skipped": 1 / 6,
        "words_per_second": 1.5,
        "characters_per_second": 23 / 4,
        "leading_silence": 0.0,
        "trailing_silence": 0.0,
        "end_of_speech": 1.0,
        "out_of_range": 0.0,
        "max_new_tokens": 0.0,
    }


def test_how_rows_ended_is_counted():
    rows = (
        rows_of(("a", "a")) + rows_of(("b", "b"), reason="out_of_range") + rows_of(("c", "c"), ("d", "d"), reason=None)
    )
    found = summarise(rows, OPTIONS)
    assert (found["end_of_speech"].value, found["out_of_range"].value, found["end_of_speech"].rows) == (0.5, 0.5, 2)


def test_tags_are_counted_one_by_one():
    judges = Judges(FakeRecognizer("go", "go"), detector=FakeDetector([Event("laugh", 0.6, 0.9, 1)], []))
    rows = [judge(clip("Go. <laugh>"), judges), judge(clip("Go. <laugh> <sigh>"), judges)]
    assert tag_counts(rows) == {"laugh": (2, 1, 1), "sigh": (1, 0, 0)}
    assert summarise(rows, OPTIONS)["tags_realised"].value == pytest.approx(1 / 3)


def test_systems_are_compared_over_the_texts_they_share():
    base = rows_of(("red cat", "red hat"), ("blue dog", "blue dog"), ("only here", "nothing"))
    other = rows_of(("blue dog", "blue dog"), ("red cat", "red cat"))
    found = compare_systems(base, other, OPTIONS)
    assert (found["wer"].value, found["wer"].rows) == (-0.25, 2)
    assert compare_systems(base, rows_of(("else", "else")), OPTIONS) is None
