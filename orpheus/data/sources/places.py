"""Where the recordings of a table are: under the name that it gives, or under one that can only be the same file.

A table may have been written on another machine, on Windows, by a program that leaves out folder or suffix, or before the recordings were
converted. Names are compared part by part from the end, without case and in one Unicode form; what fits best counts, where nothing else
fits as well.
"""

import difflib
import heapq
import os
import unicodedata
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote

from orpheus.common.audio import CONTAINED, HEADERLESS, PLAIN

SUFFIXES = (*PLAIN, *CONTAINED, *HEADERLESS)  # the likelier first
# Folders that hold recordings and say nothing else: they may be left out of a name, or stand for each other.
AUDIO_FOLDERS = (
    "wavs",
    "wav",
    "audio",
    "audios",
    "clips",
    "clip",
    "recordings",
    "data",
    "flac",
    "mp3",
    "sound",
    "sounds",
)
_MOST_FILES = 2_000_000
_MOST_NEAREST = 20, 100_000  # misses that are compared, with at most so many names
_COMPARED = 50  # names, those with the most pairs of letters in common
_CLOSE = 0.7  # of difflib's likeness


@dataclass(frozen=True)
class Found:
    path: Path
    fit: int  # parts of the name that agree with the path, from the end
    told: bool  # whether the name says it: as it is, or without folder and suffix in a usual place
    relative: str  # to the folder that was searched


def folded(name):
    return unicodedata.normalize("NFC", name).casefold()


def split_suffix(name):
    """(name without the suffix of a recording, the suffix or "")."""
    stem, suffix = os.path.splitext(name)
    return (stem, suffix.lower()) if suffix.lower() in SUFFIXES else (name, "")


def parts_of(name):
    """The parts of a file's name as any system writes it: no drive, no scheme, no dots."""
    name = name.strip().strip("\"'")
    if name.lower().startswith("file:/"):
        name = unquote(name[5:])
    name = name.replace("\\", "/")
    if name[1:2] == ":" and name[:1].isalpha():
        name = name[2:]
    return [part for part in name.split("/") if part not in ("", ".", "..")]


class Listing:
    """What may be a recording below a folder; looked for once, when somebody asks."""

    def __init__(self, root):
        self.root = Path(root)

    @cached_property
    def _found(self):
        by_stem, folders, count, seen = {}, set(), 0, set()
        for folder, below, names in os.walk(self.root, followlinks=True):
            real = os.path.realpath(folder)
            if real in seen or count > _MOST_FILES:
                below.clear()
                continue
            seen.add(real)
            below[:] = sorted(name for name in below if not name.startswith("."))
            above = Path(folder).relative_to(self.root).parts
            for name in sorted(names):
                stem, suffix = split_suffix(name)
                if suffix or "." not in name:
                    by_stem.setdefault(folded(stem), []).append((*above, name))
                    count += 1
                    if suffix:
                        folders.add(tuple(map(folded, above)))
        return by_stem, folders

    @property
    def by_stem(self):
        """{folded name without suffix: [parts of the path below the root]}."""
        return self._found[0]

    @property
    def folders(self):
        """Folded parts of the folders that recordings are in."""
        return self._found[1]


