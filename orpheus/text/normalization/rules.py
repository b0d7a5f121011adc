"""Written English to spoken English: numbers, dates, currency, times, units, abbreviations and addresses as words.

For models that never learnt to read them. num2words spells the numbers; the rules here only find them, in the order of
`_RULES`, with the American reading where readings differ (3/14 is in March). Each rule sees what earlier ones left.
"""

import re

from orpheus.text.normalization.forms import (
    ABBREVIATIONS,
    ACRONYMS,
    BEFORE_NUMBER,
    CURRENCIES,
    INITIALISMS,
    MONTHS,
    NUMBERED,
    PARTS,
    RULERS,
    SCALE,
    SHORT_WORDS,
    SIGNS,
    STREETS,
    SUFFIXES,
    UNITS,
)
from orpheus.text.normalization.numbers import num2words, plural, say_cardinal, say_digits, say_ordinal, say_year

# What must stay as it is: tags and control strings.
_KEPT = re.compile(r"<[^<>\s]+>")

_MONTH = "|".join(MONTHS) + r"|(?:Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\.?"
_NUMBER = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+"  # 1,000 and 12.5 and .5
_START, _END = r"(?<![\w.,:/-])", r"(?!\w|[.,:/]\d)"  # a number by itself, not part of another
_CURRENCY = "[" + "".join(CURRENCIES) + "]"
_UNIT = "|".join(sorted(map(re.escape, UNITS.keys() - {"s"}), key=len, reverse=True))  # "20s" is a decade
_ABBREVIATION = "|".join(sorted(map(re.escape, ABBREVIATIONS), key=len, reverse=True))
_NEAR = 60  # characters looked at before and after a match


def _is_one(text):
    return text.replace(",", "") == "1"


def _before(match):
    return match.string[max(0, match.start() - _NEAR) : match.start()]


def _after(match):
    return match.string[match.end() : match.end() + _NEAR]


# --- rules: each turns a match into words ----------------------------------------------------------------------------


def _address(match):
    """E-mail or web address: letters stay words, marks are named."""
    text = re.sub(r"^https?://", "", match[0].rstrip(".,;:!?)'\""))
    rest = match[0][len(match[0].rstrip(".,;:!?)'\"")) :]
    names = {"@": "at", ".": "dot", "/": "slash", "-": "dash", "_": "underscore", ":": "colon", "?": "question mark"}
    names |= {"=": "equals", "&": "and", "#": "hash", "+": "plus", "%": "percent", "~": "tilde"}
    words = []
    for part in re.findall(r"[^\W\d_]+|\d+|[^\w\s]|_", text.rstrip("/")):
        if part.isdigit():
            words.append(say_cardinal(part) if len(part) < 3 else say_digits(part))
        else:
            words.append("w w w" if part == "www" else names.get(part, part))
    return " ".join(words) + rest


def _phone(match):
    groups = re.findall(r"\d+", match[0])
    return ("plus " if match[0].startswith("+") else "") + ", ".join(map(say_digits, groups))


def _month(text):
    return next(month for month in MONTHS if month.startswith(text[:3]))


def _iso_date(match):
    year, month, day = match.groups()
    return f"{MONTHS[int(month) - 1]} {say_ordinal(day)}, {say_year(year)}"


def _american_date(match):
    month, day, year = match.groups()
    return f"{MONTHS[int(month) - 1]} {say_ordinal(day)}, {say_year(year)}"


def _month_and_day(match):
    month, day, year = match.groups()
    return f"{_month(month)} {say_ordinal(day)}" + (f", {say_year(year)}" if year else "")


def _day_and_month(match):
    day, month, year = match.groups()
    article = "" if re.search(r"\b[Tt]he $", _before(match)) else "the "
    return f"{article}{say_ordinal(day)} of {_month(month)}" + (f", {say_year(year)}" if year else "")


def _half_day(text, match):
    """ "a m" or "p m", and a full stop if the abbreviation's also ends the sentence."""
    if not text:
        return ""
    ends = text.endswith(".") and re.match(r"\s*$|\s+[A-Z\"]", _after(match))
    return f" {text[0].lower()} m" + ("." if ends else "")


