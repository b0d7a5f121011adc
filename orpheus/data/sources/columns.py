"""Which column of a table is what: by its name, else by what is in it. What was told by content is shown, and an option overrides it."""

import re
import unicodedata
from dataclasses import dataclass, field

from orpheus.common.errors import InputError
from orpheus.data.sources.evidence import Column, find_audio, find_source, find_text

# Column names in use, the likelier first; case, spaces and marks between the words don't count.
AUDIO_COLUMNS = (
    *("audio", "file_name", "audio_path", "audio_file", "audio_filepath", "audio_file_path", "audio_filename"),
    *("wav", "wav_path", "wav_file", "wav_filename", "wav_filepath", "path", "file", "file_path", "speech", "sound"),
    *("sound_file", "recording", "recording_path", "clip", "clip_path", "mp3", "flac"),
)
# Rows that are codes already; only where no recording is named.
CODE_COLUMNS = ("codes_list", "codes", "snac_codes", "audio_codes", "snac_tokens", "audio_tokens", "input_ids")
TEXT_COLUMNS = (
    *("text", "transcription", "transcript", "sentence", "normalized_text", "text_normalized", "normalized"),
    *("normalized_transcription", "normalized_transcript", "raw_text", "text_original", "original_text", "utterance"),
    *("caption", "script", "spoken_text"),
)
SOURCE_COLUMNS = (
    *(
        "source",
        "speaker",
        "speaker_name",
        "speaker_id",
        "spk",
        "spk_name",
        "spk_id",
        "voice",
        "voice_name",
        "voice_id",
    ),
    *("narrator", "narrator_name", "client_id", "reader", "reader_id", "talker", "actor", "character"),
)
NO_COLUMN = "none"  # for source_column: train without names
_FEW = 0.5  # distinct values in the rows: fewer repeat
_SHOWN = 12  # names in a note


def plain(name):
    """A column's name without what people write differently."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", str(name)).casefold())


_KNOWN = {role: tuple(map(plain, names)) for role, names in (
    ("audio", AUDIO_COLUMNS + CODE_COLUMNS), ("text", TEXT_COLUMNS), ("source", SOURCE_COLUMNS))}  # fmt: skip
KNOWN_NAMES = frozenset(name for names in _KNOWN.values() for name in names)


def known_names(options):
    """Names, as `plain` makes them, by which a header is recognised."""
    asked = (options.audio_column, options.text_column, options.source_column)
    return KNOWN_NAMES | {plain(name) for name in asked if name and not name.isdigit()}


@dataclass
class Columns:
    """The columns' roles."""

    roles: dict  # "audio", "text", "source" -> column name or None
    also_text: str | None = None  # read where the text is empty
    guessed: list = field(default_factory=list)  # roles that content decided
    unused: list = field(default_factory=list)
    offered: list = field(default_factory=list)  # (unused column, its number of values)

    def notes(self, name, header=True):
        """What is to be said of them. name: of the table"""
        found = []
        if self.guessed:
            words = {"audio": "names the recordings", "text": "is the text", "source": "is the speaker"}
            what = ", ".join(f"column {self.roles[role]} {words[role]}" for role in self.guessed)
            flags = ", ".join(f"--{role}-column" for role in ("audio", "text", "source"))
            begin = f"{name}: " if header else f"{name} has no header: "
            found.append(f"{begin}{what}, by what is in it; {flags} say otherwise")
        if self.unused:
            shown = ", ".join(map(str, self.unused[:_SHOWN])) + (" ..." if len(self.unused) > _SHOWN else "")
            offer = "".join(f"; --source-column {column} would take its {count} values for speakers' names"
                            for column, count in self.offered[:1])  # fmt: skip
            found.append(f"{name}: columns that are not used: {shown}{offer}")
        return tuple(found)


def _asked(columns, wanted, role):
    """The column that an option names. Raises InputError with the names present."""
    exact = next((column for column in columns if column == wanted), None)
    found = exact if exact is not None else next((c for c in columns if plain(c) == plain(wanted)), None)
    if found is None:
        raise InputError(
            f"there is no column named {wanted!r}: the columns are {', '.join(map(repr, columns)) or 'none'}. "
            f"Name one with --{role}-column, or add a header line if there is none"
        )
    return found


def _missing(columns, role):
    known = {"audio": AUDIO_COLUMNS, "text": TEXT_COLUMNS}[role]
    return InputError(
        f"there is no column for the {role} (such as {', '.join(known[:4])}): the columns are "
        f"{', '.join(map(repr, columns)) or 'none'}. Name one with --{role}-column, or add a header line if there is none"
    )


def resolve_columns(columns, options, sample=None, has=None, header=True):
    """Columns of a table.

    columns: their names; sample: function of a column's name to some of its cells; has: function of a cell to whether it is a recording's
    name; header: whether the names are the table's own. Raises InputError where there is none for the audio or the text
    """
    data = {name: Column(name, sample(name), has) for name in columns} if sample else {}
    found = Columns({"audio": None, "text": None, "source": None})
    _pick(found, columns, "audio", options.audio_column, data, header)
    no_source = options.source_column == NO_COLUMN
    if not no_source:
        _pick(found, columns, "source", options.source_column, data, header)
    _pick(found, columns, "text", options.text_column, data, header)
    free = [data[name] for name in columns if data and name not in found.roles.values()]
    if found.roles["audio"] is None and data:
        found.roles["audio"] = find_audio(free, header)
        found.guessed += ["audio"] * (found.roles["audio"] is not None)
    if found.roles["audio"] is None:
        raise _missing(columns, "audio")
    free = [column for column in free if column.name != found.roles["audio"]]
    if found.roles["text"] is None and data:
        found.roles["text"], found.also_text = find_text(free)
        found.guessed += ["text"] * (found.roles["text"] is not None)
    if found.roles["text"] is None and not options.transcribe and plain(found.roles["audio"]) != "inputids":
        raise _missing(columns, "text")
    free = [column for column in free if column.name not in (found.roles["text"], found.also_text)]
    if found.roles["source"] is None and not header and not no_source:
        found.roles["source"] = find_source(free)
        found.guessed += ["source"] * (found.roles["source"] is not None)
    used = {*found.roles.values(), found.also_text}
    found.unused = [name for name in columns if name not in used and not (data and data[name].empty)]
    if found.roles["source"] is None and not no_source:
        few = [data[name] for name in found.unused if name in data and data[name].repeats(_FEW)]
        best = find_source(few)
        few.sort(key=lambda column: column.name != best)
        found.offered = [(column.name, len(column.values)) for column in few]
    return found


def _pick(found, columns, role, wanted, data, header):
    """The column that an option or its name says. Of several recordings' columns, one whose recordings are there."""
    if wanted is not None:
        found.roles[role] = _asked(columns, wanted, role)
    elif header:
        by_name = {plain(column): column for column in reversed(columns)}
        named = [by_name[name] for name in _KNOWN[role] if name in by_name]
        if role == "audio" and len(named) > 1 and data:
            named.sort(key=lambda name: not (data[name].found or data[name].lists))
        if role == "source":
            named = [name for name in named if not (data and data[name].empty)] or named
        found.roles[role] = next((name for name in named if name not in found.roles.values()), None)
