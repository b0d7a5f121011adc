"""Before anything is loaded: what may be written to, and whether there is room."""

from pathlib import Path

import pytest

from orpheus.common import places
from orpheus.common.errors import InputError
from orpheus.common.files import whole_folder
from orpheus.common.places import Place, check_places, check_room, claim, written_in


def write(folder, kind="adapter"):
    with whole_folder(folder, kind) as new:
        (new / "a").write_text("1")


def content(folder):
    """{path: text} of all files in a folder."""
    return {path: path.read_text() for path in Path(folder).rglob("*") if path.is_file()}


@pytest.fixture
def there(in_empty_folder):
    """A data set, a base model, folders of the user's and of ours."""
    for name in ("data/set/0.wav", "base/config.json", "photos/cat.jpg", "file", "project/samples/take.wav"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("mine")
    for name in ("old_adapter/adapter_config.json", "spoken/output_0.wav", "spoken/before/output_0.wav"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("by an earlier version")
    for name in ("outputs/log.jsonl", "outputs/states/step_000001/state.pt", "cache/codes/aa/b"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("by an earlier version")
    Path("empty").mkdir()
    Path("to_photos").symlink_to("photos")
    Path("dangling").symlink_to("nowhere")
    write("ours")
    (Path("ours") / "notes.txt").write_text("mine")
    write("ours_merged", "merged")
    claim("ours_runs", "runs")
    return in_empty_folder


INPUTS = [("--dataset", "data/set"), ("--model", "base"), ("--codec", None), ("--dataset", "MrDragonFox/Elise")]
REFUSED = [
    ("data/set", "adapter", "is or holds what --dataset reads"),
    ("data", "adapter", "is or holds what --dataset reads"),
    ("data/set/lora", "adapter", "is inside of what --dataset reads"),
    ("base", "merged", "is or holds what --model reads"),
    (".", "adapter", "is the current folder"),
    ("..", "runs", "is the current folder, or one above it"),
    ("file", "adapter", "is a file"),
    ("file/lora", "samples", "is a file"),
    ("photos", "adapter", "holds cat.jpg, and no list that says this program wrote them; it is left alone"),
    ("photos", "runs", "holds cat.jpg"),
    ("photos", "samples", "holds cat.jpg"),
    ("photos", "codes", "holds cat.jpg"),
    ("project", "runs", "holds samples"),
    ("to_photos", "merged", "holds cat.jpg"),
    ("old_adapter", "adapter", "mv old_adapter old_adapter_before"),
    ("ours_merged", "adapter", "holds a merged model that this program wrote"),
    ("ours", "evaluation", "holds an adapter that this program wrote"),
    ("x" * 300, "adapter", "cannot be used (File name too long)"),
]
ACCEPTED = [
    *[("new/folder", kind) for kind in ("adapter", "merged", "runs", "samples", "codes", "evaluation")],
    ("empty", "adapter"),
    ("dangling", "adapter"),
    ("ours", "adapter"),
    ("ours_runs", "runs"),
    ("outputs", "runs"),
    ("cache", "codes"),
    ("spoken", "samples"),
]


@pytest.mark.parametrize("path, kind, message", REFUSED)
def test_a_place_that_is_not_ours_is_refused(there, path, kind, message):
    before = content(there)
    with pytest.raises(InputError) as error:
        check_places([Place("--out", Path(path), kind)], INPUTS)
    assert message in str(error.value) and str(error.value).startswith(f"--out {path}")
    assert content(there) == before


@pytest.mark.parametrize("path, kind", ACCEPTED)
def test_a_place_that_is_new_or_ours_is_taken(there, path, kind):
    before = sorted(there.rglob("*"))
    check_places([Place("--out", Path(path), kind)], INPUTS)
    assert sorted(there.rglob("*")) == before


def test_speech_in_the_default_folder_is_shared_with_whatever_lies_there(there):
    Path("generated_audio").mkdir()
    Path("generated_audio/story.wav").write_text("mine")
    check_places([Place("--samples", Path("generated_audio"), "samples")])
    claim("generated_audio", "samples")
    assert written_in("generated_audio").files == {}


def test_the_data_set_may_be_the_current_folder(there):
    check_places([Place("--out", Path("lora_model"), "adapter")], [("--dataset", ".")])


def test_two_places_are_two_folders(there):
    with pytest.raises(InputError, match="--merge and --out both name new: give each its own"):
        check_places([Place("--out", Path("new"), "adapter"), Place("--merge", Path("./new/"), "merged")])


def test_a_read_only_folder_is_said(there, monkeypatch):
    def refused(dir):
        raise PermissionError(13, "Permission denied", str(dir))

    monkeypatch.setattr(places.tempfile, "TemporaryFile", refused)
    with pytest.raises(InputError, match="empty is not writable .Permission denied.; choose another"):
        check_places([Place("--out", Path("empty"), "adapter")])


def test_room_is_added_up_per_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "free_bytes", lambda path: 3_000_000_000)
    check_room([("--out", tmp_path / "a", 1_000_000_000), ("--run-dir", tmp_path / "b", 1_500_000_000)])
    with pytest.raises(
        InputError,
        match="1.0 GB in .*a/, 2.5 GB in .*b/, and 3.0 GB are free there. Free 500.0 MB, or .* --out or --run-dir",
    ):
        check_room([("--out", tmp_path / "a", 1_000_000_000), ("--run-dir", tmp_path / "b", 2_500_000_000)])
