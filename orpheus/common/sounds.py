"""Sound as a file, in the format that its name ends in."""

from pathlib import Path

from orpheus.common.audio import CONTAINED, PLAIN, WavWriter, write_wav
from orpheus.common.encoders import FORMAT_OF, AudioEncoder, encode_sound
from orpheus.common.errors import InputError
from orpheus.common.files import atomic_file

WRITTEN = tuple(suffix for suffix in FORMAT_OF if suffix not in (".pcm", ".oga"))  # endings that are offered
_OTHER = (set(PLAIN) | set(CONTAINED)) - set(FORMAT_OF) - {".wave"}


def is_sound(path):
    """Whether a name ends as that of a file of sound; one that cannot be written is an InputError."""
    suffix = Path(path).suffix.lower()
    if suffix in _OTHER:
        raise InputError(f"{path}: {suffix} cannot be written; give a name that ends in {', '.join(WRITTEN)}")
    return suffix in FORMAT_OF


def check_writable(path):
    """Raises InputError where what writes the format of `path` is not installed."""
    format = FORMAT_OF.get(Path(path).suffix.lower(), "wav")
    AudioEncoder(format, whole=True).close()


def write_sound(path, audio):
    """Writes float32 (samples,) at 24 kHz atomically; WAV where the name says no format. Raises InputError, OutputError."""
    suffix = Path(path).suffix.lower()
    is_sound(path)
    if FORMAT_OF.get(suffix, "wav") == "wav":
        return write_wav(path, audio)
    data = encode_sound(audio, FORMAT_OF[suffix])
    with atomic_file(path) as file:
        file.write(data)


def stream_writer(file, format):
    """What writes chunks, float32 (samples,) at 24 kHz, to a binary stream as they come, with `write` and `close`. Raises InputError."""
    return WavWriter(file, wav=format == "wav") if format in ("wav", "pcm") else _EncodedWriter(file, format)


class _EncodedWriter:
    def __init__(self, file, format):
        self._file, self._encoder = file, AudioEncoder(format)

    def write(self, audio):
        self._file.write(self._encoder.encode(audio))
        self._file.flush()

    def close(self):
        self._file.write(self._encoder.finish())
        self._file.flush()
