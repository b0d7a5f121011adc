"""The detector of tag sounds: its features, its events, how events and tags are matched; and the shipped weights."""

import json

import numpy as np
import pytest

from orpheus.common.options import ROOT
from orpheus.evaluate.options import ASSETS
from orpheus.evaluate.report.wording import detector_words
from orpheus.evaluate.scoring import hear_tags
from orpheus.evaluate.tag_detector import (
    CLASSES,
    MELS,
    OFFSETS,
    Event,
    TagDetector,
    events_of,
    features,
    log_mel,
    match_tags,
)
from orpheus.text.recognition import Heard
from orpheus.text.tags import KNOWN_TAGS


def probabilities(*stretches):
    """Frames of (class, seconds) one after the other, each certain."""
    rows = [np.eye(len(CLASSES))[[CLASSES.index(name)] * round(seconds * 50)] for name, seconds in stretches]
    return np.concatenate(rows)


def test_a_tone_stands_in_its_band_whatever_its_level():
    time = np.arange(24_000) / 24_000
    quiet, loud = (log_mel(level * np.sin(2 * np.pi * 1000 * time).astype(np.float32)) for level in (0.01, 0.5))
    assert quiet.shape == (51, MELS)
    assert quiet[25].argmax() == loud[25].argmax() == 13  # mel(1000 Hz) is 14/41 of the way from mel(60) to mel(7600)
    assert np.abs(quiet[5:45] - loud[5:45]).max() < 0.01


def test_features_are_the_frame_and_its_surroundings():
    mel = np.arange(60, dtype=np.float32)[:, None] * np.ones((1, MELS), np.float32)
    found = features(mel)
    assert found.shape == (60, len(OFFSETS) * MELS)
    assert found[30].reshape(-1, MELS)[:, 0].tolist() == [30 + offset for offset in OFFSETS]
    assert found[0].reshape(-1, MELS)[0, 0] == -6  # before the beginning there is silence


def test_events_are_runs_that_are_neither_speech_nor_silence():
    found = events_of(probabilities(("speech", 1), ("laugh", 0.6), ("silence", 0.2), ("laugh", 0.4), ("speech", 1)))
    assert [(e.tag, e.start, e.end) for e in found] == [("laugh", 1.0, 2.2)]  # a gap of 0.2 s is part of a laugh
    found = events_of(probabilities(("sigh", 0.5), ("speech", 1), ("cough", 0.3)))
    assert [(e.tag, e.start, e.end) for e in found] == [("sigh", 0.0, 0.5), ("cough", 1.5, 1.8)]
    assert events_of(probabilities(("speech", 1), ("gasp", 0.1), ("speech", 1))) == []
    assert events_of(probabilities(("silence", 1))) == []


def test_tags_take_the_events_where_they_stand():
    laugh, sigh = Event("laugh", 1.0, 2.0, 0.9), Event("sigh", 5.0, 5.5, 0.9)
    assert match_tags([("laugh", 0.9, 2.2)], [laugh, sigh]) == [laugh]
    assert match_tags([("laugh", 4.8, 5.5)], [laugh, sigh]) == [sigh]  # audible, though of another kind
    assert match_tags([("laugh", 2.9, 4.0)], [laugh, sigh]) == [None]
    assert match_tags([("sigh", 0, 6), ("laugh", 0, 6)], [laugh, sigh]) == [sigh, laugh]
    assert match_tags([("laugh", 0, 3), ("giggles", 0, 3)], [laugh]) == [laugh, None]  # one sound is not two


def test_tags_are_looked_for_between_the_words_around_them():
    class Detector:
        def events(self, audio):
            return [Event("laugh", 0.75, 1.4, 0.9)]

    heard = Heard("Go on. Stop.", (("Go", 0.0, 0.3), ("on.", 0.3, 1.5), ("Stop.", 1.5, 1.9)))
    audio = np.zeros(48_000, np.float32)
    rows, events = hear_tags("Go on. <laugh> Stop. <sigh>", audio, heard, Detector())
    assert [(row["tag"], row["realised"], row["named"], row["heard_as"]) for row in rows] == [
        ("laugh", True, True, "laugh"),
        ("sigh", False, False, None),
    ]
    assert (rows[1]["start"], rows[1]["end"]) == (1.88, 2.0) and len(events) == 1


# --- the shipped detector --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def detector():
    return TagDetector.load()


def test_the_weights_are_small_and_say_how_good_they_are(detector):
    assert (ASSETS / "tag_detector.npz").stat().st_size < 200_000
    card = json.loads((ASSETS / "tag_detector.json").read_text())
    assert card == detector.card
    test = card["unheard_voices"]
    assert set(test["tags"]) == set(KNOWN_TAGS)
    assert test["heard"] >= 0.9 and test["false_alarms"] <= 0.1
    assert f"hears {test['heard']:.1%}" in detector_words(card)
    document = (ROOT / "docs" / "evaluate.md").read_text()
    for name, facts in test["tags"].items():
        assert f"| {name} | {facts['heard']:.0%} | {facts['named']:.0%} |" in document


def test_nothing_is_heard_in_silence_and_in_no_samples(detector):
    assert detector.events(np.zeros(24_000, np.float32)) == []
    assert detector.events(np.zeros(0, np.float32)) == []


@pytest.mark.parametrize("tag", ["laugh", "cough", "yawn"])
def test_a_new_sound_is_heard(detector, tag):
    pytest.importorskip("scipy")
    from recipes.demo_voice.corpus.tag_sounds import read_tracts, tag_sound

    sound = tag_sound(tag, read_tracts()["af_bella"], np.random.default_rng(99))
    still = np.zeros(12_000, np.float32)
    found = detector.events(np.concatenate([still, sound, still]))
    assert len(found) == 1
    assert abs(found[0].start - 0.5) < 0.3 and abs(found[0].end - 0.5 - len(sound) / 24_000) < 0.6
