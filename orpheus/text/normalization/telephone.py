"""Numbers that name something, digit by digit: telephones, ISBNs, social security and card numbers, codes."""

import re
import string

from orpheus.text.normalization.numbers import say_cardinal, say_digits
from orpheus.text.normalization.patterns import before, letters

_ASCII = string.ascii_letters


def _groups(match):
    """Group after group: "+1 (555) 123-4567" -> "plus one, five five five, one two three, four five six seven"."""
    plus = "plus " if match[0].startswith("+") else ""
    groups = re.findall(r"\d+|(?i:ext|x)", match[0])
    return plus + ", ".join("extension" if not group.isdecimal() else say_digits(group) for group in groups).replace(
        "extension, ", "extension "
    )


def _international(match):
    digits = sum(character.isdecimal() for character in match[0])
    return _groups(match) if 7 <= digits <= 15 else match[0]


def _toll_free(match):
    """ "1-800-GO-U-HAUL" -> "one, eight hundred, GO U HAUL"."""
    country, area, rest = match.groups()
    area = say_cardinal(area) if area.endswith("00") else say_digits(area)
    parts = [
        say_digits(part) if part.isdecimal() else part.lower() if len(part) > 3 else part for part in rest.split("-")
    ]
    words = "one, " * bool(country) + f"{area}, " + " ".join(parts)
    return words


def _isbn(match):
    """An ISBN or ISSN: the digits of each group."""
    groups = re.findall(r"\d+[Xx]?|[Xx]", match[2])
    said = [" ".join([say_digits(group)] + ["X"] * (not group.isdecimal())).strip() for group in groups]
    return f"{letters(match[1])} {', '.join(said)}"


def _digits_after(match):
    code = match[2].lstrip(_ASCII)
    prefix = match[2][: len(match[2]) - len(code)]
    return match[1] + (f"{prefix} " if prefix else "") + say_digits(code)


def _ending(match):
    """ "card ending in 8876", but not "the decade ending in 1900"."""
    of_a_number = re.search(
        r"(?i)\b(?:cards?|accounts?|numbers?|phones?|line|visa|mastercard)\W+(?:\w+ )?$", before(match)
    )
    is_year = len(match[2]) == 4 and 1100 <= int(match[2]) < 2100
    return match[0] if is_year and not of_a_number else _digits_after(match)


GROUPS = [
    (
        r"ISBN|ISSN",
        [
            (r"\b(ISBN|ISSN)(?:-1[03])?:? ?((?:97[89][- ]?)?\d[\dXx-]{6,16}\d?[Xx]?)(?![\w-])", _isbn),
        ],
    ),
    (
        r"\d{3}[-. )]|\+\d",
        [
            (
                r"(?<![\w.+-])(?:\+?\d{1,3}[ .-]?)?(?:\(\d{3}\)[ -]?|\d{3}[-. ])\d{3}[-. ]\d{4}(?:-\d{1,5})?(?:,? ?(?:[Ee]xt\.?|x) ?\d{1,6})?(?![\w-]|\.\d)",
                _groups,
            ),
            (r"(?<![\w+])\+\d{1,15}(?:[ .-]\(?\d{1,15}\)?){0,6}(?![\w-])", _international),
            (r"(?<![\w-])(1-)?(8\d\d|900)-((?:[A-Z\d]{1,8}-){0,4}[A-Z]{1,8}(?:-[A-Z\d]{1,8}){0,4})(?![\w-])", _toll_free),
            (r"(?<![\w.,/-])\d{3}-\d{2}-\d{4}(?![\w-])", _groups),
            (r"(?<![\w.,/-])\d{3}-\d{4}(?![\w-]|[.,]\d)", _groups),
            (r"(?<![\w.,/-])\d{4}([ -])\d{4}\1\d{4}\1\d{4}(?![\w-])", _groups),
        ],
    ),
    (
        r"[a-zA-Z:.] \w{0,4}\d{3}",
        [
            (r"(?i:\b(ending (?:in|with) ))(\d{3,6})(?![\w,.:/-]\d|\w)", _ending),
            (
                r"(?i:\b((?:pin|passcode|password|otp|code|zip|extension|ext\.|pnr|serial number)(?: code| number)?(?: is|:)? ))([A-Za-z]{0,4}\d{4,8})(?!\w|[,.:/-]\d)",
                _digits_after,
            ),
            (r"(?i:\b((?:call|dial|called|dialed|calling|dialing) ))(\d11)(?!\w|[,.:/-]\d)", _digits_after),
        ],
    ),
]  # fmt: skip
