"""Lists as the recipes of speech toolkits have them: Kaldi's and ESPnet's `wav.scp` with `text`, Festival's `txt.done.data`."""

import re

from orpheus.common.errors import InputError
from orpheus.data.sources.entries import Entry, FileAudio, Source
from orpheus.data.sources.layouts import files, part_of
from orpheus.data.sources.listed import place_all
from orpheus.data.sources.places import Finder, Listing
from orpheus.data.sources.tables import read_text

_FESTIVAL = re.compile(r'\(\s*(\S+)\s+"(.*)"\s*\)\Z')


def from_recipe(folder, options):
    """Source of a folder with such lists in any depth; None where there are none. Raises InputError."""
    listing = Listing(folder)
    kaldi = sorted(path.parent for path in folder.rglob("text") if path.is_file() and _is_kaldi(path.parent))
    if kaldi:
        chosen, notes = _of_part(folder, kaldi, options)
        return _joined("Kaldi's wav.scp and text", [_kaldi(path, listing, options) for path in chosen], notes)
    prompts = [path for path in files(folder, (".data",)) if _festival_lines(path)]
    if prompts:
        return _joined("Festival's prompts", [_festival(path, listing) for path in prompts], ())
    return None


def _joined(kind, parts, notes):
    entries = [entry for found, _ in parts for entry in found]
    return Source(entries, kind, {}, tuple(dict.fromkeys(note for _, more in parts for note in more)) + notes)


# --- Kaldi ------------------------------------------------------------------------------------------------------------


def _is_kaldi(folder):
    return any((folder / name).is_file() for name in ("wav.scp", "utt2spk"))


def _of_part(folder, places, options):
    """(the folders of the part that is asked for, else those of no part, notes). Raises InputError where there are neither."""
    split = options.split.lower()
    chosen = [path for path in places if path.name.lower() == split or split in part_of(path.name)]
    chosen = chosen or [path for path in places if path == folder or not part_of(path.name)]
    chosen = chosen or (places if len(places) == 1 else [])
    names = ", ".join(path.relative_to(folder).as_posix() for path in places if path not in chosen)
    if not chosen:
        raise InputError(f"{folder} has no part {options.split!r}; choose with --split: {names}")
    return chosen, (f"not read, for they look like other parts: {names}; --split chooses one",) if names else ()


def _pairs(path):
    """{first word: the rest} of the lines of a file; {} where it is not there."""
    if not path.is_file():
        return {}
    lines = (line.strip().split(None, 1) for line in read_text(path).splitlines() if line.strip())
    return {line[0]: line[1] if len(line) > 1 else "" for line in lines}


def _kaldi(folder, listing, options):
    """(entries, notes) of a folder with text and wav.scp; without wav.scp the utterances' names are the recordings'."""
    texts, places, segments = (_pairs(folder / name) for name in ("text", "wav.scp", "segments"))
    named = options.source_column is not None or options.speaker
    speakers = {} if named else _pairs(folder / "utt2spk")
    names = list(dict.fromkeys([*texts, *(places if not segments else ())]))
    cells = [places.get(name, name) for name in names]
    found, notes = place_all(
        [None if cell.endswith("|") else cell for cell in cells], Finder(folder, listing), "wav.scp"
    )
    entries = []
    for name, cell, (path, missing) in zip(names, cells, found, strict=True):
        problem = missing
        if name in segments:
            problem = f"bad line: it is a part of a recording ({segments[name]}); cut it out: ffmpeg -ss START -to END -i FILE PART.wav"
        elif cell.endswith("|"):
            problem = f"bad line: wav.scp gives a command, {cell:.60}, not a file; run it and write the file's name"
        audio = None if problem and problem.startswith("bad line") else FileAudio(path)
        entries.append(Entry(f"text ({name})", audio, texts.get(name), speakers.get(name), problem))
    if any(speakers.get(name) for name in names):
        notes += ("The speakers' names are those of utt2spk. --source-column none trains without names.",)
    return entries, notes


# --- Festival ---------------------------------------------------------------------------------------------------------


def _festival_lines(path):
    """[(name, text)]; [] where a line is no prompt."""
    try:
        lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    except InputError:
        return []
    found = [_FESTIVAL.match(line) for line in lines]
    return [(line[1], line[2].replace('\\"', '"')) for line in found] if all(found) else []


def _festival(path, listing):
    prompts = _festival_lines(path)
    found, notes = place_all([name for name, _ in prompts], Finder(path.parent, listing), path.name)
    entries = [
        Entry(f"{path.name} ({name})", FileAudio(there), text, None, missing)
        for (name, text), (there, missing) in zip(prompts, found, strict=True)
    ]
    return entries, notes
