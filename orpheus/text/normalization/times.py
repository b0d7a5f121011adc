"""Clocks, spans of time and ratios."""

import re

from orpheus.text.normalization.numbers import say_cardinal, say_number
from orpheus.text.normalization.patterns import DASH, END, START, after, letters

_HALF = r"[ap]\.?m\b\.?|[AP]\.?M\b\.?"
_ZONE = r"(?:[ECMPecmp]\.?[SDsd]\.?[Tt]|[Gg]\.?[Mm]\.?[Tt]|[Uu]\.?[Tt]\.?[Cc]|BST|CES?T|[ECMP]T)\b"
_HOUR, _MINUTE = r"[01]?\d|2[0-4]", r"[0-5]\d"


def _half(text, match):
    """ "a m" or "p m", and a full stop if the abbreviation's also ends the sentence."""
    if not text:
        return ""
    ends = text.endswith(".") and re.match(r"\s*$|\s+[A-Z\"]", after(match))
    return f" {text[0].lower()} m" + ("." if ends else "")


def _say(hour, minute, half):
    """half: whether a.m. or p.m. follows."""
    hour = int(hour)
    if minute is None:
        return say_number(hour)
    if minute == "00":
        return say_number(hour) + ("" if half else " o'clock" if hour <= 12 else " hundred")
    return f"{say_number(hour)} {'oh ' * (minute[0] == '0')}{say_number(int(minute))}"


def _time(match):
    hour, minute, half, zone = match.groups()
    if zone:
        return f"{_say(hour, minute, half)} {half[0].lower() + ' m ' if half else ''}{letters(zone)}"
    return _say(hour, minute, half) + _half(half, match)


def _times(match):
    """ "9-5pm" -> "nine to five p m"."""
    hour, minute, half, last_hour, last_minute, last_half = match.groups()
    if not (half or last_half or (minute and last_minute)):
        return match[0]
    first = _say(hour, minute, half or (last_half and minute)) + (f" {half[0].lower()} m" if half else "")
    return f"{first} to {_say(last_hour, last_minute, last_half)}{_half(last_half, match)}"


def _count(number, noun):
    return f"{say_number(number)} {noun}{'s' * (number != 1)}"


def _with_seconds(match):
    """ "1:02:45" -> "one hour two minutes and forty-five seconds"; a clock's "9:15:30 a.m." -> "nine fifteen a m and thirty
    seconds"."""
    hours, minutes, seconds, fraction, half, zone = match.groups()
    zone = f" {letters(zone)}" if zone else ""
    if half:
        clock = f"{_say(hours, minutes, half)} {half[0].lower()} m"
        return clock + (f" and {_count(int(seconds), 'second')}" if int(seconds) else "") + zone
    parts = [_count(int(n), noun) for n, noun in ((hours, "hour"), (minutes, "minute")) if int(n)]
    if fraction:
        last = f"{say_cardinal(f'{int(seconds)}.{fraction}')} seconds"
    elif int(seconds) or not parts:
        last = _count(int(seconds), "second")
    else:
        return " and ".join(parts) + zone
    return " ".join(parts) + (" and " if parts else "") + last + zone


def _hour(match):
    zone = f" {letters(match[4])}" if match[4] else ""
    return say_cardinal(match[1]) + (f" {match[3][0].lower()} m{zone}" if zone else _half(match[3], match))


GROUPS = [
    (
        r"\d:\d|\d ?[apAP]\.?[mM]",
        [
            (START + rf"(\d{{1,3}}):({_MINUTE}):({_MINUTE})(?:[.,](\d{{1,6}}))?(?: ?({_HALF}))?(?: ?({_ZONE}))?" + END, _with_seconds),
            (
                START + rf"({_HOUR})(?::({_MINUTE}))?(?: ?({_HALF}))? ?{DASH} ?({_HOUR})(?::({_MINUTE}))?(?: ?({_HALF}))?" + END,
                _times,
            ),
            (START + rf"({_HOUR}):({_MINUTE})(?: ?({_HALF}))?(?: ?({_ZONE}))?" + END, _time),
            (START + rf"(0?\d|1[0-2])\.({_MINUTE}) ?({_HALF})(?: ?({_ZONE}))?" + END, _time),
            (START + rf"(1[0-2]|[1-9])() ?({_HALF})(?: ({_ZONE}))?", _hour),
            (
                START + rf"(\d{{1,2}}):({_MINUTE})\.(\d{{1,3}})(?![\w.,:])",
                lambda match: f"{say_number(int(match[1]))} {say_cardinal(f'{int(match[2])}.{match[3]}')}",
            ),
            (
                START + r"(\d{1,15}):(\d{1,15})" + END,
                lambda match: f"{say_cardinal(match[1])} to {say_cardinal(match[2])}",
            ),
        ],
    ),
]  # fmt: skip
