"""How long a text takes to say, by script."""

import pytest

from orpheus.data.checks import text_problem
from orpheus.speech.retries import why_again
from orpheus.text.pace import MOST_CHARACTERS, estimate_seconds


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("a" * 150, 10),
        ("ж" * 150, 10),
        ("か" * 15, 2),  # a mora is two characters: 7.5 a second
        ("きゃ" * 15, 2),  # one mora, not two
        ("漢" * 15, 4),
        ("안" * 15, 3),
        ("ሰ" * 15, 3),
        ("ب" * 15, 1.6),
        ("بَ" * 15, 1.6),  # a vowel point takes no time of its own
        ("7" * 15, 5),
        ("<laugh>", 1),
    ],
)
def test_estimated_length(text, seconds):
    assert estimate_seconds(text) == pytest.approx(seconds)


def test_no_character_counts_for_more_than_the_most():
    for text in ("7", "<a>", "漢", "A" * 5, "안", "ሰ", "か"):
        assert estimate_seconds(text) * 15 <= MOST_CHARACTERS * len(text)


def test_fifty_kana_in_their_time_are_neither_too_long_nor_too_short():
    import numpy as np

    kana = "あ" * 50
    for seconds in (5.0, 6.5, 9.0):  # ten to five and a half morae a second
        assert text_problem(kana, seconds, seconds) is None
        frames = np.arange(7 * round(seconds * 24_000 / 2048)).reshape(-1, 7)
        assert why_again(kana, frames, "end_of_speech") is None