class Finder:
    """Looks for names in a table's folder and, where they are not there, in all of the data set's.

    folder: of the table; root: of the data set, the folder itself or one above, or its Listing
    """

    def __init__(self, folder, root=None):
        self.folder = Path(folder)
        self._listing = root if isinstance(root, Listing) else Listing(root or folder)
        self.root, self._nearest_left = self._listing.root, _MOST_NEAREST[0]
        below = self.folder.relative_to(self.root).parts if self.folder.is_relative_to(self.root) else ()
        self._own = [folded(part) for part in below]  # the table's folder, below the root

    def find(self, name):
        """Found; an InputError's words where several files fit equally; None where none does."""
        name = name.strip()
        if not name or "\0" in name or len(name) > 4096:
            return None
        path, parts = self.folder / name, parts_of(name)
        # A folder called so is a recording's place at best, but what is called like a recording is to be looked at.
        if parts and os.path.lexists(path) and (split_suffix(name)[1] or not path.is_dir()):
            return Found(path, len(path.parts), True, name)
        path = self.root / name  # lists in a folder of their own name files from the data set's on
        if len(parts) > 1 and path.is_file():
            return Found(path, len(path.parts), True, name)
        return self._search(parts) if parts else None

    def has(self, name):
        return isinstance(self.find(name), Found)

    def _search(self, parts):
        stem, suffix = split_suffix(parts[-1])
        wanted = [folded(part) for part in parts[:-1]]
        found = []
        for there in self._listing.by_stem.get(folded(stem), ()):
            folders, its_suffix = [folded(part) for part in there[:-1]], split_suffix(there[-1])[1]
            fit = _common_end(wanted, folders)
            if self._may_be(wanted, folders, fit):
                same = suffix == its_suffix or not suffix
                order = SUFFIXES.index(its_suffix) if its_suffix in SUFFIXES else len(SUFFIXES)
                found.append(((not same, -fit, self._rank(folders), order, there[-1] != parts[-1]), fit, there))
        if not found:
            return self._beside(parts)
        found.sort()
        if len(found) > 1 and _rivals(found[0], found[1]):
            names = " and ".join("/".join(there) for *_, there in found[:2])
            return f"{len(found)} files may be meant: {names}; write the folder into the table"
        (other, *_), fit, there = found[0]
        usual = not wanted and not suffix and self._rank([folded(p) for p in there[:-1]]) < len(AUDIO_FOLDERS) + 1
        return Found(self.root.joinpath(*there), fit + 1, usual and not other, "/".join(there))

    def _may_be(self, wanted, folders, fit):
        """Whether a file of the right name may be the one: where folders disagree, one of the two says nothing."""
        inner = self._inner(folders)
        if self._own_recordings and not self._is_own(folders) and not fit:
            return False  # another folder's recording of the same number
        if fit or not wanted or not inner:
            return True
        return wanted[-1] in AUDIO_FOLDERS or folders[-1] in AUDIO_FOLDERS

    @cached_property
    def _own_recordings(self):
        """Whether there are any in the table's folder, where that is not all of the data set's."""
        return bool(self._own) and any(map(self._is_own, self._listing.folders))

    def _is_own(self, folders):
        return list(folders[: len(self._own)]) == self._own

    def _inner(self, folders):
        """The folders below the table's; all of them where the file is elsewhere."""
        return folders[len(self._own) :] if self._is_own(folders) else folders

    def _rank(self, folders):
        """How usual a place is: 0 is the table's folder, then come usual folders in it, then others in it."""
        inner, usual = self._inner(folders), len(AUDIO_FOLDERS) + 1
        if not self._is_own(folders):
            return usual + 1
        if not inner:
            return 0
        return AUDIO_FOLDERS.index(inner[0]) + 1 if len(inner) == 1 and inner[0] in AUDIO_FOLDERS else usual

    def _beside(self, parts):
        """In the folder above, under a folder's name that is part of the name; or from where we are."""
        for place, least in ((self.folder.parent, 2), (Path.cwd(), len(parts))):
            for start in range(len(parts) - least + 1):
                path = place.joinpath(*parts[start:])
                if os.path.isfile(path):
                    return Found(path, len(parts) - start, False, str(path))
        return None

    def nearest(self, name):
        """The path of the file with the likest name, or None; of the first misses alone, for it takes long."""
        parts = parts_of(name)
        index = self._listing.by_stem
        if not parts or self._nearest_left <= 0 or len(index) > _MOST_NEAREST[1]:
            return None
        self._nearest_left -= 1
        name = folded(split_suffix(parts[-1])[0])
        pairs = _pairs(name)
        likely = heapq.nlargest(
            _COMPARED, index, key=lambda other: len(pairs & _pairs(other)) / (len(other) + len(name))
        )
        close = difflib.get_close_matches(name, likely, 1, _CLOSE)
        return "/".join(index[close[0]][0]) if close else None


def _pairs(name):
    return {name[n : n + 2] for n in range(len(name) - 1)}


def _rivals(first, second):
    """Whether two files fit equally: in different folders, or in one under names that differ in case alone."""
    if first[2][:-1] == second[2][:-1]:
        return first[0] == second[0]
    return first[0][:3] == second[0][:3]


def _common_end(first, second):
    count = 0
    for one, other in zip(reversed(first), reversed(second)):
        if one != other:
            break
        count += 1
    return count
