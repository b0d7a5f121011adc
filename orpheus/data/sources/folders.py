"""Entries out of any source of recordings. Nothing is decoded or judged here."""

import os
from dataclasses import replace
from pathlib import Path

from orpheus.common.errors import InputError
from orpheus.data.sources.arrow import from_hub, from_parquet, from_saved
from orpheus.data.sources.entries import Entry, FileAudio, Source, as_text, known_names, resolve_columns
from orpheus.data.sources.tables import Line, read_csv, read_jsonl, read_text

TABLES = (".csv", ".tsv", ".jsonl")
READABLE = tuple(".wav .flac .ogg .opus .oga .mp3 .aiff .aif .aifc .au .caf .w64 .rf64".split())  # by libsndfile
# Recordings that libsndfile cannot read: entries all the same, so that the report says what to do with them.
UNREADABLE = tuple(".m4a .aac .mp4 .wma .webm .amr".split())
TRANSCRIPTS = (".txt", ".lab")
SPLITS = frozenset("train training test dev eval val valid validation".split())
# Folders of these names, and of splits, are no speakers.
_NO_SPEAKERS = SPLITS | frozenset(
    "audio audios clip clips data flac lab labs mp3 ogg opus recordings sound sounds speech text texts transcripts txt wav wave wavs".split()
)
_SHOWN = 8  # names in a note

FORMATS = (
    "What can be read: a folder with metadata.csv or metadata.jsonl (file_name,text), or sub-folders that each have one; LJSpeech's "
    "folder, pairs a.wav + a.txt, parquet files, a folder of `datasets`' save_to_disk, or a file .jsonl, .csv, .parquet"
)

# --- tables and folders ----------------------------------------------------------------------------------------------


def _table_row(line, columns, folder):
    if line.problem:
        return Entry(line.where, None, None, None, line.problem)
    cell, text = line.values.get(columns["audio"]), line.values.get(columns["text"])
    if not isinstance(cell, str) or not cell.strip():
        return Entry(line.where, None, None, None, f"bad line: {columns['audio']} is {cell!r:.60}, not a file's name")
    if isinstance(text, (dict, list)):
        return Entry(line.where, None, None, None, f"bad line: the text is a {type(text).__name__}, not a string")
    speaker = as_text(line.values.get(columns["source"]))
    return Entry(f"{line.where} ({cell.strip()})", FileAudio(folder / cell.strip()), as_text(text), speaker)


def _from_table(path, options):
    folder = path.parent
    if path.suffix.lower() == ".jsonl":
        kind, notes, (names, lines) = "JSON lines", (), read_jsonl(path)
    else:
        kind, (names, lines, notes) = "CSV file", read_csv(path, known_names(options), READABLE + UNREADABLE)
    if not lines:
        raise InputError(f"{path} holds no rows")
    if names == ["id", "text"] and kind == "CSV file":
        kind, names = "LJSpeech's metadata.csv", ["file_name", "text"]
        lines = [_ljspeech_file(line, folder) for line in lines]
    try:
        columns = resolve_columns(names, options)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return Source([_table_row(line, columns, folder) for line in lines], kind, columns, notes)


def _ljspeech_file(line, folder):
    """LJSpeech names its recordings without folder and suffix."""
    if line.problem:
        return line
    names = [f"wavs/{line.values['id']}{suffix}" for suffix in ("", *READABLE)]
    name = next((name for name in names if os.path.isfile(folder / name)), names[1])  # False for what no name can be
    return Line(line.where, {"file_name": name, "text": line.values["text"]})


def _tables(folder):
    """The metadata files of a folder; the first one counts."""
    return [path for path in (folder / f"metadata{suffix}" for suffix in TABLES) if path.is_file()]


def _from_first(tables, options):
    source = _from_table(tables[0], options)
    unused = tuple(f"{path} was not read: {tables[0].name} was" for path in tables[1:])
    return replace(source, notes=source.notes + unused)


def _from_tables_below(folder, options):
    """All sub-folders with a table of their own, as one data set; None where there are none."""
    folders = sorted({path.parent for suffix in TABLES for path in folder.rglob(f"metadata{suffix}") if path.is_file()})
    splits = [path for path in folders if path.relative_to(folder).parts[0].lower() in SPLITS]
    folders = [path for path in folders if path not in splits]
    if splits and not folders:
        names = ", ".join(sorted({path.relative_to(folder).parts[0] for path in splits}))
        raise InputError(f"{folder} has no part {options.split!r}; choose with --split: {names}")
    if not folders:
        return None
    sources = {path: _from_first(_tables(path), options) for path in folders}
    unnamed = [path for path in folders if sources[path].columns["source"] is None]
    names, notes = _folder_speakers(folder, folders, options) if unnamed else ({}, ())
    entries = []
    for path in folders:
        below = path.relative_to(folder)
        name = names.get(below.parts[0]) if path in unnamed else None
        for entry in sources[path].entries:
            entries.append(replace(entry, where=f"{below.as_posix()}/{entry.where}", speaker=entry.speaker or name))
        notes += tuple(f"{below.as_posix()}: {note}" for note in sources[path].notes)
    if splits:
        notes += (
            f"not read, for they look like other parts: {', '.join(path.name for path in splits)}; --split chooses one",
        )
    columns = {
        role: " or ".join(dict.fromkeys(s.columns[role] for s in sources.values() if s.columns[role])) or None
        for role in ("audio", "text", "source")
    }
    kinds = " and ".join(dict.fromkeys(source.kind for source in sources.values()))
    return Source(entries, f"{len(folders)} folders, each with a table: {kinds}", columns, notes)


