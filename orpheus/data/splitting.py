"""Long recordings in parts: cut in pauses that agree with ends of sentences, so that every part has its own text."""

import functools

from orpheus.text.pieces import estimate_seconds, split_sentences

_CUT_PAUSE = 0.25  # seconds; a shorter pause may be one inside a sentence
# How far a pause may be from where the text lets one expect the sentence's end: a share of the speech since the last
# cut, for people do not read evenly, within these bounds in seconds.
_TOLERANCE, _LEAST_TOLERANCE, _MOST_TOLERANCE = 0.12, 0.4, 1.5
_SECOND_LONGEST = 0.8  # of the longest pause in reach: with a second one above it, which is meant is anybody's guess


class _Timeline:
    """Pauses by the seconds of speech before them: what silence there is has no part in how far the text has come."""

    def __init__(self, measure):
        self.pauses, self.spoken, silence = measure.pauses, [], 0.0
        for start, end in measure.pauses:
            self.spoken.append(start - measure.start - silence)
            silence += end - start
        self.total = measure.end - measure.start - silence

    def pause_near(self, expected, since):
        """Index of the pause where a sentence's end is expected, both in seconds of speech; None where it is not clear."""
        reach = min(max(_TOLERANCE * (expected - since), _LEAST_TOLERANCE), _MOST_TOLERANCE)
        near = [index for index, spoken in enumerate(self.spoken) if abs(spoken - expected) <= reach and spoken > since]
        near.sort(key=self._length, reverse=True)
        if not near or self._length(near[0]) < _CUT_PAUSE:
            return None
        clear = len(near) == 1 or self._length(near[1]) < _SECOND_LONGEST * self._length(near[0])
        return near[0] if clear else None

    def _length(self, index):
        start, end = self.pauses[index]
        return end - start

    def middle(self, index):
        return sum(self.pauses[index]) / 2


def split_recording(text, measure, start, end, fits):
    """Cuts a recording and its text into as few parts as fit, the earlier ones as long as they may be.

    text: cleaned, on one line; start, end: what is used of the recording, in seconds; fits: (text, seconds) -> bool
    returns: list of (text, start, end), or None where pauses and sentences leave no way
    """
    sentences = split_sentences(text)
    weights = [estimate_seconds(sentence + " ") for sentence in sentences]
    line = _Timeline(measure)

    @functools.cache
    def parts(first, cut):
        """The parts from sentence `first` on, which begins after the pause `cut` (None: at the very start)."""
        began = start if cut is None else line.middle(cut)
        rest = " ".join(sentences[first:])
        if fits(rest, end - began):
            return ((rest, began, end),)
        since = 0.0 if cut is None else line.spoken[cut]
        pace = (line.total - since) / sum(weights[first:])  # seconds of speech for each second estimated
        for last in range(len(sentences) - 1, first, -1):
            pause = line.pause_near(since + pace * sum(weights[first:last]), since)
            if pause is None:
                continue
            part = " ".join(sentences[first:last]), began, line.middle(pause)
            following = fits(part[0], part[2] - began) and parts(last, pause)
            if following:
                return (part, *following)
        return None

    found = parts(0, None)
    return None if found is None else list(found)
