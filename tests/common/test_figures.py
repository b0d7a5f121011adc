"""Figures as people read them."""

import pytest

from orpheus.common.figures import in_words, rounded


@pytest.mark.parametrize(
    "value, digits, text",
    [
        (8.155468981412914, 3, "8.16"),
        (8.155468981412914, 2, "8.2"),
        (34_123.4, 3, "34,100"),
        (890.4, 3, "890"),
        (1280.0, 3, "1,280"),
        (0.012345, 3, "0.0123"),
        (9.996, 3, "10.0"),
        (999.7, 3, "1,000"),
        (-4.0312, 3, "-4.03"),
        (0.0, 3, "0"),
        (2e-4, 2, "0.00020"),
        (float("inf"), 3, "inf"),
    ],
)
def test_so_many_digits_and_no_exponent(value, digits, text):
    assert rounded(value, digits) == text


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0.31, "0.3 seconds"),
        (1, "1 second"),
        (40.4, "40 seconds"),
        (89.9, "90 seconds"),
        (131, "2.2 minutes"),
        (180, "3 minutes"),
        (3000, "50 minutes"),
        (5400, "1.5 hours"),
        (36_000, "10 hours"),
        (400_000, "5 days"),
    ],
)
def test_a_length_of_time_in_words(seconds, text):
    assert in_words(seconds) == text
