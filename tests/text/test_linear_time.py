"""No text takes time with the square of its length: patterns made of an alphabet of tokens, each at one length and at twice."""

import itertools
import re
import time

import pytest

from orpheus.text.cleaning import clean_text
from orpheus.text.normalization import normalize

SHORT, BOUND = 3_000, 3.4  # characters; twice the length takes about twice the time, with a square four times
FLOOR = 0.15  # seconds below which nobody waits: 6,000 characters of a square took 2
TOKENS = [
    *("7", "111,", "a.", "1-", "1/", "$1", "1:", "A.", "M", "www.", "@", "a@", "(", "&amp;", "<", "<b>", "*", "**a", "_", "_a_"),
    *("#", "'1", '"', "1 ", "1.", "A4", "ABC ", "½", "°", "Jan 1 ", "1km", "1st", "[a](", "`x", "|", "- ", "\n", "\n- a", "+1", "x1"),
    *("e\u0301", "\u0323\u0301", "http://a", "a-", "1 s", "€", "%", "King I ", "1x", "I", "é", "²", "a_", "~1", "<break/>", "> "),
]  # fmt: skip
PAIRS = ["".join(pair) for pair in itertools.product(TOKENS[::3], TOKENS[1::4])]


def seconds(function, text):
    began = time.process_time()
    function(text)
    return time.process_time() - began


def grows_faster(function, pattern, short=SHORT):
    """Whether twice the text takes clearly more than twice the time, three times in a row."""
    for _ in range(3):
        text = (pattern * (2 * short // len(pattern) + 1))[: 2 * short]
        twice = seconds(function, text)
        if twice < FLOOR or twice < BOUND * seconds(function, text[:short]):
            return False
    return True


@pytest.mark.parametrize("function", [normalize, clean_text])
def test_twice_the_text_takes_twice_the_time(function):
    assert [pattern for pattern in TOKENS + PAIRS[::5] if grows_faster(function, pattern)] == []


@pytest.mark.parametrize(
    "function, pattern", [(normalize, "1-"), (normalize, "111,"), (clean_text, "\u0323\u0301"), (clean_text, "**a")]
)
def test_a_hundred_thousand_characters(function, pattern):
    assert not grows_faster(function, pattern, 50_000)


def test_faster_growth_is_noticed():
    """Of a cube, eight times as long for twice the text: far from the bound on a busy machine too."""
    assert grows_faster(lambda text: re.search("7+7+x", text), "7", 600)
