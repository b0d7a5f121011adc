import io
import os
import stat
import wave

import numpy as np
import pytest
import soundfile

from orpheus.common import audio
from orpheus.common.errors import InputError, OutputError


def tone(seconds, rate, frequency=440):
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_any_rate_and_channel_count_becomes_mono_24khz(tmp_path, rate, channels):
    path = tmp_path / "clip.wav"
    soundfile.write(path, np.stack([tone(1, rate)] * channels, axis=1), rate)
    found = audio.read_audio(path)
    assert found.dtype == np.float32 and found.shape == (24_000,)
    assert np.abs(found - tone(1, 24_000))[1000:-1000].max() < 0.01


def test_every_file_goes_by_its_own_rate(tmp_path):
    """Public recipes read the rate off the first row and use it for all."""
    for rate in (16_000, 48_000, 24_000):
        soundfile.write(tmp_path / f"{rate}.wav", tone(0.5, rate), rate)
    assert {len(audio.read_audio(path)) for path in tmp_path.glob("*.wav")} == {12_000}


def test_channels_are_averaged(tmp_path):
    left, right = tone(0.1, 24_000), np.zeros(2_400, np.float32)
    assert np.allclose(audio.to_mono_24khz(np.stack([left, right], axis=1), 24_000), left / 2)


def test_unreadable_audio_is_an_error_that_names_the_file(tmp_path):
    path = tmp_path / "notes.wav"
    path.write_text("not audio")
    for broken in (path, tmp_path / "missing.wav"):
        with pytest.raises(InputError, match=broken.name):
            audio.read_audio(broken)


def test_wav_files_say_how_long_they_are(tmp_path):
    path = tmp_path / "new" / "out.wav"
    samples = np.array([0, 0.5, -0.5, 1.5, -1.5], dtype=np.float32)
    audio.write_wav(path, samples)
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate(), file.getnframes()) == (1, 2, 24_000, 5)
        assert np.frombuffer(file.readframes(5), "<i2").tolist() == [0, 16384, -16384, 32767, -32767]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o666 & ~umask


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "out.wav"
    audio.write_wav(path, tone(0.1, 24_000))
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(audio.os, "fsync", full)
    with pytest.raises(OutputError, match="out.wav cannot be written: No space left on device"):
        audio.write_wav(path, tone(0.2, 24_000))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["out.wav"]


def test_a_wav_stream_into_a_file_gets_its_true_length(tmp_path):
    """Public servers send a header with a made-up frame count."""
    with open(tmp_path / "out.wav", "wb") as file:
        stream = audio.WavWriter(file)
        for _ in range(3):
            stream.write(tone(0.1, 24_000))
        stream.close()
    with wave.open(str(tmp_path / "out.wav")) as file:  # strict, where libsndfile forgives a wrong header
        assert (file.getnframes(), file.getframerate()) == (7_200, 24_000)
    data = (tmp_path / "out.wav").read_bytes()
    assert int.from_bytes(data[4:8], "little") == len(data) - 8 and len(data) == 44 + 2 * 7_200


def test_a_wav_stream_into_a_pipe_says_that_its_length_is_unknown():
    class Pipe(io.BytesIO):
        def seekable(self):
            return False

    pipe = Pipe()
    stream = audio.WavWriter(pipe)
    stream.write(np.zeros(10, np.float32))
    stream.close()
    data = pipe.getvalue()
    assert data[4:8] == data[40:44] == b"\xff\xff\xff\xff"
    assert len(data) == 44 + 20


def test_a_pcm_stream_has_no_header():
    raw = io.BytesIO()
    stream = audio.WavWriter(raw, wav=False)
    stream.write(np.array([0.5], np.float32))
    stream.close()
    assert raw.getvalue() == b"\x00\x40"


def test_a_name_that_promises_another_format_is_refused(tmp_path):
    with pytest.raises(InputError, match="speech.flac: only WAV can be written"):
        audio.write_wav(tmp_path / "speech.flac", np.zeros(10, np.float32))
    assert list(tmp_path.iterdir()) == []
