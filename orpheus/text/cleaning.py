"""Text as a model reads it: plain quotes, single spaces, nothing that cannot be spoken."""

import html
import re
import unicodedata

from orpheus.text.markup import plain_markdown, plain_markup
from orpheus.text.tags import KNOWN_TAGS, TAG

_TYPOGRAPHY = str.maketrans(
    {
        **dict.fromkeys("‘’‛", "'"),
        **dict.fromkeys("“”„", '"'),
        **dict.fromkeys("‐‑", "-"),
        "‚": ",",
        "…": "...",
        "\t": " ",
    }
)


# Zero-width joiners and non-joiners that spell a word: between letters, or after a virama, of scripts that need them, as Persian,
# Malayalam and Sinhala do. Elsewhere they are as invisible as other format characters, and left out.
_LETTER = r"[\u0620-\u074f\u0750-\u077f\u0780-\u085f\u08a0-\u0dff\u0f40-\u0fbc\u1000-\u109f\u1780-\u17d3\u1800-\u18af\ua840-\uaaff]"
_VIRAMA = r"[\u094d\u09cd\u0a4d\u0acd\u0b4d\u0bcd\u0c4d\u0ccd\u0d4d\u0dca\u1039\u17d2]"
_JOINED = re.compile(rf"((?<={_LETTER})[\u200c\u200d](?={_LETTER})|(?<={_VIRAMA})[\u200c\u200d](?![\u200c\u200d]))")
_UNSPEAKABLE = {"Cc", "Cf", "Cs", "Co", "Cn"}  # control, format, surrogate, private, unassigned


_MOST_MARKS = (
    30  # combining marks on one letter: Unicode's stream-safe limit, beyond which sorting them takes ever longer
)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][\da-fA-F]{1,6}|[A-Za-z][A-Za-z\d]{1,30});")


def clean_text(text):
    """Cleans text for a model and lists what was taken out.

    Typographic quotes, dots and spaces become plain ones, known tags lower case, runs of white space one space; an
    empty line stays as the paragraph break "\\n\\n". HTML's entities are decoded, once; simple Markdown, SSML and HTML are
    read as text (see markup.py). Emoji and invisible characters are left out. Takes time in proportion to the text.

    returns: (clean text, list of what was left out: characters, and names such as "<prosody>" or "Markdown heading", on which
        `markup.advice` has a line)
    """
    removed = []
    text = _plain(_few_marks(text, removed))
    text, lost = plain_markup(text)
    if "&" in text:
        text = _plain(_few_marks(_ENTITY.sub(lambda match: html.unescape(match[0]), text), removed))
    text = _without_unspeakable(text, removed)
    text, found = plain_markdown(text)
    text = TAG.sub(lambda match: match[0].lower() if match[1].lower() in KNOWN_TAGS else match[0], text)
    paragraphs = (" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", text))
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph), removed + lost + found


def _plain(text):
    return unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n").translate(_TYPOGRAPHY)


def _few_marks(text, removed):
    """The text with at most _MOST_MARKS combining marks in a row."""
    if text.isascii():
        return text
    kept, marks = [], 0
    for character in text:
        marks = marks + 1 if character > "\u02ff" and unicodedata.combining(character) else 0
        if marks > _MOST_MARKS:
            removed.append(character)
        else:
            kept.append(character)
    return "".join(kept)


def _without_unspeakable(text, removed):
    def keep(character):
        code = ord(character)
        symbol = code >= 0x2190 and unicodedata.category(character) == "So"
        emoji_part = code >= 0x1F000 or code in (0x20E3, 0xFE0E, 0xFE0F) or 0x1F3FB <= code <= 0x1F3FF
        if character != "\n" and (symbol or emoji_part or unicodedata.category(character) in _UNSPEAKABLE):
            removed.append(character)
            return False
        return True

    parts = _JOINED.split(text)  # the joiners between are kept
    return "".join("".join(filter(keep, part)) if n % 2 == 0 else part for n, part in enumerate(parts))


def is_speakable(text):
    """Whether the text has a letter, a digit or a tag to speak."""
    return any(character.isalnum() for character in text)
