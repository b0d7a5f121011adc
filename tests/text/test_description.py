"""Descriptions: the file beside a model or adapter, the table of known models, and how a model is recognised."""

import json

import pytest

from orpheus.common.errors import CheckpointError, InputError
from orpheus.text.description import (
    DESCRIPTION_FILE,
    ModelDescription,
    as_json,
    described,
    taught,
    tuned,
    write_description,
)
from orpheus.text.identify import describe, like
from orpheus.text.known_models import KNOWN_MODELS, known_model
from orpheus.text.overview import lines_of
from orpheus.text.prompt import FORMATS
from orpheus.text.tags import KNOWN_TAGS, TAG
from tests.fakes.gguf import gguf_bytes


def folder_of(path, **files):
    """A folder with JSON files, or texts, by name with _ for the dot."""
    path.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        stem, _, suffix = name.rpartition("_")
        text = content if isinstance(content, str) else json.dumps(content)
        (path / f"{stem}.{suffix}").write_text(text, encoding="utf-8")
    return path


# --- the table ---


@pytest.mark.parametrize("row", KNOWN_MODELS.values(), ids=list(KNOWN_MODELS))
def test_every_row_can_be_used(row):
    assert row.prompt in FORMATS and row.source and not row.checked  # no weights were at hand
    assert all(TAG.fullmatch(f"<{tag}>") for tag in row.tags)
    assert row.default_voice is None or row.default_voice in row.voices or FORMATS[row.prompt].free_voice
    assert set(row.languages) <= set(row.voices) and row.closed == bool(row.voices)
    assert known_model(row.name).name == known_model(row.name.upper()).name == row.name


def test_some_rows_in_full():
    english, korean, svara = (KNOWN_MODELS[name] for name in ("orpheus-3b-ft", "3b-ko-ft", "svara-tts-v1"))
    assert english.voices == ("tara", "leah", "jess", "leo", "dan", "mia", "zac", "zoe")
    assert tuple(english.tags) == KNOWN_TAGS and english.default_voice == "tara"
    assert korean.voices == ("유나", "준서") and "작은 웃음" in korean.tags and korean.language == "ko"
    assert (
        len(svara.voices) == 38
        and svara.language_of("Tamil (Male)") == "ta"
        and svara.default_voice == "Hindi (Female)"
    )
    assert (
        KNOWN_MODELS["3b-es_it-ft"].language_of("giulia") == "it" and KNOWN_MODELS["3b-es_it-ft"].language_of() == "es"
    )
    assert [name for name, row in KNOWN_MODELS.items() if row.references] == [
        name for name in KNOWN_MODELS if name.endswith("-pretrained")
    ]


@pytest.mark.parametrize(
    "name, row",
    [
        ("unsloth/orpheus-3b-0.1-ft", "orpheus-3b-ft"),
        ("unsloth/orpheus-3b-0.1-pretrained-unsloth-bnb-4bit", "orpheus-3b-pretrained"),
        ("someone/Orpheus-3b-FT-Q8_0.gguf", "orpheus-3b-ft"),
        ("models/orpheus-3b-0.1-ft.i1-Q4_K_M.gguf", "orpheus-3b-ft"),
        ("someone/Orpheus-3b-Italian_Spanish-FT-Q8_0.gguf", "3b-es_it-ft"),
        ("canopylabs/3b-es_it-pretrain-research_release", "3b-es_it-pretrained"),
        ("/cache/models--canopylabs--3b-de-ft-research_release/snapshots/0a1b", "3b-de-ft"),
        ("C:\\models\\3b-hi-ft-research_release\\", "3b-hi-ft"),
        ("mlx-community/svara-tts-v1-8bit", "svara-tts-v1"),
        ("maya-research/Veena", "veena"),
        ("me/orpheus-3b-0.1-ft-elise", None),
        ("me/mine", None),
        ("", None),
    ],
)
def test_a_model_is_known_by_its_name(name, row):
    found = known_model(name)
    assert (found and found.name) == row


# --- the file ---


def test_the_file_says_all_that_it_was_given(tmp_path):
    row = KNOWN_MODELS["svara-tts-v1"]
    write_description(tmp_path, row)
    found = describe(tmp_path)
    assert as_json(found) == as_json(row) and found.known_by == str(tmp_path / DESCRIPTION_FILE)
    assert (found.closed, found.source) == (True, row.source)


def test_a_file_may_say_what_differs(tmp_path):
    folder_of(
        tmp_path, orpheus_json={"like": "3b-de-ft", "voices": ["mara"], "tags": ["laugh", "<pfui>"], "piece_seconds": 6}
    )
    found = describe(tmp_path)
    assert (found.voices, found.default_voice, found.closed, found.language) == (("mara",), "mara", True, "de")
    assert found.tags == {"laugh": None, "pfui": None} and found.piece_seconds == 6


