"""A text as it reaches the model: the one way, for what is spoken and for what is learnt."""

from orpheus.text.cleaning import clean_text


def as_spoken(text, normalize):
    """(text as a model reads it, list of the characters left out).

    normalize: whether numbers, dates and the like are written as words, for models that need that ("normalize_text" in their
    description)
    """
    text, removed = clean_text(text)
    if normalize:
        from orpheus.text.normalization import normalize as normalized

        text = normalized(text)
    return text, removed


def wants_normalizing(asked, description):
    """Whether texts are normalised. asked: "auto", "on" or "off"; description: the model's, which decides where it is "auto"."""
    return description.normalize_text if asked == "auto" else asked == "on"
