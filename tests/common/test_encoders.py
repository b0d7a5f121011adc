"""What a decoder makes of each format: when the first sound can be heard, how long it is, and whether it is the same sound."""

import io

import av
import numpy as np
import pytest
import soundfile

from orpheus.common.audio import decode_audio, to_mono_24khz
from orpheus.common.encoders import FORMAT_OF, FORMATS, MEDIA_TYPES, STREAMED, AudioEncoder, encode_sound
from orpheus.common.errors import InputError

CHUNK = 2048
EXACT = ("pcm", "wav", "flac", "opus", "m4a")


def tone(samples, rate=24_000):
    return (0.4 * np.sin(np.arange(samples) * 2 * np.pi * 220 / rate)).astype(np.float32)


def streamed(sound, format, size=CHUNK, **options):
    """All that an encoder gives for a sound in chunks, one entry each, and the rest."""
    encoder = AudioEncoder(format, **options)
    return [*(encoder.encode(sound[start : start + size]) for start in range(0, len(sound), size)), encoder.finish()]


def decoded(data, format):
    """float32 (samples,) at 24 kHz, as this project reads it; none where nothing can be decoded yet."""
    if format == "pcm":
        return np.frombuffer(data, "<i2") / np.float32(32767)
    try:
        return to_mono_24khz(*decode_audio(data, format))
    except InputError:
        return np.zeros(0, np.float32)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("samples", [1, 1387, 50_001])
def test_the_length_is_kept(format, samples):
    sound = tone(samples)
    for data in (b"".join(streamed(sound, format)), encode_sound(sound, format)):
        made = len(decoded(data, format))
        if format in EXACT:
            assert made == samples
        else:
            assert samples <= made < samples + 2400 + 1152


@pytest.mark.parametrize("format", FORMATS)
def test_it_is_the_same_sound(format):
    sound = tone(48_000)
    made = decoded(b"".join(streamed(sound, format)), format)
    delay = np.argmax(np.correlate(made[: 24_000 + 3000], sound[:24_000], "valid")) if format not in EXACT else 0
    error = made[delay:][2000:40_000] - sound[2000:40_000]
    assert np.abs(error).max() < (1e-4 if format in ("pcm", "wav", "flac") else 0.05)
    assert delay < 2400


@pytest.mark.parametrize("format", STREAMED)
def test_the_first_chunks_can_be_heard_at_once(format):
    parts = streamed(tone(CHUNK * 4), format)
    heard = [heard_of(b"".join(parts[: count + 1]), format) for count in range(4)]
    assert heard[0] > (0 if format != "aac" else -1)
    for chunks, samples in enumerate(heard[1:], 2):
        assert samples > CHUNK * (chunks - 1)


def heard_of(data, format):
    """Samples at 24 kHz that FFmpeg decodes of the first bytes of a stream."""
    if format == "pcm":
        return len(data) // 2
    try:
        with av.open(io.BytesIO(data)) as container:
            return sum(frame.samples * 24_000 // frame.sample_rate for frame in container.decode(audio=0))
    except (av.FFmpegError, EOFError):
        return 0


@pytest.mark.parametrize("format", STREAMED)
def test_the_size_of_the_chunks_changes_nothing(format):
    sound = tone(9_999)
    whole = b"".join(streamed(sound, format, size=9_999))
    for size in (100, 1387, 4096):
        assert len(decoded(b"".join(streamed(sound, format, size)), format)) == len(decoded(whole, format))
    if format in ("pcm", "wav", "flac"):
        assert b"".join(streamed(sound, format, 1387)) == whole


def test_a_header_says_the_length_where_it_is_known():
    sound = tone(5_000)
    assert b"".join(streamed(sound, "wav"))[40:44] == b"\xff" * 4
    assert encode_sound(sound, "wav")[40:44] == (10_000).to_bytes(4, "little")
    assert soundfile.info(io.BytesIO(encode_sound(sound, "flac"))).frames == 5_000
    with av.open(io.BytesIO(encode_sound(sound, "mp3"))) as container:  # what its Xing header leaves out
        assert sum(frame.samples for frame in container.decode(audio=0)) == 5_000


def test_a_whole_sound_comes_at_the_end():
    for format in FORMATS:
        *parts, last = streamed(tone(5_000), format, whole=True)
        assert not any(parts) and last
    *parts, last = streamed(tone(5_000), "m4a")
    assert not any(parts) and last[4:8] == b"ftyp"


def test_other_rates_are_kept():
    for format, rate in (("wav", 16_000), ("flac", 44_100), ("opus", 48_000), ("mp3", 22_050)):
        audio, found = decode_audio(encode_sound(tone(rate, rate), format, rate), format)
        assert found == (48_000 if format == "opus" else rate)
        assert format == "mp3" or len(audio) == found


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_too_loud_is_clipped_and_nothing_is_no_fault(format):
    data = b"".join(streamed(np.full(6_000, 7.0, np.float32), format))
    assert decoded(data, format)[3000:4000].max() < 1.3
    empty = AudioEncoder(format)
    assert len(decoded(empty.encode(np.zeros(0, np.float32)) + empty.finish(), format)) < 2000 + 1152


@pytest.mark.parametrize("format", FORMATS)
def test_one_can_give_up(format):
    encoder = AudioEncoder(format)
    encoder.encode(tone(3_000))
    encoder.close()
    encoder.close()


def test_what_cannot_be_written_is_refused():
    for format, rate, message in (
        ("ogg", 24_000, "there is no audio format 'ogg'; use mp3, opus, aac"),
        (None, 24_000, "there is no audio format None"),
        ("opus", 44_100, "opus cannot hold 44100 Hz; it takes 8,000, 12,000"),
        ("wav", 0, "wav cannot hold 0 Hz; it takes 1,000 to 192,000 Hz"),
    ):
        with pytest.raises(InputError, match=message):
            AudioEncoder(format, rate)


def test_names():
    assert set(FORMAT_OF.values()) == set(FORMATS) == set(MEDIA_TYPES)
    assert FORMAT_OF[".ogg"] == "opus" and AudioEncoder("opus").media_type == "audio/ogg"
