"""Regular expressions of unknown origin: whether a search with one ends."""

import re
from importlib import import_module
from warnings import catch_warnings, filterwarnings

from orpheus.common.hub import brief

_parser = re._parser if hasattr(re, "_parser") else import_module("sre_parse")  # the latter in Python 3.10
_MOST_REPEATS = 5  # in one pattern: each multiplies the time of a search by the length of a name


def is_endless(pattern):
    """Why a regular expression may search without end, in a few words; None where it cannot. peft searches all names for it."""
    try:
        with catch_warnings():
            filterwarnings("ignore")
            found = _repeats(_parser.parse(pattern))
    except (re.error, RecursionError, OverflowError) as error:
        return f"is no regular expression ({brief(error)})"
    return "repeats what repeats" if found > 100 else "repeats too often" if found > _MOST_REPEATS else None


def _repeats(part):
    """How many unbounded repeats a match can go through; more than 100 where one is inside of another."""
    count = 0
    for kind, value in part:
        name, found = str(kind), 0
        if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            _, most, inner = value
            found = _repeats(inner)
            found = (1000 if found else 1) if most > 16 else found * max(int(most), 1)
        elif name == "BRANCH":
            found = max(map(_repeats, value[1]), default=0)
        elif name == "SUBPATTERN":
            found = _repeats(value[3])
        elif name in ("ASSERT", "ASSERT_NOT"):
            found = _repeats(value[1])
        elif name in ("GROUPREF", "GROUPREF_EXISTS", "ATOMIC_GROUP"):
            found = 1000 if name != "ATOMIC_GROUP" else _repeats(value)
        count += found
    return count
