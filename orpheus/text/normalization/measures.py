"""Measures: a number and its unit, alone, to a power, per another, and in ranges and dimensions."""

import functools
import re

from orpheus.text.normalization.numbers import say_cardinal, say_number, say_ordinal
from orpheus.text.normalization.patterns import ALONE, NUMBER, SCALE, after, before, is_one, one_of

_METRIC = {
    "m": "meter",
    "g": "gram",
    "W": "watt",
    "Wh": "watt hour",
    "V": "volt",
    "Hz": "hertz",
    "eV": "electron volt",
    "J": "joule",
    "Pa": "pascal",
    "Ω": "ohm",
    "bps": "bit per second",
    "bit/s": "bit per second",
    "bit": "bit",
    "B": "byte",
    "pc": "parsec",
    "cal": "calorie",
    "t": "ton",
}
_PREFIXES = {"k": "kilo", "M": "mega", "G": "giga", "T": "tera", "P": "peta", "E": "exa", "c": "centi", "m": "milli"}
_PREFIXES |= {"µ": "micro", "n": "nano", "d": "deci", "h": "hecto"}
_PREFIXED = {  # which prefixes each of them takes
    **{"m": "kcmµn", "g": "kmµn", "W": "kMGTm", "Wh": "kMGT", "V": "kMmµ", "Hz": "kMGTm", "eV": "kMGT", "J": "kMG"},
    **{
        "Pa": "khMG",
        "Ω": "kM",
        "bps": "kMGT",
        "bit/s": "kMGT",
        "bit": "kMG",
        "B": "kMGTPE",
        "pc": "kM",
        "cal": "k",
        "t": "",
    },
}
_ALONE = {"m", "g", "W", "Wh", "V", "Hz", "eV", "Pa", "Ω", "bps", "bit/s", "cal"}  # said without a prefix, too
_OTHERS = {  # one; several where it is not with an s
    **{"mi": "mile", "ft": "foot/feet", "yd": "yard", "yds": "yard", "nmi": "nautical mile", "ha": "hectare"},
    **{"ac": "acre", "lb": "pound", "lbs": "pound", "oz": "ounce", "mcg": "microgram", "l": "liter", "L": "liter"},
    **{
        "ml": "milliliter",
        "mL": "milliliter",
        "cl": "centiliter",
        "dl": "deciliter",
        "µl": "microliter",
        "µL": "microliter",
    },
    **{"hl": "hectoliter", "gal": "gallon", "qt": "quart", "pt": "pint", "tsp": "teaspoon", "tbsp": "tablespoon"},
    **{"fl oz": "fluid ounce", "cc": "cc/cc", "bbl": "barrel", "°C": "degree Celsius", "°F": "degree Fahrenheit"},
    **{
        "° C": "degree Celsius",
        "° F": "degree Fahrenheit",
        "°K": "kelvin/kelvin",
        "°": "degree",
        "%": "percent/percent",
    },
    **{"‰": "per mille/per mille", "ns": "nanosecond", "µs": "microsecond", "ms": "millisecond", "s": "second"},
    **{"sec": "second", "secs": "second", "min": "minute", "mins": "minute", "h": "hour", "hr": "hour", "hrs": "hour"},
    **{"wk": "week", "wks": "week", "mos": "month", "yr": "year", "yrs": "year", "km/h": "kilometer per hour"},
    **{"kmh": "kilometer per hour", "kph": "kilometer per hour", "km/hr": "kilometer per hour", "mph": "mile per hour"},
    **{"fps": "frame per second", "rpm": "revolution per minute", "bpm": "beat per minute", "psi": "p s i/p s i"},
    **{"ppm": "part per million", "ppb": "part per billion", "dpi": "dot per inch", "kt": "knot", "kts": "knot"},
    **{
        "hp": "horsepower/horsepower",
        "bhp": "brake horsepower/brake horsepower",
        "mA": "milliamp",
        "mAh": "milliamp hour",
    },
    **{
        "Ah": "amp hour",
        "dB": "decibel",
        "dBA": "decibel",
        "mbar": "millibar",
        "atm": "atmosphere",
        "Nm": "newton meter",
    },
    **{"mol": "mole", "mmol": "millimole", "px": "pixel", "MP": "megapixel", "KB": "kilobyte", "KiB": "kibibyte"},
    **{"MiB": "mebibyte", "GiB": "gibibyte", "TiB": "tebibyte", "Mb": "megabit", "Gb": "gigabit", "kb": "kilobit"},
    **{"Kbps": "kilobit per second", "mbps": "megabit per second", "gbps": "gigabit per second"},
    **{"MBps": "megabyte per second", "Mb/s": "megabit per second", "MB/s": "megabyte per second"},
    **{"GB/s": "gigabyte per second", "lm": "lumen", "ly": "light-year"},
}
_CAPITALS = "kg km cm mm ml lb lbs ft mi oz kmh km/h mph kwh rpm psi mhz khz ghz".split()  # also written in capitals
_DOTTED = {
    "ft",
    "lb",
    "lbs",
    "oz",
    "yd",
    "yds",
    "mi",
    "min",
    "mins",
    "sec",
    "secs",
    "hr",
    "hrs",
    "gal",
    "qt",
    "tsp",
    "tbsp",
}
_DOTTED |= {"yr", "yrs", "wk", "wks", "mos", "km", "cm", "mm", "kg"}
_POWERS = {"2": "square", "²": "square", "3": "cubic", "³": "cubic"}
_LENGTHS = "km|cm|mm|nm|µm|m|mi|ft|yd|in"
PARTS = {2: ("half", "halves"), 4: ("quarter", "quarters")}


