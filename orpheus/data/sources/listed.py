"""Entries out of a table of recordings: its columns, its files, its speakers."""

from dataclasses import replace
from functools import partial

from orpheus.common.errors import InputError
from orpheus.data.sources.codes import coded
from orpheus.data.sources.columns import CODE_COLUMNS, known_names, plain, resolve_columns
from orpheus.data.sources.entries import Entry, FileAudio, Source, as_text
from orpheus.data.sources.layouts import folder_speakers
from orpheus.data.sources.places import Finder, Found
from orpheus.data.sources.records import TO_THE_END
from orpheus.data.sources.tables import read_table

_PROBED = 1 << 18  # bytes of a table that may be one of recordings
_LEAST_FOUND = 0.5  # share of a table's recordings that must be there for it to be taken without being asked for
_OF_PROSE = 0.9  # the same where a space or a colon parts the fields: a short word may be a recording's name, too
_SHOWN = 3  # examples in a note
_CODES = frozenset(map(plain, CODE_COLUMNS))


def is_codes(column):
    return plain(column) in _CODES


def open_table(path, options, root=None, most=None):
    """(Table, Columns, Finder) of a file. Raises InputError. root: the data set's folder; most: bytes to read"""
    finder = Finder(path.parent, root)
    table = read_table(path, known_names(options), finder.has, most)
    try:
        columns = resolve_columns(table.columns, options, table.sample, finder.has, table.header)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return table, columns, finder


def is_of_recordings(path, options, root):
    """Whether a file is a table whose recordings are there, with texts, or with codes."""
    try:
        table, columns, finder = open_table(path, options, root, _PROBED)
    except InputError:
        return False
    audio = columns.roles["audio"]
    cells = [cell for cell in table.sample(audio) if cell]
    if is_codes(audio):
        return bool(cells)
    there = sum(isinstance(_find(finder, cell), Found) for cell in cells)
    least = _OF_PROSE if table.delimiter in TO_THE_END else _LEAST_FOUND
    return bool(cells) and there >= least * len(cells) and len(table.lines) > (0 if table.header else 1)


def from_table(path, options, root=None, reader=None):
    """Source of a table's rows. Raises InputError where it is no table of recordings."""
    table, columns, finder = open_table(path, options, root)
    lj_speech = not table.header and table.delimiter == "|" and _is_ljspeech(table, columns)
    table = _with_missing_fields(table) if lj_speech else table
    roles = columns.roles
    notes = (*table.notes, *(() if lj_speech else columns.notes(path.name, table.header)))
    if is_codes(roles["audio"]) and not any(
        isinstance(cell, str) and finder.has(cell) for cell in table.sample(roles["audio"], 20)
    ):
        entries = _coded_rows(table, columns, reader)
    else:
        entries, more = _recordings(table, columns, finder)
        notes += more
        if roles["source"] is None:
            entries, more = _named_by_folders(entries, finder, options)
            notes += more
    if lj_speech:
        return Source(entries, "LJSpeech's metadata.csv", {"audio": "file_name", "text": "text", "source": None}, notes)
    return Source(entries, _kind(table, path), roles, notes)


def _kind(table, path):
    if not table.delimiter:
        return "JSON lines" if path.suffix.lower() in (".jsonl", ".ndjson") else "JSON file"
    kind = "CSV file" if path.suffix.lower() in (".csv", ".tsv", ".txt") else f"table {path.name}"
    return kind if table.header else f"{kind} without a header"


# --- rows -------------------------------------------------------------------------------------------------------------


def _is_ljspeech(table, columns):
    roles = columns.roles
    return roles["audio"] == "1" and roles["text"] in ("2", "3") and not roles["source"] and len(table.columns) <= 3


def _with_missing_fields(table):
    """LJSpeech's lines: one without its normalized text is none the worse."""
    lines = []
    for line in table.lines:
        if line.fields in (2, 3) and len(table.columns) == 3:
            line = replace(line, problem=None)
        elif line.fields:
            problem = f"bad line: {line.fields} fields; LJSpeech has id|transcript|normalized transcript"
            line = replace(line, problem=problem)
        lines.append(line)
    return replace(table, lines=lines)


def _text_and_speaker(line, columns):
    """(text, speaker, problem)."""
    roles = columns.roles
    text = line.values.get(roles["text"])
    if columns.also_text is not None and not (isinstance(text, str) and text.strip()):
        text = line.values.get(columns.also_text, text)
    speaker = as_text(line.values.get(roles["source"]))
    if isinstance(text, (dict, list)):
        return None, speaker, f"bad line: the text is a {type(text).__name__}, not a string"
    return as_text(text), speaker, None


