"""Whose is it? A folder that this program writes carries a list of its files, and a place is looked at before it is written to.

The list is `.orpheus/files.json` inside the folder. What is not in it belongs to the user: it is never replaced or removed.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from orpheus.common.errors import InputError, OutputError
from orpheus.common.options import OUTPUT_DIR

OURS = ".orpheus"  # in every folder of ours: the list, the lock, and what is on its way
LIST = "files.json"
_KINDS = {
    "adapter": "an adapter",
    "merged": "a merged model",
    "export": "an export",
    "evaluation": "an evaluation",
    "runs": "training runs",
    "run": "a training run",
    "state": "a saved state",
    "samples": "sample sentences",
    "codes": "a code cache",
    "prepared": "prepared recordings",
}
_AS_GOOD_AS_EMPTY = {OURS, "lost+found", ".gitkeep", ".gitignore", ".DS_Store"}
# What may lie without a list where nothing is replaced: caches and runs of earlier versions, speech by inference.py.
_CACHES = {"codes", "measures", "transcripts"}
_EARLIER_RUN = set(
    "log.jsonl data_report.md evaluation_base.npz states samples best tensorboard codes evaluation".split()
)
_DATA = ("--dataset", "--recordings", "--reference")  # what is looked through with all that is in it
_SAMPLE = re.compile(r"output_\d+\.wav|before")


# --- the list --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Written:
    """What this program wrote into a folder."""

    kind: str
    files: dict = field(default_factory=dict)  # {name inside the folder: [bytes, time of change in ns, sha256]}


def facts_of(path):
    """What a file is known by."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
        stat = os.fstat(file.fileno())
    return [stat.st_size, stat.st_mtime_ns, digest.hexdigest()]


