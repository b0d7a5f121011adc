"""--check-data: what is in the data and what a run would do, on the screen alone."""

import os
from types import SimpleNamespace

import pytest

import orpheus_sft_unsloth as recipe
from orpheus.data.options import DataOptions
from orpheus.speech.model import DEMO_VOICE
from orpheus.training.check_data import expected_time
from orpheus.training.forecast import forecast, plan_of
from orpheus.training.options import TrainingOptions
from tests.fakes.recordings import folder_of, talk, write

TEXTS = [f"<laugh> This is sentence number {n}." for n in range(9)] + ["..."]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return folder_of(tmp_path / "data", TEXTS, seconds=2, source=["ann"] * 6 + ["bob"] * 4)


def check(folder, *flags):
    return recipe.main(["--dataset", str(folder), "--model", "demo", "--device", "cpu", "--check-data", *flags])


def test_what_is_shown(folder, capsys):
    assert check(folder) == 0
    shown = capsys.readouterr().out
    for line in (
        "rows         10 read, 9 used, 1 left out (1 nothing to speak)",
        "speakers     ann 6 (0.2 min), bob 3 (0.1 min)",
        "tags         laugh 9",
        "ann:",
        "  metadata.csv:2 (0.wav): <laugh> This is sentence number zero.",
        "  metadata.csv:5 (3.wav): <laugh> This is sentence number three.",
        "  metadata.csv:7 (5.wav): <laugh> This is sentence number five.",
        "left out, nothing to speak: 1",
        "  metadata.csv:11 (9.wav): nothing to speak: '...' has no letter, digit or tag",
    ):
        assert line in shown.splitlines(), line
    assert "would train  9 examples of 187 tokens: steps of 748 tokens (auto), 3 to a pass; 10 passes (auto; " in shown
    assert "; 0 more are held out. At most 16,830 tokens in all" in shown
    assert "time         about 11 seconds of training, as measured on 2 CPU cores" in shown


def test_nothing_is_written(folder, capsys):
    before = sorted(folder.rglob("*"))
    assert check(folder) == 0
    assert os.listdir() == [] and sorted(folder.rglob("*")) == before


def test_data_that_would_be_refused_is_shown_and_refused(folder, capsys):
    assert check(folder, "--max-rejected", "0.05") == 2
    shown = capsys.readouterr()
    assert "left out, nothing to speak: 1" in shown.out and "would train" not in shown.out
    assert "error: " in shown.err and "1 of 10 recordings (10%) cannot be used" in shown.err
    assert check(folder, "--max-tokens", "100") == 2
    shown = capsys.readouterr()
    assert "too many tokens: about 18" in shown.out and "none of the 10 recordings can be used" in shown.err
    assert check(folder.parent / "missing") == 2


def test_long_recordings_are_split_as_they_would_be(folder, capsys):
    write(folder / "9.wav", talk(3, 0.5, 4, 0.5, 3))
    table = folder / "metadata.csv"
    text = "Alpha beta gamma delta, and so on and so forth. Then another sentence that is longer, word by word by word. The end is near now, quite near to us."
    table.write_text(table.read_text().replace("9.wav,...", f'9.wav,"{text}"'))
    assert check(folder, "--max-seconds", "6", "--long-rows", "split") == 0
    assert "part 1 of 3" in capsys.readouterr().out


def test_it_needs_neither_the_model_nor_the_network(folder, capsys, monkeypatch):
    monkeypatch.setattr("socket.socket.connect", None)
    assert recipe.main(["--dataset", str(folder), "--device", "cpu", "--check-data"]) == 0  # Orpheus-3B
    shown = capsys.readouterr().out
    assert "time         not measured for this model on a CPU" in shown
    assert "not known" not in shown  # that the 3B reads numbers itself is known by its name
    assert recipe.main(["--dataset", str(folder), "--device", "cpu", "--check-data", "--model", "me/mine"]) == 0
    shown = capsys.readouterr().out
    assert "not known    whether me/mine wants numbers written as words: its files are not here" in shown


def test_no_transcripts_are_written(folder, capsys):
    assert check(folder, "--transcribe") == 2
    assert "cannot --transcribe: leave one of them out" in capsys.readouterr().err


def test_the_demo(in_empty_folder, capsys):
    assert recipe.main(["--demo", "--check-data"]) == 0
    shown = capsys.readouterr().out
    assert "60 read, 60 used" in shown and "; 2 more are held out." in shown
    assert "\nwould train  58 examples of 383 tokens: 96 steps of 2,048 tokens" in shown
    assert os.listdir() == []


# --- the forecast -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{}, {"epochs": 2.5}, {"epochs": 3.0, "max_steps": 4}, {"tokens_per_step": 2048}])
@pytest.mark.parametrize("measured", [True, False])
def test_steps_are_those_of_the_planner(changes, measured):
    from orpheus.training.schedule import plan_run

    lengths, options = [300 + 10 * n for n in range(40)], TrainingOptions(**changes)
    plan = plan_run(lengths, options, measured)
    tokens = sum(lengths[example] for step in plan.steps for example in step)
    assert plan_of(lengths, options, measured) == (len(plan.steps), tokens, plan.reason)


@pytest.mark.parametrize(
    "device, changes, time, memory",
    [
        (("NVIDIA H100 80GB HBM3", 79.0), {}, "on one H100 (38,600 tokens/s);", "31.3 GB at peak"),
        (("NVIDIA H100 80GB HBM3", 79.0), {"fp8": True}, "on one H100, --fp8 (53,300 tokens/s);", "37.3 GB at peak"),
        (("NVIDIA H200", 139.0), {}, "on one H100 (38,600 tokens/s);", "has 139 GB"),
        (("Tesla T4", 15.0), {}, "Tesla T4 was not measured, expect longer", "the micro-batch halves itself until it fits, or --load"),
        (("Tesla T4", 15.0), {"load_in_4bit": True}, "11,000 tokens/s", "9.1 GB at peak"),
    ],
)  # fmt: skip
def test_devices(device, changes, time, memory):
    said = dict(forecast([500] * 100, 2, TrainingOptions(**changes), demo=False, device=device))
    assert time in said["time"] and memory in said["memory"]
    assert ("halves itself" in said["memory"]) == (device[1] < 20 and not changes)


def test_without_a_gpu_the_forecast_names_the_demo():
    said = dict(forecast([500] * 100, 2, TrainingOptions(), demo=False, device=None))
    assert said["time"].endswith("take a GPU, or --demo") and "memory" not in said


def test_a_run_says_how_long_it_takes_before_anything_is_loaded():
    recording = SimpleNamespace(text="Good morning.", speaker=None, frames=48, key="f" * 64)  # 4 s
    recordings, base = SimpleNamespace(kept=[recording] * 20), SimpleNamespace(checkpoint=str(DEMO_VOICE), device="cpu")
    said = expected_time(recordings, base, DataOptions(held_out=0.0), TrainingOptions(epochs=8.0, tokens_per_step=2048))
    assert said.startswith(
        "time: about 36 seconds of training, as measured on 2 CPU cores (1,530\ntokens/s); less where it"
    )
    assert said.endswith("The bar corrects it.") and max(map(len, said.splitlines())) <= 79
