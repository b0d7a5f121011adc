"""Folders whose recordings have their transcripts in files of their own: beside them, in a folder beside theirs, or one for a chapter."""

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from orpheus.common.errors import InputError
from orpheus.data.sources.entries import Entry, FileAudio, Source
from orpheus.data.sources.places import AUDIO_FOLDERS, SUFFIXES, folded, split_suffix
from orpheus.data.sources.tables import read_text
from orpheus.data.sources.timed import SUBTITLES, TEXT_GRID, without_language, words_of

TRANSCRIPTS = (".txt", ".lab", *SUBTITLES, TEXT_GRID)  # the likelier first
_SPREADSHEETS = (".xlsx", ".xls", ".ods", ".numbers")
# Folders that hold transcripts and say nothing else.
_TEXT_FOLDERS = frozenset("txt text texts transcript transcripts lab labs".split())
# Names of the parts of a data set, each in all its spellings.
_PARTS = (("train", "training"), ("test", "testing"), ("dev", "val", "valid", "validation", "eval", "evaluation"))
SPLITS = frozenset(name for names in _PARTS for name in names)
# Folders of these names, and of splits, are no speakers.
_NO_SPEAKERS = SPLITS | _TEXT_FOLDERS | frozenset(AUDIO_FOLDERS) | frozenset("ogg opus speech wave".split())
_NO_SPEAKER = re.compile(r"(wav|flac|mp3|audio|clip|wave)s?[\W_]*\d+.*", re.IGNORECASE)  # wav48, wavs_24k
_MICROPHONE = re.compile(r"_mic(\d+)\Z")
_VCTK = re.compile(r"p\d+|s5", re.IGNORECASE)
_SHOWN = 8  # names in a note
_NORMALIZED, _CHAPTER = ".normalized.txt", ".trans.txt"  # of LibriTTS, of LibriSpeech


def part_of(name):
    """The spellings of the part of a data set that a file's or folder's name tells, or (): train-clean-100, metadata_eval."""
    words = re.split(r"[\W_]+", name.lower())
    return next((part for part in _PARTS if set(part) & set(words)), ())


