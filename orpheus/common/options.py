"""Names and places that several packages share, and the checks that every options.py makes."""

import math
import numbers
import os
import reprlib
from pathlib import Path

from orpheus.common.errors import InputError

ROOT = Path(__file__).resolve().parents[2]  # of the project
ORPHEUS_3B = "unsloth/orpheus-3b-0.1-ft"
SNAC_24KHZ = "hubertsiuzdak/snac_24khz"
ORPHEUS_3B_VOICES = ("tara", "leah", "jess", "leo", "dan", "mia", "zac", "zoe")


OUTPUT_DIR = "generated_audio"
LORA_DIR = "lora_model"
PIECE_SECONDS = 10.0  # of speech in a piece of long text, if neither the user nor the model says otherwise

MANY_STEPS = 10_000_000  # more than anyone waits for
LARGEST_SEED = 2**32 - 1  # the most that numpy.random.seed takes, which Unsloth calls


def check(condition, message):
    if not condition:
        raise InputError(message)


def is_number(value):
    """Whether it is a finite number."""
    try:
        return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False


def is_whole(value):
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def check_path(name, value):
    """Refuses what is no name of a file or folder."""
    is_path = isinstance(value, (str, os.PathLike))
    check(is_path, f"{name} must be a name or a folder, not {shown(value)}")
    check("\0" not in str(value), f"{name} must be a name or a folder without a NUL, not {shown(str(value))}")
    longest = max(len(os.fsencode(part)) for part in str(value).split("/")) if _is_encodable(str(value)) else 256
    check(longest <= 255 and len(str(value)) < 4096, f"{name} is longer than any path can be: {shown(str(value))}")


def _is_encodable(text):
    try:
        return bool(os.fsencode(text)) or True
    except UnicodeEncodeError:  # a lone surrogate that stands for no byte
        return False


def check_range(options, name, low, high, hint=""):
    """Refuses what is no number between `low` and `high`. The hint says what is usual or what the figure means."""
    value = getattr(options, name)
    check(
        is_number(value) and low <= value <= high,
        f"{name} must be between {written(low)} and {written(high)}, not {shown(value)}{hint}",
    )


def check_whole(options, name, low, high, hint=""):
    """The same for whole numbers."""
    value = getattr(options, name)
    kind = f"{name} must be a whole number of"
    check(is_whole(value) and value >= low, f"{kind} at least {written(low)}, not {shown(value)}{hint}")
    check(value <= high, f"{kind} at most {written(high)}, not {shown(value)}{hint}")


def check_given(options, *names):
    """Refuses empty texts."""
    for name in names:
        value = getattr(options, name)
        check(value is None or str(value).strip(), f"{name} is empty; leave it out, or say what it is")


def written(limit):
    """A limit as one reads it: 12,288."""
    return f"{limit:,}" if is_whole(limit) else f"{limit:g}"


def shown_path(path):
    """A path as one would type it here: relative where it lies in the current folder."""
    path, here = Path(path), Path.cwd()
    return str(path.relative_to(here)) if path.is_absolute() and path.is_relative_to(here) else str(path)


def shown(value):
    """What a user gave, as code, on one short line."""
    try:
        text = reprlib.repr(value) if isinstance(value, (list, tuple, dict)) else repr(value)
    except ValueError:  # Python writes whole numbers of up to 4,300 digits
        return "a number of thousands of digits"
    return text if len(text) <= 100 else f"{text[:80]} ..."
