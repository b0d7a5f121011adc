"""Numbers as Americans say them, using num2words."""

import functools

from num2words import num2words as _num2words

num2words = functools.lru_cache(10_000)(_num2words)  # a call takes a few tenths of a millisecond


def _american(words):
    """num2words' British "one thousand, two hundred and five" as "one thousand two hundred five"."""
    return words.replace(",", "").replace(" and ", " ").replace("oh-", "oh ")


def say_digits(text):
    """Digit by digit: "007" -> "zero zero seven"."""
    return " ".join(num2words(int(digit)) for digit in text if digit.isdigit())


def say_cardinal(text):
    """ "1,250.50" -> "one thousand two hundred fifty point five zero"; "007" and the very long digit by digit."""
    whole, point, decimals = text.replace(",", "").partition(".")
    if len(whole) > 15 or (len(whole) > 1 and whole.startswith("0")):
        words = say_digits(whole)
    else:
        words = _american(num2words(int(whole or 0)))
    return f"{words} point {say_digits(decimals)}" if point else words


def say_ordinal(text):
    return _american(num2words(int(text.replace(",", "")), to="ordinal"))


def say_year(text):
    number = int(text)
    return (
        _american(num2words(number, to="year"))
        if not 2000 < number < 2010
        else f"two thousand {num2words(number % 100)}"
    )


def plural(words):
    return words[:-1] + "ies" if words.endswith("y") else words + "s"
