"""A text as it reaches the model: the one way, for what is spoken and for what is learnt."""

from orpheus.text.cleaning import clean_text


def as_spoken(text, normalize):
    """(text as a model reads it, list of the characters left out).

    normalize: whether numbers, dates and the like are written as words, for models that need that ("normalize_text" in their
    config.json)
    """
    text, removed = clean_text(text)
    return (spelled_out(text) if normalize else text), removed


def spelled_out(text):
    """Clean text with numbers, dates and the like as words."""
    from orpheus.text.normalization import normalize

    return normalize(text)


def wants_normalizing(asked, config):
    """Whether texts are normalised. asked: "auto", "on" or "off"; config: the model's config.json, which decides where it is "auto"."""
    return bool(config.get("normalize_text", False)) if asked == "auto" else asked == "on"
