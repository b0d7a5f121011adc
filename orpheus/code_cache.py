"""What was made once and is kept by content: one small file per entry.

An entry is a SHA-256 of its payload and the payload, written under another name and renamed: a process that is killed
leaves no half entry, several may write at once, and a damaged one is found out and made again.
"""

import contextlib
import hashlib
import itertools
import json
import os
from pathlib import Path

import numpy as np

from orpheus.errors import OutputError
from orpheus.frame import CODES_PER_FRAME

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


class CodeCache:
    """Codes of one codec, as 16-bit numbers."""

    def __init__(self, folder, codec):
        self._cache, self._codec = Cache(folder, "codes"), codec

    def _key(self, content):
        return key_of("codes", 1, self._codec.fingerprint, *content)

    def get(self, content):
        """int64 (frames, 7) in slot order, or None. content: facts that the samples follow from."""
        payload = self._cache.get(self._key(content))
        if not payload or len(payload) % (2 * CODES_PER_FRAME):
            return None
        codes = np.frombuffer(payload, "<u2").reshape(-1, CODES_PER_FRAME).astype(np.int64)
        return codes if codes.max() < self._codec.codebook_size else None

    def put(self, content, codes):
        self._cache.put(self._key(content), np.asarray(codes).astype("<u2").tobytes())
