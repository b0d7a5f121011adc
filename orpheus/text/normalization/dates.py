"""Days, months, years, decades and eras."""

import re

from orpheus.text.normalization.numbers import (
    plural,
    say_code,
    say_number,
    say_ordinal,
    say_pair,
    say_year,
)
from orpheus.text.normalization.patterns import DASH, END, START, after, before, ends_sentence, letters

MONTHS = "January February March April May June July August September October November December".split()
_DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
_ENDING = {"mon": "day", "tue": "sday", "wed": "nesday", "thu": "rsday", "fri": "day", "sat": "urday", "sun": "day"}

_MONTH = "(?:" + "|".join(
    f"[{name[0]}{name[0].lower()}](?i:{name[1:3]}(?:{name[3:]}|{'t?' if name == 'September' else ''}\\.?))"
    for name in MONTHS
    if name != "May"
) + r"|[Mm](?i:ay))(?![A-Za-z])"  # fmt: skip
_DAY = r"(?:3[01]|[12]\d|0?[1-9])"
_TH = "(?:st|nd|rd|th|ST|ND|RD|TH)"
_YEAR = r"(?:1\d|20)\d\d"
_WEEKDAY = r"(?:Mon|Tues?|Wed|Thu(?:rs?)?|Fri|Sat|Sun)"
_UNIT_AFTER = r"(?! ?(?:%|°|kg|km|cm|mm|mi|ft|lbs?|m|g|W|MB|GB|Hz|mph|USD|EUR)\b)"


def _month(text):
    return next(month for month in MONTHS if month[:3].lower() == text[:3].lower())


def _date(month, day, year=None):
    """month: 1 to 12."""
    words = f"{MONTHS[int(month) - 1]} {say_ordinal(day)}"
    return f"{words}, {_year(year)}" if year else words


def _year(text):
    """ "1998" or "98"."""
    return say_pair(text) if len(text) == 2 else say_year(text)


def _iso_date(match):
    year, _, month, day, time = match.groups()
    return _date(month, day, year) + (", " if time else "")


def _numeric_date(match):
    """3/14/2026 and 3/14/26 are in March, and so is 14/3/2026. Of years with two digits only those behind slashes."""
    first, mark, second, year = match.groups()
    if mark != "/" and len(year) == 2:
        return match[0]
    if 0 < int(first) <= 12 and 0 < int(second) <= 31:
        return _date(first, second, year)
    if 0 < int(second) <= 12 and 0 < int(first) <= 31:
        return f"the {say_ordinal(first)} of {MONTHS[int(second) - 1]}, {_year(year)}"
    return match[0]


def _is_a_verb(match, month):
    """ "you may 5 times" and "they march 3 miles": lower case, and no year, ordinal or end makes it a date."""
    ambiguous = month in ("may", "march", "mar", "dec", "sep")
    return ambiguous and not match["year"] and not match["th"] and not re.match(r"\s*$|[,.;:!?)]", after(match))


def _month_and_day(match):
    month, day, last, year = match["month"], match["day"], match["last"], match["year"]
    if _is_a_verb(match, month):
        return match[0]
    words = f"{_month(month)} {say_ordinal(day)}" + (f" to {say_ordinal(last)}" if last else "")
    return f"{words}, {say_year(year)}" if year else words


def _day_and_month(match):
    first, day, month, year = match["first"], match["day"], match["month"], match["year"]
    if _is_a_verb(match, month):
        return match[0]
    article = "" if re.search(r"\b[Tt]he $", before(match)) else "the "
    words = f"{article}{say_ordinal(first)} to the " if first else article
    words += f"{say_ordinal(day)} of {_month(month)}" + (f", {say_year(year)}" if year else "")
    return words + ("." if match[0].endswith(".") and ends_sentence(match) else "")


def _month_and_year(match):
    return f"{_month(match[1])}{match[2]} {say_year(match[3])}"


def _month_name(match):
    return match[0] if ends_sentence(match) else _month(match[1])


def _weekday(text):
    return next(day for day in _DAYS if day.startswith(text[:3]))


def _year_range(match):
    """ "1714-1727" -> "seventeen fourteen to seventeen twenty-seven", "1914-18" -> "nineteen fourteen to eighteen"."""
    first, last = match.groups()
    if len(last) == 2 and not (int(last) > int(first[2:]) or last == "00"):
        return match[0]
    return f"{say_year(first)} to {_year(last)}"


def _decade(match):
    """ "1980s", "'80s" -> "nineteen eighties", "eighties"; "2000s" -> "two thousands"."""
    century, tens = match[1] or "", match[2]
    if tens != "0":
        return (f"{say_number(int(century))} " if century else "") + plural(say_number(int(tens + "0")))
    if not century:
        return "hundreds"
    return plural(say_number(int(century) * 100)) if century == "20" else f"{say_number(int(century))} hundreds"


def _era(match):
    number, era = match.groups()
    year = say_year(number) if len(number) == 4 and number[0] != "0" else say_code(number)
    return f"{year} {letters(era)}" + ("." if era.endswith(".") and ends_sentence(match) else "")


