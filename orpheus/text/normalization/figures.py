"""Plain numbers: ordinals, ranges, sums, versions, serial numbers, years, and whatever digits are left."""

import functools
import re

from orpheus.text.normalization.numbers import plural, say_cardinal, say_code, say_digits, say_ordinal, say_year
from orpheus.text.normalization.patterns import ALONE, DASH, NUMBER, START, before

_POWERS = {"²": "squared", "³": "cubed"}
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_SUFFIXES = {"K": "thousand", "k": "thousand", "M": "million", "B": "billion", "bn": "billion", "mn": "million"}


def _to_the_power(match):
    """ "x²" -> "x squared", "10⁻⁶" -> "ten to the minus sixth"."""
    power = match[0].translate(_SUPERSCRIPTS)
    if match[0] in _POWERS:
        return f" {_POWERS[match[0]]}"
    digits = power.lstrip("-")
    return f" to the {'minus ' * power.startswith('-')}{say_ordinal(digits)}" if digits.isdecimal() else ""


def _list(match):
    """ "49-30-4" -> "forty-nine, thirty, four"; with a long group or a leading zero digit by digit."""
    groups = match[0].split("-")
    coded = any(len(group) > 3 or (len(group) > 1 and not int(group[0])) for group in groups)
    return ", ".join(map(say_digits if coded else say_cardinal, groups))


def _serial(match):
    """Letters and numbers joined by hyphens, which are not said: "5-3-Ws" -> "five three Ws"."""
    text = match[0]
    if not re.search(r"\d-\d", text) or not re.search("[A-Za-z]", text):
        return text
    return " ".join(re.sub(_MIXED, _letters_and_digits, part) if not part.isdecimal() else say_code(part)
                    for part in text.split("-"))  # fmt: skip


def _dotted(match):
    """ "v2.0" -> "version two point zero"; "1.2.3" number by number."""
    return ("version " if match[1] else "") + " point ".join(say_cardinal(part) for part in match[2].split("."))


def _letters_and_digits(match):
    """ "A4" -> "A four", "COVID-19" -> "COVID nineteen", "MP3" -> "MP three", "747s" -> "seven forty-sevens"."""
    return _said_apart(match[0])


@functools.lru_cache(1_000)
def _said_apart(text):
    parts = re.findall(r"[A-Za-z]+|\d+", text)
    words = [part if part.isalpha() else say_code(part) for part in parts]
    if parts[-1] == "s":
        words[-2:] = [plural(words[-2])]
    return " ".join(words)


def _code(match):
    """After letters a decimal follows: "COVID-19.5"."""
    return f"{match[1]} {say_cardinal(match[2])}"


def _compared(match, how):
    """ "5 > 3" -> "five is greater than three"; "18 and < 30" has its verb elsewhere."""
    return f" {how} than " if re.search(r"\b(?:and|or|but|if|to|of|is|are)$", before(match)) else f" is {how} than "


def _power(sign, digits):
    """ "^2" -> "squared", "^-6" -> "to the power of minus six"."""
    if not sign and digits in ("2", "3"):
        return "squared" if digits == "2" else "cubed"
    return f"to the power of {'minus ' * (sign == '-')}{say_cardinal(digits)}"


def _scientific(match):
    """ "6.02e23" -> "six point zero two times ten to the power of twenty-three"."""
    number, sign, digits = match.groups()
    number = f"minus {say_cardinal(number[1:])}" if number[0] == "-" else say_cardinal(number)
    return f"{number} times ten to the power of {'minus ' * (sign == '-')}{say_cardinal(digits)}"


_MIXED = r"\b[A-Za-z]{1,40}-?\d[A-Za-z\d]*\b|\b\d{1,40}[A-Za-z][A-Za-z\d]*\b"

