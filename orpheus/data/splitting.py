"""Long recordings in parts: cut in pauses that surely are ends of sentences, so that every part has its own text."""

import functools
import math

from orpheus.data.alignment import Alignment, units_of
from orpheus.text.languages import ENGLISH

_CUT_PAUSE = 0.25  # seconds; a cut needs a breath on either side of it
# Chance that a pause is this sentence's end, below which nobody cuts there. It has to be higher where fewer than _CLEAR of all
# ends are clear: the text may not quite be the recording's, or its pauses say little.
_SURE, _VERY_SURE, _CLEAR = 0.99, 0.998, 0.9


@functools.lru_cache(1024)  # planned more than once: when the recording is judged, encoded, made an example
def _cuts(text, measure, language):
    """(where what cannot be divided starts in the text, sure cuts): (units before the cut, seconds) between them."""
    units = units_of(text, language)
    chances = Alignment(units, measure).chances()
    clear = sum(chance for _, chance in chances.values()) >= _CLEAR * (len(units) - 1)
    sure = {b: pause for b, (pause, chance) in chances.items() if chance >= (_SURE if clear else _VERY_SURE)}
    pauses = [(boundary, *measure.pauses[pause]) for boundary, pause in sorted(sure.items())]
    cuts = tuple((boundary, (start + end) / 2) for boundary, start, end in pauses if end - start >= _CUT_PAUSE)
    return tuple(unit.start for unit in units), cuts


def split_recording(text, measure, start, end, fits, longest=math.inf, language=ENGLISH):
    """Cuts a recording and its text into parts that fit, the earlier ones as long as they may be.

    text: cleaned, on one line; start, end: what is used of the recording, in seconds; fits: (text, seconds) -> bool;
    longest: seconds beyond which nothing fits, so that no more is tried; language: of the text
    returns: (parts that fit, stretches that do not and have no sure cut), each a list of (text, start, end)
    """
    units, sure = _cuts(text, measure, language)
    cuts = [(0, start), *(cut for cut in sure if start < cut[1] < end), (len(units), end)]
    places = (*units, len(text))

    def piece(first, last):
        return text[places[cuts[first][0]] : places[cuts[last][0]]].strip(), cuts[first][1], cuts[last][1]

    # From the end: (seconds lost from this cut on, the cut where its part ends, whether that part fits).
    best = {len(cuts) - 1: (0.0, None, True)}
    for first in range(len(cuts) - 2, -1, -1):
        choices = [(cuts[first + 1][1] - cuts[first][1] + best[first + 1][0], first + 1, False)]
        for last in range(first + 1, len(cuts)):
            found, began, ended = piece(first, last)
            if ended - began > longest:
                break
            if fits(found, ended - began):
                choices.append((best[last][0], last, True))
        best[first] = min(choices, key=lambda choice: (choice[0], -choice[1]))
    parts, lost, first = [], [], 0
    while best[first][1] is not None:
        _, last, fitting = best[first]
        (parts if fitting else lost).append(piece(first, last))
        first = last
    return parts, lost
