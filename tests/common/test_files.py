"""What is written is whole or not there, and nothing of the user's is ever replaced: folders, files, locks, caches."""

import hashlib
import os
import resource
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from orpheus.common import files
from orpheus.common.errors import InputError, OrpheusWarning, OutputError, StoppedError
from orpheus.common.files import Cache, atomic_file, key_of, lock, restore, until_written, whole_folder
from orpheus.common.places import check_room, damage, discard, facts_of


def write(folder, kind="adapter", **content):
    with whole_folder(folder, kind) as new:
        for name, text in content.items():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).write_text(text)


def content(folder):
    """{name: text} of what a user sees in a folder."""
    paths = (path for path in Path(folder).rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text() for path in paths if ".orpheus" not in path.parts}


def test_a_failed_write_leaves_the_former_folder(tmp_path):
    with whole_folder(tmp_path / "x") as new:
        (new / "a").write_text("first")
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "x") as new:
        (new / "a").write_text("half")
        raise RuntimeError
    assert (tmp_path / "x" / "a").read_text() == "first" and [p.name for p in tmp_path.iterdir()] == ["x"]


# --- whose is it? ----------------------------------------------------------------------------------------------------


def test_a_users_own_file_survives_a_rewrite_and_ours_are_replaced(tmp_path):
    write(tmp_path / "x", **{"a": "1", "b": "1", "sub/c": "1"})
    (tmp_path / "x" / "notes.txt").write_text("mine")
    (tmp_path / "x" / "sub" / "own").write_text("mine")
    write(tmp_path / "x", a="2", d="2")
    assert content(tmp_path / "x") == {"a": "2", "d": "2", "notes.txt": "mine", "sub/own": "mine"}


def test_what_the_user_changed_or_put_in_the_way_is_kept_aside(tmp_path):
    write(tmp_path / "x", a="1", b="1")
    (tmp_path / "x" / "a").write_text("edited")
    (tmp_path / "x" / "b").write_text("edited")
    (tmp_path / "x" / "c").mkdir()
    (tmp_path / "x" / "c" / "own").write_text("mine")
    with pytest.warns(OrpheusWarning, match="is kept as"):
        write(tmp_path / "x", a="2", c="2")
    assert content(tmp_path / "x") == {"a": "2", "a.kept1": "edited", "b": "edited", "c": "2", "c.kept1/own": "mine"}


def test_a_copied_folder_is_still_known_as_ours(tmp_path):
    write(tmp_path / "x", a="1")
    shutil.copytree(tmp_path / "x", tmp_path / "y", copy_function=shutil.copyfile)  # new times of change
    write(tmp_path / "y", b="2")
    assert content(tmp_path / "y") == {"b": "2"}


def test_discarding_leaves_what_is_not_ours(tmp_path):
    write(tmp_path / "x", a="1")
    write(tmp_path / "y", a="1")
    (tmp_path / "y" / "own").write_text("mine")
    discard(tmp_path / "x"), discard(tmp_path / "y")
    assert not (tmp_path / "x").exists() and content(tmp_path / "y") == {"own": "mine"}


def test_damage_is_named(tmp_path):
    write(tmp_path / "x", a="hello")
    assert damage(tmp_path / "x") is None
    (tmp_path / "x" / "a").write_text("hell")
    assert damage(tmp_path / "x") == "a has 4 of 5 bytes"
    (tmp_path / "x" / "a").write_text("hallo")
    assert damage(tmp_path / "x") == "a is damaged"
    (tmp_path / "x" / "a").unlink()
    assert damage(tmp_path / "x") == "a is missing"
    (tmp_path / "y").mkdir()
    assert "never finished" in damage(tmp_path / "y")


# --- links, mounts, kills --------------------------------------------------------------------------------------------


def test_a_symbolic_link_stays_one(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "lora").symlink_to("disk")
    write(tmp_path / "lora", a="1")
    write(tmp_path / "lora", a="2")
    assert (tmp_path / "lora").is_symlink() and content(tmp_path / "disk") == {"a": "2"}
    (tmp_path / "link.wav").symlink_to("sound.wav")
    with atomic_file(tmp_path / "link.wav") as file:
        file.write(b"sound")
    assert (tmp_path / "link.wav").is_symlink() and (tmp_path / "sound.wav").read_bytes() == b"sound"


@pytest.fixture
def small_mount(tmp_path):
    """A file system of 5 MB."""
    folder = tmp_path / "mount"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("mounting needs root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_mount_point_can_be_written(small_mount):
    for text in "12":
        write(small_mount, a=text)
    assert content(small_mount) == {"a": "2"} and os.path.ismount(small_mount)


def stop_at(monkeypatch, number):
    """A kill at the `number`th change to the disk from now on."""
    count = iter(range(1_000_000))
    for module, name in ((os, "replace"), (Path, "unlink"), (shutil, "rmtree"), (Path, "mkdir")):
        real = getattr(module, name)

        def killed(*arguments, real=real, **options):
            if next(count) >= number:
                raise KeyboardInterrupt  # no `except Exception` sees it
            return real(*arguments, **options)

        monkeypatch.setattr(module, name, killed)


@pytest.mark.parametrize("number", range(16))
def test_a_kill_at_any_moment_is_repaired_at_the_next_read(tmp_path, monkeypatch, number):
    old, new = {"a": "1", "b": "1", "s/c": "1"}, {"a": "2", "d": "2", "s/e": "2"}
    write(tmp_path / "x", **old)
    (tmp_path / "x" / "own").write_text("mine")
    with monkeypatch.context() as patched:
        stop_at(patched, number)
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path / "x", **new)
            raise KeyboardInterrupt  # where it came to its end
    restore(tmp_path / "x")
    assert content(tmp_path / "x") in ({**old, "own": "mine"}, {**new, "own": "mine"})
    write(tmp_path / "x", **new)
    assert content(tmp_path / "x") == {**new, "own": "mine"}
    assert sorted(os.listdir(tmp_path / "x" / ".orpheus")) == ["files.json", "lock"]


