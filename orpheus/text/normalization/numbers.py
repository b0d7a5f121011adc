"""Numbers as Americans say them."""

import functools

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_TENS = "- - twenty thirty forty fifty sixty seventy eighty ninety".split()
_SCALES = (
    " thousand million billion trillion quadrillion quintillion sextillion septillion octillion nonillion decillion"
).split(" ")
_ORDINALS = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth"}
_ORDINALS |= {"twelve": "twelfth"}
_LONGEST = 15  # digits in a row that are still a number rather than a code
_LONGEST_GROUPED = 3 * len(_SCALES)  # the same where commas group them


def _hundreds(number):
    """0 to 999, as a list of words."""
    words = [_ONES[number // 100], "hundred"] if number >= 100 else []
    tens, ones = divmod(number % 100, 10)
    if number % 100 < 20:
        return words + [_ONES[number % 100]] if number % 100 or not words else words
    return words + [_TENS[tens] + (f"-{_ONES[ones]}" if ones else "")]


def say_number(number):
    """A whole number below 10 ** 36: 1205 -> "one thousand two hundred five"."""
    if number < 1_000:
        return " ".join(_hundreds(number))
    words = []
    for scale in _SCALES:
        number, group = divmod(number, 1_000)
        if group:
            words[:0] = _hundreds(group) + ([scale] if scale else [])
    return " ".join(words)


def say_digits(text):
    """Digit by digit: "007" -> "zero zero seven"."""
    return " ".join(_ONES[int(digit)] for digit in text if digit.isdecimal())


@functools.lru_cache(10_000)
def say_cardinal(text):
    """ "1,250.50" -> "one thousand two hundred fifty point five zero", ".5" -> "point five"; "007" and the very long digit by
    digit."""
    whole, point, decimals = text.partition(".")
    digits = whole.replace(",", "")
    longest = _LONGEST_GROUPED if "," in whole else _LONGEST
    if len(digits) > longest or (len(digits) > 1 and int(digits[0]) == 0):
        words = say_digits(digits)
    else:
        words = say_number(int(digits)) if digits else ""
    return f"{words} point {say_digits(decimals)}".lstrip() if point else words


def say_ordinal(text):
    """ "1,000" or "22" -> "one thousandth", "twenty-second"; the very long digit by digit."""
    words = say_cardinal(text.replace(",", "").lstrip("0") or "0")
    start, last = words[: -len(words.replace("-", " ").split()[-1])], words.replace("-", " ").split()[-1]
    if last in _ORDINALS:
        return start + _ORDINALS[last]
    return start + (last[:-1] + "ieth" if last.endswith("y") else last + "th")


def say_year(text):
    """ "1905" -> "nineteen oh five", "2000" -> "two thousand", "1900" -> "nineteen hundred"; 1000 to 9999."""
    number = int(text)
    century, rest = divmod(number, 100)
    if number % 1000 < 10 or century == 10 and rest < 10:
        return say_number(number)
    if not rest:
        return f"{say_number(century)} hundred"
    return f"{say_number(century)} {say_pair(text[-2:])}"


def say_pair(text):
    """The last two digits of a year: "05" -> "oh five", "98" -> "ninety-eight"."""
    return ("oh " if int(text) < 10 else "") + say_number(int(text))


def say_code(digits):
    """How a number in a name is said: "747" -> "seven forty-seven", "2020" -> "twenty twenty", longer ones digit by digit."""
    if len(digits) < 3:
        return say_cardinal(digits)
    if len(digits) == 4 and 1100 <= int(digits) < 2100:
        return say_year(digits)
    if len(digits) == 3 and int(digits[1]) and int(digits[0]):
        return f"{say_cardinal(digits[0])} {say_cardinal(digits[1:])}"
    return say_cardinal(digits) if len(digits) <= 4 else say_digits(digits)


def plural(words):
    if words.endswith("x"):
        return words + "es"
    return words[:-1] + "ies" if words.endswith("y") else words + "s"
