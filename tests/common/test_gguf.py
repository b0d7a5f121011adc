"""What a GGUF file says of itself, and files that are damaged or hostile."""

import struct

import pytest

from orpheus.common.errors import CheckpointError
from orpheus.common.gguf import is_gguf, read_gguf
from tests.fakes.gguf import gguf_bytes

VALUES = {"general.name": "Voicé", "a.list": [1, 2, 3], "texts": ["", "x y"], "flag": True, "number": 0.5, "whole": 7}


@pytest.mark.parametrize("version", [2, 3])
def test_what_a_file_says(tmp_path, version):
    path = tmp_path / "voice.gguf"
    path.write_bytes(gguf_bytes(VALUES, (("a", 0), ("b", 8)), version))
    read = read_gguf(path)
    assert read.values == VALUES and read.kinds == {"a": 0, "b": 8} and not read.full
    path.write_bytes(gguf_bytes({}, (("a", 0), ("b", 0))))
    assert read_gguf(path).full


@pytest.mark.parametrize("cut", [2, 9, 20, 40, 100])
def test_a_file_that_was_cut_off(tmp_path, cut):
    path = tmp_path / "voice.gguf"
    path.write_bytes(gguf_bytes(VALUES)[:cut])
    with pytest.raises(CheckpointError, match="cannot be read as GGUF"):
        read_gguf(path)


@pytest.mark.parametrize(
    "data",
    [
        b"GGUF" + struct.pack("<IQQ", 3, 2**62, 0),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 2**40),
        b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**60) + b"x",
        b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<IIQ", 9, 4, 9_000_000),
        b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<IIQ", 9, 9, 1) * 9,
        b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<I", 77),
        b"GGUF" + struct.pack("<IQQ", 9, 0, 0),
        b"no GGUF at all" * 9,
    ],
)
def test_sizes_that_cannot_be_are_refused_before_anything_is_made_of_them(tmp_path, data):
    path = tmp_path / "voice.gguf"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="it is damaged"):
        read_gguf(path)


def test_what_is_taken_for_one(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(b"GGUF\x03")
    (tmp_path / "x.GGUF").write_bytes(b"")
    (tmp_path / "y.bin").write_bytes(b"\0" * 9)
    assert [is_gguf(tmp_path / name) for name in ("weights", "x.GGUF", "y.bin", "none.gguf", ".")] == [
        True,
        True,
        False,
        False,
        False,
    ]
