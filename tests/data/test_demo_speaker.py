"""The third speaker's clips are what their card, their recipe and the command that learns from them say."""

import json

import numpy as np
import pytest

from orpheus.common.audio import read_audio
from orpheus.common.frame import SAMPLE_RATE
from orpheus.common.options import ROOT
from orpheus.text.tags import KNOWN_TAGS
from orpheus.training.options import DEMO_SPEAKER

RECIPE = ROOT / "recipes" / "demo_speaker"


@pytest.fixture(scope="module")
def rows():
    return [json.loads(line) for line in (DEMO_SPEAKER / "metadata.jsonl").read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def make():
    pytest.importorskip("scipy")
    from recipes.demo_speaker import make

    return make


def test_sixty_clips_of_one_speaker_under_three_megabytes(rows):
    files = sorted(path.name for path in (DEMO_SPEAKER / "clips").iterdir())
    assert [row["file_name"] for row in rows] == [f"clips/{name}" for name in files]
    assert len(rows) == 60 and {row["source"] for row in rows} == {"milo"}
    assert sum(path.stat().st_size for path in DEMO_SPEAKER.rglob("*") if path.is_file()) < 3_000_000
    assert len({row["text"] for row in rows}) == 60


def test_the_card_counts_the_tags(rows):
    card = (DEMO_SPEAKER / "README.md").read_text("utf-8")
    counts = {tag: sum(row["text"].count(f"<{tag}>") for row in rows) for tag in KNOWN_TAGS}
    stated = ", ".join(f"{tag} {count}" for tag, count in sorted(counts.items(), key=lambda item: -item[1]))
    assert sorted(stated.split(", ")) == sorted(card.split("| tags | ")[1].split(", in 15")[0].split(", "))
    assert min(counts.values()) == 1 and sum("<" in row["text"] for row in rows) == 15


def test_clips_are_whole_speech(rows):
    seconds = []
    for row in rows:
        audio = read_audio(DEMO_SPEAKER / row["file_name"])
        seconds.append(len(audio) / SAMPLE_RATE)
        assert 0.1 < np.abs(audio).max() <= 1.1 and np.sqrt((audio**2).mean()) > 0.02, row
    assert min(seconds) > 2.85 and max(seconds) < 6.95 and sum(seconds) / 60 == pytest.approx(4.3, abs=0.05)


def test_clips_say_the_recipes_lines_and_nothing_that_is_held_out(rows, make):
    lines = (RECIPE / "lines.txt").read_text("utf-8").splitlines()
    assert [row["text"] for row in rows] == [" ".join(make.parts_of(line)) for line in lines]
    held_out = (RECIPE / "held_out.txt").read_text("utf-8").splitlines()
    assert not [line for line in held_out if any(line in row["text"] for row in rows)]


def test_a_line_falls_into_sentences_and_tags(make):
    assert make.parts_of("One. <sigh> Two. | Three.") == ["One.", "<sigh>", "Two.", "Three."]


def test_the_blend_weighs_one(make, tmp_path):
    assert sum(make.BLEND.values()) == pytest.approx(1)
    for value, voice in enumerate(("a", "b"), 1):
        np.full((510, 256), value, np.float32).tofile(tmp_path / f"{voice}.bin")
    blended = make.blended_styles(str(tmp_path), {"a": 1.5, "b": -0.5})
    assert blended.shape == (510, 256) and (blended == 0.5).all()
