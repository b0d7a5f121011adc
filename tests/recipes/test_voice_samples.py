"""What docs/voices.md lets people hear is there, can be heard, and is what the recipe makes."""

import re

import numpy as np
import pytest

from orpheus.common.audio import read_audio
from orpheus.common.options import ROOT
from orpheus.evaluate.tag_detector import TagDetector
from orpheus.text.tags import KNOWN_TAGS
from recipes.voice_samples import make

PAGE = (ROOT / "docs" / "voices.md").read_text()
NAMES = [sample.name for sample in make.SAMPLES] + [make.RECORDING[0]]
TAGGED = [sample for sample in make.SAMPLES if sample.part == "tags"]


@pytest.mark.parametrize("name", NAMES)
def test_every_sound_can_be_heard(name):
    audio = read_audio(make.OUT / f"{name}.mp3")
    assert 1.0 < len(audio) / 24_000 < 8.0
    assert np.abs(audio).max() > 0.1


def test_sounds_and_players_are_those_of_the_recipe():
    assert sorted(path.stem for path in make.OUT.glob("*.mp3")) == sorted(NAMES)
    assert (make.OUT / "index.html").read_text() == make.page()
    assert sum(path.stat().st_size for path in make.OUT.iterdir()) < 600_000


def test_the_page_links_every_sound_and_says_its_text():
    assert sorted(re.findall(r"\]\(voices/(\w+)\.mp3\)", PAGE)) == sorted(NAMES)
    assert [sample.text for sample in make.SAMPLES if sample.text not in PAGE] == []


def test_every_voice_and_tag_has_a_sample(demo_voice):
    assert {sample.voice for sample in make.SAMPLES if sample.part == "voices"} == set(demo_voice.voices)
    assert {sample.name for sample in TAGGED} == set(KNOWN_TAGS)
    assert all(f"<{sample.name}>" in sample.text for sample in TAGGED)


@pytest.mark.parametrize("sample", TAGGED, ids=lambda sample: sample.name)
def test_the_tag_is_heard(sample):
    assert [event.tag for event in TagDetector.load().events(read_audio(make.OUT / f"{sample.name}.mp3"))] == [
        sample.name
    ]


def test_text_that_html_would_read_is_escaped():
    assert "<laugh>" not in make.page() and "&lt;laugh&gt;" in make.page()


def test_an_mp3_is_as_long_as_its_sound(tmp_path):
    sound = 0.5 * np.sin(np.arange(24_000) / 20, dtype=np.float32)
    make.write_mp3(tmp_path / "a.mp3", sound)
    assert abs(len(read_audio(tmp_path / "a.mp3")) - len(sound)) < 2_400


def test_parts_are_made_alone(tmp_path, monkeypatch, small_voice):
    """Each voice is asked for its own sentences; what was not asked for is left as it is."""

    class Speaking:
        def synthesize(self, text, voice, seed):
            asked.append((text, voice, seed))
            return small_voice.synthesize("Hello.")

    asked = []
    monkeypatch.setattr(make, "speakers", lambda adapter: lambda voice: Speaking())
    make.make(tmp_path / "out", "none", ["voices"])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["index.html", "nora.mp3", "theo.mp3"]
    assert asked == [(s.text, s.voice, 0) for s in make.SAMPLES if s.part == "voices"]