def _time(match):
    hour, minute, half = match.groups()
    if minute == "00":
        words = say_cardinal(str(int(hour))) + ("" if half else " o'clock" if int(hour) <= 12 else " hundred")
    else:
        words = f"{say_cardinal(str(int(hour)))} {'oh ' * (minute[0] == '0')}{say_cardinal(str(int(minute)))}"
    return words + _half_day(half, match)


def _hour(match):
    return say_cardinal(match[1]) + _half_day(match[2], match)


def _money(match):
    sign, symbol, amount, scale = match.groups()
    one, many, hundredth, hundredths = CURRENCIES[symbol]
    minus = "minus " if sign else ""
    if scale:
        return f"{minus}{say_cardinal(amount)} {SUFFIXES.get(scale, scale)} {many}"
    whole, point, cents = amount.partition(".")
    if not point or len(cents) != 2:
        return f"{minus}{say_cardinal(amount)} {one if _is_one(amount) else many}"
    parts = []
    if int(whole.replace(",", "") or 0):
        parts.append(f"{say_cardinal(whole)} {one if _is_one(whole) else many}")
    if int(cents) or not parts:
        parts.append(f"{say_cardinal(str(int(cents)))} {hundredth if int(cents) == 1 else hundredths}")
    return minus + " and ".join(parts)


def _money_range(match):
    symbol, least, most = match.groups()
    return f"{say_cardinal(least)} to {say_cardinal(most)} {CURRENCIES[symbol][1]}"


def _money_behind(match):
    amount, symbol = match.groups()
    return f"{say_cardinal(amount)} {CURRENCIES[symbol][0 if _is_one(amount) else 1]}"


def _unit(match):
    """ "5 km" -> "five kilometers"; before a noun, "a 5 km run" -> "a five kilometer run"."""
    adjective = re.search(r"\b[Aa]n? $", _before(match)) and re.match(r" [a-z]", _after(match))
    return f"{say_cardinal(match[1])} {UNITS[match[2]][0 if adjective or _is_one(match[1]) else 1]}"


def _decade(match):
    century, tens = match[1] or "", num2words(int(match[2] + "0")) if match[2] != "0" else "hundred"
    return (f"{num2words(int(century))} " if century else "") + plural(tens)


def _fraction(match):
    whole, over, under = match[1], int(match[2]), int(match[3])
    if (over, under) == (24, 7):
        return "twenty-four seven"
    if not 0 < over < under or under > 100:
        return f"{say_cardinal(match[1] or '')} and " * bool(whole) + f"{num2words(over)} over {num2words(under)}"
    one, many = PARTS.get(under) or (say_ordinal(str(under)), say_ordinal(str(under)) + "s")
    words = f"{num2words(over)} {one if over == 1 else many}"
    if not whole:
        return words
    return f"{say_cardinal(whole)} and {f'a {one}' if over == 1 else words}"


def _dotted(match):
    """ "v2.0" -> "version two point zero"; "192.168.0.1" and "1.2.3" number by number."""
    return ("version " if match[1] else "") + " point ".join(say_cardinal(part) for part in match[2].split("."))


def _letters_and_digits(match):
    """ "A4" -> "A four", "COVID-19" -> "COVID nineteen", "MP3" -> "MP three"."""
    parts = re.findall(r"[A-Za-z]+|\d+", match[0])
    words = [part if part.isalpha() else say_cardinal(part) if len(part) < 3 else _pairs(part) for part in parts]
    if parts[-1] == "s":
        words[-2:] = [plural(words[-2])]
    return " ".join(words)


def _pairs(digits):
    """ "747" -> "seven forty-seven", "2020" -> "twenty twenty", longer ones digit by digit."""
    if len(digits) == 4 and "1100" <= digits < "2100":
        return say_year(digits)
    if len(digits) == 3 and digits[1] != "0" and digits[0] != "0":
        return f"{say_cardinal(digits[0])} {say_cardinal(digits[1:])}"
    return say_cardinal(digits) if len(digits) <= 4 else say_digits(digits)


def _abbreviation(match):
    """Spells it out; keeps the full stop if it also ends the sentence."""
    word, before, after = match[1], _before(match), _after(match)
    last, capital_next = not after.strip(), re.match(r"\s+[\"'(]?[A-Z]", after)
    if word in STREETS and re.search(r"\b(?:[A-Z][a-z]+|\d+(?:st|nd|rd|th))\s+$", before):
        return STREETS[word] + ("." if last or capital_next else "")
    ends = last or (word in ("etc", "Jr", "Sr", "Inc", "Ltd", "Corp", "Ave", "Blvd", "Rd") and capital_next)
    return ABBREVIATIONS[word] + ("." if ends else "")


