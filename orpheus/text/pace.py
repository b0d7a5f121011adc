"""How long a text takes to say, before anyone has said it."""

import functools
import re
from collections import Counter

from orpheus.text.tags import TAG

# Of text in an alphabet read aloud, with punctuation and spaces; the demo voice's teacher reads 15.3. It is the same for all
# alphabets: 68 ms a character, 65 to 71 in fourteen languages (Trauzettel-Klosinski and Dietz 2012, IReST, doi 10.1167/iovs.11-8284).
CHARACTERS_PER_SECOND = 15
# Spoken length, in characters, of what is written short: "7" is said "seven", "NASA" may be spelled out, a tag is a sound.
_DIGIT_CHARACTERS, _CAPITAL_CHARACTERS, _TAG_CHARACTERS = 5, 3, 15
MOST_CHARACTERS = 5  # that a single one can count for, as a digit or in a tag does
# The same for other scripts. From the same study, in which English is read at 987 characters a minute: Chinese 255, Japanese 357 of
# kanji (two morae) and kana (one) together, Arabic 612, where most vowels are not written, Hebrew 833. A Korean or Ethiopic
# character is a syllable, five a second. A vowel point or a tone mark adds nothing that its letter does not have, a small kana
# nothing to the one before; CJK marks are as much as "," and the space that it has with it.
_SCRIPTS = tuple(
    (length, re.compile(f"[{characters}]"))
    for length, characters in (
        (
            0,
            "\u3041\u3043\u3045\u3047\u3049\u3083\u3085\u3087\u308e\u30a1\u30a3\u30a5\u30a7\u30a9\u30e3\u30e5\u30e7\u30ee\uff67-\uff6e",
        ),
        (0, "\u0591-\u05bd\u064b-\u065f\u0670\u0e47-\u0e4e\u0ec8-\u0ecd\u200b-\u200d\u3099\u309a"),
        (2, "\u3041-\u3096\u30a1-\u30fa\u30fc\uff66-\uff9d\u3001\u3002\uff01-\uff0f\uff1a-\uff1f"),
        (
            4,
            "\u2e80-\u2fff\u3005-\u3007\u3021-\u3029\u3105-\u312f\u31a0-\u31bf\u3400-\u9fff\uf900-\ufaff\U00020000-\U000323af",
        ),
        (
            3,
            "\uac00-\ud7a3\u1100-\u115f\u1200-\u135a\u1380-\u138f\u2d80-\u2dde\ua000-\ua48c\u13a0-\u13f5\u1401-\u166c\ua500-\ua60b",
        ),
        (1.6, "\u0620-\u064a\u0671-\u06d3\u06d5\u06fa-\u06fc\u0750-\u077f\u08a0-\u08b4"),
        (1.2, "\u05d0-\u05ea"),
    )
)
_DIGITS, _CAPITALS = re.compile(r"\d"), re.compile(r"\b[A-Z]{2,5}\b")


@functools.lru_cache(4096)
def _characters(character):
    """How many characters of an alphabet one takes as long as, digits apart."""
    return next((length for length, kind in _SCRIPTS if kind.match(character)), 1)


def estimate_seconds(text):
    """Roughly how long `text` takes to say, in any script; digits, capitals and tags count as they sound."""
    tags = TAG.findall(text)
    plain = TAG.sub("", text) if tags else text
    if plain.isascii():
        characters = len(plain)
    else:
        characters = sum(count * _characters(character) for character, count in Counter(plain).items())
    characters += len(_DIGITS.findall(plain)) * (_DIGIT_CHARACTERS - 1)
    characters += sum(map(len, _CAPITALS.findall(plain))) * (_CAPITAL_CHARACTERS - 1)
    characters += len(tags) * _TAG_CHARACTERS
    return characters / CHARACTERS_PER_SECOND