def _coded_rows(table, columns, reader):
    name = columns.roles["audio"]
    lines = [line for line in table.lines if not line.problem]
    audio = iter(coded([partial(line.values.get, name) for line in lines], plain(name) == "inputids", reader))
    entries = []
    for line in table.lines:
        text, speaker, problem = _text_and_speaker(line, columns)
        problem = line.problem or problem
        entries.append(Entry(line.where, None if line.problem else next(audio), text, speaker, problem))
    return entries


def name_in(cell):
    """The name that a cell gives: JSON may have {"path": ...}."""
    if isinstance(cell, dict):
        cell = cell.get("path") or cell.get("audio") or cell.get("file_name")
    return cell.strip() if isinstance(cell, str) else as_text(cell)


def _find(finder, cell):
    name = name_in(cell)
    return finder.find(name) if name else None


def _recordings(table, columns, finder):
    """(entries, notes) of rows that name recordings."""
    name_of = columns.roles["audio"]
    cells = [None if line.problem else name_in(line.values.get(name_of)) for line in table.lines]
    places, notes = place_all(cells, finder, table.path.name)
    entries = []
    for line, cell, (path, missing) in zip(table.lines, cells, places, strict=True):
        if line.problem:
            entries.append(Entry(line.where, None, None, None, line.problem))
        elif not cell:
            problem = f"bad line: {name_of} is {line.values.get(name_of)!r:.60}, not a file's name"
            entries.append(Entry(line.where, None, None, None, problem))
        else:
            text, speaker, problem = _text_and_speaker(line, columns)
            problem = problem or _offset(line) or missing
            entries.append(Entry(f"{line.where} ({cell})", FileAudio(path), text, speaker, problem))
    return entries, notes


def place_all(cells, finder, name):
    """([(path, problem)] of the names in `cells`, notes). name: of what they are from, for the notes"""
    found = [finder.find(cell) if cell else None for cell in cells]
    best, places, moved = {}, [], []  # best: path -> how well the line that names it best does
    for cell, place in zip(cells, found, strict=True):
        if isinstance(place, Found):
            best[place.path] = max(best.get(place.path, (0, 0, "")), (place.told, place.fit, cell))
    for cell, place in zip(cells, found, strict=True):
        # Two names that are found as one file are not both right.
        if isinstance(place, Found) and not place.told and best[place.path] > (place.told, place.fit, cell):
            place = None
        if isinstance(place, Found):
            places.append((place.path, None))
            if not place.told:
                moved.append(f"{cell} is {place.relative}")
        else:
            path = finder.folder / (cell or "")
            places.append((path, _missing(finder, cell, place) if cell else None))
    if not moved:
        return places, ()
    shown = "; ".join(moved[:_SHOWN]) + (" ..." if len(moved) > _SHOWN else "")
    return places, (f"{name}: {len(moved):,} recordings are not where it says, and were found by their names: {shown}",)


def _missing(finder, cell, place):
    """Why a recording is not to be had; None where opening it will tell."""
    if isinstance(place, str):
        return f"missing file: {cell}: {place}"
    nearest = finder.nearest(cell)
    return f"missing file: {finder.folder / cell}; the nearest name is {nearest}" if nearest else None


def _offset(line):
    """NeMo's manifests may name a part of a recording."""
    offset = line.values.get("offset")
    if isinstance(offset, (int, float)) and offset > 0:
        length = line.values.get("duration")
        part = f"-ss {offset:g}" + (f" -t {length:g}" if isinstance(length, (int, float)) else "")
        return (
            f"bad line: it is a part of a recording, from {offset:g} s on; cut it out: ffmpeg {part} -i FILE PART.wav"
        )
    return None


def _named_by_folders(entries, finder, options):
    """(entries, notes): with the folders' names as speakers where all recordings lie in folders that look like speakers'."""
    paths = [
        e.audio.path
        for e in entries
        if e.audio is not None and e.audio.path.is_relative_to(finder.root) and not e.problem
    ]
    speakers, notes = folder_speakers(finder.root, paths, options, careful=True) if paths else ({}, ())
    if not speakers:
        return entries, ()
    return [e if e.audio is None else replace(e, speaker=speakers.get(e.audio.path)) for e in entries], notes
