"""What is read out of JSON files that may come from anywhere: how large they may be, and what their values may be.

A file is read only if it is an ordinary one of a sensible size; a value is used only if it is of its kind and within its limits.
"""

import json
import math
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from orpheus.common.errors import CheckpointError
from orpheus.common.options import is_number, is_whole, shown, written

LARGEST_JSON = 512_000_000  # bytes; Orpheus-3B's tokenizer.json has 23 MB
LARGEST_CONFIG = 32_000_000  # bytes of a file of settings: Orpheus-3B's tokenizer_config.json has 5 MB
_DEEPEST = 64  # brackets inside of one another


# --- files -----------------------------------------------------------------------------------------------------------


def read_text_file(path, largest, encoding="utf-8", streams=False):
    """The text of an ordinary file. Raises OSError; ValueError, with the reason, for all else that makes it unfit.

    What may have no end, as /dev/zero, or wait for a writer, as a FIFO, is opened only where `streams` are fine: then up to `largest`
    bytes are read, and nobody who is not there is waited for.
    """
    path = Path(path)
    kind = os.stat(path).st_mode
    if stat.S_ISDIR(kind) or not (streams or stat.S_ISREG(kind)):
        what = "a folder" if stat.S_ISDIR(kind) else "a pipe" if stat.S_ISFIFO(kind) else "a device or a socket"
        raise ValueError(f"it is {what}, not an ordinary file")
    with open(path, "rb", opener=_without_waiting if stat.S_ISFIFO(kind) else None) as file:
        data = file.read(largest + 1)
    if len(data) > largest:
        raise ValueError(f"it has more than {largest / 1e6:,.0f} MB, the most that is read")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8") from error


def _without_waiting(path, flags):
    """Opens a pipe whether or not someone writes to it; reading then waits for those who do."""
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    os.set_blocking(descriptor, True)
    return descriptor


def read_json(path, kind=dict, largest=LARGEST_CONFIG):
    """The value in a JSON file, a dict or what `kind` says. Raises CheckpointError: the file, what is wrong with it, the cure."""
    try:
        value = json.loads(read_text_file(path, largest), object_pairs_hook=_each_once)
        if not isinstance(value, kind):
            raise ValueError(f"a {type(value).__name__}, not a {kind.__name__}")
        if _depth(value) > _DEEPEST:
            raise ValueError(f"its brackets are more than {_DEEPEST} deep")
        return value
    except RecursionError as error:
        reason, cause = f"its brackets are more than {_DEEPEST} deep", error
    except OSError as error:
        reason, cause = error.strerror or error, error
    except ValueError as error:
        reason, cause = error, error
    raise CheckpointError(
        f"{path} cannot be read ({reason}): it is damaged or was not copied whole. Copy or download it again"
    ) from cause


def _each_once(pairs):
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise ValueError(f"it says {shown(twice)} twice")
    return found


def _depth(value):
    level, deep = [value], 0
    while level and deep <= _DEEPEST:
        inner = (v.values() if isinstance(v, dict) else v for v in level)
        level, deep = [v for values in inner for v in values if isinstance(v, (dict, list))], deep + 1
    return deep


# --- values ----------------------------------------------------------------------------------------------------------


class Kind(NamedTuple):
    """What a value must be."""

    words: str
    fits: Callable[[Any], bool]


def whole(low, high):
    return Kind(
        f"a whole number of {written(low)} to {written(high)}", lambda value: is_whole(value) and low <= value <= high
    )


def number(words, fits):
    """A finite number for which `fits` holds."""
    return Kind(words, lambda value: is_number(value) and fits(value))


FLAG = Kind("true or false", lambda value: isinstance(value, bool))
TEXT = Kind("a text of at most 1,000 characters", lambda value: isinstance(value, str) and len(value) <= 1000)
OBJECT = Kind("names with values in curly brackets", lambda value: isinstance(value, dict))
NOTHING = Kind("null", lambda value: value is None)


def either(*kinds):
    words = " or ".join(kind.words for kind in kinds if kind is not NOTHING)
    return Kind(words, lambda value: any(kind.fits(value) for kind in kinds))


def several(kind, least, most):
    """A list."""
    return Kind(
        f"a list of {least} to {most} items, each {kind.words}",
        lambda value: isinstance(value, list) and least <= len(value) <= most and all(map(kind.fits, value)),
    )


def check_values(values, kinds, path, cure="Correct the file, or download it again"):
    """Refuses values of a configuration that are not what they must be; what is left out is not asked for. Raises CheckpointError.

    values: {name: value}; kinds: {name: Kind}
    """
    for name, kind in kinds.items():
        if name in values and not kind.fits(values[name]):
            raise CheckpointError(f"{name} in {path} is {shown(values[name])}: it must be {kind.words}. {cure}")


def not_finite(value, name=""):
    """(name, number) of all that is NaN or infinite in a value of JSON."""
    if isinstance(value, float) and not math.isfinite(value):
        yield name, value
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from not_finite(inner, f"{name}.{key}" if name else str(key))
