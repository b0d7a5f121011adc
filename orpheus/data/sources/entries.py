"""What every source of recordings gives: entries with the audio as it was found, its text, its speaker."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from orpheus.common.audio import headerless
from orpheus.common.byte_view import ByteView
from orpheus.common.errors import InputError


@dataclass(frozen=True)
class Entry:
    """One recording as the source has it."""

    where: str  # for messages: "metadata.csv:12", "row 17", "wavs/a.wav"
    audio: object  # FileAudio, ArrowAudio or CodedAudio
    text: str | None  # None: there is no transcript
    speaker: str | None  # their name
    problem: str | None = None  # why the entry cannot be used


@dataclass(frozen=True)
class Source:
    """All entries of a source, and what it is, for the report."""

    entries: list
    kind: str  # "CSV file"
    columns: dict  # role -> column name or None; empty where there are none
    notes: tuple = ()


# --- files -----------------------------------------------------------------------------------------------------------

_MOST_BYTES = 8 << 30  # of a recording: four hours of 48 kHz stereo in 32 bits are 5.5 GB
_MOST_AT_ONCE = 1 << 30  # of what is taken into memory whole
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (lambda mode: stat.S_ISCHR(mode) or stat.S_ISBLK(mode), "a device"),
)


@dataclass(frozen=True)
class FileAudio:
    path: Path

    def open(self):
        """The file, opened to read bytes. Raises InputError for what is not there and for what is no ordinary file: a pipe waits
        for ever, a device has no end."""
        try:
            self._check(os.stat(self.path))  # before it is opened: that alone moves some devices
            flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
            file = os.fdopen(os.open(self.path, flags), "rb")
        except InputError:  # a ValueError, too
            raise
        except FileNotFoundError as error:
            raise InputError(f"missing file: {self.path}") from error
        except OSError as error:
            raise InputError(f"unreadable: {self.path}: {error.strerror or error}") from error
        except ValueError as error:  # a name with a null character
            raise InputError(f"unreadable: {str(self.path)!r} is no file's name") from error
        try:
            self._check(os.fstat(file.fileno()))  # whatever took its name meanwhile
            problem = headerless(self.path, ByteView(file).at(0, 16))
            if problem:
                raise InputError(f"unreadable: {problem}")
        except InputError:
            file.close()
            raise
        return file

    def load(self):
        """The file's bytes. Raises InputError."""
        with self.open() as file:
            data = file.read(_MOST_AT_ONCE + 1)
        if len(data) > _MOST_AT_ONCE:
            raise InputError(f"unreadable: {self.path} has more than {_gigabytes(_MOST_AT_ONCE)}: cut it into chapters")
        return data

    def _check(self, status):
        for is_kind, name in _KINDS:
            if is_kind(status.st_mode):
                raise InputError(f"unreadable: {self.path} is {name}, not a file")
        if status.st_size > _MOST_BYTES:
            raise InputError(
                f"unreadable: {self.path} has {_gigabytes(status.st_size)}; up to {_gigabytes(_MOST_BYTES)} are read: cut it into chapters"
            )


def stamp(file):
    """What changes when an open file is written to; None of bytes in memory, which do not change."""
    try:
        status = os.fstat(file.fileno())
    except (AttributeError, OSError):
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _gigabytes(size):
    return f"{size / (1 << 30):.1f} GiB"


# --- cells -------------------------------------------------------------------------------------------------------------


def as_text(value):
    """A cell as text: numbers are written out; None for nothing, for NaN (how some tools write it) and for what is no text."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, (int, float)) and value == value else None