def _roman(text):
    values = {"I": 1, "V": 5, "X": 10}
    numbers = [values[letter] for letter in text]
    return sum(-n if n < m else n for n, m in zip(numbers, [*numbers[1:], 0], strict=True))


def _roman_after_name(match):
    name, numeral = match.groups()
    number = _roman(numeral)
    if name in RULERS:
        return f"{name} the {num2words(number, to='ordinal')}"
    return f"{name} {num2words(number)}"


def _initials(match):
    """ "U.S." -> "U S"."""
    return " ".join(match[0].replace(".", "")) + ("." if not _after(match).strip() else "")


def _capitals(match):
    """Reads initialisms letter by letter, other words in capitals as ordinary words."""
    word, plural = match.groups()
    if word == "OK":
        return "okay"
    shouted = re.search(r"[A-Z]{4,}\W+$", _before(match)) or re.match(r"\W+[A-Z]{4,}\b", _after(match))
    country = word == "US" and re.search(r"\b[Tt]he $", _before(match))
    short = len(word) <= 3 and word not in SHORT_WORDS and not shouted
    if country or word in INITIALISMS or not re.search("[AEIOUY]", word) or (short and word not in ACRONYMS):
        return " ".join(word) + ("'s" if plural else "")
    return (word.capitalize() if word in ACRONYMS else word.lower()) + (plural or "")


