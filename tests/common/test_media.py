"""What libsndfile cannot read: every container, to the sample where it says so, and nothing that breaks it."""

import io

import numpy as np
import pytest

from orpheus.common import audio, media
from orpheus.common.audio import decode_audio, open_sound, read_audio
from orpheus.common.errors import InputError
from orpheus.data.measure import header_trouble, measure_file, prepare
from tests.fakes.media import contained
from tests.fakes.recordings import encoded

# Container, codec, rate: those that say where the sound begins and ends.
EXACT = [
    ("ipod", "aac", 44_100),
    ("ipod", "aac", 22_050),
    ("ipod", "alac", 48_000),
    ("mp4", "aac", 48_000),
    ("mp4", "libopus", 48_000),
    ("mp4", "flac", 44_100),
    ("mov", "pcm_s16le", 44_100),
    ("webm", "libopus", 48_000),
    ("matroska", "libopus", 48_000),
    ("matroska", "flac", 32_000),
    ("ogg", "flac", 44_100),
    ("ogg", "libopus", 48_000),
]
# Those that do not: some of the encoder's delay or padding stays.
ROUGH = [
    ("adts", "aac", 44_100),
    ("matroska", "aac", 44_100),
    ("mpegts", "aac", 48_000),
    ("avi", "mp3", 44_100),
    ("flv", "aac", 44_100),
    ("3gp", "libopencore_amrnb", 8_000),
    ("amr", "libopencore_amrnb", 8_000),
    ("ac3", "ac3", 48_000),
    ("asf", "wmav2", 44_100),
]
ODD_LENGTH = 50_001


@pytest.mark.parametrize("container, codec, rate", EXACT)
@pytest.mark.parametrize("channels", [1, 2])
def test_as_many_samples_as_went_in(container, codec, rate, channels):
    data, sound = contained(container, codec, rate, ODD_LENGTH, channels)
    found, found_rate = decode_audio(data, "x")
    assert found_rate == rate and found.shape == (ODD_LENGTH, channels) and found.dtype == np.float32
    inside = slice(3000, -3000)  # codecs are rough at either end
    assert np.abs(found[inside] - sound.T[inside]).max() < 0.06


@pytest.mark.parametrize("container, codec, rate", ROUGH)
def test_the_others_are_read_whole(container, codec, rate):
    data, _ = contained(container, codec, rate, ODD_LENGTH)
    found, found_rate = decode_audio(data, "x")
    assert found_rate == rate and abs(len(found) - ODD_LENGTH) < 2048  # a frame of WMA
    assert np.sqrt(np.mean(found[3000:-3000] ** 2)) > 0.05


@pytest.mark.parametrize(
    "container, codec, rate", [("mp4", "aac", 44_100), ("matroska", "libopus", 48_000), ("mov", "pcm_s16le", 24_000)]
)
def test_the_sound_of_a_video(tmp_path, container, codec, rate):
    data, _ = contained(container, codec, rate, rate, video=True)
    path = tmp_path / "film.mp4"
    path.write_bytes(data)
    assert read_audio(path).shape == (24_000,)


def test_a_video_without_sound_says_so():
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        stream = output.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 16
        output.mux(stream.encode(av.VideoFrame(16, 16, "yuv420p")))
        output.mux(stream.encode(None))
    assert measure_file(io.BytesIO(file.getvalue())).problem.startswith(
        "unreadable: the file cannot be read as audio: it holds no sound"
    )


@pytest.mark.parametrize("container, codec, rate", EXACT)
def test_a_part_of_a_long_one_is_that_of_the_whole(monkeypatch, container, codec, rate):
    """Where times are exact it jumps, elsewhere it reads what comes before; either way the samples are those."""
    data, _ = contained(container, codec, rate, 12 * rate + 17)
    whole = prepare(data, (0, 300_000))
    monkeypatch.setattr("orpheus.data.measure._WHOLE", 1)
    for start in (30_000, 200_001):
        part = prepare(data, (start, start + 24_000))
        assert len(part) == 24_000 and np.abs(part - whole[start : start + 24_000]).max() < 1e-3