def _folder_speakers(folder, paths, options):
    """({folder's name: speaker}, notes) where the sub-folders that `paths` lie in, or are, look like speakers' names: two or more,
    none of them a usual name of something else, and nothing outside of them."""
    names = {path.relative_to(folder).parts[0] if path != folder else "" for path in paths}
    plain = any(name == "" or (folder / name).is_file() or name.lower() in _NO_SPEAKERS for name in names)
    if options.source_column is not None or options.speaker or len(names) < 2 or plain:
        return {}, ()
    shown = ", ".join(sorted(names)[:_SHOWN]) + (" ..." if len(names) > _SHOWN else "")
    note = (
        f"The {len(names)} folders are taken for the speakers' names: {shown}. --source-column none trains without names, "
        "--speaker NAME gives all the same."
    )
    return {name: name for name in names}, (note,)


def _from_pairs(folder, recordings, options):
    """Every recording with the transcript beside it."""
    names, notes = _folder_speakers(folder, recordings, options)
    entries = []
    for path in recordings:
        transcript = next((t for t in map(path.with_suffix, TRANSCRIPTS) if t.is_file()), None)
        where, problem, text = path.relative_to(folder).as_posix(), None, None
        try:
            text = read_text(transcript) if transcript else None
        except InputError as error:
            problem = f"bad transcript: {error}"
        speaker = names.get(path.relative_to(folder).parts[0])
        entries.append(Entry(where, FileAudio(path), text, speaker, problem))
    paired = {path.with_suffix("") for path in recordings}
    lone = [p.relative_to(folder).as_posix() for p in _files(folder, TRANSCRIPTS) if p.with_suffix("") not in paired]
    note = f"{len(lone)} text files have no recording beside them: {', '.join(lone[:5])}{' ...' * (len(lone) > 5)}"
    if lone:
        notes += (note,)
    return Source(entries, "recordings with transcripts beside them", {}, notes)


def _named(folder, suffixes):
    """Everything of these suffixes in any depth, whatever it is."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in suffixes and not p.name.startswith("."))


def _files(folder, suffixes):
    return [path for path in _named(folder, suffixes) if path.is_file()]


def _from_folder(folder, options):
    if any((folder / name).exists() for name in ("dataset_dict.json", "state.json")):
        return from_saved(folder, options)
    for place in (folder, folder / options.split):
        if _tables(place):
            return _from_first(_tables(place), options)
    parquet = _files(folder, (".parquet",))
    if parquet:
        of_split = [
            path for path in parquet if path.name.startswith(options.split) or path.parent.name == options.split
        ]
        return from_parquet(of_split or parquet, options, folder)
    for place in (folder / options.split, folder):
        source = _from_tables_below(place, options)
        if source:
            return source
    recordings = _named(
        folder, READABLE + UNREADABLE
    )  # a pipe among them is an entry, too, and left out with its reason
    if recordings:
        return _from_pairs(folder, recordings, options)
    tables = [path.name for path in sorted(folder.iterdir()) if path.suffix.lower() in TABLES]
    hint = f" It does hold {tables[0]}: give that file as the data set." if tables else ""
    raise InputError(f"{folder} holds no recordings that are understood.{hint} {FORMATS}")


def open_source(options):
    """Finds out what `options.dataset` is and reads its table. Returns a Source; raises InputError."""
    path = Path(options.dataset).expanduser()
    if path.is_dir():
        return _from_folder(path, options)
    if path.is_file():
        if path.suffix.lower() in TABLES:
            return _from_table(path, options)
        if path.suffix.lower() == ".parquet":
            return from_parquet([path], options, path.parent)
        raise InputError(f"{path} is not a data set. {FORMATS}")
    if options.dataset.startswith((".", "/", "~")) or options.dataset.count("/") != 1 or path.suffix.lower() in TABLES:
        raise InputError(
            f"there is no folder or file {options.dataset!r}, and it is no hub id like owner/name. {FORMATS}"
        )
    return from_hub(options)