def half_replaced(folder, monkeypatch, **new):
    """A folder of ours in the middle of being replaced."""
    with monkeypatch.context() as patched:
        patched.setattr(files, "_move_in", lambda folder: (folder / files._READY).exists() and 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write(folder, **new)


def test_an_adapter_in_the_middle_of_a_replacement_is_repaired_where_it_is_loaded(in_empty_folder, monkeypatch):
    from orpheus.speech.model import find_adapter

    for name in ("lora_model", "other"):
        write(name, **{"adapter_config.json": "old"})
        half_replaced(name, monkeypatch, **{"adapter_config.json": "new", "voices.json": "[]"})
        assert content(name) == {"adapter_config.json": "old"}
        assert content(find_adapter("auto" if name == "lora_model" else name))["adapter_config.json"] == "new"


def test_a_folder_that_an_earlier_version_was_replacing_comes_back(in_empty_folder):
    from orpheus.speech.model import find_adapter

    write("lora_model", **{"adapter_config.json": "old"})
    os.rename("lora_model", ".lora_model.former")
    assert find_adapter("auto") == Path("lora_model")


# --- full disks ------------------------------------------------------------------------------------------------------


@pytest.fixture
def nearly_full():
    """No file may be larger than 64 kB: to the libraries that write, that is a full disk."""
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, former[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, former)


def save_opened(weights, path):
    with open(path, "wb") as file:
        torch.save(weights, file)


@pytest.mark.parametrize("save", [save_file, save_opened], ids=["safetensors", "torch"])
def test_a_full_disk_is_a_message_and_the_former_folder_stays(tmp_path, nearly_full, save):
    write(tmp_path / "x", a="1")
    with pytest.raises(OutputError, match="x cannot be written: .*Free space"), whole_folder(tmp_path / "x") as new:
        save({"a": torch.zeros(100_000)}, new / "a")
    assert content(tmp_path / "x") == {"a": "1"}
    write(tmp_path / "x", a="2")
    assert content(tmp_path / "x") == {"a": "2"}


@pytest.mark.parametrize("save", [save_file, save_opened], ids=["safetensors", "torch"])
def test_five_megabytes(small_mount, save):
    with pytest.raises(OutputError, match="No space left on device"), whole_folder(small_mount / "x") as new:
        save({"a": torch.zeros(2_000_000)}, new / "a")
    with pytest.raises(InputError, match=r"needs about 9\.0 MB in .*mount/"):
        check_room([("--out", small_mount, 9_000_000)])


def test_an_error_that_is_not_about_writing_is_not_called_so(tmp_path):
    with pytest.raises(RuntimeError, match="^something else$"), whole_folder(tmp_path / "x"):
        raise RuntimeError("something else")


def test_what_was_made_waits_for_room(tmp_path, monkeypatch):
    said, tries = [], []

    def save():
        tries.append(1)
        if len(tries) < 3:
            raise OutputError("lora_model cannot be written: No space left on device")
        return "saved"

    monkeypatch.setattr(files, "free_bytes", lambda path: 1_000_000)
    assert until_written(save, said.append, "the state is in outputs", tmp_path, 3_000_000, seconds=0) == "saved"
    assert len(said) == 1 and "No space left" in said[0] and "2.0 MB more are needed" in said[0]


def test_ctrl_c_while_waiting_says_what_is_left(tmp_path, monkeypatch):
    def full():
        raise OutputError("full")

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.time, "sleep", interrupt)
    with pytest.raises(StoppedError, match="the state after step 3 is in outputs/run_001"):
        until_written(full, lambda _: None, "the state after step 3 is in outputs/run_001", tmp_path)


def test_a_lock_is_held_by_one(tmp_path):
    with lock(tmp_path / "lock", wait=False) as first, lock(tmp_path / "lock", wait=False) as second:
        assert first and not second
    with lock(tmp_path / "lock", wait=False) as again:
        assert again


def test_facts_of_a_file(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    size, _, digest = facts_of(tmp_path / "a")
    assert size == 3 and digest.startswith("ba7816bf8f01cfea")


# --- caches -----------------------------------------------------------------------------------------------------------


def test_entries_are_spread_over_folders_and_leave_no_litter(tmp_path):
    cache = Cache(tmp_path, "things")
    key = hashlib.sha256(b"").hexdigest()
    cache.put(key, b"payload")
    assert cache.get(key) == b"payload"
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()] == [
        Path("things") / key[:2] / key[2:]
    ]


def test_a_cache_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written.*--code-cache"):
        Cache(tmp_path / "file", "codes").put("00" * 32, b"")


def test_a_pinned_key():
    assert key_of("row", "ab", "Text.", None) == hashlib.sha256(b'["row", "ab", "Text.", null]').hexdigest()
