"""Written English to spoken English: numbers, dates, currency, times, units, abbreviations and addresses as words.

For models that never learnt to read them. The rules only find what is written short, kind by kind in the order of `_ORDER`,
with the American reading where readings differ (3/14 is in March). Each rule sees what earlier ones left, and takes time in
proportion to the text.
"""

import functools
import re

from orpheus.text.normalization import (
    addresses,
    dates,
    electronic,
    figures,
    measures,
    money,
    roman,
    telephone,
    times,
    words,
)
from orpheus.text.normalization.patterns import NEAR
from orpheus.text.tags import ANY_TAG

# What must stay as it is: tags and control strings.
_KEPT = re.compile(rf"<[^<>\s]+>|{ANY_TAG}")

_ELECTRONIC = r"[@#]|\.\w|://|localhost"
_SHORT_WORDS = r"\.|vs|[JS]r|[SM]t |Mr|Ms|Dr|Prof|Mme|Mlle|[jds]r|[sm]t |mrs |mrs\.|[Ll]td|[Bb]ros"
_ORDER = [  # (what a text needs for them, rules: a pattern, and what a match becomes)
    (_ELECTRONIC, electronic.RULES),
    *telephone.GROUPS,
    *dates.GROUPS,
    *times.GROUPS,
    (r"[A-Za-z]\.? ?\d|[§№~]", words.BEFORE_NUMBERS),
    (r"\d [A-Z]|[a-z],? [A-Z][A-Z]\b", addresses.RULES),
    *money.RANGES,
    *figures.RANGES,
    *money.GROUPS,
    *figures.MARKS,
    *measures.FRACTIONS,
    *figures.ORDINALS,
    *measures.GROUPS,
    *figures.SLASHES,
    *figures.GROUPS,
    (_SHORT_WORDS, words.ABBREVIATIONS),
    (r"[A-Za-z,] [IVXLCDM]+\b|^[IVXLCDM]{2}|M[MCDLXVI]{3}", roman.RULES),
    (r"[A-Z][A-Z.&]", words.CAPITALS),
    (r"[/&=×@#®™℠]", words.BETWEEN),
    *money.LEFT_OVER,
]
_NEEDED = [re.compile(needed) for needed, _ in _ORDER]


@functools.cache
def _compiled(index):
    """A kind's rules. Compiling those of all kinds takes as long as the demo voice takes for a word."""
    return [(re.compile(pattern), spoken) for pattern, spoken in _ORDER[index][1]]


_SIGNS = {
    **dict(zip("½¼¾⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞", "1/2 1/4 3/4 1/3 2/3 1/5 2/5 3/5 4/5 1/6 5/6 1/8 3/8 5/8 7/8".split())),
    **{"−": "-", "⁄": "/", "º": "°", "μ": "µ", "℃": "°C", "℉": "°F", "㎡": "m²", "㎞": "km", "㎏": "kg", "㎝": "cm", "㎜": "mm"},
}  # fmt: skip
_PARTS = "[½¼¾⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞]"
_FRACTION_SIGN = re.compile(rf"(?<=\d)(?={_PARTS})|(?<={_PARTS})(?=\w)")
_SIGNS = str.maketrans(_SIGNS)

_BEGINS = re.compile(r"(?:[.!?][\"')\]]*\s+|\n\s*)[\"'(\[]*$")
_CHUNK = 60  # characters at least: rules that have nothing to do in a part of a text cost it nothing
_CUT = re.compile("[a-z]{5} (?=(?!number)[a-z]{5})")  # between two plain words, which no rule joins


def _chunks(text):
    start = 0
    while len(text) - start > 2 * _CHUNK:
        cut = _CUT.search(text, start + _CHUNK)
        if not cut:
            break
        yield text[start : cut.end()]
        start = cut.end()
    yield text[start:]


def _begins_sentence(text, start, begins):
    """Whether a sentence begins at `start`. begins: whether one does at the start of the text."""
    if start and text[start - 1] not in " \n\"'([":
        return False
    if start > 1 and text[start - 2].isalnum():  # most often
        return False
    preceding = text[max(0, start - NEAR) : start]
    bare = preceding.rstrip(" \"'([")
    if bare and bare[-1] not in ".!?\n\"')]":
        return False
    return begins if start == len(preceding) and not preceding.strip() else _BEGINS.search(preceding)


def _spoken(text, begins):
    """Spells out a stretch without tags; `begins` says whether it begins a sentence.

    What begins a sentence gets a capital letter: that is how sentences are told apart later.
    """
    text = _FRACTION_SIGN.sub(" ", text).translate(_SIGNS)
    for index, needed in enumerate(_NEEDED):
        if not needed.search(text):
            continue
        for pattern, spoken in _compiled(index):

            def replace(match, spoken=spoken):
                words = spoken(match)
                if not match.start() and not match[0][:1].isspace():
                    words = words.lstrip()
                if words[:1].islower() and words != match[0] and _begins_sentence(match.string, match.start(), begins):
                    return words[0].upper() + words[1:]
                return words

            text = pattern.sub(replace, text)
    return text


def normalize(text):
    """Writes clean text as it is said: "Dr. Lee paid $5.20." -> "Doctor Lee paid five dollars and twenty cents."

    Tags, control strings and paragraph breaks stay as they are; so does a text with nothing to spell out. The time it takes
    grows with the length of the text: 100,000 characters take at most half a second.
    text: English, as `clean_text` returns it
    """
    parts, end, begins = [], 0, True
    if '"' in text:
        text = measures.say_inches(text)
    for match in [*_KEPT.finditer(text), None]:
        stretch = text[end : match.start() if match else len(text)]
        first = begins
        for chunk in _chunks(stretch):
            parts.append(_spoken(chunk, first))
            first = False
        if stretch.strip():
            begins = bool(_BEGINS.search(stretch[-NEAR:] + " "))
        if match:
            parts.append(match[0])
            end = match.end()
    return "".join(parts)
