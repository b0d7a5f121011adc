"""Audio in and out: any file to float32 mono at 24 kHz, WAV files written atomically, WAV as a stream."""

import io
import os
import struct

import numpy as np

from orpheus.common.errors import InputError
from orpheus.common.files import atomic_file
from orpheus.common.frame import SAMPLE_RATE

_UNKNOWN_LENGTH = 0xFFFFFFFF  # players read this as "until the pipe ends"


def read_audio(path):
    """Reads any audio file that libsndfile can (WAV, FLAC, Ogg, Opus, MP3 ...): float32 (samples,), mono, 24 kHz.

    Averages channels and resamples any rate (librosa, soxr). Raises InputError if the file cannot be read.
    """
    return to_mono_24khz(*_read(path, path))


def decode_audio(data, name):
    """Decodes an audio file's bytes: float32 (samples, channels), rate in Hz. Raises InputError, which says `name`."""
    return _read(io.BytesIO(data), name)


def _read(file, name):
    import soundfile

    try:
        return soundfile.read(file, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError, ValueError, MemoryError) as error:  # a broken header asks for any size
        reason = getattr(error, "error_string", error)  # leaves out the memory address of the buffer
        raise InputError(f"{name} cannot be read as audio: {reason}") from error


def to_mono_24khz(audio, rate):
    """Converts float32 (samples,) or (samples, channels) at `rate` Hz to float32 (samples,) at 24 kHz."""
    audio = np.asarray(audio, dtype=np.float32)
    if audio.ndim == 2:
        audio = audio.mean(axis=1)
    if rate != SAMPLE_RATE:
        import librosa

        samples = -(-len(audio) * SAMPLE_RATE // rate)
        audio = librosa.resample(audio, orig_sr=rate, target_sr=SAMPLE_RATE)[:samples]  # librosa's rounding may add one
    return np.ascontiguousarray(audio, dtype=np.float32)


def silence(seconds):
    return np.zeros(round(seconds * SAMPLE_RATE), dtype=np.float32)


def to_pcm16(audio):
    """Converts float32 in -1..1 to 16-bit little-endian bytes; clips anything louder."""
    return (np.clip(audio, -1.0, 1.0) * 32767.0).round().astype("<i2").tobytes()


def wav_header(data_bytes=None):
    """A 44-byte WAV header, 16-bit mono. Without `data_bytes` the length is "unknown", which is what pipes need."""
    data = _UNKNOWN_LENGTH if data_bytes is None else data_bytes
    riff = _UNKNOWN_LENGTH if data_bytes is None else data_bytes + 36
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        riff,
        b"WAVE",
        b"fmt ",
        16,
        1,
        1,
        SAMPLE_RATE,
        SAMPLE_RATE * 2,
        2,
        16,
        b"data",
        data,
    )


def wav_bytes(audio):
    """A complete WAV file, 16-bit mono 24 kHz."""
    data = to_pcm16(audio)
    return wav_header(len(data)) + data


def write_wav(path, audio):
    """Writes float32 (samples,) atomically as a 16-bit mono 24 kHz WAV."""
    with atomic_file(path) as file:
        file.write(wav_bytes(audio))


def _appends(file):
    """Whether every write goes to the end of the file, even after a seek (`>>` in a shell)."""
    try:
        import fcntl

        return bool(fcntl.fcntl(file.fileno(), fcntl.F_GETFL) & os.O_APPEND)
    except (ImportError, OSError):  # Windows; an in-memory buffer
        return False


class WavWriter:
    """Writes chunks to a binary stream as they arrive: raw 16-bit PCM, or WAV.

    A pipe gets a WAV header of unknown length; in a file, `close` writes the true length into the header.
    """

    def __init__(self, file, wav=True):
        self.file, self.wav, self.data_bytes = file, wav, 0
        if wav:
            file.write(wav_header())

    def write(self, audio):
        data = to_pcm16(audio)
        self.file.write(data)
        self.file.flush()
        self.data_bytes += len(data)

    def close(self):
        if self.wav and self.file.seekable() and not _appends(self.file):
            end = self.file.tell()
            self.file.seek(end - self.data_bytes - 44)
            self.file.write(wav_header(self.data_bytes))
            self.file.seek(end)
        self.file.flush()
