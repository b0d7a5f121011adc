"""Written English to spoken English: `normalize`. The kinds stand in files of their own; rules.py puts them in order."""

from orpheus.text.normalization.rules import normalize  # noqa: F401
