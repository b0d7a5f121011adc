"""Subtitles: what is shown, when, and the two formats."""

import re

import numpy as np
import pytest

from orpheus.common.errors import InputError
from orpheus.speech import subtitles
from orpheus.speech.subtitles import LINE, LINES, LONGEST, Cue, as_srt, as_vtt, cues_of, word_times

STORY = (
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness, it was the epoch of "
    "belief. We had everything before us! Had we nothing before us?"
)


def texts(cues):
    return [cue.text for cue in cues]


def test_short_pieces_are_a_cue_each_with_their_times():
    cues = cues_of([("Good morning.", 0.0, 1.2), ("Did you sleep well?", 1.35, 2.5)])
    assert cues == [Cue(0.0, 1.2, "Good morning."), Cue(1.35, 2.5, "Did you sleep well?")]


def test_long_ones_are_cut_at_sentences_and_clauses_into_lines_that_fit():
    cues = cues_of([(STORY, 10.0, 25.0)])
    assert " ".join(" ".join(texts(cues)).split()) == STORY
    assert cues[0].start == 10.0 and cues[-1].end == pytest.approx(25.0)
    for cue, after in zip(cues, [*cues[1:], None]):
        lines = cue.text.split("\n")
        assert len(lines) <= LINES and all(len(line) <= LINE for line in lines)
        assert cue.end - cue.start <= LONGEST
        assert after is None or after.start == pytest.approx(cue.end)
    assert texts(cues)[-2:] == ["We had everything before us!", "Had we nothing before us?"]


@pytest.mark.parametrize(
    "text, shown",
    [
        ("I missed you <laugh> so much!", "I missed you [laugh] so much!"),
        ("<sigh>", "[sigh]"),
        ("你好，今天我们去公园。", "你好，今天我们去公园。"),
        ("สวัสดี", "สวัสดี"),
    ],
)
def test_tags_and_writing_without_spaces(text, shown):
    assert texts(cues_of([(text, 0, 2)])) == [shown]


def test_writing_without_spaces_is_cut_as_well():
    cues = cues_of([("今天天气很好，" * 20, 0.0, 30.0)])
    assert len(cues) > 2 and "".join("".join(texts(cues)).split()) == "今天天气很好，" * 20
    assert all(len(line) <= LINE for cue in cues for line in cue.text.split("\n"))


def test_words_have_the_times_at_which_they_were_heard():
    said = "One two three, four five.".split()
    heard = [("one", 0.2, 0.4), ("too", 0.5, 0.6), ("three", 1.0, 1.3), ("five", 2.0, 2.4)]
    times = word_times(said, heard, 3.0)
    assert times[0] == (0.2, 0.4) and times[2] == (1.0, 1.3) and times[4] == (2.0, 2.4)
    assert times[1] == (0.4, 1.0)  # misheard: between its neighbours
    assert times[3] == (1.3, 2.0)


@pytest.mark.parametrize("heard", [(), [("nothing", 0.0, 1.0)], [("alpha", -1.0, 99.0)]])
def test_times_stay_within_the_piece(heard):
    times = word_times(["alpha", "beta"], heard, 2.0)
    assert all(0 <= a <= b <= 2.0 for a, b in times)


def test_recognition_gets_each_piece_and_moves_the_cues():
    audio, got = np.arange(96_000, dtype=np.float32), []

    def listen(part):
        got.append((part[0], len(part)))
        return [("hello", 0.25, 0.5)]

    cues = cues_of([("Hello.", 0.0, 1.0), ("Hello!", 2.0, 4.0)], listen, audio)
    assert got == [(0, 24_000), (48_000, 48_000)]
    assert cues == [Cue(0.25, 0.5, "Hello."), Cue(2.25, 2.5, "Hello!")]


def test_srt():
    assert as_srt([Cue(0, 1.5, "Hi <you> & me."), Cue(3661.0014, 3662, "A\nB")]) == (
        "1\n00:00:00,000 --> 00:00:01,500\nHi <you> & me.\n\n2\n01:01:01,001 --> 01:01:02,000\nA\nB\n"
    )


def test_vtt():
    assert as_vtt([Cue(0, 1.5, "Hi <you> & me."), Cue(59.9996, 62, "B")]) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nHi &lt;you> &amp; me.\n\n00:01:00.000 --> 00:01:02.000\nB\n"
    )


def test_without_the_recogniser_it_says_so(monkeypatch):
    def missing(*_, **__):
        raise InputError("timing by words needs faster-whisper: pip install faster-whisper")

    monkeypatch.setattr(subtitles, "Recognizer", missing)
    assert subtitles.word_listener() == (
        None,
        "timed by pieces; timing by words needs faster-whisper: pip install faster-whisper",
    )


# --- the command ---


def test_beside_every_sound(run, monkeypatch, in_empty_folder):
    monkeypatch.setattr(subtitles, "word_listener", lambda *_: (None, "timed by pieces"))
    status, out, _ = run("Hello there. <laugh> Good.", "Two.", "--out", "here", "--format", "flac", "--subtitles")
    assert status == 0
    names = sorted(path.name for path in (in_empty_folder / "here").iterdir())
    assert names == [f"output_{n}.{suffix}" for n in (0, 1) for suffix in ("flac", "srt", "vtt")]
    assert "here/output_0.srt, output_0.vtt: timed by pieces\n" in out
    shown = (in_empty_folder / "here" / "output_0.srt").read_text()
    assert re.match(r"1\n00:00:00,000 --> 00:00:0\d,\d{3}\nHello there.\n\n2\n", shown) and "[laugh] Good." in shown


def test_with_the_recogniser(run, monkeypatch, in_empty_folder):
    listened = []

    def listener(language, model):
        listened.append((language, model))
        return lambda audio: [("hello", 0.1, 0.2)], "timed by words"

    monkeypatch.setattr(subtitles, "word_listener", listener)
    run("Hello.", "--out", "a.wav", "--subtitles", "--language", "de")
    assert listened == [("de", None)]
    assert (in_empty_folder / "a.vtt").read_text() == "WEBVTT\n\n00:00:00.100 --> 00:00:00.200\nHello.\n"


def test_a_stream_has_none(run):
    status, _, err = run("Hello.", "--subtitles", "--stream", "wav")
    assert status == 2 and "leave out --subtitles" in err


def test_a_folder_in_the_way_is_told_before_anything_is_spoken(run, in_empty_folder):
    (in_empty_folder / "a.srt").mkdir()
    status, _, err = run("Hello.", "--out", "a.wav", "--subtitles")
    assert status == 2 and "a.srt is a folder" in err