def _several(one):
    head, per, tail = one.partition(" per ")
    first, of, kind = head.partition("degree ")
    words = f"degrees {kind}" if of and not first else head if head.endswith("hertz") else head + "s"
    return words + per + tail


def _units():
    """{unit: (one, several)}."""
    units = {}
    for unit, name in _METRIC.items():
        for prefix in [*(_PREFIXED[unit]), *([""] if unit in _ALONE else [])]:
            one = _PREFIXES.get(prefix, "") + name
            units[prefix + unit] = (one, _several(one))
    for unit, names in _OTHERS.items():
        one, _, several = names.partition("/")
        units[unit] = (one, several or _several(one))
    for unit in _CAPITALS:
        known = next(name for name in units if name.lower() == unit)
        units[unit.upper()] = units[known]
    return units


_UNITS = _units()
_LONG = {"km": "kilometer", "cm": "centimeter", "mm": "millimeter", "nm": "nanometer", "µm": "micrometer", "m": "meter"}
_LONG |= {"mi": "mile", "ft": "foot", "yd": "yard", "in": "inch"}
_POWER = rf"(?:{_LENGTHS})(?:[²³]|\^?[23](?!\d))|(?:sq|cu)\.? ?(?:{_LENGTHS})\b\.?|sqft"
_PLAIN = one_of(_UNITS.keys() - {"s"})  # "20s" is a decade
UNIT = rf"(?:{_POWER}|(?:{one_of(_DOTTED)})\.(?=,? [a-z(]|,)|{_PLAIN})"
_PER = rf"(?: ?/ ?({_POWER}|kg|lb|ml|mL|dl|dL|mol|min|sec|hr|day|yr|year|month|person|capita|sec²|s[²2]|[smhgLl]|km|cm|mi)(?![\w/]))"
_DENOMINATORS = {
    "s": "second",
    "sec": "second",
    "s2": "second squared",
    "s²": "second squared",
    "sec²": "second squared",
}
_DENOMINATORS |= {"h": "hour", "hr": "hour", "min": "minute", "yr": "year", "dl": "deciliter", "dL": "deciliter"}


def _names(unit):
    """(one, several) of a unit as it is written: "km²", "sq. ft", "lbs."."""
    plain = unit.rstrip(".").replace("^", "")
    if plain in _UNITS:
        return _UNITS[plain]
    square = re.match(r"(sq|cu)\.? ?", plain)
    kind, base = ("square" if square[1] == "sq" else "cubic", plain[square.end() :]) if square else (
        _POWERS[plain[-1]], plain[:-1],
    )  # fmt: skip
    one = _LONG[base]
    several = {"foot": "feet", "inch": "inches"}.get(one, one + "s")
    return f"{kind} {one}", f"{kind} {several}"


def _per(unit):
    if not unit:
        return ""
    return " per " + (_DENOMINATORS.get(unit) or (unit if len(unit) > 3 and unit.isalpha() else _names(unit)[0]))


def _is_adjective(match):
    """ "a 5 km run": before a noun the unit stays singular."""
    return re.search(r"\b[Aa]n? $", before(match)) and re.match(r" [a-z]", after(match))


def _measure(match):
    """ "5 km" -> "five kilometers", "a 5 km run" -> "a five kilometer run", "100 million kg", "12 m/s²"."""
    number, scale, unit, per = match.groups()
    singular = _is_adjective(match) or (is_one(number) and not scale)
    words = say_cardinal(number) + (f" {scale}" if scale else "")
    return f"{words} {_names(unit)[0 if singular else 1]}{_per(per)}"


def _hyphenated(match):
    """ "a 5-km run" -> "a five kilometer run"; the many units that are words themselves need nothing."""
    return f"{say_cardinal(match[1])} {_names(match[2])[0]}"


def _dimensions(match):
    """ "25 x 7 m" -> "twenty-five by seven meters"."""
    numbers, unit = re.findall(NUMBER, match[1]), match[2]
    return " by ".join(map(say_cardinal, numbers)) + (f" {_names(unit)[1]}" if unit else "")


def _fraction(match):
    """ "2 1/2" -> "two and a half", "1/2-3/4" -> "one half to three quarters"."""
    whole, over, under, th, unit, to = match.groups()
    return _say_fraction(whole, int(over), int(under), unit, bool(th)) + (" to " if to else "")


