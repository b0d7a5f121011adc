"""Numbers as words in other languages than English."""

import time

import pytest

from orpheus.common.errors import InputError
from orpheus.speech.options import TextOptions
from orpheus.text.normalization.other_languages import numbers_as_words
from orpheus.text.spoken import as_spoken


@pytest.mark.parametrize(
    "language, written, said",
    [
        ("de", "Er hat 21 Katzen.", "Er hat einundzwanzig Katzen."),
        ("de", "Am 5. Juli 1990 kam der 3. Mann.", "Am fünften Juli neunzehnhundertneunzig kam der dritte Mann."),
        ("de", "Er ist 5. Dann ging er.", "Er ist fünf. Dann ging er."),
        ("de", "1.234 Leute, 3,5 Liter", "eintausendzweihundertvierunddreißig Leute, drei Komma fünf Liter"),
        ("de", "Um 10:30, Version 1.2.3, A4, 1990er, 007", "Um 10:30, Version 1.2.3, A4, 1990er, 007"),
        ("fr", "Il a 71 ans.", "Il a soixante et onze ans."),
        ("es", "Tiene 1.500 libros y 2,5 litros.", "Tiene mil quinientos libros y dos coma cinco litros."),
        ("ko", "사과 3 개", "사과 삼 개"),
        ("tr", "3,5 lira", "3,5 lira"),  # num2words would say 3.50
    ],
)
def test_numbers(language, written, said):
    assert numbers_as_words(written, language) == said
    assert as_spoken(written, True, language)[0] == said
    assert as_spoken(written, False, language)[0] == written


def test_a_language_that_num2words_does_not_know():
    with pytest.raises(InputError, match="num2words does not write the numbers of 'hindi' as words"):
        numbers_as_words("25", "hi")
    with pytest.raises(InputError, match="hindi"):
        TextOptions(normalize="on", language="hi")
    TextOptions(normalize="auto", language="hi")


@pytest.mark.parametrize("kind", ["7", "7.", "1.234 ", "3,5 ", "am 5. Juli ", "1,234,", "1 "])
def test_time_grows_with_the_length(kind):
    began = time.process_time()
    numbers_as_words((kind * 100_000)[:100_000], "de")
    assert time.process_time() - began < 2