def written_in(folder, at=OURS):
    """The list of a folder, or None where this program finished nothing in it."""
    try:
        stored = json.loads((Path(folder) / at / LIST).read_text(encoding="utf-8"))
        return Written(stored["kind"], stored["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def list_written(folder, written, at=OURS):
    """Writes the list of a folder, whole or not at all."""
    path = Path(folder) / at / LIST
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{LIST}.{os.getpid()}")
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump({"kind": written.kind, "files": written.files}, file, indent=0)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def claim(folder, kind):
    """Marks a checked folder that this program adds to, file by file, as one of its own. Raises OutputError."""
    if written_in(folder) is None:
        try:
            list_written(folder, Written(kind))
        except OSError as error:
            raise OutputError(
                f"{folder} cannot be written: {error.strerror or error}. Choose another folder"
            ) from error


def is_unchanged(path, facts):
    """Whether a file is still what was written: by size and time, or else by content."""
    path = Path(path)
    if path.is_symlink() or not path.is_file():
        return False
    stat = path.stat()
    if stat.st_size != facts[0]:
        return False
    return stat.st_mtime_ns == facts[1] or facts_of(path)[2] == facts[2]


def damage(folder):
    """What is wrong with a folder that was written as a whole, or None."""
    written = written_in(folder)
    if written is None:
        return "it was never finished, or something else wrote it"
    for name, (size, _, digest) in written.files.items():
        path = Path(folder) / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size} of {size} bytes"
        if facts_of(path)[2] != digest:
            return f"{name} is damaged"
    return None


def discard(folder):
    """Removes what this program wrote into `folder`, and the folder itself where nothing else is in it."""
    folder = Path(folder)
    written = written_in(folder) or Written("")
    for name, facts in written.files.items():
        if is_unchanged(folder / name, facts):
            (folder / name).unlink()
    shutil.rmtree(folder / OURS, ignore_errors=True)
    remove_empty(folder)


def remove_empty(folder):
    """Removes the empty folders in `folder`, and `folder` where it is one."""
    for path in sorted((p for p in Path(folder).rglob("*") if p.is_dir() and not p.is_symlink()), reverse=True):
        with contextlib.suppress(OSError):  # something is in it
            path.rmdir()
    with contextlib.suppress(OSError):
        Path(folder).rmdir()


# --- before writing --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """A folder that will be written."""

    flag: str
    path: Path
    kind: str


def real(path):
    """A path without symbolic links, whether or not it is there."""
    return Path(os.path.realpath(path))


def check_places(places, inputs=()):
    """Refuses what must not be written to, before anything is loaded. Raises InputError: the path, what lies there, the cure.

    inputs: [(flag, name of what is read)]; names that are no files or folders here, such as hub ids, are passed over
    """
    inputs = [(flag, real(path)) for flag, path in inputs if path is not None and os.path.exists(path)]
    seen = {}
    for place in places:
        if real(place.path) in seen:
            raise InputError(
                f"{place.flag} and {seen[real(place.path)]} both name {place.path}: give each its own folder"
            )
        seen[real(place.path)] = place.flag
        try:
            _check(place, inputs)
        except OSError as error:
            raise InputError(
                f"{place.flag} {place.path} cannot be used ({error.strerror or error}): choose another folder"
            ) from error


def _check(place, inputs):
    path, name = real(place.path), f"{place.flag} {place.path}"
    here = real(".")
    if path == here or path in here.parents:
        raise InputError(
            f"{name} is the current folder, or one above it: name a folder of its own, such as {here.name}_out"
        )
    for flag, source in inputs:
        if path == source or path in source.parents:
            raise InputError(
                f"{name} is or holds what {flag} reads, {source}: nothing is written there. Name another folder"
            )
        is_data = flag in _DATA and source.is_dir() and source != here and source not in here.parents
        if is_data and source in path.parents:
            raise InputError(
                f"{name} is inside of what {flag} reads, {source}: the next run would read it. Name another folder"
            )
    standing = nearest(path)
    if not standing.is_dir():
        raise InputError(f"{name}: {standing} is a file; name a folder")
    if path.exists() and not _may_be_written(place, path):
        raise InputError(f"{name} {_holds(path)}; it is left alone. {_cure(place)}")
    try:
        tempfile.TemporaryFile(dir=standing).close()
    except OSError as error:
        raise InputError(f"{name}: {standing} is not writable ({error.strerror}); choose another folder") from error


def nearest(path):
    """The path itself, or the nearest folder above it that is there."""
    return next(p for p in (path, *path.parents) if os.path.lexists(p))


def _entries(path):
    return sorted(set(os.listdir(path)) - _AS_GOOD_AS_EMPTY) if os.path.isdir(path) else []


def _may_be_written(place, path):
    names, written = set(_entries(path)), written_in(path)
    if written is not None:
        return written.kind == place.kind
    if place.kind == "codes":
        return names <= _CACHES
    if place.kind == "samples":  # speech is replaced file by file, as by inference.py
        return path == real(OUTPUT_DIR) or all(_SAMPLE.fullmatch(name) for name in names)
    if place.kind == "runs":  # a run adds a folder of its own
        unlisted = {name for name in names if written_in(path / name) is None}
        return unlisted <= (_EARLIER_RUN if "log.jsonl" in names else {"codes", "evaluation"})
    return not names


def _holds(path):
    written = written_in(path)
    if written is not None:
        return f"holds {_KINDS.get(written.kind, written.kind)} that this program wrote"
    names = _entries(path)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"holds {', '.join(names[:3])}{more}, and no list that says this program wrote them"


def _cure(place):
    path = str(place.path).rstrip("/")
    moved = f"mv {path} {path}_before"
    earlier = f" If it is the work of an earlier version, which kept no list, move it: {moved}"
    return f"Name a new or empty folder with {place.flag}." + ("" if written_in(place.path) else earlier)


# --- room ------------------------------------------------------------------------------------------------------------


def in_words(size):
    """Bytes as GB or MB (10^9, 10^6)."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(size, 1e5) / 1e6:.1f} MB"


def free_bytes(path):
    return shutil.disk_usage(nearest(real(path))).free


def check_room(needs):
    """Refuses a run that would fill a disk. needs: [(flag, path, bytes)]. Raises InputError with how much to free."""
    disks = {}
    for flag, path, size in needs:
        disks.setdefault(os.stat(nearest(real(path))).st_dev, []).append((flag, path, size))
    for shared in disks.values():
        total, free = sum(size for _, _, size in shared), free_bytes(shared[0][1])
        if total > free:
            parts = ", ".join(f"{in_words(size)} in {path}/" for _, path, size in shared)
            flags = " or ".join(flag for flag, _, _ in shared)
            raise InputError(
                f"the disk is too full for this run: it needs about {parts}, and {in_words(free)} are free there. "
                f"Free {in_words(total - free)}, or name places on another disk with {flags}"
            )