def named(folder, suffixes):
    """Everything of these suffixes in any depth, whatever it is."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in suffixes and not path.name.startswith("."))
    return sorted(path for path in found if not any(p.startswith(".") for p in path.relative_to(folder).parts))


def files(folder, suffixes):
    return [path for path in named(folder, suffixes) if path.is_file()]


# --- speakers ---------------------------------------------------------------------------------------------------------


def folder_speakers(folder, paths, options, careful=False):
    """({path: speaker}, notes) where the sub-folders that `paths` lie in, or are, look like speakers' names: two or more, none of them a
    usual name of something else, and nothing outside of them. They may be inside of one that says nothing, such as wavs/.

    careful: only where they look like names: for a table that might have named its speakers
    """
    if options.source_column is not None or options.speaker:
        return {}, ()
    while True:
        tops = {path: path.relative_to(folder).parts[0] if path != folder else "" for path in paths}
        names = set(tops.values())
        only = next(iter(names)) if len(names) == 1 else ""
        if not only or not (folder / only).is_dir() or folder / only in paths or not _plain(only):
            break
        folder = folder / only
    plain = any(name == "" or (folder / name).is_file() or _plain(name) for name in names)
    if len(names) < 2 or plain or (careful and not all(map(_like_a_name, names))):
        return {}, ()
    return tops, (_speakers_note(names),)


def _speakers_note(names):
    shown = ", ".join(sorted(names)[:_SHOWN]) + (" ..." if len(names) > _SHOWN else "")
    return (
        f"The {len(names)} folders are taken for the speakers' names: {shown}. --source-column none trains without names, "
        "--speaker NAME gives all the same."
    )


def _plain(name):
    return name.lower() in _NO_SPEAKERS or bool(_NO_SPEAKER.fullmatch(name)) or bool(part_of(name))


_GENERIC = frozenset(
    "part parts chapter chapters disc disk cd book books session sessions day batch set vol volume section".split()
)


def _like_a_name(name):
    numbered = re.fullmatch(r"(speaker|spk|voice|reader|narrator|s|p|id)?[-_ ]?\d+", name, re.IGNORECASE)
    words = [word for word in re.split(r"[\W\d_]+", name.lower()) if word]
    return bool(numbered) or (not re.search(r"\d", name) and bool(words) and not set(words) & _GENERIC)


# --- transcripts of their own -----------------------------------------------------------------------------------------


@dataclass
class _Transcripts:
    """The transcripts of a folder, and which of them was taken."""

    folder: Path
    by_stem: dict = field(default_factory=dict)
    taken: set = field(default_factory=set)
    elsewhere: int = 0  # taken from another folder than the recording's

    def __post_init__(self):
        for path in files(self.folder, TRANSCRIPTS):
            for stem in dict.fromkeys((path.stem, without_language(path))):
                self.by_stem.setdefault(folded(stem), []).append(path)

    def of(self, recording):
        """The transcript of a recording: beside it, or in a folder of transcripts whose path agrees with its own."""
        stem = split_suffix(recording.name)[0]
        for name in (stem, _MICROPHONE.sub("", stem)):
            there = self.by_stem.get(folded(name), ())
            beside = [path for path in there if path.parent == recording.parent]
            others = [path for path in there if path not in beside and self._is_for_texts(path)]
            fits = beside or [path for path in others if self._folders(path) == self._folders(recording)]
            if fits:
                found = min(fits, key=lambda path: TRANSCRIPTS.index(path.suffix.lower()))
                self.taken.update(fits)
                self.elsewhere += not beside
                return found
        return None

    def _is_for_texts(self, path):
        return bool(_TEXT_FOLDERS & {part.lower() for part in path.relative_to(self.folder).parts[:-1]})

    def _folders(self, path):
        """The folders that a file is in, without those that only say what kind of file it is."""
        return [folded(part) for part in path.relative_to(self.folder).parts[:-1] if not _plain(part)]


def from_pairs(folder, recordings, options):
    """Every recording with its transcript beside it, or in a folder of transcripts, as VCTK has them."""
    transcripts, entries, timed = _Transcripts(folder), [], Counter()
    recordings, second = _first_microphone(recordings)
    found = {path: transcripts.of(path) for path in recordings}
    speakers, notes = _vctk_speakers(folder, recordings, options) or folder_speakers(folder, recordings, options)
    for path in recordings:
        where, problem, text = path.relative_to(folder).as_posix(), None, None
        try:
            text, kind = words_of(found[path], read_text(found[path])) if found[path] else (None, None)
            timed.update([kind] if kind else [])
        except ValueError as error:  # an InputError is one
            name = "" if isinstance(error, InputError) else f"{found[path].relative_to(folder).as_posix()}: "
            problem = f"bad transcript: {name}{error}"
        entries.append(Entry(where, FileAudio(path), text, speakers.get(path), problem))
    for kind, count in timed.items():
        notes += (f"{count:,} transcripts are {kind}: their words were read, their times were not",)
    sheets = ", ".join(path.relative_to(folder).as_posix() for path in files(folder, _SPREADSHEETS)[:5])
    if sheets:
        notes += (f"spreadsheets are not read: {sheets}; save the table as CSV beside the recordings",)
    paths = {path for there in transcripts.by_stem.values() for path in there}
    lone = sorted(path.relative_to(folder).as_posix() for path in paths - transcripts.taken)
    if lone:
        shown = ", ".join(lone[:5]) + " ..." * (len(lone) > 5)
        notes += (f"{len(lone)} text files have no recording beside them: {shown}",)
    if second:
        notes += (f"{len(second):,} recordings of a second microphone are not read, such as {second[0].name}",)
    where = "in folders of their own" if transcripts.elsewhere else "beside them"
    return Source(entries, f"recordings with transcripts {where}", {}, notes)


def _first_microphone(recordings):
    """(recordings, those that are another microphone's of the same)."""
    chosen, second = {}, []
    for path in recordings:
        stem = split_suffix(path.name)[0]
        key = path.with_name(_MICROPHONE.sub("", stem)) if _MICROPHONE.search(stem) else path
        if key in chosen:
            second.append(path)
        chosen.setdefault(key, path)
    return list(chosen.values()), second


def _vctk_speakers(folder, recordings, options):
    """As folder_speakers, where every recording is in a folder named like VCTK's speakers, be it one alone; else None."""
    if (
        options.source_column is not None
        or options.speaker
        or not all(_VCTK.fullmatch(p.parent.name) for p in recordings)
    ):
        return None
    names = {path: path.parent.name for path in recordings}
    return names, (_speakers_note(set(names.values())).replace("The 1 folders are", "The folder is"),)


# --- LibriTTS and LibriSpeech -----------------------------------------------------------------------------------------


def from_libri(folder, options):
    """LibriTTS (one .normalized.txt for each recording) or LibriSpeech (one .trans.txt for a chapter); None where it is neither."""
    texts = [
        path for path in named(folder, (".txt",)) if path.name.endswith((_NORMALIZED, _CHAPTER)) and path.is_file()
    ]
    if not texts:
        return None
    texts, notes = _of_part(folder, texts, options)
    kind = "LibriTTS" if any(path.name.endswith(_NORMALIZED) for path in texts) else "LibriSpeech"
    entries = []
    for path in texts:
        if path.name.endswith(_NORMALIZED):
            entries.append(_libri_entry(folder, path, path.name[: -len(_NORMALIZED)], path, options))
        elif kind == "LibriSpeech":
            lines = (line.partition(" ") for line in read_text(path).splitlines() if line.strip())
            entries += [_libri_entry(folder, path, name, text, options) for name, _, text in lines]
    named_in = {(Path(entry.audio.path).parent, split_suffix(entry.audio.path.name)[0]) for entry in entries}
    parents = {path.parent for path in texts}
    for path in named(folder, SUFFIXES):
        if path.parent in parents and (path.parent, split_suffix(path.name)[0]) not in named_in:
            entries.append(Entry(path.relative_to(folder).as_posix(), FileAudio(path), None, None))
    if options.source_column is None and not options.speaker:
        count = len({entry.speaker for entry in entries if entry.speaker})
        notes += (
            f"The {count} readers' numbers are taken for the speakers' names. --source-column none trains without names.",
        )
    return Source(entries, kind, {}, notes)


def _libri_entry(folder, path, name, text, options):
    audio = next(
        (p for p in (path.with_name(name + suffix) for suffix in SUFFIXES) if p.is_file()),
        path.with_name(f"{name}.wav"),
    )
    problem = None
    try:
        text = read_text(text) if isinstance(text, Path) else text
    except InputError as error:
        text, problem = None, f"bad transcript: {error}"
    reader = re.split(r"[_-]", name)[0] or path.parent.parent.name
    speaker = None if options.source_column is not None or options.speaker else reader
    return Entry(audio.relative_to(folder).as_posix(), FileAudio(audio), text, speaker, problem)


def _of_part(folder, paths, options):
    """(those of the part that is asked for, notes), by the names of the folders: train-clean-100, dev-other. Raises InputError."""
    parts = {}
    for path in paths:
        above = path.relative_to(folder).parts[:-1]
        top = next((name for name in above if part_of(name)), above[0] if above else "")
        parts.setdefault(part_of(top), {}).setdefault(top, []).append(path)
    asked = next((part for part in parts if options.split.lower() in part), None)
    if asked is None and len(parts) == 1:
        asked = next(iter(parts))
        notes = (f"there is no part {options.split}: all is read, {', '.join(parts[asked])}",) if asked else ()
    elif asked is None:
        names = ", ".join(sorted(part[0] for part in parts if part))
        raise InputError(f"{folder} has no part {options.split!r}; choose with --split: {names}")
    else:
        others = sorted(top for part in parts for top in parts[part] if part != asked)
        notes = (
            (f"not read, for they look like other parts: {', '.join(others)}; --split chooses one",) if others else ()
        )
    return sorted(path for found in parts[asked].values() for path in found), notes
