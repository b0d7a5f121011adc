"""Compares what was said with what was heard: normalised words, their alignment, repeats and skips."""

import functools
import json
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from orpheus.text.tags import TAG

_SPELLINGS = Path(__file__).parent / "data" / "english_spellings.json"  # Whisper's own: "colour" is "color"
# Spellings that it lacks.
_MORE_SPELLINGS = dict(
    pair.split(":")
    for pair in (
        "acknowledgement:acknowledgment archaeologist:archeologist archaeology:archeology burnt:burned doughnut:donut "
        "doughnuts:donuts dreamt:dreamed enrolment:enrollment fuelled:fueled furore:furor kerb:curb kerbs:curbs learnt:learned "
        "liquorice:licorice mollusc:mollusk ochre:ocher okay:ok refuelled:refueled sizeable:sizable skilful:skillful "
        "skilfully:skillfully spelt:spelled spoilt:spoiled whisky:whiskey wilful:willful wilfully:willfully"
    ).split()
)
# Written without spaces between words: every character counts as a word, as in Whisper's own figures for them (Radford et al.
# 2022, section 3.2).
_WITHOUT_SPACES = {"zh", "yue", "ja", "th", "lo", "my", "km", "bo"}
# Marks that are vowels or join consonants, from Devanagari to Khmer: Whisper's normaliser takes them for symbols and tears words
# apart at them. Those of Arabic and Hebrew may be written or not, and do not count.
_VOWEL_SIGNS, _POINTS = (
    re.compile("[\u0900-\u109f\u1780-\u17ff]"),
    re.compile("[\u0591-\u05c7\u0610-\u061a\u064b-\u0670\u06d6-\u06ed\u200c\u200d\u0640]"),
)


@functools.cache
def _normaliser(language):
    """Whisper's own text normaliser, as shipped with transformers (Radford et al. 2022, appendix C)."""
    from transformers.models.whisper.english_normalizer import BasicTextNormalizer, EnglishTextNormalizer

    if language == "en":
        return EnglishTextNormalizer(json.loads(_SPELLINGS.read_text(encoding="utf-8")) | _MORE_SPELLINGS)
    basic = BasicTextNormalizer(split_letters=language in _WITHOUT_SPACES)
    basic.clean = _without_symbols
    return basic


def _without_symbols(text):
    """What Whisper's `remove_symbols` does, but for marks: vowel signs stay where they are, Arabic and Hebrew points are left out."""
    text = _POINTS.sub("", unicodedata.normalize("NFKC", text))
    return "".join(" " if _is_symbol(character) else character for character in text)


def _is_symbol(character):
    kind = unicodedata.category(character)[0]
    return kind in "SP" or (kind == "M" and not _VOWEL_SIGNS.match(character))


def normalise(text, language="en"):
    """Words for comparison, lower case, without tags and punctuation: "I've 21 <laugh>" -> ["i", "have", "21"].

    English spellings are American, whichever they were: "colour" -> ["color"]. Of Chinese, Japanese, Thai and others that put no
    spaces between words every character is one.
    """
    words = _normaliser(language)(TAG.sub(" ", text)).split()
    return [word for word in words if any(character.isalnum() for character in word)]  # the dots of "well..." remain


def normalise_with_tags(text, language="en"):
    """(words, [(tag, number of words before it)]); each stretch between tags is normalised separately."""
    words, tags, end = [], [], 0
    for match in TAG.finditer(text):
        words += normalise(text[end : match.start()], language)
        tags.append((match[1].lower(), len(words)))
        end = match.end()
    return words + normalise(text[end:], language), tags


# --- alignment -------------------------------------------------------------------------------------------------------


