"""Sums of money: signs, ISO codes, cents, ranges, and prices per something."""

import functools

from orpheus.text.normalization.numbers import say_cardinal, say_number
from orpheus.text.normalization.patterns import ALONE, DASH, NUMBER, SCALE, is_one, one_of

CURRENCIES = {  # one, several, a hundredth, hundredths
    "$": ("dollar", "dollars", "cent", "cents"),
    "€": ("euro", "euros", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "¥": ("yen", "yen", "sen", "sen"),
    "₩": ("won", "won", "jeon", "jeon"),
    "₹": ("rupee", "rupees", "paisa", "paise"),
    "₽": ("ruble", "rubles", "kopeck", "kopecks"),
    "₺": ("lira", "lira", "kurus", "kurus"),
    "₴": ("hryvnia", "hryvnias", "kopeck", "kopecks"),
    "₦": ("naira", "naira", "kobo", "kobo"),
    "₱": ("peso", "pesos", "centavo", "centavos"),
    "₪": ("shekel", "shekels", "agora", "agorot"),
    "₫": ("dong", "dong", "xu", "xu"),
    "฿": ("baht", "baht", "satang", "satang"),
    "₿": ("bitcoin", "bitcoins", "cent", "cents"),
}
_OF = {  # before a $: whose dollars
    **{"US": "U S", "U.S.": "U S", "CA": "Canadian", "C": "Canadian", "AU": "Australian", "A": "Australian"},
    **{
        "NZ": "New Zealand",
        "HK": "Hong Kong",
        "SG": "Singapore",
        "S": "Singapore",
        "NT": "New Taiwan",
        "TT": "Trinidad",
    },
}
_SPECIAL = {
    "R$": ("real", "reais", "centavo", "centavos"),
    "Mex$": ("Mexican peso", "Mexican pesos", "centavo", "centavos"),
}
_CODES = {
    **{"USD": ("U S dollar", "$"), "EUR": ("euro", "€"), "GBP": ("pound", "£"), "JPY": ("yen", "¥")},
    **{"CAD": ("Canadian dollar", "$"), "AUD": ("Australian dollar", "$"), "NZD": ("New Zealand dollar", "$")},
    **{"HKD": ("Hong Kong dollar", "$"), "SGD": ("Singapore dollar", "$"), "INR": ("rupee", "₹"), "KRW": ("won", "₩")},
    **{"MXN": ("Mexican peso", "₱"), "RUB": ("ruble", "₽"), "ILS": ("shekel", "₪"), "THB": ("baht", "฿")},
}
_OTHER_CODES = {
    "CNY": ("yuan", "yuan", "fen", "fen"),
    "RMB": ("yuan", "yuan", "fen", "fen"),
    "CHF": ("Swiss franc", "Swiss francs", "centime", "centimes"),
    "SEK": ("Swedish krona", "Swedish kronor", "ore", "ore"),
    "NOK": ("Norwegian krone", "Norwegian kroner", "ore", "ore"),
    "DKK": ("Danish krone", "Danish kroner", "ore", "ore"),
    "PLN": ("zloty", "zlotys", "grosz", "groszy"),
    "CZK": ("Czech koruna", "Czech koruny", "haler", "halers"),
    "HUF": ("forint", "forints", "filler", "fillers"),
    "BRL": ("Brazilian real", "Brazilian reais", "centavo", "centavos"),
    "ZAR": ("rand", "rand", "cent", "cents"),
    "AED": ("dirham", "dirhams", "fils", "fils"),
    "SAR": ("riyal", "riyals", "halala", "halalas"),
    "BTC": ("bitcoin", "bitcoins", "cent", "cents"),
    "Rs.": ("rupee", "rupees", "paisa", "paise"),
    "Rs": ("rupee", "rupees", "paisa", "paise"),
}
_SUFFIXES = {"k": "thousand", "K": "thousand", "m": "million", "M": "million", "mn": "million", "mln": "million"}
_SUFFIXES |= {"b": "billion", "B": "billion", "bn": "billion", "Bn": "billion", "T": "trillion", "tn": "trillion"}
PER = {  # what a price is for, written short
    **{"mo": "month", "mth": "month", "yr": "year", "y": "year", "wk": "week", "w": "week", "d": "day", "hr": "hour"},
    **{"h": "hour", "min": "minute", "sec": "second", "s": "second", "lb": "pound", "oz": "ounce", "kg": "kilogram"},
    **{"g": "gram", "gal": "gallon", "l": "liter", "L": "liter", "ft": "foot", "mi": "mile", "km": "kilometer"},
    **{"m": "meter", "t": "ton", "kWh": "kilowatt hour", "MWh": "megawatt hour", "GB": "gigabyte", "TB": "terabyte"},
    **{"sqft": "square foot", "sq ft": "square foot", "m2": "square meter", "m²": "square meter", "ea": "each"},
    **{"bbl": "barrel", "pp": "person", "pt": "point", "pc": "piece", "MB": "megabyte", "user": "user"},
}

_SIGN = "[" + "".join(CURRENCIES) + "]"
_SIGNED = rf"(?:(?<![A-Za-z])(?:{one_of(_OF)})\$|(?<![A-Za-z])(?:{one_of(_SPECIAL)})|{_SIGN})"
_CODED = rf"(?:{one_of([*_CODES, *_OTHER_CODES])})"
_SCALED = rf"(?:[ -]?({SCALE}|mln|bn|Bn|tn|mn|[kKmMbBT])\b(?!\.\w))?"
_PER = rf"(?: ?/ ?({one_of(PER)}|[a-z]{{3,20}})\b)?"


@functools.lru_cache(100)
def _currency(text):
    """Names of the currency that a sign or code stands for: one, several, a hundredth, hundredths."""
    if text in CURRENCIES or text in _SPECIAL or text in _OTHER_CODES:
        return (CURRENCIES | _SPECIAL | _OTHER_CODES)[text]
    if text in _CODES:
        name, sign = _CODES[text]
        one, many, *rest = CURRENCIES[sign]
        return name, name.removesuffix(one) + many, *rest
    whose = _OF[text.removesuffix("$")]
    one, many, *rest = CURRENCIES["$"]
    return f"{whose} {one}", f"{whose} {many}", *rest


@functools.lru_cache(1_000)
def _say(amount, scale, currency):
    one, many, hundredth, hundredths = currency
    if scale:
        return f"{say_cardinal(amount)} {_SUFFIXES.get(scale, scale)} {many}"
    whole, point, cents = amount.partition(".")
    if len(cents) > 2:
        cents = cents[:2] + cents[2:].rstrip("0")  # $20.500 is twenty dollars and fifty cents
    if len(cents) > 2:
        return f"{say_cardinal(f'{whole}.{cents}')} {many}"
    cents = int(cents.ljust(2, "0") or 0)
    parts = []
    if int(whole.replace(",", "")[:30] or 0) or not cents:
        parts.append(f"{say_cardinal(whole or '0')} {one if is_one(whole) else many}")
    if cents:
        parts.append(f"{say_number(cents)} {hundredth if cents == 1 else hundredths}")
    return " and ".join(parts)


def _per(text):
    return "" if not text else " each" if text == "ea" else f" per {PER.get(text, text)}"


def _signed(match):
    minus, sign, other_minus, amount, scale, more, per = match.groups()
    words = _say(amount, scale, _currency(sign)) + (" plus" if more else "") + _per(per)
    return f"minus {words}" if minus or other_minus else words


def _behind(match):
    amount, scale, sign, per = match.groups()
    return _say(amount, scale, _currency(sign)) + _per(per)


def _range(match):
    """ "$10-20" -> "ten to twenty dollars"; with cents or two scales both ends are said in full."""
    sign, least, least_scale, most, scale, per = match.groups()
    currency = _currency(sign)
    if "." in least + most and not scale or least_scale and least_scale != scale:
        words = f"{_say(least, least_scale, currency)} to {_say(most, scale, currency)}"
    else:
        words = f"{say_cardinal(least)} to {_say(most, scale, currency)}"
    return words + _per(per)


def _left_over(match):
    """A sign without a sum: "the $ and the €"."""
    start, end = match.start() and match.string[match.start() - 1], match.string[match.end() : match.end() + 1]
    names = " ".join(CURRENCIES[sign][0] for sign in match[0])
    return (" " if start and not start.isspace() else "") + names + (" " if end.isalnum() else "")


_NEEDED = rf"{_SIGN}|{_CODED}|¢"
RANGES = [
    (
        _NEEDED,
        [
            (
                rf"({_SIGNED}|\b{_CODED}) ?({NUMBER}){_SCALED} ?{DASH} ?(?:{_SIGNED} ?)?({NUMBER})(?![,\d]*\d){_SCALED}{_PER}",
                _range,
            ),
        ],
    ),
]  # fmt: skip
GROUPS = [
    (
        _NEEDED,
        [
            (rf"((?<![\w.])-)?({_SIGNED})(-)? ?({NUMBER}){_SCALED}(\+(?!\w))?{_PER}", _signed),
            (rf"\b()({_CODED})() ?({NUMBER}){_SCALED}(){_PER}", _signed),
            (rf"{ALONE}({NUMBER}){_SCALED} ?({_SIGN}){_PER}", _behind),
            (rf"{ALONE}({NUMBER}){_SCALED} ?((?!Rs){_CODED})\b{_PER}", _behind),
            (rf"{ALONE}({NUMBER}) ?¢", lambda match: f"{say_cardinal(match[1])} cent{'s' * (not is_one(match[1]))}"),
        ],
    ),
]  # fmt: skip
LEFT_OVER = [
    (_SIGN, [(rf"(?<![A-Za-z])[{''.join(CURRENCIES)}]{{1,8}}|[{''.join(CURRENCIES)}]{{1,8}}(?![A-Za-z])", _left_over)])
]
