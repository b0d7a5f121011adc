"""How long a text takes to say, before anyone has said it."""

import re

from orpheus.text.tags import TAG

# Of text in an alphabet read aloud, with punctuation and spaces; the demo voice's teacher reads 15.3. It is the same for all
# alphabets: 68 ms a character, 65 to 71 in fourteen languages (Trauzettel-Klosinski and Dietz 2012, IReST, doi 10.1167/iovs.11-8284).
CHARACTERS_PER_SECOND = 15
# Spoken length, in characters, of what is written short: "7" is said "seven", "NASA" may be spelled out, a tag is a sound.
_DIGIT_CHARACTERS, _CAPITAL_CHARACTERS, _TAG_CHARACTERS = 5, 3, 15
# The same for other scripts, as (characters more than one of an alphabet, which characters). From the same study, in which English is
# read at 987 characters a minute: Chinese 255, Japanese 357 of kanji (two morae) and kana (one) together, Arabic 612, where most
# vowels are not written, Hebrew 833. A Korean or Ethiopic character is a syllable, five a second. A vowel point or a tone mark adds
# nothing that its letter does not have; CJK marks are as much as "," and the space that they have with them.
_SCRIPTS = tuple(
    (more, re.compile(f"[{characters}]"))
    for more, characters in (
        (3, "\u2e80-\u2fff\u3005-\u3007\u3021-\u3029\u3105-\u312f\u31a0-\u31bf\u31c0-\u31ef\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"),  # Han, bopomofo
        (3, "\U00020000-\U000323af"),
        (2, "\uac00-\ud7a3\u1200-\u135a\u1380-\u138f\u2d80-\u2dde\ua000-\ua48c\u13a0-\u13f5\u1401-\u166c\ua500-\ua60b"),  # syllables
        (1, "\u30a1-\u30fa\u30fc\u3041-\u3096\uff66-\uff9d\u1100-\u115f\u3001-\u3002\uff01-\uff0f\uff1a-\uff1f"),  # kana, marks
        (-1, "\u3041\u3043\u3045\u3047\u3049\u3083\u3085\u3087\u308e\u30a1\u30a3\u30a5\u30a7\u30a9\u30e3\u30e5\u30e7\u30ee\uff67-\uff6e"),
        (0.6, "\u0620-\u064a\u0671-\u06d3\u06d5\u06fa-\u06fc\u0750-\u077f\u08a0-\u08b4"),  # Arabic letters
        (0.2, "\u05d0-\u05ea"),
        (-1, "\u0591-\u05bd\u064b-\u065f\u0670\u0e47-\u0e4e\u0ec8-\u0ecd\u200b-\u200d\u3099\u309a"),
    )
)
_DIGITS, _CAPITALS = re.compile(r"\d"), re.compile(r"\b[A-Z]{2,5}\b")


def estimate_seconds(text):
    """Roughly how long `text` takes to say, in any script; digits, capitals and tags count as they sound."""
    tags = TAG.findall(text)
    plain = TAG.sub("", text) if tags else text
    characters = (
        len(plain)
        + len(_DIGITS.findall(plain)) * (_DIGIT_CHARACTERS - 1)
        + sum(map(len, _CAPITALS.findall(plain))) * (_CAPITAL_CHARACTERS - 1)
        + len(tags) * _TAG_CHARACTERS
    )
    if not plain.isascii():
        characters += sum(more * len(kind.findall(plain)) for more, kind in _SCRIPTS)
    return characters / CHARACTERS_PER_SECOND
