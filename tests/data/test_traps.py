"""Recordings that are traps: none hangs, none fills the memory, each is left out with its reason."""

import os
import struct
import subprocess
import sys

import numpy as np
import pytest

from orpheus.common import audio as sounds
from orpheus.common.options import ROOT
from orpheus.data import measuring
from orpheus.data.options import DataOptions
from orpheus.data.recordings import read_recordings
from orpheus.data.sources.entries import FileAudio
from tests.fakes.recordings import encoded, folder_of, speech, talk, write

GOOD = [f"This is sentence number {n}." for n in range(3)]


def folder_with(tmp_path, name="odd.wav", text="A text."):
    folder = folder_of(tmp_path / "data", GOOD)
    with open(folder / "metadata.csv", "a") as file:
        file.write(f"{name},{text}\n")
    return folder


def reason(folder, **changes):
    """Why the last entry of a folder is left out; None where it is not."""
    options = DataOptions(dataset=str(folder), max_rejected=1.0, code_cache=folder.parent / "cache", **changes)
    found = read_recordings(options, progress=False)
    assert len(found.kept) >= 3
    return found.rejected[0][1] if found.rejected else None


# --- what is no ordinary file -------------------------------------------------------------------------------------------


def make_pipe(path):
    os.mkfifo(path)


def make_device(path):
    path.symlink_to("/dev/zero")


def make_loop(path):
    path.symlink_to(path)


def make_folder(path):
    path.mkdir()


ODD = {
    make_pipe: "is a pipe, not a file",
    make_device: "is a device, not a file",
    make_loop: "Too many levels of symbolic links",
    make_folder: "is a folder, not a file",
}


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes in folders")
@pytest.mark.parametrize("make", ODD, ids=lambda make: make.__name__)
def test_only_ordinary_files_are_read(tmp_path, make):
    folder = folder_with(tmp_path)
    make(folder / "odd.wav")
    assert reason(folder).startswith("unreadable: ") and ODD[make] in reason(folder)


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes in folders")
@pytest.mark.parametrize("make", ODD, ids=lambda make: make.__name__)
def test_they_are_entries_of_a_folder_of_pairs_too(tmp_path, make):
    for n in range(3):
        write(tmp_path / "data" / f"{n}.wav", speech(1, seed=n))
        (tmp_path / "data" / f"{n}.txt").write_text(GOOD[n])
    make(tmp_path / "data" / "odd.wav")
    (tmp_path / "data" / "odd.txt").write_text("A text.")
    assert ODD[make] in reason(tmp_path / "data")


def test_a_name_that_no_file_can_have(tmp_path):
    folder = folder_of(tmp_path / "data", GOOD)
    with open(folder / "metadata.jsonl", "w") as file:
        for n in range(3):
            file.write(f'{{"file_name": "{n}.wav", "text": "{GOOD[n]}"}}\n')
        file.write('{"file_name": "a\\u0000b.wav", "text": "A text."}\n')
    (folder / "metadata.csv").unlink()
    assert "is no file's name" in reason(folder)


# --- headers ----------------------------------------------------------------------------------------------------------


def wav(rate, samples, claimed=None, channels=1):
    """The bytes of a 16-bit WAV file whose header says what it likes."""
    data = np.zeros(samples * channels, "<i2").tobytes()
    size = len(data) if claimed is None else claimed
    header = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", size + 36, b"WAVE", b"fmt ", 16, 1, channels, rate,
                         rate * 2 * channels, 2 * channels, 16, b"data", size)  # fmt: skip
    return header + data


@pytest.mark.parametrize(
    "data, why",
    [
        (wav(1, 24_000), "unreadable: the header says 1 Hz; 4,000 to 384,000 Hz are read"),
        (wav(2_000_000, 24_000), "unreadable: the header says 2,000,000 Hz; 4,000 to 384,000 Hz are read"),
        (wav(24_000, 1_000, channels=64), "unreadable: the header says 64 channels; up to 32 are read"),
        (wav(4_000, 4_000 * 3600 * 4 + 4_000), "unreadable: the header says 4.0 hours; up to 4 hours are read: cut it"),
    ],
)
def test_headers_are_judged_before_anything_is_decoded(tmp_path, monkeypatch, data, why):
    folder = folder_with(tmp_path)
    (folder / "odd.wav").write_bytes(data)
    resampled = []
    monkeypatch.setattr(sounds, "to_mono_24khz", lambda *arguments: resampled.append(arguments))
    assert reason(folder).startswith(why) and not resampled


def test_a_flac_file_that_claims_hours(tmp_path):
    data = bytearray(encoded(speech(1), 24_000, format="FLAC"))
    facts = int.from_bytes(data[18:26], "big")  # rate 20 bits, channels 3, bits 5, samples 36
    data[18:26] = ((facts >> 36 << 36) | 24_000 * 3600 * 90).to_bytes(8, "big")
    folder = folder_with(tmp_path)
    (folder / "odd.wav").write_bytes(data)
    assert reason(folder).startswith("unreadable: the header says 90.0 hours")


