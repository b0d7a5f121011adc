"""Folders and states that appear whole or not at all: a kill in the middle of a save loses nothing that was there."""

import contextlib
import hashlib
import itertools
import json
import os
import shutil
import tempfile
import time
import warnings
from contextlib import contextmanager
from pathlib import Path

from orpheus.common.errors import OrpheusError, OrpheusWarning, OutputError, StoppedError
from orpheus.common.places import (
    LIST,
    OURS,
    Written,
    facts_of,
    free_bytes,
    in_words,
    is_unchanged,
    list_written,
    real,
    remove_empty,
    written_in,
)


def _sync(path):
    """Makes a file's or folder's content outlast a crash of the machine."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:  # some file systems cannot sync a folder
        pass
    finally:
        os.close(descriptor)


# --- folders ---------------------------------------------------------------------------------------------------------
#
# A folder's new content is made in .orpheus/new inside of it, so that a mount point and a symbolic link can be written to.
# The rename of .orpheus/new to .orpheus/ready decides: before it nothing has changed, after it the change is certain, and
# whoever comes next, to read or to write, finishes it.

_NEW, _READY, _FILES = f"{OURS}/new", f"{OURS}/ready", "files"


@contextmanager
def lock(path, wait=True):
    """Holds a lock that ends with the process; yields whether it was to be had. A disk without locks gives every one."""
    from filelock import FileLock, Timeout

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    held = FileLock(path)
    try:
        held.acquire(blocking=wait)
    except Timeout:
        yield False
        return
    except NotImplementedError:  # some network disks
        yield True
        return
    try:
        yield True
    finally:
        held.release()


def restore(folder):
    """Finishes a replacement that a kill fell into. To be called before a folder of ours is read. Raises OutputError."""
    folder = real(folder)
    former = folder.with_name(f".{folder.name}.former")  # how earlier versions replaced a folder
    try:
        if former.exists() and not folder.exists():
            os.replace(former, folder)
        if (folder / _READY).exists():
            with lock(folder / OURS / "lock"):
                _move_in(folder)
    except OSError as error:
        raise OutputError(
            f"{folder} was being replaced when the program was stopped, and that cannot be finished now: "
            f"{error.strerror or error}. Make the folder writable, or write it again"
        ) from error


def _move_in(folder):
    """Puts what is ready in the place of what was written before; can be repeated after a kill at any moment."""
    ready = folder / _READY
    if not ready.exists():
        return
    new, old = written_in(folder, _READY), written_in(folder) or Written("")
    if new is not None:
        for name in old.files.keys() - new.files.keys():
            if is_unchanged(folder / name, old.files[name]):
                (folder / name).unlink()
        for name in new.files:
            if (ready / _FILES / name).exists():  # not moved before a kill
                _make_way(folder, name, old)
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(ready / _FILES / name, folder / name)
        for parent in {Path(name).parts[0] for name in old.files if "/" in name}:
            remove_empty(folder / parent)
        _sync(folder)
        os.replace(ready / LIST, folder / OURS / LIST)  # needs no room on a full disk
    shutil.rmtree(ready)


def _make_way(folder, name, old):
    """Moves a file of the user's aside that stands where one of ours goes."""
    path = folder / name
    above = [parent for parent in path.parents if folder in parent.parents]
    for standing in [*reversed(above), path]:
        is_fine = standing.is_dir() and standing != path and not standing.is_symlink()
        if not os.path.lexists(standing) or is_fine:
            continue
        if standing == path and name in old.files and is_unchanged(path, old.files[name]):
            continue
        aside = next(a for n in itertools.count(1) if not os.path.lexists(a := Path(f"{standing}.kept{n}")))
        os.replace(standing, aside)
        warnings.warn(
            f"{standing} was not as this program wrote it: it is kept as {aside.name}", OrpheusWarning, stacklevel=3
        )


