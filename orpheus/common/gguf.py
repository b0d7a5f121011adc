"""What a GGUF file says of itself: its metadata and the kinds of its tensors, read without llama.cpp and without the weights.

Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. A file may come from anywhere: every size is held to the
bytes that are there before anything is made of it.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

from orpheus.common.errors import CheckpointError

_MAGIC = b"GGUF"
_SCALARS = dict(
    enumerate(("B", "b", "H", "h", "I", "i", "f", "?", "", "", "Q", "q", "d"))
)  # by the file's number of a type
_TEXT, _LIST = 8, 9
_MOST = 10_000_000  # entries of a list, pairs, tensors
F32 = 0  # of the file's kinds of tensors


@dataclass(frozen=True)
class GgufFile:
    """values: {key: value} of the metadata; kinds: {tensor: its kind by the file's number}."""

    path: Path
    values: dict
    kinds: dict

    @property
    def full(self):
        """Whether all weights are float32."""
        return set(self.kinds.values()) == {F32}


def is_gguf(path):
    """Whether a path is a file in the GGUF format, by its first bytes, or by its name where it can't be read."""
    path = Path(path).expanduser()
    try:
        if not path.is_file():
            return False
        with open(path, "rb") as file:
            return file.read(4) == _MAGIC or path.suffix.lower() == ".gguf"
    except (OSError, ValueError):
        return False


class _Reader:
    def __init__(self, file, size):
        self._file, self._left = file, size

    def take(self, count):
        if count > self._left:
            raise ValueError("it ends too early")
        self._left -= count
        return self._file.read(count)

    def numbers(self, kind, count=1):
        size = struct.calcsize(f"<{kind}")
        return struct.unpack(f"<{count}{kind}", self.take(count * size))

    def count(self):
        (value,) = self.numbers("Q")
        if value > _MOST:
            raise ValueError(f"it claims {value:,} entries")
        return value

    def text(self):
        (length,) = self.numbers("Q")
        return self.take(length).decode(errors="replace")

    def value(self, kind, depth=0):
        if kind == _TEXT:
            return self.text()
        if kind == _LIST and depth < 4:
            (inner,), count = self.numbers("I"), self.count()
            if _SCALARS.get(inner):
                return list(self.numbers(_SCALARS[inner], count))
            return [self.value(inner, depth + 1) for _ in range(count)]
        if not _SCALARS.get(kind):
            raise ValueError(f"it holds a value of kind {kind}, which is unknown")
        return self.numbers(_SCALARS[kind])[0]


def read_gguf(path):
    """A GgufFile. Raises CheckpointError for a file that is none or is damaged."""
    path = Path(path).expanduser()
    try:
        with open(path, "rb") as file:
            reader = _Reader(file, path.stat().st_size)
            if reader.take(4) != _MAGIC:
                raise ValueError("it does not begin as one")
            (version,) = reader.numbers("I")
            if version not in (2, 3):
                raise ValueError(f"its version is {version}; 2 and 3 are read")
            tensors, pairs = reader.count(), reader.count()
            values = {reader.text(): reader.value(reader.numbers("I")[0]) for _ in range(pairs)}
            kinds = {}
            for _ in range(tensors):
                name, (dimensions,) = reader.text(), reader.numbers("I")
                if dimensions > 8:
                    raise ValueError(f"its tensor {name!r:.60} has {dimensions} dimensions")
                reader.numbers("Q", dimensions)
                kinds[name], _ = reader.numbers("I")[0], reader.numbers("Q")
    except (OSError, ValueError, struct.error) as error:
        raise CheckpointError(
            f"{path} cannot be read as GGUF ({error}): it is damaged, or its download was cut off"
        ) from error
    return GgufFile(path, values, kinds)