RANGES = [
    (
        r"\d ?%|\d\) ?-|=",
        [
            (rf"{ALONE}({NUMBER}) ?% ?{DASH} ?(?={NUMBER} ?%)", lambda match: f"{say_cardinal(match[1])} to "),
            (rf"(?<=[\d)]) ?[-−] ?(?={NUMBER} ?=)", lambda match: " minus "),
        ],
    ),
    (
        r"[A-Za-z\d]-[A-Za-z\d]",
        [
            (r"(?<![\w.,/-])\d{1,9}(?:-\d{1,9}){2,8}(?![\w-]|[.,/:]\d)", _list),
            (r"(?<![\w-])[A-Za-z\d]{1,20}(?:-[A-Za-z\d]{1,20}){2,12}(?![\w-])", _serial),
        ],
    ),
    (
        rf"\d ?{DASH}",
        [
            (rf"(?<!/){ALONE}({NUMBER})(?:{DASH}| {DASH} )(?=[$€£¥]?\d)", lambda match: f"{say_cardinal(match[1])} to "),
        ],
    ),
]  # fmt: skip
MARKS = [  # before the digits are read
    (
        r"\d[eE][-+\d]|\w\^",
        [
            (r"(?<![\w.,])(-?\d{1,15}(?:\.\d{1,15})?)[eE]([-+]?)(\d{1,3})(?![\w.-])(?<!\d[eE]\d)", _scientific),
            (r"(?<![\w.,])(-?\d{1,15}\.\d{1,15})[eE]()(\d)(?![\w.-])", _scientific),
            (r"(?<=[A-Za-z\d)])\^([-+]?)(\d{1,4})(?![\w^])", lambda match: " " + _power(match[1], match[2])),
        ],
    ),
    (
        r"[+*]",
        [
            (r"(?<=\d) ?\* ?(?=\d)|(?<=[A-Za-z\d]) \* (?=[A-Za-z\d])", lambda match: " times "),
            (r"(?<=[\w)]) ?\+ ?(?=\d)|(?<=\w) \+ (?=\w)", lambda match: " plus "),
            (r"(?<!\w)\+(?=\d)", lambda match: "plus "),
            (r"\b([A-Za-z])\+\+(?!\w)", lambda match: f"{match[1]} plus plus"),
            (r"(?<=\d)\+(?!\w)", lambda match: " plus"),
        ],
    ),
    (
        r"[±+≥≤≠≈÷√∞<>]",
        [
            (r" ?(?:±|\+/-|\+-) ?(?=[\d.])", lambda match: " plus or minus " if match.start() else "plus or minus "),
            (r" ?(?:≥|>=) ?(?=[\w.$€£-])", lambda match: " greater than or equal to "),
            (r" ?(?:≤|<=) ?(?=[\w.$€£-])", lambda match: " less than or equal to "),
            (r" ?≠ ?", lambda match: " is not equal to "),
            (r" ?≈ ?(?=[\w.$€£-])", lambda match: " approximately "),
            (r"(?<=\w) ?÷ ?(?=\w)", lambda match: " divided by "),
            (r"√ ?(?=\w)", lambda match: "the square root of "),
            (r"∞", lambda match: "infinity"),
            (r"(?<=[\w)]) > (?=[\w.$€£-])", lambda match: _compared(match, "greater")),
            (r"(?<=[\w)]) < (?=[\w.$€£-])", lambda match: _compared(match, "less")),
            (r"(?<![\w<>])> ?(?=\$?\d)", lambda match: "more than "),
            (r"(?<![\w<>])< ?(?=\$?\d)", lambda match: "less than "),
        ],
    ),
    (
        "-",
        [
            (r"(?<![\w.])-(?=\.?\d)", lambda match: "minus "),
        ],
    ),
]  # fmt: skip
SLASHES = [
    (
        r"\d/|/\d",
        [
            (r"(?<=\d)/(?=\w)|(?<=[A-Za-z])/(?=\d)", lambda match: " slash "),
        ],
    ),
]
ORDINALS = [
    (r"\d(?:st|nd|rd|th)[-–]\d", [(r"(?<=\d(?:st|nd|rd|th))[-–](?=\d)", lambda match: " to ")]),
    (
        r"\d[snrtSNRT]",
        [
            (
                r"(?<![\w.,])(\d{1,3}(?:,\d{3}){1,5})(?:st|nd|rd|th|ST|ND|RD|TH)\b|(?<!\w)(\d{1,15})(?:st|nd|rd|th|ST|ND|RD|TH)\b",
                lambda match: say_ordinal(match[1] or match[2]),
            ),
        ],
    ),
]  # fmt: skip
GROUPS = [
    (
        r"[vV]\.? ?\d|\.\d{1,15}\.|# ?\d|[²³¹⁰⁴-⁹]",
        [
            (r"\b([vV]\.? ?)(\d+(?:\.\d+)*)\b", _dotted),
            (r"()(?<![\w.])(\d+(?:\.\d+){2,})\b", _dotted),
            (r"# ?(?=\d)", lambda match: "number "),
            (r"(?<=\w)[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]{1,6}", _to_the_power),
        ],
    ),
    (
        r"\d ?[A-Za-z(]|[A-Za-z]-?\d",
        [
            (rf"{ALONE}({NUMBER}) ?(bn|mn)\b", lambda match: f"{say_cardinal(match[1])} {_SUFFIXES[match[2]]}"),
            (
                rf"{ALONE}(\d{{1,9}}\.\d{{1,6}}(?=[kKMB])|\d{{1,9}}(?=k))([kKMB])(?![\w.])(?! (?:run|race|time)\b)",
                lambda match: f"{say_cardinal(match[1])} {_SUFFIXES[match[2]]}",
            ),
            (r"\b(40[13]|457|50[13]|529)\(([a-z])\)(?:\((\d{1,2})\))?", lambda match: " ".join(
                [say_code(match[1]).replace("hundred ", "oh "), match[2], say_cardinal(match[3]) if match[3] else ""]).strip()),
            (r"\b([A-Za-z]{2,40})-(\d{1,9}\.\d{1,9})(?![\w.])", _code),
            (_MIXED, _letters_and_digits),
        ],
    ),
    (
        r"\d",
        [
            (START + r"(1[1-9]\d\d|20\d\d)(?!\w|[.,]\d|,\d{3})", lambda match: say_year(match[1])),
            (NUMBER, lambda match: say_cardinal(match[0])),
        ],
    ),
]  # fmt: skip
