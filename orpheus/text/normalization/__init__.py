"""Written English to spoken English: `normalize`. The rules are in rules.py, their words in forms.py and numbers.py."""

from orpheus.text.normalization.rules import normalize  # noqa: F401
