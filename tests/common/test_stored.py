"""What is read out of JSON: ordinary files of a sensible size, and values within their limits."""

import json
import os
import time
from pathlib import Path

import pytest

from orpheus.common import stored
from orpheus.common.errors import CheckpointError
from orpheus.common.stored import (
    FLAG,
    NOTHING,
    TEXT,
    check_values,
    either,
    number,
    read_json,
    read_text_file,
    several,
    whole,
)
from tests.fakes.hostile import TEXTS


@pytest.mark.parametrize(
    "text, reason",
    [
        (b"", "Expecting value"),
        (b"[]", "a list, not a dict"),
        (b"\xe9", "byte 0 is not UTF-8"),
        (b'{"a": 1, "b": 2, "a": 3}', "it says 'a' twice"),
        (b'{"b": {"a": 1, "a": 1}}', "it says 'a' twice"),
        (b"[" * 200_000, "more than 64 deep"),
        (b'{"a":' + b"[" * 64 + b"]" * 64 + b"}", "more than 64 deep"),
        (b'{"a": ' + b"9" * 5000 + b"}", "4300 digits"),
    ],
)
def test_files_that_hold_no_settings(tmp_path, text, reason):
    path = tmp_path / "config.json"
    path.write_bytes(text)
    with pytest.raises(CheckpointError, match=reason) as error:
        read_json(path)
    assert str(path) in str(error.value) and "again" in str(error.value) and "\n" not in str(error.value)


def test_what_is_fine(tmp_path):
    path = tmp_path / "config.json"
    for value in ({}, {"a": [[1.5]], "b": {"a": None}}, {"name": "유나"}):
        path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
        assert read_json(path) == value
    path.write_bytes(b'{"a":' + b"[" * 63 + b"]" * 63 + b"}")
    assert list(read_json(path)) == ["a"]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_nothing_takes_long(tmp_path, text):
    path = tmp_path / "config.json"
    path.write_bytes(text)
    began = time.process_time()
    try:
        read_json(path)
    except CheckpointError as error:
        assert str(path) in str(error)
    assert time.process_time() - began < 10


def test_files_without_an_end(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    for name, what in (("pipe", "a pipe"), ("zeros", "a device"), (".", "a folder")):
        with pytest.raises(CheckpointError, match=f"it is {what}"):
            read_json(tmp_path / name)
    with open(tmp_path / "large.json", "wb") as file:
        file.truncate(1_000_000_000)  # takes no room on the disk
    with pytest.raises(CheckpointError, match="it has more than 32 MB, the most that is read"):
        read_json(tmp_path / "large.json")
    with pytest.raises(CheckpointError, match="No such file"):
        read_json(tmp_path / "none.json")
    assert read_text_file(Path(stored.__file__), 100_000).startswith('"""What is read')


@pytest.mark.parametrize(
    "kind, fit, unfit",
    [
        (whole(1, 4096), (1, 4096), (0, 4097, 1.0, True, "1", None, float("nan"), 10**30)),
        (number("above 0", lambda x: x > 0), (1, 0.5), (0, -1, float("inf"), 10**400, True, "1")),
        (FLAG, (True, False), (0, 1, "true", None)),
        (TEXT, ("", "a"), ("a" * 1001, 5, ["a"])),
        (several(whole(1, 8), 1, 3), ([1], [8, 8, 8]), ([], [9], [1] * 4, "1", {"1": 1}, [True])),
        (either(NOTHING, whole(1, 2), FLAG), (None, 1, True), (0, "x")),
    ],
)
def test_kinds(kind, fit, unfit):
    for value in fit:
        check_values({"size": value}, {"size": kind}, "config.json")
    for value in unfit:
        with pytest.raises(CheckpointError, match="size in config.json is .*: it must be .*Correct the file") as error:
            check_values({"size": value}, {"size": kind}, "config.json")
        assert len(str(error.value)) < 300
