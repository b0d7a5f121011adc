"""Folders and states that appear whole or not at all: a kill in the middle of a save loses nothing that was there."""

import contextlib
import hashlib
import itertools
import json
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

from orpheus.common.errors import OutputError


def _sync(path):
    """Makes a file's or folder's content outlast a crash of the machine."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:  # some file systems cannot sync a folder
        pass
    finally:
        os.close(descriptor)


def _beside(folder, kind):
    return folder.with_name(f".{folder.name}.{kind}")


def restore(folder):
    """Brings back the former folder where a kill fell between the two renames of a replacement; clears left-overs."""
    folder = Path(folder)
    former = _beside(folder, "former")
    if former.exists() and not folder.exists():
        os.replace(former, folder)
    for left in (former, _beside(folder, "new")):
        shutil.rmtree(left, ignore_errors=True)


@contextmanager
def whole_folder(folder):
    """An empty folder to write into, which then replaces `folder`. Nothing changes where the writing fails."""
    folder = Path(folder)
    restore(folder)
    new = _beside(folder, "new")
    try:
        new.mkdir(parents=True)
        yield new
        for path in [*new.rglob("*"), new]:
            _sync(path)
        if folder.exists():
            os.replace(folder, _beside(folder, "former"))
        os.replace(new, folder)
        _sync(folder.parent)
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be written: {error.strerror or error}. Free space or choose another folder"
        ) from error
    finally:
        restore(folder)


@contextmanager
def atomic_file(path, cure="Choose another place with --out (or output_dir=)"):
    """A binary file that appears under `path` complete or not at all. Raises OutputError, with the cure, where it cannot."""
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=".orpheus-", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp makes private files; this one is an ordinary output
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}. {cure}") from error
    finally:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)


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
