"""Figures as people read them: two or three digits and a unit."""

import math


def rounded(value, digits=3):
    """890 for 890.4, 34,100 for 34,123, 0.0123 for 0.012345: so many significant digits, never an exponent."""
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    places = digits - 1 - math.floor(math.log10(abs(value)))
    value = round(value, places)
    places = digits - 1 - math.floor(math.log10(abs(value)))  # 9.996 is 10.0, not 10.00
    return f"{value:,.{max(0, places)}f}"


def in_words(seconds):
    """40 seconds, 2.7 minutes, 12 minutes, 1.5 hours, 4 days: for an estimate or a length."""
    for unit, size, most in (("seconds", 1, 90), ("minutes", 60, 90), ("hours", 3600, 48)):
        if seconds < most * size:
            value = _short(seconds / size)
            return f"{value} {unit.removesuffix('s') if value == '1' else unit}"
    return f"{seconds / 86400:,.0f} days"


def _short(value):
    return f"{value:.0f}" if value >= 10 or value == round(value) else f"{value:.1f}"
