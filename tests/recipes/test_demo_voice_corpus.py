"""The demo voice's corpus: its text, its label tracks, its tag sounds, and how they are mixed."""

import json

import numpy as np
import pytest

from orpheus.common.options import ROOT
from recipes.demo_voice.corpus.labels import (
    CLASS_COUNT,
    FIRST_PHONEME,
    FIRST_TAG,
    IGNORE,
    PHONEMES,
    SILENCE,
    TAG_NAMES,
    TEACHER_LAG,
    TEACHER_UNIT,
    TRACK_HOP,
    label_track,
    symbol_classes,
)
from recipes.demo_voice.corpus.sentences import Writer, fragment, halves, texts_of
from recipes.demo_voice.corpus.speak import BOTH_VOICES, in_order, read_sentences
from recipes.demo_voice.judge import words

RECIPE = ROOT / "recipes" / "demo_voice"


def test_labels_follow_durations():
    track = label_track("ˈə t.", np.array([4, 1, 5, 1, 6, 4, 2]), offset=0, samples=23 * TEACHER_UNIT)

    def at(unit):
        return track[int((unit * TEACHER_UNIT - TEACHER_LAG) // TRACK_HOP)]

    assert at(3.5) == SILENCE
    assert at(4.5) == at(9.5) == FIRST_PHONEME + PHONEMES.index("ə")  # the stress mark belongs to the vowel
    assert at(10.5) == IGNORE
    assert at(12) == FIRST_PHONEME + PHONEMES.index("t")
    assert at(18) == SILENCE
    moved = label_track("ˈə t.", np.array([4, 1, 5, 1, 6, 4, 2]), offset=TRACK_HOP * 10, samples=10 * TEACHER_UNIT)
    assert np.array_equal(moved[:80], track[10:90])
    with pytest.raises(ValueError):
        label_track("ə", np.array([1, 1]), 0, 600)


@pytest.fixture(scope="module")
def sentences():
    return [
        line
        for name in ("sentences", "more_sentences")
        for line in read_sentences(RECIPE / "corpus" / f"{name}.jsonl.gz")
    ]


def test_every_symbol_of_the_sentences_has_a_class(sentences):
    parts = [part for sentence in sentences for part in sentence.get("parts") or [(sentence["text"], sentence["ph"])]]
    classes = {value for _, symbols in parts for value in symbol_classes(symbols)}
    assert len(sentences) > 30_000 and max(classes) == CLASS_COUNT - 1
    assert all(len(text.split()) == len(symbols.split()) for text, symbols in parts)


def test_judged_sentences_are_not_in_the_corpus(sentences):
    lines = (RECIPE / "judge_sentences.txt").read_text().split("\n")
    judged = [line.split(": ", 1)[1] for line in lines if line]
    known = {sentence["text"].lower().rstrip(".!?") for sentence in sentences}
    assert len(judged) == 50 and words("It's <laugh> five o'clock!") == "its five oclock"
    assert not [text for text in judged if text.lower().rstrip(".!?") in known]


def test_voices_begin_with_the_short_texts_and_take_the_others_from_both_ends(sentences):
    one, other = in_order(sentences, 1, False), in_order(sentences, 1, True)
    short = sum(sentence["src"] in BOTH_VOICES for sentence in sentences)
    assert short > 2_000 and {sentence["src"] for sentence in one[:short]} == set(BOTH_VOICES)
    assert one[:short] == other[:short] and one[short:] == other[short:][::-1] != sentences[short:]


def test_more_sentences_are_short_named_counted_asked_long_and_in_two_halves():
    sentence = {"text": "He left the old car here.", "ph": "hˌi lˈɛft ði ˈOld kˈɑɹ hˈɪɹ."}
    rng = Writer(3).rng
    for _ in range(20):
        text, sounds = fragment(sentence, rng)
        assert (
            2 <= len(text.split()) == len(sounds.split()) <= 4 and text[0].isupper() and text[-1] == sounds[-1] in ".!?"
        )
        cut = halves(sentence, rng)
        (first, first_sounds), (second, second_sounds) = cut["parts"]
        assert cut["text"] == f"{first} {second}" == sentence["text"] and first_sounds.endswith(",")
        assert f"{first_sounds.rstrip(',')} {second_sounds}" == sentence["ph"]
    assert halves({"text": "Go on, then.", "ph": "a b c."}, rng) is None
    assert "good evening, is this seat already taken?" in texts_of(str(RECIPE / "judge_sentences.txt"))


def test_halves_become_one_clip_with_a_tag_between(tmp_path):
    pytest.importorskip("scipy")
    from recipes.demo_voice.corpus.build import mix

    clip, track = np.full(TRACK_HOP * 100, 900, np.int16), np.full(100, FIRST_TAG + 20, np.int8)
    texts = np.frombuffer(json.dumps(["I missed you", "so much!"]).encode(), np.uint8)
    ends = np.array([len(clip), 2 * len(clip)])
    path = str(tmp_path / "am_puck-0.npz")
    np.savez(
        path, pcm=np.tile(clip, 2), ends=ends, track=np.tile(track, 2), texts=texts, halves=np.array([True, False])
    )
    voice, [(text, _, pcm, labels)] = mix(path)
    assert voice == "theo" and text.startswith("I missed you <") and text.endswith("> so much!")
    assert len(pcm) == TRACK_HOP * len(labels) > 2 * len(clip)
    assert set(labels[110:-110]) & set(range(FIRST_TAG, FIRST_TAG + 9))


@pytest.mark.parametrize("name", TAG_NAMES)
def test_tag_sounds_are_audible(name):
    pytest.importorskip("scipy")
    from recipes.demo_voice.corpus.tag_sounds import read_tracts, tag_sound

    for tract in read_tracts().values():
        sound = tag_sound(name, tract, np.random.default_rng(1))
        assert 0.25 < len(sound) / 24_000 < 2.2
        assert 0.02 < np.abs(sound).max() <= 0.91
