"""Sound as files: each format read back, and names that promise what is not written."""

import io
import sys

import numpy as np
import pytest

from orpheus.common.audio import read_audio
from orpheus.common.errors import InputError
from orpheus.common.sounds import check_writable, is_sound, stream_writer, write_sound

TONE = (0.3 * np.sin(np.arange(24_000) * 2 * np.pi * 330 / 24_000)).astype(np.float32)


@pytest.mark.parametrize(
    "name", ["a.wav", "a.WAV", "a", "a.v2", "a.mp3", "a.opus", "a.ogg", "a.flac", "a.m4a", "a.aac", "a.MP3"]
)
def test_what_is_written_is_read_back(tmp_path, name):
    write_sound(tmp_path / name, TONE)
    heard = read_audio(tmp_path / name)
    assert abs(len(heard) - len(TONE)) <= 2400
    spectrum = np.abs(np.fft.rfft(heard[:24_000], 24_000))
    assert spectrum.argmax() == 330 and list(tmp_path.iterdir()) == [tmp_path / name]


@pytest.mark.parametrize(
    "name, sound", [("a.mp3", True), ("b.OGG", True), ("c", False), ("story.v2", False), ("d.wav", True)]
)
def test_names_of_sound(name, sound):
    assert is_sound(name) == sound


@pytest.mark.parametrize("name", ["a.wav", "a", "a.mp3", "a.opus", "a.flac", "a.m4a", "a.aac"])
def test_what_is_needed_is_looked_for_before_there_is_any_sound(monkeypatch, name):
    check_writable(name)
    monkeypatch.setitem(sys.modules, "av", None)  # importing it fails
    if name in ("a.wav", "a"):
        return check_writable(name)
    with pytest.raises(InputError, match="needs PyAV to be written: pip install av"):
        check_writable(name)


@pytest.mark.parametrize("name", ["a.wma", "a.aiff", "b.webm", "c.MP4"])
def test_formats_that_are_not_written(tmp_path, name):
    with pytest.raises(InputError, match="cannot be written; give a name that ends in .*.mp3.*.m4a"):
        write_sound(tmp_path / name, TONE)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("format", ["wav", "mp3", "opus", "flac", "aac"])
def test_a_stream_can_be_heard_before_it_ends(tmp_path, format):
    file = io.BytesIO()
    writer = stream_writer(file, format)
    for start in range(0, 12_000, 2048):
        writer.write(TONE[start : start + 2048])
    early = len(file.getvalue())
    for start in range(12_288, 24_000, 2048):
        writer.write(TONE[start : start + 2048])
    writer.close()
    (tmp_path / f"a.{format}").write_bytes(file.getvalue())
    assert 0 < early < len(file.getvalue())
    heard = read_audio(tmp_path / f"a.{format}")
    assert np.abs(np.fft.rfft(heard[:24_000], 24_000)).argmax() == 330 and abs(len(heard) - 24_000) <= 3_000


def test_raw_samples():
    file = io.BytesIO()
    writer = stream_writer(file, "pcm")
    writer.write(TONE)
    writer.close()
    assert len(file.getvalue()) == 48_000
