"""A text as it reaches the model: the one way, for what is spoken and for what is learnt."""

from orpheus.text.cleaning import clean_text
from orpheus.text.languages import ENGLISH, language_code


def as_spoken(text, normalize, language=ENGLISH):
    """(text as a model reads it, list of what was left out: see clean_text).

    normalize: whether numbers, dates and the like are written as words, for models that need that ("normalize_text" in their
    description). For English these are many rules; for other languages plain numbers, where num2words knows the language.
    Raises InputError for one that it does not know.
    """
    text, removed = clean_text(text)
    return (spelled_out(text, language) if normalize else text), removed


def spelled_out(text, language=ENGLISH):
    """Clean text with numbers, dates and the like as words. Raises InputError for a language whose numbers nobody knows here."""
    if language == ENGLISH:
        from orpheus.text.normalization import normalize

        return normalize(text)
    from orpheus.text.normalization.other_languages import numbers_as_words

    return numbers_as_words(text, language)


def wants_normalizing(asked, description):
    """Whether texts are normalised. asked: "auto", "on" or "off"; description: the model's, which decides where it is "auto"."""
    return description.normalize_text if asked == "auto" else asked == "on"


def check_normalizing(asked, language):
    """Refuses what is no language, and one whose numbers cannot be written as words where that is asked for. Raises InputError.

    asked: "auto", "on" or "off"; language: what the user said, None for the model's
    """
    code = ENGLISH if language is None else language_code(language)
    if code != ENGLISH and asked == "on":
        from orpheus.text.normalization.other_languages import check_numbers

        check_numbers(code)
