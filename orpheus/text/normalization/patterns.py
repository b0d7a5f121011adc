"""What the rules share: pieces of patterns, and looking around a match.

Every pattern takes time in proportion to the text: what repeats is bounded, or begins only where its run begins.
"""

import re

NUMBER = r"(?:(?:\d{1,3}(?:,\d{3}){1,11}(?![\d]|,\d{3}(?!\d))|\d+)(?:\.\d+)?|(?<!\.)\.\d+)"  # 1,000 and 12.5 and .5
ALONE = r"(?<![\w.,])"  # before a NUMBER: it is not the middle of another
START, END = r"(?<![\w.,:/$€£-])", r"(?!\w|[.,:/]\d)"  # a number by itself, not part of another
DASH = "[-–—]"
SCALE = "hundred|thousand|million|billion|trillion|quadrillion"
NEAR = 60  # characters looked at before and after a match


def one_of(names):
    """A pattern for any of the names, the longest first."""
    return "|".join(sorted(map(re.escape, names), key=len, reverse=True))


def before(match):
    return match.string[max(0, match.start() - NEAR) : match.start()]


def after(match):
    return match.string[match.end() : match.end() + NEAR]


def is_one(text):
    return text.replace(",", "") == "1"


def ends_sentence(match):
    """Whether an abbreviation's full stop, the end of the match, also ends a sentence."""
    return re.match(r"\s*$|\s+[\"'(]?[A-Z]", after(match)) is not None


def letters(text):
    """ "e.s.t" -> "E S T"."""
    return " ".join(character for character in text.upper() if character.isalnum())
