"""Numbers as words in other languages than English, with num2words: whole numbers, decimals and German ordinals, nothing else.

What looks like more than a number stays as it is: dates, times, versions, telephone numbers, "007", "A4", "1990er".
"""

import functools
import re
from decimal import Decimal

from num2words import CONVERTER_CLASSES
from num2words import num2words as _num2words

from orpheus.common.errors import InputError
from orpheus.text.languages import HEARD

_NAMES = {"kk": "kz", "nn": "no"}  # what num2words calls a language otherwise
_NO_DECIMALS = frozenset(("tr", "ar", "vi"))  # in which num2words takes 3,5 for 3 and 50 hundredths
# Thousands and decimals: "1,234.5" in these, "1.234,5" or "1 234,5" in the others.
_DECIMAL_POINT = frozenset("zh yue ja ko hi bn te kn ta ml mr gu pa ur ne si th he am".split())
_GROUPED = {
    True: re.compile(r"(\d{1,3}(?:,\d{2,3})+|\d+)(?:\.(\d+))?"),
    False: re.compile(r"(\d{1,3}(?:[. '\u2019]\d{3})+|\d+)(?:,(\d+))?"),
}
# A number alone: white space, an opening or a sign before it, the same or a mark after it that ends something.
_ALONE = r"(?<![\w.,:/'\u2019-])(?P<minus>[-\u2212])?(?P<number>{})(?=[\s%)\]\"\u00bb;!?…]|[.,:](?=\s|$)|$)"
_LONGEST = 15  # digits: what num2words says of more no one can follow
_ORDINAL = re.compile(r"(?<!\S)(\d{1,3})\.(?=\s+[^\W\d_])")
_DATIVE = frozenset(
    "am im vom zum beim dem den des der seinem seinen ihrem ihren diesem diesen jedem jeden einem einen".split()
)


def _name(language):
    return _NAMES.get(language, language)


def check_numbers(language):
    """Refuses a language that num2words does not know. Raises InputError."""
    if _name(language) not in CONVERTER_CLASSES:
        known = sorted({code for code in HEARD if _name(code) in CONVERTER_CLASSES})
        raise InputError(
            f"normalize: num2words does not write the numbers of {HEARD.get(language, language)!r} as words; leave it off, or write "
            f"them out yourself. It knows {' '.join(known)}"
        )


@functools.lru_cache(10_000)
def _words(number, language, kind="cardinal"):
    return _num2words(number, lang=_name(language), to=kind)


@functools.cache
def _pattern(point):
    return re.compile(_ALONE.format(_GROUPED[point].pattern))


def _said(match, language):
    whole, decimals = re.sub(r"\D", "", match[3]), match[4] or ""
    if len(whole) > _LONGEST or len(decimals) > _LONGEST or (len(whole) > 1 and whole[0] == "0"):
        return match[0]
    if decimals and language in _NO_DECIMALS:
        return match[0]
    # A German says 1990 as a year says it, of years and of things; Spanish is read here as it is written, with a comma.
    kind = (
        "year" if language == "de" and not decimals and len(match[3]) == 4 and "1100" <= whole < "2000" else "cardinal"
    )
    try:
        words = _words(Decimal(f"{whole}.{decimals}") if decimals else int(whole), language, kind)
    except (NotImplementedError, OverflowError, LookupError, ValueError, TypeError):  # gaps of num2words
        return match[0]
    words = words.replace(" punto ", " coma ") if language == "es" else words
    return f"{match['minus'] or ''}{words}"


def _german_ordinals(text):
    """ "am 5. Juli" -> "am fünften Juli"; what ends a sentence stays a number."""
    from orpheus.text.sentences import sentence_spans

    ends = {end for _, end in sentence_spans(text, "de")}

    def ordinal(match):
        if match.end() in ends or match[1][0] == "0":
            return match[0]
        before = text[max(0, match.start() - 20) : match.start()].split()
        if not before:
            return match[0]  # the number of a list
        word = before[-1].lower()
        ending = (
            "n"
            if word in _DATIVE - {"der"}
            or (word == "der" and len(before) > 1 and before[-2].lower() in ("in", "mit", "von"))
            else ""
        )
        return _words(int(match[1]), "de", "ordinal") + ending

    return _ORDINAL.sub(ordinal, text)


def numbers_as_words(text, language):
    """Writes the plain numbers of clean text as words: "Er hat 21 Katzen." -> "Er hat einundzwanzig Katzen."

    Raises InputError for a language that num2words does not know.
    """
    check_numbers(language)
    if language == "de":
        text = "\n\n".join(_german_ordinals(paragraph) for paragraph in text.split("\n\n"))
    return _pattern(language in _DECIMAL_POINT).sub(lambda match: _said(match, language), text)