def edits(said, heard):
    """The fewest edit operations that turn `said` into `heard`, two sequences.

    returns: list of (operation, i, j) in order; operation is "equal", "substitute", "delete" (said[i] was not heard) or
    "insert" (heard[j] was not said); i and j are its positions in the two sequences
    """
    rows, columns = len(said) + 1, len(heard) + 1
    cost = [list(range(columns))] + [[i] + [0] * (columns - 1) for i in range(1, rows)]
    for i in range(1, rows):
        above, row = cost[i - 1], cost[i]
        for j in range(1, columns):
            change = above[j - 1] + (said[i - 1] != heard[j - 1])
            row[j] = min(change, above[j] + 1, row[j - 1] + 1)
    operations, i, j = [], rows - 1, columns - 1
    while i or j:
        if i and j and said[i - 1] == heard[j - 1] and cost[i][j] == cost[i - 1][j - 1]:
            i, j = i - 1, j - 1
            operations.append(("equal", i, j))
        elif i and j and cost[i][j] == cost[i - 1][j - 1] + 1:
            i, j = i - 1, j - 1
            operations.append(("substitute", i, j))
        elif i and cost[i][j] == cost[i - 1][j] + 1:
            i -= 1
            operations.append(("delete", i, j))
        else:
            j -= 1
            operations.append(("insert", i, j))
    return operations[::-1]


def distance(said, heard):
    """Levenshtein distance between two sequences."""
    row = list(range(len(heard) + 1))
    for i, a in enumerate(said, 1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(heard, 1):
            diagonal, row[j] = row[j], min(diagonal + (a != b), row[j] + 1, row[j - 1] + 1)
    return row[-1]


@dataclass(frozen=True)
class Comparison:
    """One clip's words, compared."""

    said: list
    heard: list
    operations: list  # of `edits`
    character_errors: int
    repeated: list  # words heard again that are in the text once
    skipped: list  # words in the text that were not heard

    @property
    def word_errors(self):
        return sum(operation != "equal" for operation, _, _ in self.operations)

    @property
    def characters(self):
        return len(" ".join(self.said))


def compare(said, heard):
    """Compares two lists of normalised words."""
    operations = edits(said, heard)
    return Comparison(
        said,
        heard,
        operations,
        distance(" ".join(said), " ".join(heard)),
        _repeated(operations, heard),
        _skipped(operations, said, heard),
    )


def _repeated(operations, heard):
    """Inserted runs that copy their neighbours: "the the", "so much so much", or more often still."""
    inserted = [j for operation, _, j in operations if operation == "insert"]
    runs, found = [], []
    for j in inserted:
        if runs and runs[-1][-1] == j - 1:
            runs[-1].append(j)
        else:
            runs.append([j])
    for run in runs:
        for period in range(1, len(run) + 1):
            before = run[0] >= period and all(heard[j] == heard[j - period] for j in run)
            after = run[-1] + period < len(heard) and all(heard[j] == heard[j + period] for j in run)
            if before or after:
                found += [heard[j] for j in run]
                break
    return found


def _regions(operations):
    """Maximal stretches of operations other than "equal"."""
    region = []
    for operation in [*operations, ("equal", 0, 0)]:
        if operation[0] != "equal":
            region.append(operation)
        elif region:
            yield region
            region = []


def _skipped(operations, said, heard):
    """Deleted words, unless only the spelling differs: "any more" heard as "anymore"."""
    found = []
    for region in _regions(operations):
        spoken = "".join(said[i] for operation, i, _ in region if operation != "insert")
        written = "".join(heard[j] for operation, _, j in region if operation != "delete")
        if spoken != written:
            found += [said[i] for operation, i, _ in region if operation == "delete"]
    return found


# --- places ----------------------------------------------------------------------------------------------------------


_SECONDS_PER_LETTER, _SHORTEST_WORD = 0.07, 0.1  # for a slow reader


def spoken_gap(operations, words, times, place, seconds):
    """Finds the gap before word number `place` of the text in the recording: (start, end) in seconds.

    words, times: all words heard and their (start, end) in seconds. The gap runs from the last recognised word before
    it to the first one after it, or to the ends of the recording. Recognisers stretch words over sounds that are not
    words, so a word next to the gap is taken to be only as long as its letters need.
    """
    start, end = 0.0, seconds
    for operation, i, j in operations:
        if operation in ("equal", "substitute"):
            first, last = times[j]
            length = min(last - first, _SECONDS_PER_LETTER * len(words[j]) + _SHORTEST_WORD)
            if i >= place:
                end = last - length
                break
            start = first + length
    return min(start, end), max(start, end)
