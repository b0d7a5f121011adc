"""WAV files whose headers are odd: every one is read as it was meant, to the sample."""

import io
import struct

import numpy as np
import pytest

from orpheus.common.audio import decode_audio, open_sound, read_audio
from orpheus.common.errors import InputError

RATE = 24_000
WAVE = np.random.default_rng(0).uniform(-0.9, 0.9, 3000)
SUBFORMAT = bytes.fromhex("0100000000001000800000aa00389b71")


def integers(bits, width, high=True, order="little"):
    """Samples of so many bits in bytes that are wider, at their high or their low end."""
    values = np.round(WAVE * (2 ** (bits - 1) - 1)).astype(np.int64)
    values = values << (8 * width - bits if high else 0)
    return b"".join(int(value).to_bytes(width, order, signed=True) for value in values)


def wav(data, bits=16, width=2, kind=1, size=None, before=b"", extensible=None, magic=b"RIFF", channels=1):
    order = ">" if magic == b"RIFX" else "<"
    form = struct.pack(
        f"{order}HHIIHH",
        0xFFFE if extensible else kind,
        channels,
        RATE,
        RATE * width * channels,
        width * channels,
        bits,
    )
    if extensible:
        form += struct.pack(f"{order}HHI", 22, extensible, 4) + SUBFORMAT
    size = len(data) if size is None else size
    body = (
        b"WAVEfmt "
        + struct.pack(f"{order}I", len(form))
        + form
        + before
        + b"data"
        + struct.pack(f"{order}I", size)
        + data
    )
    return magic + struct.pack(f"{order}I", len(body)) + body


PLAIN = integers(16, 2)
ODD = {
    "streamed, no length": wav(PLAIN, size=0),
    "streamed, the largest length": wav(PLAIN, size=0xFFFFFFFF),
    "streamed, ffmpeg's length": wav(PLAIN, size=0x7FFFF000),
    "24 bits in 4 bytes, low": wav(integers(24, 4, high=False), 24, 4),
    "24 bits in 4 bytes, high": wav(integers(24, 4), 24, 4),
    "24 bits in 4 bytes, extensible": wav(integers(24, 4), 24, 4, extensible=24),
    "24 of 32 bits, extensible, low": wav(integers(24, 4, high=False), 32, 4, extensible=24),
    "24 of 32 bits, extensible, high": wav(integers(24, 4), 32, 4, extensible=24),
    "20 bits in 3 bytes, low": wav(integers(20, 3, high=False), 20, 3),
    "20 bits in 3 bytes, high": wav(integers(20, 3), 20, 3),
    "20 bits in 4 bytes": wav(integers(20, 4), 20, 4),
    "16 bits in 4 bytes": wav(integers(16, 4), 16, 4),
    "12 bits in 2 bytes": wav(integers(12, 2), 12, 2),
    "48 bits in 8 bytes": wav(integers(48, 8), 64, 8),
    "half floats": wav(WAVE.astype("<f2").tobytes(), 16, 2, kind=3),
    "double floats": wav(WAVE.astype("<f8").tobytes(), 64, 8, kind=3),
    "no bits in the header": wav(PLAIN, 0),
    "big endian, 24 in 4": wav(integers(24, 4, high=False, order="big"), 24, 4, magic=b"RIFX"),
    "an empty data chunk first": wav(PLAIN, before=b"data\0\0\0\0"),
    "a chunk that is not padded": wav(PLAIN, before=b"LIST" + struct.pack("<I", 5) + b"abcde"),
    "an ID3 tag in front": b"ID3\x03\0\0\0\0\0\x0a" + bytes(10) + wav(PLAIN),
    "RF64 without its own chunk": wav(PLAIN, size=0xFFFFFFFF, magic=b"RF64"),
    "an odd byte at the end": wav(PLAIN + b"\1", size=0),
    "cut off": wav(PLAIN, size=2 * len(PLAIN)),
}


@pytest.mark.parametrize("name", ODD)
def test_read_to_the_sample(tmp_path, name):
    bits = 10 if "half" in name else 12 if "12" in name else 16
    path = tmp_path / "odd.wav"
    path.write_bytes(ODD[name])
    with open(path, "rb") as file:
        for source in (io.BytesIO(ODD[name]), path, file):
            with open_sound(source, "odd.wav") as sound:
                found = sound.read(10_000, dtype="float32", always_2d=True)
                assert (sound.samplerate, found.shape) == (RATE, (3000, 1))
                assert np.abs(found[:, 0] - WAVE).max() < 2.0 ** (2 - bits)


def test_the_place_of_an_open_file_is_left_alone(tmp_path):
    path = tmp_path / "odd.wav"
    path.write_bytes(ODD["streamed, no length"])
    with open(path, "rb") as file:
        file.read(100)
        with open_sound(file, "odd.wav") as sound:
            sound.read(10)
        assert file.tell() == 100 and len(file.read()) == len(ODD["streamed, no length"]) - 100


def test_a_part_of_several_channels():
    stereo = np.stack([WAVE, -WAVE], axis=1)
    data = np.round(stereo * 32767).astype("<i2").tobytes()
    with open_sound(io.BytesIO(wav(data, channels=2, size=0)), "x") as sound:
        assert (sound.frames, sound.channels) == (3000, 2)
        sound.seek(1000)
        found = sound.read(500)
        assert found.shape == (500, 2) and np.abs(found - stereo[1000:1500]).max() < 1e-4


@pytest.mark.parametrize(
    "behind", [b"", b"LIST" + struct.pack("<I", 4) + b"abcd", b"id3 " + struct.pack("<I", 3) + b"abc\0"]
)
def test_no_samples_are_no_samples(behind):
    assert decode_audio(wav(b"", size=0) + behind, "x")[0].shape == (0, 1)


def test_bits_that_are_nowhere_are_refused():
    noise = np.random.default_rng(1).integers(-(2**31), 2**31 - 1, 3000).astype("<i4").tobytes()
    with pytest.raises(InputError, match="the header says 24 bits in 4 bytes a sample, and the samples are not such"):
        decode_audio(wav(noise, 24, 4), "x")


def test_samples_that_are_not_finite_are_refused(tmp_path):
    for value in (np.nan, np.inf):
        data = WAVE.astype("<f4")
        data[7] = value
        (tmp_path / "a.wav").write_bytes(wav(data.tobytes(), 32, 4, kind=3))
        with pytest.raises(
            InputError, match=r"a.wav cannot be read as audio: samples that are not finite .* as 16 or 24 bit"
        ):
            read_audio(tmp_path / "a.wav")
