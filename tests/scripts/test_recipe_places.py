"""The recipe and the user's files: what is refused, what is shared, what survives. See also kill_and_resume.py."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import orpheus_sft_unsloth as script
from orpheus.common import files, places
from orpheus.common.errors import InputError, OutputError
from orpheus.common.files import whole_folder
from orpheus.common.options import ROOT
from tests.fakes.recordings import folder_of_twelve
from tests.scripts.kill_and_resume import FLAGS

SHORT = [flag for flag in FLAGS if flag not in ("--code-cache", "../codes")] + ["--max-steps", "2", "--no-keep-best"]


@pytest.fixture
def recipe(in_empty_folder, small_voice_folder, capfd, monkeypatch):
    """Runs the recipe in an empty folder on twelve recordings of noise; returns (status, what it said)."""
    folder_of_twelve(Path("data"))
    Path("voice").symlink_to(small_voice_folder)
    Path("photos").mkdir()
    Path("photos/cat.jpg").write_text("mine")

    def recipe(*flags):
        status = script.main([*SHORT, *map(str, flags)])
        return status, "".join(capfd.readouterr())

    return recipe


def everything(folder="."):
    """{path: content} of all files."""
    return {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


REFUSED = [
    (["--out", "data"], "--out data is or holds what --dataset reads"),
    (["--out", "photos"], "--out photos holds cat.jpg"),
    (["--run-dir", "photos"], "--run-dir photos holds cat.jpg"),
    (["--samples", "photos"], "--samples photos holds cat.jpg"),
    (["--code-cache", "photos"], "--code-cache photos holds cat.jpg"),
    (["--merge", "photos"], "--merge photos holds cat.jpg"),
    (["--merge", "voice"], "--merge voice is or holds what --model reads"),
    (["--out", "."], "is the current folder"),
    (["--out", "photos/cat.jpg"], "is a file"),
    (["--out", "new", "--merge", "new"], "both name new"),
    (["--resume"], "there is no run in outputs/"),
]


@pytest.mark.parametrize("flags, message", REFUSED, ids=[" ".join(flags) for flags, _ in REFUSED])
def test_what_is_not_ours_is_refused_before_anything_is_made(recipe, flags, message):
    before = sorted(Path().rglob("*")), everything()
    status, said = recipe(*flags)
    assert status == 2 and message in said and "Traceback" not in said
    assert (sorted(Path().rglob("*")), everything()) == before


def test_the_run_itself_is_always_kept():
    with pytest.raises(InputError, match="keep_runs must be a whole number of at least 1, not 0"):
        script.RunOptions(keep_runs=0)


@pytest.mark.parametrize("out, message", [("photos", "holds cat.jpg"), ("data", "is or holds what --recordings reads")])
def test_an_evaluation_replaces_nothing_that_it_did_not_write(recipe, capfd, out, message):
    from orpheus.evaluate import cli

    before = everything()
    assert cli.main(["--recordings", "data", "--out", out]) == 2
    assert message in capfd.readouterr().err and everything() == before


def test_a_second_run_takes_a_folder_of_its_own_and_leaves_the_users_files(recipe):
    assert recipe("--merge", "merged")[0] == 0
    first = everything("outputs/run_001")
    mine = [Path("lora_model/notes.txt"), Path("merged/notes.txt"), Path("generated_audio/story.wav")]
    for path in mine:
        path.write_text("mine")
    Path("lora_model/loss.png").unlink()
    with whole_folder("lora_model/evaluation", "evaluation") as new:
        (new / "report.json").write_text("of the adapter before")
    status, said = recipe("--merge", "merged", "--seed", "2", "--keep-runs", "2")
    assert status == 0 and "removed" not in said
    assert everything("outputs/run_001") == first and Path("outputs/run_002/states").is_dir()
    assert json.loads(Path("outputs/run_002/done.json").read_text()) == {"adapter": "lora_model", "steps": 2}
    assert [path.read_text() for path in mine] == ["mine"] * 3 and not Path("lora_model/evaluation").exists()
    status, said = recipe("--seed", "2", "--keep-runs", "1")
    assert status == 0 and "removed outputs/run_001" in said and "removed outputs/run_002" in said
    assert sorted(path.name for path in Path("outputs").glob("run_*")) == ["run_003"]


def test_another_base_model_is_not_gone_on_with(recipe, tmp_path):
    from tests.fakes.checkpoints import save_voice

    assert recipe()[0] == 0
    other = save_voice(tmp_path / "other", frames=25, margin=10.0, seed=5)
    status, said = recipe("--resume", "--model", other)
    assert status == 2 and "(another base model)" in said
    status, said = recipe("--resume")
    assert status == 0 and "resumed after step 2 of 2" in said


def test_a_disk_without_room_is_said_before_training(recipe, monkeypatch):
    monkeypatch.setattr(places, "free_bytes", lambda path: 1_000_000)
    status, said = recipe()
    assert status == 2 and "the disk is too full for this run: it needs about" in said and "1.0 MB are free" in said
    assert "held-out loss" not in said


def test_a_disk_that_fills_up_costs_no_adapter(recipe, monkeypatch):
    from orpheus.export import adapter

    write, tries = adapter.write_adapter, []

    def full(*arguments):
        tries.append(1)
        if len(tries) < 3:
            raise OutputError("lora_model cannot be written: No space left on device")
        write(*arguments)

    monkeypatch.setattr(adapter, "write_adapter", full)
    monkeypatch.setattr(files.time, "sleep", lambda seconds: None)
    status, said = recipe()
    assert status == 0 and said.count("No space left on device") == 1 and "The adapter is in lora_model/" in said
    assert "the state after step 2 is in outputs/run_001/states: go on with --resume" in said


def test_a_full_code_cache_ends_in_a_message(recipe, monkeypatch):
    write = Path.write_bytes

    def full(path, data):
        if "codes" in path.parts:
            raise OSError(28, "No space left on device", str(path))
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    status, said = recipe("--code-cache", "cache")
    assert status == 2 and "the cache cache/codes cannot be written: No space left on device" in said
    assert "--code-cache" in said and "Traceback" not in said


def test_killed_runs_end_as_if_they_were_not_two_at_once_do_not_meet_and_two_ranks_are_one():
    """Two kills here, one in a save; `make kills` does thirty. One process for all, as importing takes the longest."""
    command = [sys.executable, "-m", "tests.scripts.kill_and_resume", "--times", "2"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["same"] == found["kills"] == 2 and found["users_files_changed"] == 0
    assert found["two_at_once"] and found["two_ranks"]
