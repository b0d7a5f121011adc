"""Cutting long text into pieces that one generation can speak."""

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import accumulate

from orpheus.text.graphemes import in_cluster, nearest_cut
from orpheus.text.languages import ENGLISH
from orpheus.text.pace import CHARACTERS_PER_SECOND, MOST_CHARACTERS, estimate_seconds
from orpheus.text.sentences import sentence_spans, split_sentences, stripped  # noqa: F401  split_sentences for callers
from orpheus.text.tags import TAG


@dataclass(frozen=True)
class Piece:
    """What one generation speaks."""

    text: str
    ends_paragraph: bool


# --- an overlong sentence --------------------------------------------------------------------------------------------

# Marks after which one breathes: of Latin, Greek, Arabic, Armenian, Ethiopic, Burmese, Khmer, Mongolian, Tibetan and N'Ko writing.
_CLAUSE = ",;:·،؛՝՛፣፤፥፦၊៖᠂᠈༎།߸"
_CLOSERS = "\"'”’»›」』】〉》〕］）｝｣)"
# Where an overlong sentence is cut, the better places first; a place is where the next part begins.
_CLAUSES = re.compile(
    rf"(?<=[{_CLAUSE}])\s|\s(?=[-–—]\s)|\s(?=\()|(?<=[，、；：､])(?![{_CLOSERS}])|(?<=[，、；：､][”’」』）])"
)
_SPACES = re.compile(r"\s")
# Inside a run without white space: after the clause marks of scripts that put none there, after dashes, at the brackets and quotes of
# Chinese and Japanese; then between words as far as the script shows them, which is where Japanese goes from kana to kanji or
# katakana, after the Chinese 的, at hyphens and slashes, between letters and digits or Latin and other letters, and at tags.
_INNER = (
    re.compile(
        r"(?<=[，、；：､،؛፣፤፥၊།༎—–―…〜～])(?![，、；：､—–―…\"'”’」』）\d])|(?<=[」』）》】])(?=\w)|(?<=\w)(?=[「『（《【])|(?<=\.\.\.)(?=\w)"
    ),
    re.compile(
        r"(?<=[\u3041-\u309f])(?=[\u30a1-\u30fa\u3400-\u9fff])|(?<=的)(?=[\u3400-\u9fff])|(?<=[-_/\\|&+=~\u00ad\u200b\u0f0b])(?=\w)"
        r"|(?<=[a-z])(?=[A-Z])|(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])|(?<=[A-Za-z])(?=[^\x00-\u02ff\W])|(?<=[^\x00-\u02ff\W])(?=[A-Za-z])"
        r"|(?<=\w[.,:;?!])(?=\w)|(?<=\w)(?=\ufffc)|(?<=\u20e2)(?=\w)"
    ),
)
_FLAG = re.compile("[\U0001f1e6-\U0001f1ff]{2}")
_REACH = 0.3  # of the text to both sides of its middle: a cut elsewhere leaves a scrap


class _Overlong:
    """A sentence that has to be cut, with the places where it can be; they are looked for once, however often it is cut."""

    def __init__(self, text):
        # Every tag and every flag as one cluster, in which nothing is cut.
        for one in (TAG, _FLAG):
            text = one.sub(lambda match: "\ufffc" + "\u20e2" * (len(match[0]) - 1), text)
        self.text = text
        self._places = {}

    def _nearest(self, pattern, middle, low, high):
        """The place of `pattern` nearest to `middle` and between `low` and `high`; None if there is none."""
        if pattern not in self._places:
            places = (match.start() for match in pattern.finditer(self.text))
            self._places[pattern] = [p for p in places if 0 < p < len(self.text) and not in_cluster(self.text, p)]
        places = self._places[pattern]
        after = bisect_left(places, middle)
        near = [place for place in places[max(after - 1, 0) : after + 1] if low < place < high]
        return min(near, key=lambda place: abs(place - middle), default=None)

    def cut(self, start, end):
        """Where the second part of `start`..`end` begins: at a clause near the middle, else at a space, else inside a run.

        None where there is no place: it is one cluster.
        """
        middle, reach = (start + end) / 2, _REACH * (end - start)
        near, anywhere, (clauses, words) = (middle - reach, middle + reach), (start, end), _INNER
        for pattern, where in (
            (_CLAUSES, near),
            (_SPACES, near),
            (clauses, near),
            (_CLAUSES, anywhere),
            (_SPACES, anywhere),
            (clauses, anywhere),
            (words, near),
        ):
            place = self._nearest(pattern, middle, *where)
            if place is not None:
                return place
        return nearest_cut(self.text, start, end, reach)