def test_the_header_is_judged_before_anything_is_decoded(monkeypatch):
    monkeypatch.setattr(audio, "LONGEST_HOURS", 1 / 3600)
    data, _ = contained("ipod", "aac", 44_100, 3 * 44_100)
    assert "hours; up to" in header_trouble(io.BytesIO(data))


def test_a_file_that_was_cut_off_is_refused_with_its_lengths():
    data, _ = contained("mov", "pcm_s16le", 44_100, 5 * 44_100)
    webm, _ = contained("matroska", "libopus", 48_000, 5 * 48_000)
    assert (
        "s that its header says: it was cut off, copy it again"
        in measure_file(io.BytesIO(webm[: len(webm) // 2])).problem
    )
    assert measure_file(io.BytesIO(data[: len(data) // 2])).problem.endswith("it was cut off, copy it again")


@pytest.mark.parametrize("suffix", [".raw", ".pcm", ".S16LE"])
def test_samples_without_a_header_are_refused_with_the_cure(tmp_path, suffix):
    from orpheus.data.sources.entries import FileAudio

    path = tmp_path / f"a{suffix}"
    path.write_bytes(np.random.default_rng(0).integers(-9000, 9000, 24_000).astype("<i2").tobytes())
    with pytest.raises(
        InputError, match=r"says neither rate nor format; .*ffmpeg -f s16le -ar 24000 -ac 1 -i FILE FILE.wav"
    ):
        FileAudio(path).open()
    with pytest.raises(InputError, match="cannot be read as audio"):
        read_audio(path)
    path.write_bytes(encoded(np.zeros(100), 24_000))  # a WAV file of this name
    assert FileAudio(path).load()[:4] == b"RIFF"


def test_without_pyav_it_is_said_what_to_install(monkeypatch):
    import sys

    data, _ = contained("ipod", "aac", 44_100, 4096)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match="x needs PyAV to be read: pip install av"):
        decode_audio(data, "x")


@pytest.mark.parametrize(
    "text",
    ["#EXTM3U\n/etc/passwd\n", "ffconcat version 1.0\nfile /etc/passwd\n", "v=0\no=- 0 0 IN IP4 127.0.0.1\n", "<?xml"],
)
def test_playlists_are_not_opened(text):
    assert media.container_of(text.encode()) is None
    with pytest.raises(InputError, match="Format not recognised"):
        decode_audio(text.encode() * 20, "x")


DAMAGED = [
    *EXACT[:3],
    *EXACT[7:11],
    *ROUGH,
    ("mp3", "libmp3lame", 22_050),
    ("flac", "flac", 22_050),
    ("aiff", "pcm_s16be", 22_050),
]


@pytest.mark.parametrize("container, codec, rate", DAMAGED)
def test_whatever_is_broken_ends_in_a_result_or_a_reason(container, codec, rate):
    """Cut off anywhere, bits of the header turned, bytes overwritten: never another exception."""
    data, _ = contained(container, codec, rate, 9000)
    random = np.random.default_rng(rate)
    for turn in range(24):
        broken = bytearray(data)
        if turn % 3 == 0:
            broken = broken[: random.integers(0, len(broken))]
        for _ in range(turn % 3 * 4):
            place = random.integers(0, min(300, len(broken)) if turn % 3 == 1 else len(broken))
            broken[place] ^= 1 << random.integers(8)
        found = measure_file(io.BytesIO(bytes(broken)))
        kind = (found.problem or "read").split(":")[0]
        assert kind in ("read", "unreadable", "empty") and (found.problem or 0 < found.samples < 1e6)


def test_a_sound_that_is_open_can_be_left_at_once():
    data, _ = contained("webm", "libopus", 48_000, 48_000)
    with open_sound(io.BytesIO(data), "x") as sound:
        assert sound.read(10).shape == (10, 1)
