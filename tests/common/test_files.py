"""Files appear whole or not at all; what is kept is found by its content."""

import hashlib
from pathlib import Path

import pytest

from orpheus.common.errors import OutputError
from orpheus.common.files import Cache, key_of, whole_folder


def test_a_failed_write_leaves_the_former_folder(tmp_path):
    with whole_folder(tmp_path / "x") as new:
        (new / "a").write_text("first")
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "x") as new:
        (new / "a").write_text("half")
        raise RuntimeError
    assert (tmp_path / "x" / "a").read_text() == "first" and [p.name for p in tmp_path.iterdir()] == ["x"]


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
