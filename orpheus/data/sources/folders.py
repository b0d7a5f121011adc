"""Entries out of any source of recordings. Nothing is decoded or judged here."""

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

FORMATS = (
    "What can be read: a folder with metadata.csv or metadata.jsonl (file_name,text), LJSpeech's folder, pairs a.wav + a.txt, parquet "
    "files, a folder of `datasets`' save_to_disk, or a file .jsonl, .csv, .parquet"
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
    names, lines = read_jsonl(path) if path.suffix.lower() == ".jsonl" else read_csv(path, known_names(options))
    kind = "JSON lines" if path.suffix.lower() == ".jsonl" else "CSV file"
    if not lines:
        raise InputError(f"{path} holds no rows")
    if names == ["id", "text"] and kind == "CSV file":
        kind, names = "LJSpeech's metadata.csv", ["file_name", "text"]
        lines = [_ljspeech_file(line, folder) for line in lines]
    try:
        columns = resolve_columns(names, options)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return Source([_table_row(line, columns, folder) for line in lines], kind, columns)


def _ljspeech_file(line, folder):
    """LJSpeech names its recordings without folder and suffix."""
    if line.problem:
        return line
    names = [f"wavs/{line.values['id']}{suffix}" for suffix in ("", *READABLE)]
    name = next((name for name in names if (folder / name).is_file()), names[1])
    return Line(line.where, {"file_name": name, "text": line.values["text"]})


def _from_pairs(folder, recordings):
    """Every recording with the transcript beside it."""
    entries = []
    for path in recordings:
        transcript = next((t for t in map(path.with_suffix, TRANSCRIPTS) if t.is_file()), None)
        where, problem, text = path.relative_to(folder).as_posix(), None, None
        try:
            text = read_text(transcript) if transcript else None
        except InputError as error:
            problem = f"bad transcript: {error}"
        entries.append(Entry(where, FileAudio(path), text, None, problem))
    paired = {path.with_suffix("") for path in recordings}
    lone = [p.relative_to(folder).as_posix() for p in _files(folder, TRANSCRIPTS) if p.with_suffix("") not in paired]
    note = f"{len(lone)} text files have no recording beside them: {', '.join(lone[:5])}{' ...' * (len(lone) > 5)}"
    return Source(entries, "recordings with transcripts beside them", {}, (note,) if lone else ())


def _files(folder, suffixes):
    return sorted(
        p for p in folder.rglob("*") if p.suffix.lower() in suffixes and not p.name.startswith(".") and p.is_file()
    )


def _from_folder(folder, options):
    if any((folder / name).exists() for name in ("dataset_dict.json", "state.json")):
        return from_saved(folder, options)
    for place in (folder, folder / options.split):
        tables = [path for path in (place / f"metadata{suffix}" for suffix in TABLES) if path.is_file()]
        if tables:
            source = _from_table(tables[0], options)
            unused = tuple(f"{path} was not read: {tables[0].name} was" for path in tables[1:])
            return replace(source, notes=source.notes + unused)
    parquet = _files(folder, (".parquet",))
    if parquet:
        of_split = [
            path for path in parquet if path.name.startswith(options.split) or path.parent.name == options.split
        ]
        return from_parquet(of_split or parquet, options, folder)
    recordings = _files(folder, READABLE + UNREADABLE)
    if recordings:
        return _from_pairs(folder, recordings)
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