def _part_of_year(match):
    """ "2Q22" -> "the second quarter of twenty-two"."""
    part, kind, year = match.groups()
    name = {"Q": "quarter", "H": "half"}[kind]
    return f"the {say_ordinal(part)} {name} of {say_year(year) if len(year) == 4 else say_number(int(year))}"


GROUPS = [
    (
        _WEEKDAY,
        [
            (
                rf"\b({_WEEKDAY})\.? ?{DASH} ?({_WEEKDAY})\b\.?",
                lambda match: f"{_weekday(match[1])} to {_weekday(match[2])}"
                + ("." if match[0].endswith(".") and ends_sentence(match) else ""),
            ),
            (rf"\b({_WEEKDAY})(?:\.,? |,? )(?=(?:{_DAY}{_TH}? )?{_MONTH})", lambda match: f"{_weekday(match[1])}, "),
        ],
    ),
    (
        r"\d[-/.]\d",
        [
            (START + rf"({_YEAR})([-/.])(0?[1-9]|1[0-2])\2({_DAY})(?:(T)(?=\d\d:\d\d)|(?!\w|[.,:/-]\d))", _iso_date),
            (START + r"(\d{1,2})([-/.])(\d{1,2})\2(" + _YEAR + r"|\d\d)(?!\w|[.,:/-]\d)", _numeric_date),
            (START + rf"({_YEAR})/(\d\d)" + END, lambda match: f"{say_year(match[1])} {say_pair(match[2])}"),
            (
                START + r"(0?[1-9]|1[0-2])/((?:19|20)\d\d)" + END,
                lambda match: f"{MONTHS[int(match[1]) - 1]} {say_year(match[2])}",
            ),
            (
                rf"(?<=\b[Oo]n )(0?[1-9]|1[0-2])/({_DAY})(?!\w|[.,:/-]\d| (?:of|an?|cups?)\b)",
                lambda match: _date(match[1], match[2]),
            ),
        ],
    ),
    (
        "|".join(f"[{name[0]}{name[0].lower()}](?i:{name[1:3]})" for name in MONTHS),
        [
            (
                rf"\b(?P<month>{_MONTH})[ -](?P<day>{_DAY})(?P<th>{_TH})?(?: ?{DASH} ?(?P<last>{_DAY}){_TH}?(?![\d:/]))?"
                rf"(?:(?:, ?| |-)(?P<year>{_YEAR})\b)?(?![\d:/]|[.,]\d|-\d|\w)",
                _month_and_day,
            ),
            (
                START + rf"(?:(?P<first>{_DAY}){_TH}? ?{DASH} ?)?(?P<day>{_DAY})(?P<th>{_TH})?[ -](?:of )?(?P<month>{_MONTH})"
                rf"(?:(?:, ?| |-)(?P<year>{_YEAR})\b)?(?!\w)",
                _day_and_month,
            ),
            (rf"\b({_MONTH})(,?) ({_YEAR})\b(?![.,:/]\d|%)", _month_and_year),
            (r"\b(Jan|Feb|Apr|Aug|Sept?|Oct|Nov|Dec)\.(?! ?\d)", _month_name),
        ],
    ),
    (
        r"\d ?[ABCQH]|[AD]D?\.? ?\d|[Cca]\. ?\d",
        [
            (r"\b[Cc]a?\. ?(?=\d{3,4}(?!\d))", lambda match: "circa "),
            (r"(?<![\w.,$€£])(\d{1,4}) ?(A\.D\b\.?|AD\b|B\.C\b(?:\.E\b)?\.?|BCE?\b|C\.E\.|CE\b)(?!\w)", _era),
            (r"\b(A\.D\.|AD) ?(\d{1,4})\b(?![.,]\d)", lambda match: f"{letters(match[1])} {say_code(match[2])}"),
            (START + rf"([1-4])([QH]) ?'?({_YEAR}|\d\d)" + END, _part_of_year),
        ],
    ),
    (
        r"\d0 ?'?s\b",
        [
            (
                rf"((?:1\d|20)\d0)'?s ?{DASH} ?(?='?(?:1\d|20)?\d0'?s\b)",
                lambda match: f"{match[1]}s to ",
            ),
            (r"(?<!\w)'?((?:1\d|20)?)(\d)0'?s\b", _decade),
            (r"(?<![\w'.,$])(1\d|20)(\d)0 s(?!\w)", _decade),
        ],
    ),
    (
        rf"\d{DASH}\d|\d {DASH}|'\d\d|10\d\d",
        [
            (START + rf"({_YEAR}) ?{DASH} ?({_YEAR}|\d\d)(?!\w|[.,:/]\d|{DASH}\w| ?=){_UNIT_AFTER}", _year_range),
            (r"(?<![\w'])'(\d\d)(?![\w'])", lambda match: say_pair(match[1])),
            (
                r"10(?:(?<=\b[Ii]n 10)|(?<=\b[Ss]ince 10)|(?<=\b[Uu]ntil 10)|(?<=\b[Yy]ear 10)|(?<=\bcirca 10))\d\d"
                r"(?!\w|[.,:/-]\d|%| [a-z]+s\b)",
                lambda match: say_year(match[0]),
            ),
        ],
    ),
]  # fmt: skip
