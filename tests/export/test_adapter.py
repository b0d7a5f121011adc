"""The adapter's folder: what other tools read of it."""

import json
import re
from types import SimpleNamespace

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
    assert read_config(adapter / "config.yaml") == {"license": None, "speaker": "1e5"}


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


# --- the card ------------------------------------------------------------------------------------------------------------

DATA = {
    "dataset": "/home/anna/recordings/my_voice",
    "speakers": {"anna": {"rows": 1195, "hours": 3.0211}},
    "rows": 1195,
    "hours": 3.021129,
    "train_rows": 1171,
    "held_out_rows": 24,
    "tags": {"laugh": 336, "sigh": 156},
    "rejected": {},
}


def written_card(small_voice_folder, folder, base, data=DATA, **settings):
    report = SimpleNamespace(markdown=lambda: "# Data", summary=lambda: data)
    write_tuned(folder, small_voice_folder, base, report=report, settings={"license": None, "speaker": None} | settings)
    return (folder / "README.md").read_text(encoding="utf-8")


def test_the_card_has_no_place_on_this_machine_and_no_dead_link(small_voice_folder, tmp_path):
    card = written_card(small_voice_folder, tmp_path / "lora", str(small_voice_folder))
    assert card.startswith("---\nlibrary_name: peft\n") and "license" not in card and "base_model" not in card
    assert (
        str(tmp_path) not in card and str(small_voice_folder) not in card and "/home" not in card and "](/" not in card
    )
    assert f"for `{small_voice_folder.name}`, an Orpheus" in card and "| dataset | my_voice |" in card
    links = re.findall(r"\]\(([^)]+)\)", card)
    assert all((tmp_path / "lora" / link).exists() for link in links if not link.startswith("https://"))


def test_the_card_of_a_base_on_the_hub_links_to_it(small_voice_folder, tmp_path):
    data = DATA | {"dataset": "MrDragonFox/Elise"}
    card = written_card(small_voice_folder, tmp_path / "lora", "unsloth/orpheus-3b-0.1-ft", data, license="cc-by-4.0")
    assert card.startswith("---\nbase_model: unsloth/orpheus-3b-0.1-ft\nlicense: cc-by-4.0\nlibrary_name: peft\n")
    assert "[unsloth/orpheus-3b-0.1-ft](https://huggingface.co/unsloth/orpheus-3b-0.1-ft)" in card
    assert "| dataset | MrDragonFox/Elise |" in card


def test_the_cards_figures_are_for_people(small_voice_folder, tmp_path):
    card = written_card(small_voice_folder, tmp_path / "lora", "demo_voice")
    for line in (
        "| recordings | 1,195 |",
        "| speech | 3.0 hours |",
        "| trained on, held out | 1,171, 24 |",
        "| tags | laugh 336, sigh 156 |",
        "| left out | none |",
    ):
        assert line in card.splitlines(), line