# Pattern, and what a match becomes.
_RULES = [
    (r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+", _address),
    (r"\bhttps?://\S+|\bwww\.\S+|\b(?:[\w-]+\.)+(?:com|org|net|edu|gov|io|dev|ai)\b(?:/\S*)?", _address),
    (r"(?:\+\d{1,2} ?)?(?:\(\d{3}\) ?|(?<!\d)\d{3}[-. ])\d{3}[-. ]\d{4}\b|(?<![\d-])\d{3}-\d{4}\b", _phone),
    (_START + r"([12]\d{3})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])" + _END, _iso_date),
    (_START + r"(0?[1-9]|1[0-2])/(0?[1-9]|[12]\d|3[01])/([12]\d{3})" + _END, _american_date),
    (rf"\b({_MONTH}) (\d{{1,2}})(?:st|nd|rd|th)?(?:,? ([12]\d{{3}})\b)?(?![\d:])", _month_and_day),
    (rf"\b(\d{{1,2}})(?:st|nd|rd|th)? (?:of )?({_MONTH})(?:,? ([12]\d{{3}})\b)?(?!\w)", _day_and_month),
    (_START + r"([01]?\d|2[0-3]):([0-5]\d)(?: ?([ap]\.?m\b\.?|[AP]\.?M\b\.?))?" + _END, _time),
    (_START + r"(1[0-2]|[1-9]) ?([ap]\.?m\b\.?|[AP]\.?M\b\.?)", _hour),
    (_START + r"(\d+):(\d+)" + _END, lambda match: f"{say_cardinal(match[1])} to {say_cardinal(match[2])}"),
    (rf"\b({'|'.join(BEFORE_NUMBER)})\. ?(?=\d)", lambda match: f"{BEFORE_NUMBER[match[1]]} "),
    (rf"({_CURRENCY}) ?({_NUMBER})[-–]{_CURRENCY}?({_NUMBER})", _money_range),
    (rf"({_NUMBER})[-–](?={_CURRENCY}?\d)", lambda match: f"{say_cardinal(match[1])} to "),
    (rf"(-?)({_CURRENCY}) ?({_NUMBER})(?: ?({SCALE}|bn|[kKmMB])\b)?", _money),
    (rf"({_NUMBER}) ?({_CURRENCY})", _money_behind),
    (r"(?<![\w.])-(?=\.?\d)", lambda match: "minus "),
    (r"(?<!\w)'?((?:1[1-9]|20)?)(\d)0'?s\b", _decade),
    (r"\b(\d{1,3}(?:,\d{3})+|\d+)(?:st|nd|rd|th)\b", lambda match: say_ordinal(match[1])),
    (r"(?<![\w./])(?:(\d+) )?(\d{1,3})/(\d{1,3})(?![\w/])", _fraction),
    (r"\b(\d)'(\d{1,2})\b(?:\"|'')?", lambda match: f"{say_cardinal(match[1])} foot {say_cardinal(match[2])}"),
    (rf"(?<![\w.,])({_NUMBER}) (s)(?!\w)", _unit),
    (rf"(?<![\w.,])({_NUMBER}) ?({_UNIT})(?![\w/])", _unit),
    (r"\b([vV]\.? ?)(\d+(?:\.\d+)*)\b", _dotted),
    (r"()(?<![\w.])(\d+(?:\.\d+){2,})\b", _dotted),
    (r"#(?=\d)", lambda match: "number "),
    (r"~ ?(?=\d)", lambda match: "about "),
    (r"\b[A-Za-z]+-?\d+(?:[A-Za-z]+\d*)*\b|\b\d+[A-Za-z]+\d*\b", _letters_and_digits),
    (_START + r"(1[1-9]\d\d|20\d\d)(?!\w|[.,]\d|,\d{3})", lambda match: say_year(match[1])),
    (_NUMBER, lambda match: say_cardinal(match[0])),
    (rf"(?<![\w.])({_ABBREVIATION})\.(?!\w)", _abbreviation),
    (rf"\b({'|'.join(NUMBERED)}) ([IVX]+)\b", _roman_after_name),
    (rf"\b({'|'.join(NUMBERED).lower()}) ([IVX]{{2,}}|[VX])\b", _roman_after_name),
    (rf"(?<=King |Pope |Tsar )({'|'.join(RULERS)}) (I)\b", _roman_after_name),
    (rf"(?<=Queen )({'|'.join(RULERS)}) (I)\b", _roman_after_name),
    (rf"\b({'|'.join(RULERS)}) ([IVX]{{2,}}|[VX])\b", _roman_after_name),
    (r"\b(?!The |An |This |That |My |Your |His |Her )([A-Z][a-z]+) ([IVX]{2,})\b", _roman_after_name),
    (r"\b(?:[A-Z]\.){2,}", _initials),
    (r"\b([A-Z]{1,3})&([A-Z]{1,3})\b", lambda match: f"{' '.join(match[1])} and {' '.join(match[2])}"),
    (r"\b([A-Z]{2,})(s)?\b", _capitals),
    (r" ?& ?", lambda match: " and "),
    (r"(?<=\w) ?= ?(?=\w)", lambda match: " equals "),
    (r"(?<=\w) \+ (?=\w)", lambda match: " plus "),
    (r"(?<=\w) ?× ?(?=\w)", lambda match: " times "),
    (r"\band/or\b", lambda match: "and or"),
    (r"(?<=[A-Za-z])/(?=[A-Za-z])", lambda match: " or "),
]
_COMPILED = [(re.compile(pattern), spoken) for pattern, spoken in _RULES]
_BEGINS = re.compile(r"[.!?][\"')\]]*\s+[\"'(\[]*$")


def _spoken(text, begins):
    """Spells out a stretch without tags; `begins` says whether it begins a sentence.

    What begins a sentence gets a capital letter: that is how sentences are told apart later.
    """
    text = re.sub(r"(?<=\d)(?=[½¼¾⅓⅔])", " ", text).translate(SIGNS)
    for pattern, spoken in _COMPILED:

        def replace(match, spoken=spoken):
            words, before = spoken(match), _before(match)
            first = begins if match.start() == len(before) and not before.strip() else _BEGINS.search(before)
            return words[:1].upper() + words[1:] if first else words

        text = pattern.sub(replace, text)
    return text


def normalize(text):
    """Writes clean text as it is said: "Dr. Lee paid $5.20." -> "Doctor Lee paid five dollars and twenty cents."

    Tags, control strings and paragraph breaks stay as they are; so does a text with nothing to spell out.
    text: English, as `clean_text` returns it
    """
    parts, end, begins = [], 0, True
    for match in [*_KEPT.finditer(text), None]:
        stretch = text[end : match.start() if match else len(text)]
        parts.append(_spoken(stretch, begins))
        if stretch.strip():
            begins = bool(_BEGINS.search(stretch + " "))
        if match:
            parts.append(match[0])
            end = match.end()
    return "".join(parts)
