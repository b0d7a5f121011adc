"""Entries out of any source of recordings. Nothing is decoded or judged here."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

from orpheus.common.errors import InputError
from orpheus.data.sources.arrow import from_hub, from_parquet, from_saved
from orpheus.data.sources.entries import Source
from orpheus.data.sources.layouts import SPLITS, files, folder_speakers, from_libri, from_pairs, named, part_of
from orpheus.data.sources.listed import from_table, is_of_recordings
from orpheus.data.sources.places import SUFFIXES, Listing, folded
from orpheus.data.sources.recipes import from_recipe

# What may be a table, the likelier first; other names count where what they list is there.
TABLES = (".csv", ".tsv", ".jsonl", ".json", ".list", ".txt", ".lst", ".psv", ".ndjson", ".manifest")
_SURE = (".csv", ".tsv", ".jsonl")  # of metadata.*
_MOST_TABLES = 200  # that are looked into
_MOST_TEXTS = 20  # .txt files side by side: more are transcripts
_DEPTH = 3  # folders between the data set's and a table's
_SHOWN = 8  # names in a note
# Tables of Common Voice beside validated.tsv, which has what was checked.
_COMMON_VOICE = "validated"
_NOT_CHECKED = frozenset("invalidated other reported unvalidated rejected".split())

FORMATS = (
    "What can be read: a folder with a table of any name (file_name,text,speaker; a header is not needed) or sub-folders that each have "
    "one, recordings with a.txt beside a.wav or in a folder txt/, LJSpeech, LibriTTS, VCTK, Common Voice, lists of GPT-SoVITS and XTTS, "
    "NeMo manifests, parquet files, a folder of `datasets`' save_to_disk, or one such file"
)


# --- tables -----------------------------------------------------------------------------------------------------------


def _tables(folder):
    """The metadata files of a folder; the first one counts."""
    return [path for path in (folder / f"metadata{suffix}" for suffix in _SURE) if path.is_file()]


def _from_first(tables, options, root, reader):
    source = from_table(tables[0], options, root, reader)
    unused = tuple(f"{path} was not read: {tables[0].name} was" for path in tables[1:])
    return replace(source, notes=source.notes + unused)


def _from_tables_below(folder, options, reader):
    """All sub-folders with a metadata file of their own, as one data set; None where there are none."""
    folders = sorted({path.parent for suffix in _SURE for path in folder.rglob(f"metadata{suffix}") if path.is_file()})
    splits = [path for path in folders if path.relative_to(folder).parts[0].lower() in SPLITS]
    folders = [path for path in folders if path not in splits]
    if splits and not folders:
        names = ", ".join(sorted({path.relative_to(folder).parts[0] for path in splits}))
        raise InputError(f"{folder} has no part {options.split!r}; choose with --split: {names}")
    if not folders:
        return None
    source = _joined(folder, {path: _from_first(_tables(path), options, path, reader) for path in folders}, options)
    if splits:
        names = ", ".join(path.name for path in splits)
        note = f"not read, for they look like other parts: {names}; --split chooses one"
        source = replace(source, notes=(*source.notes, note))
    return source


def _joined(folder, sources, options):
    """One Source of several, each of a table in a folder. sources: {folder: Source}"""
    unnamed = [path for path in sources if not any(entry.speaker for entry in sources[path].entries)]
    names, notes = folder_speakers(folder, list(sources), options) if unnamed else ({}, ())
    entries = []
    for path, source in sources.items():
        below = path.relative_to(folder).as_posix()
        name = names.get(path) if path in unnamed else None
        for entry in source.entries:
            entries.append(replace(entry, where=f"{below}/{entry.where}", speaker=entry.speaker or name))
        notes += tuple(f"{below}: {note}" for note in source.notes)
    columns = {
        role: " or ".join(dict.fromkeys(s.columns[role] for s in sources.values() if s.columns[role])) or None
        for role in ("audio", "text", "source")
    }
    kinds = " and ".join(dict.fromkeys(source.kind for source in sources.values()))
    return Source(entries, f"{len(sources)} folders, each with a table: {kinds}", columns, notes)


def _candidates(folder, recordings):
    """Files below a folder that may be tables of recordings: {depth: [paths]}. Transcripts of single recordings are none."""
    stems = {folded(path.stem) for path in recordings}
    found = [path for path in files(folder, TABLES) if len(path.relative_to(folder).parts) - 1 <= _DEPTH]
    texts = Counter(path.parent for path in found if path.suffix.lower() == ".txt")
    by_depth = {}
    for path in sorted(found, key=lambda path: TABLES.index(path.suffix.lower())):
        transcript = path.suffix.lower() == ".txt" and (folded(path.stem) in stems or texts[path.parent] > _MOST_TEXTS)
        if not transcript:
            by_depth.setdefault(len(path.relative_to(folder).parts) - 1, []).append(path)
    return by_depth


def _from_any_tables(folder, recordings, options, reader):
    """Tables of other names: those whose recordings are there. None where there are none."""
    listing = Listing(folder)
    for _, paths in sorted(_candidates(folder, recordings).items()):
        tables = [path for path in paths[:_MOST_TABLES] if is_of_recordings(path, options, listing)]
        if tables:
            return _from_chosen(listing, tables, options, reader)
    return None


def _from_chosen(listing, tables, options, reader):
    """Of tables whose recordings are there: the part that is asked for, or all that do not overlap."""
    folder = listing.root
    chosen = _of_split(tables, options)
    others = [path for path in tables if path not in chosen]
    sources, seen = {}, set()
    for path in sorted(chosen, key=lambda path: (-path.stat().st_size, path)):
        source = from_table(path, options, listing, reader)
        paths = {getattr(entry.audio, "path", entry.where) for entry in source.entries}
        if seen & paths:
            others.append(path)
            continue
        seen |= paths
        sources[path] = source
    notes = ()
    if others:
        shown = ", ".join(path.relative_to(folder).as_posix() for path in sorted(others)[:_SHOWN]) + " ..." * (
            len(others) > _SHOWN
        )
        read = ", ".join(path.name for path in sorted(sources)[:_SHOWN])
        notes = (
            f"{read} was read; {shown} not: --split NAME chooses by a part's name, or give a table itself as --dataset",
        )
    if len(sources) == 1:
        source = next(iter(sources.values()))
        return replace(source, notes=source.notes + notes)
    if len({path.parent for path in sources}) == len(sources):
        source = _joined(folder, {path.parent: sources[path] for path in sorted(sources)}, options)
        return replace(source, notes=source.notes + notes)
    return _together(folder, sources, notes)


def _together(folder, sources, notes):
    """Several tables that lie side by side, as one."""
    paths = sorted(sources)
    columns = {role: " or ".join(dict.fromkeys(sources[p].columns[role] for p in paths if sources[p].columns[role])) or None
               for role in ("audio", "text", "source")}  # fmt: skip
    names = ", ".join(path.relative_to(folder).as_posix() for path in paths[:_SHOWN]) + " ..." * (len(paths) > _SHOWN)
    entries = [entry for path in paths for entry in sources[path].entries]
    all_notes = tuple(dict.fromkeys(note for path in paths for note in sources[path].notes))
    return Source(entries, f"{len(paths)} tables: {names}", columns, all_notes + notes)


def _of_split(tables, options):
    """The tables of the part that is asked for; where none is named so, those that are of no part. Raises InputError."""
    split = options.split.lower()
    stems = {path: path.stem.lower() for path in tables}
    if split != "train" or _COMMON_VOICE not in stems.values():
        exact = [path for path in tables if stems[path] == split] or [p for p in tables if split in part_of(stems[p])]
        if not exact and split not in SPLITS:
            exact = [path for path in tables if split in re.split(r"[\W_]+", stems[path])]
        if exact:
            return exact
    validated = [path for path in tables if stems[path] == _COMMON_VOICE]
    if validated:
        return validated
    plain = [path for path in tables if not part_of(stems[path]) and stems[path] not in _NOT_CHECKED]
    if plain:
        return plain
    if len(tables) == 1:
        return tables  # the only one there is, whatever its name
    names = ", ".join(sorted(stems.values()))
    raise InputError(f"{tables[0].parent} has no part {options.split!r}; choose with --split: {names}")


# --- folders ----------------------------------------------------------------------------------------------------------


def _from_folder(folder, options, reader):
    if any((folder / name).exists() for name in ("dataset_dict.json", "state.json")):
        return from_saved(folder, options, reader)
    for place in (folder, folder / options.split):
        if _tables(place):
            return _from_first(_tables(place), options, folder, reader)
    parquet = files(folder, (".parquet",))
    if parquet:
        of_split = [
            path for path in parquet if path.name.startswith(options.split) or path.parent.name == options.split
        ]
        return from_parquet(of_split or parquet, options, folder, reader)
    for place in (folder / options.split, folder):
        source = _from_tables_below(place, options, reader) if place.is_dir() else None
        if source:
            return source
    recordings = named(folder, SUFFIXES)  # a pipe among them is an entry, too, and left out with its reason
    source = from_libri(folder, options) or from_recipe(folder, options)
    source = source or _from_any_tables(folder, recordings, options, reader)
    if source:
        return source
    if recordings:
        return from_pairs(folder, recordings, options)
    tables = [path.relative_to(folder).as_posix() for paths in _candidates(folder, ()).values() for path in paths]
    hint = f" It does hold {tables[0]}: give that file as the data set." if tables else ""
    raise InputError(f"{folder} holds no recordings that are understood.{hint} {FORMATS}")


def open_source(options, reader=None):
    """Finds out what `options.dataset` is and reads its table. Returns a Source; raises InputError.

    reader: ModelTokens of the model that is to learn, for rows that are token ids
    """
    path = Path(options.dataset).expanduser()
    if options.subset and (path.is_dir() or path.is_file()):
        below = path / options.subset
        if not below.is_dir():
            names = ", ".join(sorted(p.name for p in path.iterdir() if p.is_dir())[:_SHOWN]) if path.is_dir() else ""
            raise InputError(f"{path} has no sub-folder {options.subset!r} for --subset; it has: {names or 'none'}")
        path = below
    if path.is_dir():
        return _from_folder(path, options, reader)
    if path.is_file():
        if path.suffix.lower() in TABLES:
            return from_table(path, options, None, reader)
        if path.suffix.lower() == ".parquet":
            return from_parquet([path], options, path.parent, reader)
        raise InputError(f"{path} is not a data set. {FORMATS}")
    if options.dataset.startswith((".", "/", "~")) or options.dataset.count("/") != 1 or path.suffix.lower() in TABLES:
        raise InputError(
            f"there is no folder or file {options.dataset!r}, and it is no hub id like owner/name. {FORMATS}"
        )
    return from_hub(options, reader)
