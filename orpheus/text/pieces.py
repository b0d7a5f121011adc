"""Cutting long text into pieces that one generation can speak."""

import re
from bisect import bisect_left
from dataclasses import dataclass

from orpheus.text.tags import ANY_TAG, TAG

CHARACTERS_PER_SECOND = 15  # of English read aloud, with punctuation and spaces; the demo voice's teacher reads 15.3
# Spoken length, in characters, of what is written short: "7" is said "seven", "NASA" may be spelled out, a Chinese,
# Japanese or Korean character is a syllable, a tag is a sound.
_DIGIT_CHARACTERS, _CAPITAL_CHARACTERS, _SYLLABLE_CHARACTERS, _TAG_CHARACTERS = 5, 3, 4, 15


def estimate_seconds(text):
    """Roughly how long `text` takes to say; digits, capitals and tags count as they sound."""
    tags = TAG.findall(text)
    plain = TAG.sub("", text)
    digits = sum(character.isdigit() for character in plain)
    capitals = sum(len(run) for run in re.findall(r"\b[A-Z]{2,5}\b", plain))
    characters = (
        len(plain)
        + digits * (_DIGIT_CHARACTERS - 1)
        + capitals * (_CAPITAL_CHARACTERS - 1)
        + len(tags) * _TAG_CHARACTERS
    )
    syllables = sum("\u2e80" <= character <= "\ud7ff" for character in plain)
    return (characters + syllables * (_SYLLABLE_CHARACTERS - 1)) / CHARACTERS_PER_SECOND


# --- sentences -------------------------------------------------------------------------------------------------------

# A full stop after these never ends a sentence.
_TITLES = frozenset(
    "mr mrs ms dr prof st sr jr rev fr hon gen col maj capt cmdr lt sgt gov sen rep mt vs cf viz approx fig figs vol dept est".split()
)
# After these it does unless a digit follows: "No. 5", "pp. 3".
_BEFORE_NUMBER = frozenset("no nos pp p art sec ch eq jan feb mar apr jun jul aug sep sept oct nov dec".split())
# End of a sentence: its marks, closing quotes or brackets, and the tags that follow.
_SENTENCE_END = re.compile(rf"(?:(?<![.!?])[.!?]+[\"')\]]*(?:\s*{ANY_TAG})*(?=\s))|[。！？]+")
_NEXT = re.compile(rf"(?:[\s\"'(\[]|{ANY_TAG})*(.?)", re.S)  # the first letter of what follows
_LONGEST_WORD = 40  # characters to look back for an abbreviation


def _ends_sentence(text, start, match):
    """Whether the candidate `match` in `text` ends the sentence that began at `start`."""
    following = _NEXT.match(text, match.end())[1]
    if following.islower():
        return False
    if not match[0].startswith(".") or match[0].startswith(".."):
        return True
    before = text[max(start, match.start() - _LONGEST_WORD) : match.start()]
    word = before[before.rfind(" ") + 1 :].lstrip("\"'([")
    if word.lower() in _TITLES or (word.lower() in _BEFORE_NUMBER and following.isdigit()):
        return False
    if re.fullmatch(r"[A-Za-z](\.[A-Za-z])*", word) and word != "I":  # J. Smith, U.S. Army, e.g. This
        return False
    list_number = word.isdigit() and before.strip() == word
    return not list_number


def split_sentences(paragraph):
    """Splits a paragraph into sentences. Joined with single spaces they give it back; tags stay with their sentence."""
    sentences, start = [], 0
    for match in _SENTENCE_END.finditer(paragraph):
        if _ends_sentence(paragraph, start, match):
            sentences.append(paragraph[start : match.end()].strip())
            start = match.end()
    sentences.append(paragraph[start:].strip())
    return [sentence for sentence in sentences if sentence]


# --- pieces ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Piece:
    """What one generation speaks."""

    text: str
    ends_paragraph: bool


def _cut_in_two(text):
    """Cuts an overlong sentence: at a clause near the middle, else at a space, else anywhere but inside a tag."""
    middle = len(text) / 2
    spans = [match.span() for match in TAG.finditer(text)]

    def in_tag(position):  # a tag may have spaces
        place = bisect_left(spans, (position,)) - 1
        return place >= 0 and position < spans[place][1]

    for pattern in (r"(?<=[,;:])\s|\s(?=[-–—]\s)|\s(?=\()", r"\s"):
        cuts = [
            match.start()
            for match in re.finditer(pattern, text)
            if 0.2 * len(text) < match.start() < 0.8 * len(text) and not in_tag(match.start())
        ]
        if cuts:
            cut = min(cuts, key=lambda position: abs(position - middle))
            return text[:cut].strip(), text[cut:].strip()
    cut = len(text) // 2
    for match in TAG.finditer(text):
        if match.start() < cut < match.end():
            cut = match.start() or match.end()
    return text[:cut].strip(), text[cut:].strip()


def _fit(sentence, max_seconds):
    if estimate_seconds(sentence) <= max_seconds or TAG.fullmatch(sentence) or len(sentence) < 2:
        return [sentence]
    left, right = _cut_in_two(sentence)
    if not left or not right:
        return [sentence]
    return _fit(left, max_seconds) + _fit(right, max_seconds)


def _join_evenly(parts, max_seconds):
    """Joins neighbours into as few texts of at most `max_seconds` as possible, of similar length (shortest path)."""
    lengths = [estimate_seconds(part + " ") for part in parts]
    best = [(0, 0.0, 0)]  # for the first n parts: texts, sum of squared lengths, start of the last text
    for end in range(1, len(parts) + 1):
        length, choices = 0.0, []
        for start in range(end - 1, -1, -1):
            length += lengths[start]
            if length > max_seconds + 1 / CHARACTERS_PER_SECOND and choices:
                break
            texts, squares, _ = best[start]
            choices.append((texts + 1, squares + length**2, start))
        best.append(min(choices))
    texts, end = [], len(parts)
    while end:
        start = best[end][2]
        texts.append(" ".join(parts[start:end]))
        end = start
    return texts[::-1]


def split_text(text, max_seconds):
    """Cuts cleaned text into pieces of at most about `max_seconds`, at the ends of sentences if possible.

    Sentences of a paragraph share a piece while they fit. The pieces of a paragraph are of similar length, since a very
    short last piece would sound cut off. Joined with white space, the pieces give the text back.
    """
    pieces = []
    for paragraph in text.split("\n\n"):
        parts = [part for sentence in split_sentences(paragraph) for part in _fit(sentence, max_seconds)]
        texts = _join_evenly(parts, max_seconds)
        pieces += [Piece(piece, index == len(texts) - 1) for index, piece in enumerate(texts)]
    return pieces
