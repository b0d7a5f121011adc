"""Emotion tags: the known ones, and finding them in a text."""

import difflib
import re

# Emotion tags by category. To the tokenizer they are ordinary text; the model learnt the sounds from data.
TAGS = {
    "Laughter": ("laugh", "giggles", "chuckle"),
    "Emotions": ("sigh", "gasp"),
    "Physical": ("yawn", "cough", "sniffle", "groan"),
}
KNOWN_TAGS = tuple(tag for tags in TAGS.values() for tag in tags)
ANY_TAG = "<[A-Za-z]+>"  # for larger patterns
TAG = re.compile("<([A-Za-z]+)>")


def find_tags(text):
    """Names of the tags in `text`, in order, as written: "<laugh> ho <Sigh>" -> ["laugh", "Sigh"]."""
    return TAG.findall(text)


def unknown_tags(text):
    """{unknown tag: nearest known tag or None}, in order of appearance."""
    unknown = dict.fromkeys(tag for tag in find_tags(text) if tag.lower() not in KNOWN_TAGS)
    return {tag: next(iter(difflib.get_close_matches(tag.lower(), KNOWN_TAGS, n=1)), None) for tag in unknown}
