"""What is learnt reads as what is spoken: one way in for both."""

import json
import shutil
from dataclasses import replace

import pytest

from orpheus.data.examples import make_examples
from orpheus.data.options import DataOptions
from orpheus.engines.options import SamplingOptions
from orpheus.speech.options import LongTextOptions, TextOptions
from orpheus.speech.request import plan_request
from orpheus.text.description import ModelDescription
from orpheus.text.spoken import as_spoken, wants_normalizing
from tests.fakes.recordings import folder_of, measured

WRITTEN = [
    "It was 1987, and it cost $5.20.",
    "Dr. Smith <LAUGH> lives at No. 5.",
    "Chapter 3\n\nIt’s 10:30 \U0001f600 now.",
    "Nothing to do here.",
]


@pytest.mark.filterwarnings("ignore::orpheus.common.errors.OrpheusWarning")  # of the emoji
@pytest.mark.parametrize("normalize", [True, False])
def test_texts_are_learnt_as_they_are_spoken(tmp_path, small_voice, normalize):
    """The prompt of every example is the one that the model is spoken to with, tags and paragraphs included."""
    found = measured(tmp_path, WRITTEN)
    if normalize:
        found = found.normalized()
    model = replace(small_voice.model, description=replace(small_voice.model.description, normalize_text=normalize))
    for recording, written in zip(found.kept, WRITTEN, strict=True):
        request = plan_request(
            model, written, None, SamplingOptions(), TextOptions(), LongTextOptions(piece_seconds=60)
        )
        assert recording.text == " ".join(utterance.text for utterance in request.utterances)
        assert recording.text == " ".join(as_spoken(written, normalize)[0].split())


def test_the_report_says_how_many_and_shows_three(tmp_path, small_voice):
    found = measured(tmp_path, WRITTEN + ["He is 40.", "She is 41."]).normalized()
    options = DataOptions(dataset=found.dataset, code_cache=tmp_path / "cache")
    report = make_examples(found, small_voice.codec, small_voice.prompts, options, progress=False).report
    assert report.summary()["rewritten"] == 5
    assert (
        "| as spoken | numbers and the like are written as words, as the model reads them, in 5 of the transcripts"
        in report.markdown()
    )
    example = (
        "It was 1987, and it cost $5.20. -> It was nineteen eighty-seven, and it cost five dollars and twenty cents."
    )
    assert f"- {example}\n" in report.markdown() and f"such as      {example}\n" in report.table()
    assert report.table().count(" -> ") == 3


def test_keys_and_what_is_held_out_stay(tmp_path):
    found = measured(tmp_path, WRITTEN)
    assert [r.key for r in found.kept] == [r.key for r in found.normalized().kept]
    assert found.normalized().normalized().kept == found.normalized().kept


def test_the_model_decides_unless_it_is_said():
    needy, plain = ModelDescription(normalize_text=True), ModelDescription()
    assert [wants_normalizing(asked, needy) for asked in ("auto", "on", "off")] == [
        True,
        True,
        False,
    ]
    assert [wants_normalizing(asked, plain) for asked in ("auto", "on", "off")] == [False, True, False]


@pytest.mark.parametrize("asked, expected", [("auto", True), ("off", False)])
def test_the_recipe_asks_the_base_model(tmp_path, small_voice_folder, monkeypatch, asked, expected):
    import orpheus_sft_unsloth as recipe

    folder = folder_of(tmp_path / "data", ["It was 1987."] * 1 + ["Fine."], seconds=2)
    base = shutil.copytree(small_voice_folder, tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"normalize_text": True}))
    monkeypatch.chdir(tmp_path)
    arguments = recipe.parse(
        [
            "--dataset",
            str(folder),
            "--model",
            str(base),
            "--device",
            "cpu",
            "--normalize",
            asked,
            "--code-cache",
            "codes",
        ]
    )
    finetune = recipe.Finetune(arguments)
    finetune.check()
    finetune.read()
    finetune.encode()
    texts = {example.text for example in finetune.prepared.train + finetune.prepared.held_out}
    assert ("It was nineteen eighty-seven." in texts) == expected
