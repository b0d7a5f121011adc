"""What every source of recordings gives: entries with the audio as it was found, its text, its speaker; and how columns are found."""

from dataclasses import dataclass
from pathlib import Path

from orpheus.common.errors import InputError

# Column names in use, the likelier first; upper and lower case count the same.
AUDIO_COLUMNS = (
    *("audio", "file_name", "filename", "audio_path", "audio_file", "audio_filepath", "audio_file_path"),
    *("wav", "wav_path", "wav_file", "path", "file", "file_path", "filepath", "speech", "sound"),
)
TEXT_COLUMNS = (
    *("text", "transcription", "transcript", "sentence", "normalized_text", "text_normalized", "normalized"),
    *("raw_text", "utterance", "caption"),
)
SOURCE_COLUMNS = ("source", "speaker", "speaker_id", "speaker_name", "voice")
NO_COLUMN = "none"  # for source_column: train without names


@dataclass(frozen=True)
class Entry:
    """One recording as the source has it."""

    where: str  # for messages: "metadata.csv:12", "row 17", "wavs/a.wav"
    audio: object  # FileAudio or ArrowAudio
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


@dataclass(frozen=True)
class FileAudio:
    path: Path

    def load(self):
        """The file's bytes. Raises InputError."""
        try:
            return self.path.read_bytes()
        except FileNotFoundError as error:
            raise InputError(f"missing file: {self.path}") from error
        except OSError as error:
            raise InputError(f"unreadable: {self.path}: {error.strerror or error}") from error


# --- columns -----------------------------------------------------------------------------------------------------------


def _pick(columns, wanted, known, role, required=True):
    """The column for a role: the one asked for, else the likeliest known name. Raises InputError with the names present."""
    by_lower = {str(column).lower(): column for column in reversed(columns)}
    if wanted is not None:
        found = wanted if wanted in columns else by_lower.get(wanted.lower())
    else:
        found = next((by_lower[name] for name in known if name in by_lower), None)
    if found is None and (required or wanted is not None):
        asked = f"named {wanted!r}" if wanted is not None else f"for the {role} (such as {', '.join(known[:4])})"
        raise InputError(
            f"there is no column {asked}: the columns are {', '.join(map(repr, columns)) or 'none'}. "
            f"Name one with --{role}-column, or add a header line if there is none"
        )
    return found


def resolve_columns(columns, options):
    """{"audio", "text", "source"}: column names; text is None only where transcripts are to be written."""
    source = None
    if options.source_column != NO_COLUMN:
        source = _pick(columns, options.source_column, SOURCE_COLUMNS, "source", required=False)
    return {
        "audio": _pick(columns, options.audio_column, AUDIO_COLUMNS, "audio"),
        "text": _pick(columns, options.text_column, TEXT_COLUMNS, "text", required=not options.transcribe),
        "source": source,
    }


def as_text(value):
    """A cell as text: numbers are written out; None for nothing, for NaN (how some tools write it) and for what is no text."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, (int, float)) and value == value else None


def known_names(options):
    """Column names, in lower case, by which a header is recognised."""
    asked = (options.audio_column, options.text_column, options.source_column)
    return {*AUDIO_COLUMNS, *TEXT_COLUMNS, *SOURCE_COLUMNS, *(name.lower() for name in asked if name)}