def _fit(text, start, end, max_seconds, sentence=None, offset=0):
    """The span `start`..`end` of `text` as spans of at most about `max_seconds`. sentence: the _Overlong from `offset` on it is of"""
    part = text[start:end]
    if len(part) * MOST_CHARACTERS <= max_seconds * CHARACTERS_PER_SECOND:
        return [(start, end)]
    if estimate_seconds(part) <= max_seconds or TAG.fullmatch(part) or len(part) < 2:
        return [(start, end)]
    if sentence is None:
        sentence, offset = _Overlong(part), start
    cut = sentence.cut(start - offset, end - offset)
    if cut is None:
        return [(start, end)]
    parts = stripped(text, start, offset + cut), stripped(text, offset + cut, end)
    if any(first == last for first, last in parts):
        return [(start, end)]
    return [span for part in parts for span in _fit(text, *part, max_seconds, sentence, offset)]


# --- pieces ----------------------------------------------------------------------------------------------------------


def _join_evenly(lengths, spaces, max_seconds):
    """Joins neighbours into as few pieces of at most `max_seconds` as possible, of similar length (shortest path).

    lengths: estimated seconds of each part, with the white space after it; spaces: those of this white space, which the last part
    of a piece does without
    returns: [(first part, last part + 1)] of each piece
    """
    # For the first n parts: how many pieces, the sum of their squared lengths, where the last one starts.
    counts, squares, starts, first = [0], [0.0], [0], 0
    for end in range(1, len(lengths) + 1):
        sums = list(accumulate(reversed(lengths[first:end])))  # of the last part, the last two ...
        first = end - max(bisect_right(sums, max_seconds + spaces[end - 1]), 1)
        # Of what may be before the last piece, more parts are never fewer pieces: those from `first` to `stop` are as few.
        stop = bisect_right(counts, counts[first], first, end)
        found = [before + sums[end - 1 - start] ** 2 for start, before in enumerate(squares[first:stop], first)]
        square = min(found)
        counts.append(counts[first] + 1)
        squares.append(square)
        starts.append(first + found.index(square))
    pieces, end = [], len(lengths)
    while end:
        pieces.append((starts[end], end))
        end = starts[end]
    return pieces[::-1]


def split_text(text, max_seconds, language=ENGLISH):
    """Cuts cleaned text into pieces of at most about `max_seconds`, at the ends of sentences if possible.

    Sentences of a paragraph share a piece while they fit. The pieces of a paragraph are of similar length, since a very
    short last piece would sound cut off. A word is cut only where there is no other place, a grapheme cluster and a tag never.
    The pieces are the text's own characters: with the white space between them they give it back.

    language: a code such as "de", which decides what is an abbreviation (sentences.py)
    """
    pieces = []
    for paragraph in text.split("\n\n"):
        spans = [part for span in sentence_spans(paragraph, language) for part in _fit(paragraph, *span, max_seconds)]
        ends = [start for start, _ in spans[1:]]
        wholes = [paragraph[start:end] for (start, _), end in zip(spans, ends, strict=False)]
        wholes += [paragraph[start:end] + " " for start, end in spans[-1:]]
        spaces = [bool(whole[-1].isspace()) / CHARACTERS_PER_SECOND for whole in wholes]
        joined = _join_evenly([estimate_seconds(whole) for whole in wholes], spaces, max_seconds)
        pieces += [
            Piece(paragraph[spans[first][0] : spans[last - 1][1]], index == len(joined) - 1)
            for index, (first, last) in enumerate(joined)
        ]
    return pieces