@pytest.mark.parametrize(
    "values, message",
    [
        ({"voices": "ann"}, "must be a list of names, not 'ann'"),
        ({"voices": ["ann"], "default_voice": "eve"}, "'eve', which is not one of its voices"),
        ({"tags": {"laugh": "often"}}, 'names with counts, as in {"laugh": 12}'),
        ({"prompt": "chatml"}, "prompt in .* must be one of orpheus, svara, description, speaker_token, not 'chatml'"),
        ({"piece_seconds": 0}, "between 1 and 600, not 0"),
        ({"normalize_text": "yes"}, "must say true or false where it says 'yes'"),
        ({"language": 5}, "language must be a code such as en, de, hi or zh, not 5"),
        ({"like": "gpt2"}, "is like 'gpt2'; known are orpheus-3b-ft"),
        ({"voice": ["ann"]}, "says 'voice', which is unknown; known are voices, tags"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_its_name(tmp_path, values, message):
    folder_of(tmp_path, orpheus_json=values)
    with pytest.raises(CheckpointError, match=message) as error:
        describe(tmp_path)
    assert DESCRIPTION_FILE in str(error.value)


def test_the_keys_of_config_json_are_still_read(tmp_path):
    config = {
        "voices": ["ann", "bob"],
        "default_voice": None,
        "piece_seconds": 6.0,
        "normalize_text": True,
        "hidden_size": 64,
    }
    found = describe(folder_of(tmp_path / "my model", config_json=config))
    assert (found.voices, found.default_voice, found.closed) == (("ann", "bob"), None, True)
    assert (found.piece_seconds, found.normalize_text, found.prompt) == (6.0, True, "orpheus")
    assert tuple(found.tags) == KNOWN_TAGS and not found.guessed


# --- what files say ---


@pytest.mark.parametrize(
    "files, row, by",
    [
        ({"config_json": {"_name_or_path": "unsloth/orpheus-3b-0.1-ft"}}, "orpheus-3b-ft", "config.json"),
        (
            {"config_json": {}, "tokenizer_config_json": {"name_or_path": "canopylabs/3b-fr-ft-research_release"}},
            "3b-fr-ft",
            "tok",
        ),
        (
            {"config_json": {}, "README_md": "---\nbase_model:\n- kenpath/svara-tts-v1\n---\n# Mine"},
            "svara-tts-v1",
            "README",
        ),
        ({"config_json": {}, "README_md": "---\nbase_model: maya-research/maya1\n---\n"}, "maya1", "README"),
        ({"config_json": {}, "tokenizer_json": {"added_tokens": [{"content": "<spk_kavya>"}]}}, "veena", "<spk_kavya>"),
        ({"config_json": {}, "added_tokens_json": {"<laugh_harder>": 5}}, "maya1", "<laugh_harder>"),
    ],
)
def test_a_copy_or_fine_tune_under_another_name(tmp_path, files, row, by):
    found = describe(folder_of(tmp_path / "renamed", **files))
    assert found.name == row and by in found.known_by and found.guessed and not found.closed
    assert found.prompt == KNOWN_MODELS[row].prompt
    assert (found.default_voice is None) == (
        found.prompt == "orpheus"
    )  # the others speak with no prompt that lacks a voice


def test_a_model_of_which_nothing_is_known(tmp_path):
    found = describe(
        folder_of(tmp_path / "x", config_json={"vocab_size": 9}, README_md="base_model: unsloth/orpheus-3b-0.1-ft")
    )
    assert (found.name, found.voices, found.closed, found.guessed) == ("", (), False, False)
    assert tuple(found.tags) == KNOWN_TAGS and "nothing" in found.known_by


def test_like_comes_first(tmp_path):
    folder = folder_of(tmp_path / "orpheus-3b-0.1-ft", config_json={"voices": ["ann"]})
    assert describe(folder, as_like="maya1").prompt == "description"
    other = folder_of(tmp_path / "other", orpheus_json={"voices": ["eve"]})
    assert (
        describe(folder, as_like=str(other)).voices
        == describe(folder, as_like=str(other / DESCRIPTION_FILE)).voices
        == ("eve",)
    )
    with pytest.raises(InputError, match="no known model 'vena'; did you mean veena.*orpheus-3b-pretrained"):
        like("vena")


# --- adapters ---


def test_an_adapter_of_the_older_kind(tmp_path):
    adapter = folder_of(tmp_path / "lora", voices_json=["mara", "leo"])
    found = describe("unsloth/orpheus-3b-0.1-ft", adapter)
    assert found.voices == ("mara", "leo", "tara", "leah", "jess", "dan", "mia", "zac", "zoe")
    assert (found.default_voice, found.closed, tuple(found.tags)) == ("mara", False, KNOWN_TAGS)
    assert describe("unsloth/orpheus-3b-0.1-ft", folder_of(tmp_path / "nameless")).default_voice is None


def test_what_an_adapter_learnt_is_known_on_its_base(tmp_path):
    base = KNOWN_MODELS["3b-fr-ft"]
    learnt = taught(base, ("mara",), {"heureux": 40, "laugh": 2, "slip": 1}, normalize_text=True)
    write_description(folder_of(tmp_path / "lora"), learnt)
    found = describe("canopylabs/3b-fr-ft-research_release", tmp_path / "lora")
    assert found.voices == ("mara", "pierre", "amelie", "marie") and found.default_voice == "mara"
    assert (found.tags["heureux"], found.tags["slip"], found.tags["laugh"]) == (40, 1, None)
    assert "heureux" in found.taught and "laugh" in found.taught and "slip" not in found.taught
    assert (found.language, found.normalize_text, found.closed) == ("fr", True, False)
    assert as_json(found) == as_json(tuned(base, vars(learnt)))  # what training speaks its samples with


def test_an_adapter_brings_the_prompt_of_its_base_to_a_renamed_one(tmp_path):
    base = folder_of(tmp_path / "mine", config_json={})
    write_description(folder_of(tmp_path / "lora"), taught(KNOWN_MODELS["maya1"], (), {"laugh": 9}))
    found = describe(base, tmp_path / "lora")
    assert (found.name, found.prompt, found.default_voice) == ("maya1", "description", None)


def test_a_language_of_a_voice():
    base = described(
        ModelDescription(),
        {"voices": ("ann", "ugo"), "language": "en", "languages": {"ugo": "it"}, "default_voice": "ugo"},
    )
    assert (base.language_of(), base.language_of("ann"), base.language_of("eve")) == ("it", "en", "en")


def test_what_is_listed():
    assert list(lines_of(KNOWN_MODELS["veena"]))[:3] == ["kavya (Hindi, default)", "agastya (Hindi)", "maitri (Hindi)"]
    lines = list(lines_of(known_model("3b-ko-ft")))
    assert lines[:2] == ["유나 (Korean, default)", "준서 (Korean)"] and "<작은 웃음>" in lines[2]
    assert lines[3:6] == ["language: Korean (ko)", "prompt: orpheus", "known by: its name"]
    assert "not run here with its weights" in lines[6] and "canopylabs.ai" in lines[6]
    assert list(lines_of(ModelDescription(tags={"happy": 12, "laugh": None})))[1] == "tags: <happy> x12 <laugh>"


def test_a_voice_is_listed_with_its_language_and_a_recording(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = described(ModelDescription(), {"voices": ("ann", "ugo"), "language": None, "languages": {"ugo": "it"}})
    samples = {"ann": tmp_path / "deep" / "ann.mp3", "ugo": "/elsewhere/ugo.wav"}
    lines = list(lines_of(found, samples))
    assert lines[:2] == ["ann   deep/ann.mp3", "ugo (Italian)   /elsewhere/ugo.wav"]
    assert "language: not known" in lines
    assert "language: English (en), unless it was taught another" in list(lines_of(ModelDescription()))


def test_a_folder_with_a_short_name_may_be_anyones(tmp_path):
    """A published name is that model; our own short names are what people call their fine-tunes, too."""
    published = folder_of(tmp_path / "orpheus-3b-0.1-ft", config_json={"piece_seconds": 7})
    short = folder_of(tmp_path / "orpheus-3b-ft", config_json={})
    found, guess = describe(published), describe(short)
    assert (found.closed, found.guessed, found.default_voice, found.piece_seconds) == (True, False, "tara", 7)
    assert (guess.closed, guess.guessed, guess.default_voice) == (False, True, None) and guess.voices == found.voices


def test_voices_in_config_json_are_no_guess(tmp_path):
    config = {"_name_or_path": "maya-research/Veena", "voices": ["ann"]}
    found = describe(folder_of(tmp_path / "mine", config_json=config))
    assert (found.voices, found.prompt, found.guessed) == (("ann",), "speaker_token", False)


def test_a_single_file_has_its_description_beside_it(tmp_path):
    folder_of(tmp_path / "gguf", orpheus_json={"voices": ["ann"]})
    (tmp_path / "gguf" / "mine-Q4_K_M.gguf").write_bytes(gguf_bytes({}))
    assert describe(tmp_path / "gguf" / "mine-Q4_K_M.gguf").voices == ("ann",)
