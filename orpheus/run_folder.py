"""Folders and states that appear whole or not at all: a kill in the middle of a save loses nothing that was there."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

from orpheus.errors import OutputError


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
