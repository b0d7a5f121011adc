"""The adapter's folder: what other tools read of it."""

import json

import pytest

from orpheus.common.command import read_config
from orpheus.speech.synthesis import OrpheusInference
from orpheus.text.description import ModelDescription, taught
from orpheus.text.identify import describe
from tests.fakes.checkpoints import write_tuned


@pytest.fixture(scope="module")
def adapter(small_voice_folder, tmp_path_factory):
    return write_tuned(tmp_path_factory.mktemp("adapter") / "lora", small_voice_folder, str(small_voice_folder))


def test_its_tokenizer_is_of_a_class_that_transformers_4_and_5_know(adapter):
    config = json.loads((adapter / "tokenizer_config.json").read_text())
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast" and "backend" not in config


def test_its_options_are_read_as_they_were_given(adapter):
    assert read_config(adapter / "config.yaml") == {"license": "other", "speaker": "1e5"}


def test_its_description_says_what_was_taught(small_voice_folder, tmp_path):
    own = taught(ModelDescription(piece_seconds=7), ("mara", "ugo"), {"laugh": 336, "작은 웃음": 12})
    folder = write_tuned(tmp_path / "lora", small_voice_folder, str(small_voice_folder), ("mara", "ugo"), own)
    written = json.loads((folder / "orpheus.json").read_text(encoding="utf-8"))
    assert written == {
        "voices": ["mara", "ugo"],
        "default_voice": "mara",
        "tags": {"laugh": 336, "작은 웃음": 12},
        "language": "en",
        "languages": {},
        "prompt": "orpheus",
        "piece_seconds": 7,
        "normalize_text": False,
        "references": False,
    }
    assert json.loads((folder / "voices.json").read_text()) == ["mara", "ugo"]  # what versions before read
    found = describe(str(small_voice_folder), folder)
    assert found.voices == ("mara", "ugo", "ann", "bob") and found.default_voice == "mara" and found.piece_seconds == 7


def test_it_speaks_with_what_the_base_says_of_itself(adapter, small_voice_folder):
    tts = OrpheusInference(str(small_voice_folder), lora=str(adapter))
    assert tts.voices == ("ann", "bob") and tts.default_voice is None
    assert tts.synthesize("Hi.", max_new_tokens=70).seconds > 0
