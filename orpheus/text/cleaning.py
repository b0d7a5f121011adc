"""Text as a model reads it: plain quotes, single spaces, nothing that cannot be spoken."""

import re
import unicodedata

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


_UNSPEAKABLE = {"Cc", "Cf", "Cs", "Co", "Cn"}  # control, format, surrogate, private, unassigned


def clean_text(text):
    """Cleans text for a model and lists what was taken out.

    Typographic quotes, dots and spaces become plain ones, known tags lower case, runs of white space one space; an
    empty line stays as the paragraph break "\\n\\n". Emoji and invisible characters are left out.

    returns: (clean text, list of the characters left out)
    """
    removed = []

    def keep(character):
        code = ord(character)
        symbol = code >= 0x2190 and unicodedata.category(character) == "So"
        emoji_part = code >= 0x1F000 or code in (0x20E3, 0xFE0E, 0xFE0F) or 0x1F3FB <= code <= 0x1F3FF
        if character != "\n" and (symbol or emoji_part or unicodedata.category(character) in _UNSPEAKABLE):
            removed.append(character)
            return False
        return True

    text = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n").translate(_TYPOGRAPHY)
    text = "".join(filter(keep, text))
    text = TAG.sub(lambda match: match[0].lower() if match[1].lower() in KNOWN_TAGS else match[0], text)
    paragraphs = (" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", text))
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph), removed


def is_speakable(text):
    """Whether the text has a letter, a digit or a tag to speak."""
    return any(character.isalnum() for character in text)
