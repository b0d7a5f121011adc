"""Every run has a folder of its own, and --resume finds the right one."""

import os

import pytest

from orpheus.common.errors import InputError, OutputError
from orpheus.training.runs import check_runs, open_run, prune_runs, runs_in
from orpheus.training.states import save_state


def a_run(run_dir, step=None, done=False):
    """A run that came as far as `step`; returns its folder."""
    said = []
    run = open_run(run_dir, False, None, said.append)
    if step is not None:
        (run.folder / "log.jsonl").write_text("{}\n")
        save_state(run.folder / "states", step, {"step": step})
    if done:
        run.done(adapter="lora_model")
    run.close()
    return run.folder


def test_every_run_has_a_folder_of_its_own_and_says_how_to_go_on_with_the_last(tmp_path):
    first = a_run(tmp_path, 40)
    said = []
    second = open_run(tmp_path, False, None, said.append)
    assert (first.name, second.folder.name) == ("run_001", "run_002") and not second.has_state
    assert "--resume-from run_001 goes on with it after step 40" in said[0]
    assert (first / "states/step_000040/state.pt").exists()


def test_runs_at_once_do_not_share_a_folder(tmp_path):
    held = [open_run(tmp_path, False, None, print) for _ in range(3)]
    assert [run.folder.name for run in held] == ["run_001", "run_002", "run_003"]


def test_a_run_that_never_trained_gives_its_folder_to_the_next(tmp_path):
    assert a_run(tmp_path) == a_run(tmp_path, 5) != a_run(tmp_path)


def test_resuming_takes_the_last_run_that_did_not_come_to_its_end(tmp_path):
    for step, done in ((10, False), (20, False), (30, True), (None, False)):
        a_run(tmp_path, step, done)
    first = open_run(tmp_path, True, None, print)
    assert first.folder.name == "run_002" and first.has_state
    said = []
    second = open_run(tmp_path, True, None, said.append)
    assert second.folder.name == "run_001" and "run_002 is in use" in said[0]
    assert open_run(tmp_path, False, "run_003", print).folder.name == "run_003"
    with pytest.raises(InputError, match="run_002 is in use"):
        open_run(tmp_path, False, "run_002", print)


def test_a_run_without_a_state_begins_again(tmp_path):
    (a_run(tmp_path) / "log.jsonl").write_text("{}\n")
    said = []
    run = open_run(tmp_path, True, None, said.append)
    assert run.folder.name == "run_001" and not run.has_state and "it begins again" in said[0]


def test_what_cannot_be_gone_on_with_is_said_early(tmp_path):
    with pytest.raises(InputError, match="there is no run in"):
        check_runs(tmp_path, True, None)
    a_run(tmp_path, 1)
    with pytest.raises(InputError, match="--resume-from run_007: there is no such run in .*; there are run_001"):
        check_runs(tmp_path, False, "run_007")
    check_runs(tmp_path, True, "run_001")


def test_only_old_runs_go_and_nothing_of_the_users(tmp_path):
    runs = [a_run(tmp_path, step) for step in (1, 2, 3, 4)]
    (runs[1] / "notes.txt").write_text("mine")
    busy = open_run(tmp_path, False, "run_001", print)
    said = []
    prune_runs(tmp_path, 1, said.append)
    assert runs_in(tmp_path) == [busy.folder, runs[3]]
    assert sorted(os.listdir(tmp_path)) == [".orpheus", "run_001", "run_002", "run_004"]
    assert os.listdir(runs[1]) == ["notes.txt"] and "but for the files in it that no run wrote" in said[0]


def test_a_run_folder_that_cannot_be_made_is_said(tmp_path, monkeypatch):
    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("orpheus.training.runs.runs_in", full)
    with pytest.raises(OutputError, match="No space left on device. Free space"):
        open_run(tmp_path, False, None, print)