@functools.lru_cache(1_000)
def _say_fraction(whole, over, under, unit, ordinal):
    """ "3/4 mi" -> "three quarters mile", "22/7" -> "twenty-two over seven". ordinal: whether it is written 3/4ths."""
    if not whole and not unit and (over, under) in _SPOKEN:
        return _SPOKEN[over, under]
    if not whole and over == under and over > 1:
        return f"{say_number(over)} {say_number(under)}"
    if not 0 < over < under and not (whole or ordinal) or not 1 < under <= 100 or not over:
        words = f"{say_number(over)} over {say_number(under)}"
        return (f"{say_cardinal(whole)} and {words}" if whole else words) + (f" {_names(unit)[1]}" if unit else "")
    one, many = PARTS.get(under) or (say_ordinal(str(under)), say_ordinal(str(under)) + "s")
    words = f"{say_number(over)} {one if over == 1 else many}"
    if whole:
        words = f"{say_cardinal(whole)} and {f'a {one}' if over == 1 else words}"
    if unit:
        return f"{words} {_names(unit)[1]}" if whole else f"{words} {_names(unit)[0]}"
    return words


_SPOKEN = {(24, 7): "twenty-four seven", (9, 11): "nine eleven"}


def _coordinates(match):
    degrees, minutes, seconds, side = match.groups()
    words = [f"{say_cardinal(degrees)} degree{'s' * (not is_one(degrees))}"]
    words += [f"{say_cardinal(minutes)} minute{'s' * (not is_one(minutes))}"] if minutes else []
    words += [f"{say_cardinal(seconds)} second{'s' * (not is_one(seconds))}"] if seconds else []
    return " ".join([*words, {"N": "north", "S": "south", "E": "east", "W": "west"}[side]])


def say_inches(text):
    """'12"' -> "twelve inches", but for a quotation's end."""
    quoted = False

    def replace(match):
        nonlocal quoted
        if match[1] and not quoted:
            return f"{match[1]} {'inch' if is_one(match[1]) else 'inches'}"
        quoted = not quoted if not match[1] or quoted else quoted
        return match[0]

    return re.sub(r'(?<![\w.,\'])(\d{1,3}(?:\.\d{1,3})?)"(?!\w)|"', replace, text)


FRACTIONS = [(r"\d/\d", [
        (
            rf"(?<![\w./])(?:(\d{{1,9}})[ -])?(\d{{1,3}})/(\d{{1,3}})(?P<th>(?i:st|nd|rd|ths?)\b)?(?: ?((?!s\b){UNIT})(?!\w))?(?:(?P<to> ?[-–] ?)(?=\d)|(?![\w/]|,\d))",
            _fraction,
        ),
    ])]  # fmt: skip
GROUPS = [
    (
        r"\d ?[-A-Za-zµΩ×°%‰]",
        [
            (
                r"(?<![\w.])(\d{1,3}(?:\.\d{1,8})?) ?° ?(?:(\d{1,2}) ?['′] ?)?(?:(\d{1,2}(?:\.\d{1,4})?) ?(?:\"|″|'') ?)?([NSEW])\b",
                _coordinates,
            ),
            (rf"{ALONE}({NUMBER}(?: ?x ?{NUMBER}){{1,2}})(?: ?({UNIT})(?!\w))?(?![\w.]\w)", _dimensions),
            (rf"{ALONE}({NUMBER}(?: ?× ?{NUMBER}){{1,2}}) ?({UNIT})(?!\w)", _dimensions),
            (
                rf"{ALONE}({NUMBER}) ?[x×](?![\w-])",
                lambda match: f"{say_cardinal(match[1])} time{'s' * (not is_one(match[1]))}",
            ),
            (rf"{ALONE}({NUMBER})-({UNIT})(?=[ -][a-z])", _hyphenated),
            (rf"{ALONE}({NUMBER})()() (s)(?!\w)", lambda match: f"{say_cardinal(match[1])} second{'s' * (not is_one(match[1]))}"),
            (rf"{ALONE}({NUMBER})(?: ({SCALE}))? ?({UNIT}){_PER}?(?![\w/])", _measure),
        ],
    ),
    (
        r"\w ?/ ?\w",
        [
            (rf"(?<=[a-z\d]) ?/ ?({_POWER})(?!\w)", lambda match: f" per {_names(match[1])[0]}"),
            (
                rf"{ALONE}({NUMBER}) ?/ ?(kg|lb|km|cm|mi|min|hr|ml|mL|day|month|year|week|person)(?![\w/])",
                lambda match: f"{say_cardinal(match[1])}{_per(match[2])}",
            ),
        ],
    ),
    (
        r"\d'\d|%",
        [
            (r"\b(\d{1,2})'(\d{1,2})\b(?:\"|'')?", lambda match: f"{say_cardinal(match[1])} foot {say_cardinal(match[2])}"),
            (r"(?<=[a-z]) ?%|(?<![\w%])%(?![\w%])", lambda match: " percent" if match.start() and match.string[match.start() - 1].isalnum() else "percent"),
        ],
    ),
]  # fmt: skip