@contextmanager
def whole_folder(folder, kind="folder"):
    """An empty folder to write into; its content then replaces what was written so before. Nothing changes where that fails.

    What the user put into `folder` stays.
    """
    folder = real(folder)
    restore(folder)
    try:
        with lock(folder / OURS / "lock"):
            _move_in(folder)
            shutil.rmtree(folder / _NEW, ignore_errors=True)
            try:
                content = folder / _NEW / _FILES
                content.mkdir(parents=True)
                yield content
                paths = [path for path in content.rglob("*") if path.is_file()]
                files = {path.relative_to(content).as_posix(): facts_of(path) for path in paths}
                for path in [*content.rglob("*"), content]:
                    _sync(path)
                list_written(folder, Written(kind, files), _NEW)
                _sync(folder / _NEW)
                os.replace(folder / _NEW, folder / _READY)
                _sync(folder / OURS)
                _move_in(folder)
            finally:
                shutil.rmtree(folder / _NEW, ignore_errors=True)
    except OrpheusError:
        raise
    except Exception as error:
        reason = _reason(error)
        if reason is None:
            raise
        raise OutputError(f"{folder} cannot be written: {reason}. Free space or choose another folder") from error


def _reason(error):
    """Why a file could not be written, or None where an error is about something else."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if "inline_container.cc" in str(error) and isinstance(error.__context__, OSError):  # torch.save into an open file
        return error.__context__.strerror
    return " ".join(str(error).split())[:200] if type(error).__name__ == "SafetensorError" else None


def until_written(write, say, kept, place, size=0, seconds=10):
    """Calls `write()` until what it writes is there, and returns its result: what took hours is not dropped for a full disk.

    kept: what Ctrl-C leaves, in words; place, size: where it goes and about how many bytes. Raises StoppedError after Ctrl-C
    """
    said = None
    try:
        while True:
            try:
                return write()
            except OutputError as error:
                free = free_bytes(place)
                if str(error) != said:
                    said = str(error)
                    lacking = f" {in_words(size - free)} more are needed on that disk." if size > free else ""
                    say(f"{said}.{lacking} Waiting: it is tried again by itself. Ctrl-C gives up; {kept}")
                for _ in range(6):  # a merged model takes its time: not for nothing
                    time.sleep(seconds)
                    if free_bytes(place) > free:
                        break
    except KeyboardInterrupt:
        raise StoppedError(f"given up while writing to {place}: {kept}") from None


# --- files -----------------------------------------------------------------------------------------------------------


@contextmanager
def atomic_file(path, cure="Choose another place with --out (or output_dir=)"):
    """A binary file that appears under `path` complete or not at all. Raises OutputError, with the cure, where it cannot."""
    path, target = Path(path), real(path)  # a symbolic link stays one
    temporary = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=".orpheus-", dir=target.parent)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp makes private files; this one is an ordinary output
        os.replace(temporary, target)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}. {cure}") from error
    finally:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)


# --- caches ----------------------------------------------------------------------------------------------------------

_DIGEST_BYTES = 32
_count = itertools.count()


class Cache:
    """Entries of one kind below `folder`, spread over 256 sub-folders."""

    def __init__(self, folder, kind):
        self.folder = Path(folder).expanduser() / kind

    def _path(self, key):
        return self.folder / key[:2] / key[2:]

    def get(self, key):
        """The payload, or None where there is no sound one."""
        try:
            data = self._path(key).read_bytes()
        except OSError:
            return None
        payload = data[_DIGEST_BYTES:]
        return payload if hashlib.sha256(payload).digest() == data[:_DIGEST_BYTES] else None

    def put(self, key, payload):
        """Keeps a payload. Raises OutputError where the folder cannot be written."""
        path = self._path(key)
        # A name of its own for every process and thread. No fsync: after a loss of power the digest tells.
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{next(_count)}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(hashlib.sha256(payload).digest() + payload)
            os.replace(temporary, path)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise OutputError(
                f"the cache {self.folder} cannot be written: {error.strerror or error}. Free some space or choose another "
                "place with --code-cache"
            ) from error

    def get_json(self, key):
        payload = self.get(key)
        return None if payload is None else json.loads(payload)

    def put_json(self, key, value):
        self.put(key, json.dumps(value).encode())


def key_of(*facts):
    """A key for what follows from these facts alone (anything JSON can write)."""
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