def test_a_wav_stream_of_unknown_length_is_read(tmp_path):
    """What a pipe wrote: the header says 4 GB."""
    folder = folder_with(tmp_path)
    data = bytearray(encoded(speech(1, seed=9)))
    data[40:44] = b"\xff\xff\xff\xff"
    (folder / "odd.wav").write_bytes(data)
    assert reason(folder) is None


def test_the_two_ways_to_decode_a_file_whole_believe_no_header_either():
    with pytest.raises(ValueError, match="the clip cannot be read as audio: the header says 1 Hz"):
        sounds.decode_audio(wav(1, 24_000), "the clip")


# --- size -------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="resource limits")
@pytest.mark.parametrize("valid", [False, True])
def test_a_sparse_file_of_three_gigabytes_takes_no_memory(tmp_path, valid):
    folder = folder_with(tmp_path)
    with open(folder / "odd.wav", "wb") as file:
        if valid:
            file.write(wav(24_000, 0, claimed=3 << 30))
        file.truncate(3 << 30)
    program = (
        "import resource; resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30))\n"
        "from orpheus.data.options import DataOptions; from orpheus.data.recordings import read_recordings\n"
        f"options = DataOptions(dataset={str(folder)!r}, code_cache={str(tmp_path / 'cache')!r}, max_rejected=1.0)\n"
        "print(read_recordings(options, progress=False).rejected[0][1])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)
    expected = "the header says 18.6 hours; up to 4 hours are read" if valid else "Format not recognised"
    assert expected in done.stdout, done.stderr


def test_a_file_of_terabytes_is_not_even_opened(tmp_path, monkeypatch):
    folder = folder_with(tmp_path)
    with open(folder / "odd.wav", "wb") as file:
        try:
            file.truncate(2 << 40)
        except OSError:
            pytest.skip("no sparse files of that size here")
    monkeypatch.setattr(os, "open", None)
    with pytest.raises(ValueError, match=r"odd.wav has 2048.0 GiB; up to 8.0 GiB are read: cut it into chapters"):
        FileAudio(folder / "odd.wav").open()


# --- files that change --------------------------------------------------------------------------------------------------


def test_a_file_that_grows_while_it_is_read(tmp_path, monkeypatch):
    folder = folder_with(tmp_path)
    write(folder / "odd.wav", speech(1, seed=9))
    measure_file = measuring.measure_file

    def slowly(file):
        found = measure_file(file)
        if "odd" in str(os.readlink(f"/proc/self/fd/{file.fileno()}")):
            with open(folder / "odd.wav", "ab") as more:
                more.write(bytes(1000))
        return found

    monkeypatch.setattr(measuring, "measure_file", slowly)
    assert reason(folder) == "unreadable: it changed while it was being read; start again when it is complete"


# --- what the sound and the text say of each other -----------------------------------------------------------------------


def test_channels_in_opposite_phase_are_named_so(tmp_path):
    folder = folder_with(tmp_path)
    left = speech(1, seed=9)
    for right in (-left, -0.9 * left):
        write(folder / "odd.wav", np.concatenate([left, right], axis=1), subtype="FLOAT")
        assert reason(folder).startswith(
            "channels cancel: the 2 channels are in opposite phase, little is left of their mean"
        )
        assert "keep one of them (ffmpeg -i FILE -af pan=mono|c0=c0 FILE.wav)" in reason(folder)


@pytest.mark.parametrize("right", [0.0, 1.0, 0.3], ids=["empty", "equal", "quieter"])
def test_other_pairs_of_channels_do_not_cancel(tmp_path, right):
    folder = folder_with(tmp_path)
    left = speech(1, seed=9)
    write(folder / "odd.wav", np.concatenate([left, right * left], axis=1), subtype="FLOAT")
    assert reason(folder) is None


@pytest.mark.parametrize("channels", [2, 6, 32])
def test_a_voice_in_one_of_many_channels_does_not_cancel(tmp_path, channels):
    folder = folder_with(tmp_path)
    audio = np.zeros((24_000, channels), np.float32)
    audio[:, 1] = speech(1, seed=9, level=0.9)[:, 0]
    write(folder / "odd.wav", audio, subtype="FLOAT")
    assert reason(folder) is None


def test_a_long_recording_of_one_word_lacks_its_text(tmp_path):
    folder = folder_with(tmp_path, text="Yes.")
    write(folder / "odd.wav", speech(23, seed=9))
    assert reason(folder).startswith(
        "text too short: 'Yes.' is about 0.3 s of text for 23.0 s of sound, more than 3.8 s"
    )


@pytest.mark.parametrize(
    "text, parts",
    [
        ("Yes.", (0.5, 0.4, 0.6)),  # a single word between silences
        ("No.", (3.5,)),  # drawn out
        ("Well. Yes.", (0.5, 9.0, 0.5)),  # a long pause
        ("<laugh>", (7.0,)),
        ("Oh <sigh> no.", (1.0, 0.5, 6.0)),
        ("I am reading this sentence very slowly indeed.", (11.0,)),
    ],
)
def test_slow_speech_pauses_and_tags_are_not_too_little_text(tmp_path, text, parts):
    folder = folder_with(tmp_path, text=text)
    write(folder / "odd.wav", talk(*parts, seed=9))
    assert reason(folder) is None
