"""Names and places that several packages share, and the checks that every options.py makes."""

import math
import numbers
from pathlib import Path

from orpheus.common.errors import InputError

ROOT = Path(__file__).resolve().parents[2]  # of the project
ORPHEUS_3B = "unsloth/orpheus-3b-0.1-ft"
SNAC_24KHZ = "hubertsiuzdak/snac_24khz"
ORPHEUS_3B_VOICES = ("tara", "leah", "jess", "leo", "dan", "mia", "zac", "zoe")


OUTPUT_DIR = "generated_audio"
LORA_DIR = "lora_model"


def check(condition, message):
    if not condition:
        raise InputError(message)


def is_number(value):
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)


def is_whole(value):
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def check_range(options, name, low, high, hint=""):
    """Refuses a number outside low..high."""
    value = getattr(options, name)
    check(is_number(value) and low <= value <= high, f"{name} {value} is not in {low}..{high}{hint}")


def check_whole(options, name, low, hint=""):
    value = getattr(options, name)
    check(is_whole(value) and value >= low, f"{name} {value} is not a whole number from {low} up{hint}")
