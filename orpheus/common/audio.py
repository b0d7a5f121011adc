"""Audio in and out: any file to float32 mono at 24 kHz, whole or in blocks; WAV files written atomically, WAV as a stream."""

import io
import os
import struct
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

from orpheus.common.byte_view import ByteView
from orpheus.common.errors import InputError
from orpheus.common.files import atomic_file
from orpheus.common.frame import SAMPLE_RATE
from orpheus.common.media import FOREIGN, UNKNOWN_FRAMES, container_of, look, open_media
from orpheus.common.wav import PcmSound, read_header

OTHER_FORMATS = (".mp3", ".flac", ".ogg", ".opus", ".m4a")  # that a name may promise
_UNKNOWN_LENGTH = 0xFFFFFFFF  # players read this as "until the pipe ends"


# What a recording's header may say, before anything is decoded: what is beyond is no recording, or takes all memory.
RATES = 4_000, 384_000  # Hz
MOST_CHANNELS = 32
LONGEST_HOURS = 4
BLOCK_SAMPLES = 1 << 19  # decoded at a time, over all channels: 2 MB

# Files by suffix: what libsndfile reads, what PyAV reads, and what nobody can, for it is samples without a header.
PLAIN = tuple(".wav .flac .ogg .opus .oga .mp3 .aiff .aif .aifc .au .caf .w64 .rf64 .wave .bwf".split())
CONTAINED = tuple(
    ".m4a .aac .mp4 .m4b .wma .webm .mka .amr .3gp .mov .mkv .m4v .avi .wmv .asf .flv .mpg .mpeg .mts .m2ts .ogv .ac3 .wv .ape .tta".split()
)
HEADERLESS = tuple(".raw .pcm .s16 .s16le .f32 .f32le".split())
NOT_FINITE = "samples that are not finite (NaN or infinity); export it again as 16 or 24 bit"


def read_audio(path):
    """Reads any audio file, or a video's sound: float32 (samples,), mono, 24 kHz.

    Averages channels and resamples any rate (librosa, soxr). Raises InputError if the file cannot be read.
    """
    with open_sound(path, path) as sound:
        return to_mono_24khz(_checked(sound, path), sound.samplerate)


def decode_audio(data, name):
    """Decodes an audio file's bytes: float32 (samples, channels), rate in Hz. Raises InputError, which says `name`."""
    with open_sound(io.BytesIO(data), name) as sound:
        return _checked(sound, name), sound.samplerate


def _checked(sound, name):
    """float32 (samples, channels) of a sound whose header is believable, all of it finite. Raises InputError."""
    problem = header_problem(sound)
    if problem:
        raise InputError(f"{name} cannot be read as audio: {problem}")
    parts = list(blocks(sound, name))
    if not all(np.isfinite(part).all() for part in parts):
        raise InputError(f"{name} cannot be read as audio: {NOT_FINITE}")
    return np.concatenate(parts) if parts else np.zeros((0, sound.channels), np.float32)


@contextmanager
def open_sound(file, name):
    """The sound of a path or a binary file, nothing decoded: a soundfile.SoundFile, or what PyAV or we ourselves read where libsndfile
    fails. Errors of libsndfile inside are InputErrors, too."""
    import soundfile

    try:
        with closing(ByteView(file)) as view, closing(_open(view, name, soundfile)) as sound:
            yield sound
    except InputError:  # a ValueError, too
        raise
    except (soundfile.SoundFileError, OSError, ValueError, MemoryError, OverflowError) as error:
        reason = getattr(
            error, "error_string", getattr(error, "strerror", None) or error
        )  # not the buffer's memory address
        raise InputError(f"{name} cannot be read as audio: {reason}") from error  # a broken header asks for any size


def _open(view, name, soundfile):
    """What reads a ByteView. Raises InputError, or what libsndfile says where nobody knows better."""
    header = read_header(view)
    if header is not None and header.odd:
        return PcmSound(view, header, name)
    container = look(view)
    if container in FOREIGN:
        return open_media(view, container, name)
    try:
        sound = soundfile.SoundFile(_handle(view), closefd=False)
    except soundfile.SoundFileError:
        if header is not None and header.readable:
            return PcmSound(view, header, name)
        if container is None:
            raise
        return open_media(view, container, name)
    # soundfile seeks to where it is after every read. An MP3 decoder, after a seek, makes wrong samples; Opus takes long.
    sound.seekable = lambda: False
    return sound


def _handle(view):
    """What libsndfile reads from: the descriptor of an open file, so that no Python is called while it reads."""
    if view.descriptor is None or os.name == "nt":  # libsndfile has descriptors of its own there
        view.seek(0)
        return view
    os.lseek(view.descriptor, 0, os.SEEK_SET)
    return view.descriptor


def headerless(path, start):
    """Why a file that is samples and nothing else cannot be read, by its name and its first bytes; None for all others."""
    suffix = Path(path).suffix.lower()
    if suffix not in HEADERLESS or container_of(start):
        return None
    return f"{suffix} says neither rate nor format; if it is 16 bit, mono, 24,000 Hz: ffmpeg -f s16le -ar 24000 -ac 1 -i FILE FILE.wav"


def header_problem(sound):
    """Why what the header says is not believed, or None."""
    low, high = RATES
    if not low <= sound.samplerate <= high:
        return f"the header says {sound.samplerate:,} Hz; {low:,} to {high:,} Hz are read"
    if sound.channels > MOST_CHANNELS:
        return f"the header says {sound.channels} channels; up to {MOST_CHANNELS} are read"
    hours = sound.frames / sound.samplerate / 3600
    if hours > LONGEST_HOURS and sound.frames < UNKNOWN_FRAMES:
        return f"the header says {hours:,.1f} hours; up to {LONGEST_HOURS} hours are read: cut it into chapters"
    return None


def blocks(sound, name, frames=None, unit=1):
    """float32 (samples, channels) from where `sound` stands, as blocks of at most BLOCK_SAMPLES, together at most `frames`.

    unit: every block but the last has a multiple of so many frames. Raises InputError for more than LONGEST_HOURS
    """
    limit = LONGEST_HOURS * 3600 * sound.samplerate
    size = max(BLOCK_SAMPLES // sound.channels // unit, 1) * unit
    done = 0
    while frames is None or done < frames:
        block = sound.read(size if frames is None else min(size, frames - done), dtype="float32", always_2d=True)
        if not len(block):
            return
        done += len(block)
        if done > limit:
            raise InputError(f"{name} cannot be read as audio: it does not end after {LONGEST_HOURS} hours")
        yield block


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


def wav_header(data_bytes=None, rate=SAMPLE_RATE):
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
        rate,
        rate * 2,
        2,
        16,
        b"data",
        data,
    )


def wav_bytes(audio):
    """A complete WAV file, 16-bit mono 24 kHz."""
    data = to_pcm16(audio)
    return wav_header(len(data)) + data


def check_wav_name(path):
    """Refuses a name that promises another format than WAV. Raises InputError."""
    if Path(path).suffix.lower() in OTHER_FORMATS:
        raise InputError(f"{path}: only WAV can be written; give a name ending in .wav")


def write_wav(path, audio):
    """Writes float32 (samples,) atomically as a 16-bit mono 24 kHz WAV."""
    check_wav_name(path)
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
