"""Written English to spoken English: numbers, dates, currency, times, units, abbreviations and addresses as words.

For models that never learnt to read them. Numbers are spelt by num2words; the rules here only find them, in the order in
which they stand in `_RULES`, American where readings differ (3/14 is in March). A rule sees what those before it left.
"""

import functools
import re

from num2words import num2words as _num2words

# What must come through as it is: tags and control strings.
_KEPT = re.compile(r"<[^<>\s]+>")

_MONTHS = "January February March April May June July August September October November December".split()
_MONTH = "|".join(_MONTHS) + r"|(?:Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\.?"
_NUMBER = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+"  # 1,000 and 12.5 and .5
_START, _END = r"(?<![\w.,:/-])", r"(?!\w|[.,:/]\d)"  # a number on its own, not a part of another
_SCALE = "hundred|thousand|million|billion|trillion"

_CURRENCIES = {  # one, several, a hundredth, hundredths
    "$": ("dollar", "dollars", "cent", "cents"),
    "€": ("euro", "euros", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "¥": ("yen", "yen", "sen", "sen"),
}
_CURRENCY = "[" + "".join(_CURRENCIES) + "]"
_SUFFIXES = {"k": "thousand", "K": "thousand", "m": "million", "M": "million", "bn": "billion", "B": "billion"}

_UNITS = {  # one, several
    "km/h": ("kilometer per hour", "kilometers per hour"),
    "km": ("kilometer", "kilometers"),
    "cm": ("centimeter", "centimeters"),
    "mm": ("millimeter", "millimeters"),
    "m": ("meter", "meters"),
    "mi": ("mile", "miles"),
    "mph": ("mile per hour", "miles per hour"),
    "ft": ("foot", "feet"),
    "yd": ("yard", "yards"),
    "kg": ("kilogram", "kilograms"),
    "mg": ("milligram", "milligrams"),
    "g": ("gram", "grams"),
    "lbs": ("pound", "pounds"),
    "lb": ("pound", "pounds"),
    "oz": ("ounce", "ounces"),
    "ml": ("milliliter", "milliliters"),
    "l": ("liter", "liters"),
    "L": ("liter", "liters"),
    "°C": ("degree Celsius", "degrees Celsius"),
    "°F": ("degree Fahrenheit", "degrees Fahrenheit"),
    "°": ("degree", "degrees"),
    "%": ("percent", "percent"),
    "ms": ("millisecond", "milliseconds"),
    "s": ("second", "seconds"),
    "min": ("minute", "minutes"),
    "h": ("hour", "hours"),
    "kHz": ("kilohertz", "kilohertz"),
    "MHz": ("megahertz", "megahertz"),
    "GHz": ("gigahertz", "gigahertz"),
    "Hz": ("hertz", "hertz"),
    "kW": ("kilowatt", "kilowatts"),
    "W": ("watt", "watts"),
    "V": ("volt", "volts"),
    "KB": ("kilobyte", "kilobytes"),
    "kB": ("kilobyte", "kilobytes"),
    "MB": ("megabyte", "megabytes"),
    "GB": ("gigabyte", "gigabytes"),
    "TB": ("terabyte", "terabytes"),
}
_UNIT = "|".join(sorted(map(re.escape, _UNITS.keys() - {"s"}), key=len, reverse=True))  # "20s" is a decade

_PARTS = {2: ("half", "halves"), 4: ("quarter", "quarters")}
_SIGNS = str.maketrans({"½": "1/2", "¼": "1/4", "¾": "3/4", "⅓": "1/3", "⅔": "2/3", "−": "-"})

_ABBREVIATIONS = {
    **{"Mr": "Mister", "Mrs": "Missus", "Ms": "Miz", "Prof": "Professor", "Rev": "Reverend", "Hon": "Honorable"},
    **{"Gen": "General", "Col": "Colonel", "Capt": "Captain", "Lt": "Lieutenant", "Sgt": "Sergeant", "Gov": "Governor"},
    **{"Sen": "Senator", "Rep": "Representative", "Mt": "Mount", "Jr": "Junior", "Sr": "Senior", "Ave": "Avenue"},
    **{"Blvd": "Boulevard", "Rd": "Road", "Inc": "Incorporated", "Ltd": "Limited", "Corp": "Corporation"},
    **{"Dept": "Department", "approx": "approximately", "vs": "versus", "etc": "et cetera", "dept": "department"},
    **{"e.g": "for example", "i.e": "that is", "Dr": "Doctor", "St": "Saint", "est": "established"},
}
_ABBREVIATION = "|".join(sorted(map(re.escape, _ABBREVIATIONS), key=len, reverse=True))
_BEFORE_NUMBER = {"No": "number", "no": "number", "Nos": "numbers", "p": "page", "pp": "pages", "Vol": "volume"}
_BEFORE_NUMBER |= {
    "vol": "volume",
    "Fig": "figure",
    "fig": "figure",
    "Ch": "chapter",
    "ch": "chapter",
    "Sec": "section",
}
_STREETS = {"St": "Street", "Dr": "Drive"}  # after a name; before one they are a saint and a doctor

_RULERS = (
    "Henry Louis George Charles Edward Richard Elizabeth William James John Paul Pius Benedict Philip Francis Napoleon "
    "Catherine Peter Alexander Frederick Ivan Nicholas Leo Gregory Mary Margaret Ferdinand Victoria"
).split()
_NUMBERED = (
    "Chapter Part Act Scene Volume Book Section Phase Type Class Level Title Appendix Figure Article Stage".split()
)

# Capitals: read as a word, read letter by letter, or short words that somebody shouts.
_ACRONYMS = set(
    "NASA NATO UNESCO UNICEF OPEC COVID AIDS NAFTA FIFA PIN RAM SIM LASER SWAT SCUBA RADAR JPEG ASAP".split()
)
_INITIALISMS = set(
    "AI API ATM CEO CPU DIY DNA EU FAQ GPU HIV IBM ID IEEE IOU IP IQ ISBN MIT UFO UK UN URL USA USB VIP".split()
)
_SHORT_WORDS = set(
    "AM AN AND ANY ARE AS AT BAD BE BIG BUT BY CAN DAY DID DO END FOR GET GO GOD GOT HAD HAS HE HER HEY HI HIM HIS HOT HOW I IF "
    "IN IS IT LET LOT ME MY NEW NO NOT NOW OF OFF OH OLD ON ONE OR OUR OUT OWN RED RUN SAD SAY SEE SHE SO SUN THE TO TOO TWO UP "
    "US USE WAR WAS WAY WE WHO WHY WIN WON WOW YES YET YOU ALL AGO ASK ATE ACT ADD AIR ALSO".split()
)
_NEAR = 60  # characters looked at before and after a match


num2words = functools.lru_cache(10_000)(_num2words)  # it takes some tenths of a millisecond


# --- numbers ---------------------------------------------------------------------------------------------------------


def _american(words):
    """num2words' British "one thousand, two hundred and five" as "one thousand two hundred five"."""
    return words.replace(",", "").replace(" and ", " ").replace("oh-", "oh ")


def _digits(text):
    """Digit by digit: "007" -> "zero zero seven"."""
    return " ".join(num2words(int(digit)) for digit in text if digit.isdigit())


def _cardinal(text):
    """ "1,250.50" -> "one thousand two hundred fifty point five zero"; a leading zero or very many are read out."""
    whole, point, decimals = text.replace(",", "").partition(".")
    if len(whole) > 15 or (len(whole) > 1 and whole.startswith("0")):
        words = _digits(whole)
    else:
        words = _american(num2words(int(whole or 0)))
    return f"{words} point {_digits(decimals)}" if point else words


def _ordinal(text):
    return _american(num2words(int(text.replace(",", "")), to="ordinal"))


def _year(text):
    number = int(text)
    return (
        _american(num2words(number, to="year"))
        if not 2000 < number < 2010
        else f"two thousand {num2words(number % 100)}"
    )


def _plural(words):
    return words[:-1] + "ies" if words.endswith("y") else words + "s"


def _is_one(text):
    return text.replace(",", "") == "1"


def _before(match):
    return match.string[max(0, match.start() - _NEAR) : match.start()]


def _after(match):
    return match.string[match.end() : match.end() + _NEAR]


# --- rules: each takes a match and gives words -----------------------------------------------------------------------


def _address(match):
    """E-mail or web address: letters stay words, marks are named."""
    text = re.sub(r"^https?://", "", match[0].rstrip(".,;:!?)'\""))
    rest = match[0][len(match[0].rstrip(".,;:!?)'\"")) :]
    names = {"@": "at", ".": "dot", "/": "slash", "-": "dash", "_": "underscore", ":": "colon", "?": "question mark"}
    names |= {"=": "equals", "&": "and", "#": "hash", "+": "plus", "%": "percent", "~": "tilde"}
    words = []
    for part in re.findall(r"[^\W\d_]+|\d+|[^\w\s]|_", text.rstrip("/")):
        if part.isdigit():
            words.append(_cardinal(part) if len(part) < 3 else _digits(part))
        else:
            words.append("w w w" if part == "www" else names.get(part, part))
    return " ".join(words) + rest


def _phone(match):
    groups = re.findall(r"\d+", match[0])
    return ("plus " if match[0].startswith("+") else "") + ", ".join(map(_digits, groups))


def _month(text):
    return next(month for month in _MONTHS if month.startswith(text[:3]))


def _iso_date(match):
    year, month, day = match.groups()
    return f"{_MONTHS[int(month) - 1]} {_ordinal(day)}, {_year(year)}"


def _american_date(match):
    month, day, year = match.groups()
    return f"{_MONTHS[int(month) - 1]} {_ordinal(day)}, {_year(year)}"


def _month_and_day(match):
    month, day, year = match.groups()
    return f"{_month(month)} {_ordinal(day)}" + (f", {_year(year)}" if year else "")


def _day_and_month(match):
    day, month, year = match.groups()
    article = "" if re.search(r"\b[Tt]he $", _before(match)) else "the "
    return f"{article}{_ordinal(day)} of {_month(month)}" + (f", {_year(year)}" if year else "")


def _half_day(text, match):
    """ "a m" or "p m", and the full stop where the abbreviation's own also ends the sentence."""
    if not text:
        return ""
    ends = text.endswith(".") and re.match(r"\s*$|\s+[A-Z\"]", _after(match))
    return f" {text[0].lower()} m" + ("." if ends else "")


def _time(match):
    hour, minute, half = match.groups()
    if minute == "00":
        words = _cardinal(str(int(hour))) + ("" if half else " o'clock" if int(hour) <= 12 else " hundred")
    else:
        words = f"{_cardinal(str(int(hour)))} {'oh ' * (minute[0] == '0')}{_cardinal(str(int(minute)))}"
    return words + _half_day(half, match)


def _hour(match):
    return _cardinal(match[1]) + _half_day(match[2], match)


def _money(match):
    sign, symbol, amount, scale = match.groups()
    one, many, hundredth, hundredths = _CURRENCIES[symbol]
    minus = "minus " if sign else ""
    if scale:
        return f"{minus}{_cardinal(amount)} {_SUFFIXES.get(scale, scale)} {many}"
    whole, point, cents = amount.partition(".")
    if not point or len(cents) != 2:
        return f"{minus}{_cardinal(amount)} {one if _is_one(amount) else many}"
    parts = []
    if int(whole.replace(",", "") or 0):
        parts.append(f"{_cardinal(whole)} {one if _is_one(whole) else many}")
    if int(cents) or not parts:
        parts.append(f"{_cardinal(str(int(cents)))} {hundredth if int(cents) == 1 else hundredths}")
    return minus + " and ".join(parts)


def _money_range(match):
    symbol, least, most = match.groups()
    return f"{_cardinal(least)} to {_cardinal(most)} {_CURRENCIES[symbol][1]}"


def _money_behind(match):
    amount, symbol = match.groups()
    return f"{_cardinal(amount)} {_CURRENCIES[symbol][0 if _is_one(amount) else 1]}"


def _unit(match):
    """ "5 km" -> "five kilometers"; before a noun, "a 5 km run", it is "a five kilometer run"."""
    adjective = re.search(r"\b[Aa]n? $", _before(match)) and re.match(r" [a-z]", _after(match))
    return f"{_cardinal(match[1])} {_UNITS[match[2]][0 if adjective or _is_one(match[1]) else 1]}"


def _decade(match):
    century, tens = match[1] or "", num2words(int(match[2] + "0")) if match[2] != "0" else "hundred"
    return (f"{num2words(int(century))} " if century else "") + _plural(tens)


def _fraction(match):
    whole, over, under = match[1], int(match[2]), int(match[3])
    if (over, under) == (24, 7):
        return "twenty-four seven"
    if not 0 < over < under or under > 100:
        return f"{_cardinal(match[1] or '')} and " * bool(whole) + f"{num2words(over)} over {num2words(under)}"
    one, many = _PARTS.get(under) or (_ordinal(str(under)), _ordinal(str(under)) + "s")
    words = f"{num2words(over)} {one if over == 1 else many}"
    if not whole:
        return words
    return f"{_cardinal(whole)} and {f'a {one}' if over == 1 else words}"


def _dotted(match):
    """ "v2.0" -> "version two point zero"; "192.168.0.1" and "1.2.3" number by number."""
    return ("version " if match[1] else "") + " point ".join(_cardinal(part) for part in match[2].split("."))


def _letters_and_digits(match):
    """ "A4" -> "A four", "COVID-19" -> "COVID nineteen", "MP3" -> "MP three"."""
    parts = re.findall(r"[A-Za-z]+|\d+", match[0])
    words = [part if part.isalpha() else _cardinal(part) if len(part) < 3 else _pairs(part) for part in parts]
    if parts[-1] == "s":
        words[-2:] = [_plural(words[-2])]
    return " ".join(words)


def _pairs(digits):
    """ "747" -> "seven forty-seven", "2020" -> "twenty twenty", longer ones digit by digit."""
    if len(digits) == 4 and "1100" <= digits < "2100":
        return _year(digits)
    if len(digits) == 3 and digits[1] != "0" and digits[0] != "0":
        return f"{_cardinal(digits[0])} {_cardinal(digits[1:])}"
    return _cardinal(digits) if len(digits) <= 4 else _digits(digits)


def _abbreviation(match):
    """Spelt out; the full stop stays where it also ends the sentence."""
    word, before, after = match[1], _before(match), _after(match)
    last, capital_next = not after.strip(), re.match(r"\s+[\"'(]?[A-Z]", after)
    if word in _STREETS and re.search(r"\b(?:[A-Z][a-z]+|\d+(?:st|nd|rd|th))\s+$", before):
        return _STREETS[word] + ("." if last or capital_next else "")
    ends = last or (word in ("etc", "Jr", "Sr", "Inc", "Ltd", "Corp", "Ave", "Blvd", "Rd") and capital_next)
    return _ABBREVIATIONS[word] + ("." if ends else "")


def _roman(text):
    values = {"I": 1, "V": 5, "X": 10}
    numbers = [values[letter] for letter in text]
    return sum(-n if n < m else n for n, m in zip(numbers, [*numbers[1:], 0], strict=True))


def _roman_after_name(match):
    name, numeral = match.groups()
    number = _roman(numeral)
    if name in _RULERS:
        return f"{name} the {num2words(number, to='ordinal')}"
    return f"{name} {num2words(number)}"


def _initials(match):
    """ "U.S." -> "U S"."""
    return " ".join(match[0].replace(".", "")) + ("." if not _after(match).strip() else "")


def _capitals(match):
    """Initialisms letter by letter; other words in capitals as the words they are."""
    word, plural = match.groups()
    if word == "OK":
        return "okay"
    shouted = re.search(r"[A-Z]{4,}\W+$", _before(match)) or re.match(r"\W+[A-Z]{4,}\b", _after(match))
    country = word == "US" and re.search(r"\b[Tt]he $", _before(match))
    short = len(word) <= 3 and word not in _SHORT_WORDS and not shouted
    if country or word in _INITIALISMS or not re.search("[AEIOUY]", word) or (short and word not in _ACRONYMS):
        return " ".join(word) + ("'s" if plural else "")
    return (word.capitalize() if word in _ACRONYMS else word.lower()) + (plural or "")


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
    (_START + r"(\d+):(\d+)" + _END, lambda match: f"{_cardinal(match[1])} to {_cardinal(match[2])}"),
    (rf"\b({'|'.join(_BEFORE_NUMBER)})\. ?(?=\d)", lambda match: f"{_BEFORE_NUMBER[match[1]]} "),
    (rf"({_CURRENCY}) ?({_NUMBER})[-–]{_CURRENCY}?({_NUMBER})", _money_range),
    (rf"({_NUMBER})[-–](?={_CURRENCY}?\d)", lambda match: f"{_cardinal(match[1])} to "),
    (rf"(-?)({_CURRENCY}) ?({_NUMBER})(?: ?({_SCALE}|bn|[kKmMB])\b)?", _money),
    (rf"({_NUMBER}) ?({_CURRENCY})", _money_behind),
    (r"(?<![\w.])-(?=\.?\d)", lambda match: "minus "),
    (r"(?<!\w)'?((?:1[1-9]|20)?)(\d)0'?s\b", _decade),
    (r"\b(\d{1,3}(?:,\d{3})+|\d+)(?:st|nd|rd|th)\b", lambda match: _ordinal(match[1])),
    (r"(?<![\w./])(?:(\d+) )?(\d{1,3})/(\d{1,3})(?![\w/])", _fraction),
    (r"\b(\d)'(\d{1,2})\b(?:\"|'')?", lambda match: f"{_cardinal(match[1])} foot {_cardinal(match[2])}"),
    (rf"(?<![\w.,])({_NUMBER}) (s)(?!\w)", _unit),
    (rf"(?<![\w.,])({_NUMBER}) ?({_UNIT})(?![\w/])", _unit),
    (r"\b([vV]\.? ?)(\d+(?:\.\d+)*)\b", _dotted),
    (r"()(?<![\w.])(\d+(?:\.\d+){2,})\b", _dotted),
    (r"#(?=\d)", lambda match: "number "),
    (r"~ ?(?=\d)", lambda match: "about "),
    (r"\b[A-Za-z]+-?\d+(?:[A-Za-z]+\d*)*\b|\b\d+[A-Za-z]+\d*\b", _letters_and_digits),
    (_START + r"(1[1-9]\d\d|20\d\d)(?!\w|[.,]\d|,\d{3})", lambda match: _year(match[1])),
    (_NUMBER, lambda match: _cardinal(match[0])),
    (rf"(?<![\w.])({_ABBREVIATION})\.(?!\w)", _abbreviation),
    (rf"\b({'|'.join(_NUMBERED)}) ([IVX]+)\b", _roman_after_name),
    (rf"\b({'|'.join(_NUMBERED).lower()}) ([IVX]{{2,}}|[VX])\b", _roman_after_name),
    (rf"(?<=King |Pope |Tsar )({'|'.join(_RULERS)}) (I)\b", _roman_after_name),
    (rf"(?<=Queen )({'|'.join(_RULERS)}) (I)\b", _roman_after_name),
    (rf"\b({'|'.join(_RULERS)}) ([IVX]{{2,}}|[VX])\b", _roman_after_name),
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
    """One stretch without tags; `begins` says whether a sentence begins with it.

    What begins a sentence has a capital letter, by which sentences are told apart later.
    """
    text = re.sub(r"(?<=\d)(?=[½¼¾⅓⅔])", " ", text).translate(_SIGNS)
    for pattern, spoken in _COMPILED:

        def replace(match, spoken=spoken):
            words, before = spoken(match), _before(match)
            first = begins if match.start() == len(before) and not before.strip() else _BEGINS.search(before)
            return words[:1].upper() + words[1:] if first else words

        text = pattern.sub(replace, text)
    return text


def normalize(text):
    """Clean text as it is said: "Dr. Lee paid $5.20." -> "Doctor Lee paid five dollars and twenty cents."

    Tags, control strings and paragraph breaks stay as they are; so does a text without anything to spell out.
    text: English, as `clean_text` gives it
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
