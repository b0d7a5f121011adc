"""Which pause of a recording is the end of which sentence, and how sure that is.

A sentence takes about as long as its text lets one expect, the pauses after sentences tend to be the longer ones, some
sentences end without a pause, and many a pause is inside a sentence. Over all ways to lay the sentences between the pauses
(a hidden semi-Markov model) the forward and backward sums give each pause's share for each sentence's end: 0.99 where one
way explains the recording and no other does, 0.5 where either of two pauses may be it.
"""

import itertools
import re
from dataclasses import dataclass

import numpy as np

from orpheus.text.languages import ENGLISH
from orpheus.text.pace import estimate_seconds
from orpheus.text.sentences import sentence_spans
from orpheus.text.tags import TAG

# Of a sentence's length, in seconds: people read it up to so much faster or slower than on average, and no estimate from
# letters is better than so many seconds. A tag's sound may be short or long.
_UNEVEN, _ROUGH, _TAG_ROUGH = 0.15, 0.25, 0.6
_FREEDOM = 4  # of Student's t: a sentence far off its expected length is rare, not impossible
_MOST_SKIPPED = 3  # sentences in a row that end without a pause
# What is believed of a speaker before their own recording has taught better: share of sentences that end without a pause;
# seconds of pauses after sentences and inside, with their spread in log. A pause's length alone proves no more than so many nats.
_NO_PAUSE, _LEAST_NO_PAUSE = 0.05, 0.02
_ENDS, _INSIDE, _SPREAD, _STRONGEST = 0.5, 0.25, 0.5, 3.0
_ROUNDS = 3  # of learning how this speaker pauses
# The unevenness of a pace is learnt from the stretches between ends as sure as this; the belief counts as so many of them.
_FAIRLY_SURE, _BELIEF = 0.8, 6
_BEAM = 10.0  # nats below the best: such ways are given up
_SHORTEST = 0.02  # seconds: of speech between two pauses that both end sentences
_LEAST, _MOST, _SLACK = (
    0.4,
    2.2,
    1.5,
)  # of what is expected, and seconds: looked no nearer and no farther for a sentence's end


@dataclass(frozen=True)
class Unit:
    """A sentence, or the tags after one: those may belong to the next as well."""

    text: str
    seconds: float  # estimated
    rough: float  # variance of the estimate, apart from pace, in seconds squared
    start: int  # where it is in the text


def units_of(text, language=ENGLISH):
    """Cleaned text on one line, as Units; with the white space between them their texts give it back."""
    units = []
    for start, end in sentence_spans(text, language):
        sentence = text[start:end]
        spoken, tags = re.fullmatch(r"(.*?)((?:\s*<[A-Za-z]+>)*)", sentence, re.S).groups()
        leading = re.match(r"(?:<[A-Za-z]+>\s*)*", spoken)[0]
        for part in (leading, spoken[len(leading) :], tags):
            if part.strip():
                rough = _ROUGH**2 + len(TAG.findall(part)) * _TAG_ROUGH**2
                place = start + len(part) - len(part.lstrip())
                units.append(Unit(part.strip(), estimate_seconds(part.strip() + " "), rough, place))
            start += len(part)
    return units


@dataclass
class _Habits:
    """How a speaker pauses; learnt from the recording itself."""

    ends: float = np.log(_ENDS)  # mean log length of pauses after sentences
    inside: float = np.log(_INSIDE)
    no_pause: float = _NO_PAUSE
    rate: float = 0.1  # pauses inside sentences per second of speech
    uneven: float = 1.0  # variance of their pace, of what is believed at first

    def favour(self, lengths):
        """(pauses,) log odds that a pause is the end of a sentence, from its length and how common others are."""
        middle = (self.ends + self.inside) / 2
        odds = (self.ends - self.inside) / _SPREAD**2 * (np.log(lengths) - middle)
        return np.clip(odds, -_STRONGEST, _STRONGEST) + np.log((1 - self.no_pause) / self.rate)

    def learnt(self, lengths, chances, speech):
        """Habits from (pauses,) chances that each is the end of a sentence: means, and pauses inside a second."""
        ends, inside = chances.sum(), (1 - chances).sum()
        log = np.log(lengths)
        # Two pauses' worth of what was believed at first: a handful of pauses teach little.
        mean_end = (np.log(_ENDS) * 2 + chances @ log) / (2 + ends)
        mean_inside = (np.log(_INSIDE) * 2 + (1 - chances) @ log) / (2 + inside)
        return mean_end, min(mean_inside, mean_end), (inside + 1) / (speech + 10)


class Alignment:
    """The units of a text against the pauses of a recording."""

    def __init__(self, units, measure):
        silence, spoken = 0.0, []
        for start, end in measure.pauses:
            spoken.append(start - measure.start - silence)
            silence += end - start
        self.spoken = np.array(
            spoken
        )  # (pauses,) seconds of speech before each: silence has no part in how far the text is
        self.lengths = np.array([end - start for start, end in measure.pauses])
        self.total = measure.end - measure.start - silence
        self.seconds = np.array([unit.seconds for unit in units])
        self.rough = np.array([unit.rough for unit in units])

    def chances(self):
        """{boundary: (pause, chance)}: the likeliest pause of each boundary that has one; boundary n is after unit n - 1."""
        if len(self.seconds) < 2 or not len(self.spoken) or self.total <= 0:
            return {}
        habits, boundaries = _Habits(), len(self.seconds) - 1
        for round_ in range(_ROUNDS):
            found = self._posterior(habits)
            if found is None:
                return {}
            where, pauses, chances = found
            if round_ < _ROUNDS - 1:
                of_pause = np.bincount(pauses, chances, len(self.spoken)).clip(0, 1)
                ends, inside, rate = habits.learnt(self.lengths, of_pause, self.total)
                no_pause = (1 + boundaries - chances.sum()) / (boundaries + 1 / _NO_PAUSE)
                habits = _Habits(
                    ends, inside, float(np.clip(no_pause, _LEAST_NO_PAUSE, 0.5)), rate, self._uneven(found)
                )
        return _likeliest(found)

    def _uneven(self, found):
        """Mean squared deviation of the stretches between fairly sure ends, in the variance that was expected."""
        count, pace = len(self.seconds), self.total / self.seconds.sum()
        sure = {b: self.spoken[pause] for b, (pause, chance) in _likeliest(found).items() if chance > _FAIRLY_SURE}
        spoken = {0: 0.0, count: self.total} | sure
        squares = []
        for first, last in itertools.pairwise(sorted(spoken)):
            expected = pace * self.seconds[first:last].sum()
            variance = (self.rough[first:last] + (_UNEVEN * pace * self.seconds[first:last]) ** 2).sum()
            squares.append((spoken[last] - spoken[first] - expected) ** 2 / variance)
        return (_BELIEF + sum(squares)) / (_BELIEF + len(squares))

    def _posterior(self, habits):
        """(boundary, pause, chance), three arrays over all that is possible; None where nothing is."""
        favour, count, pauses = habits.favour(self.lengths), len(self.seconds), len(self.spoken)
        forward, whole = self._sums(self.seconds, self.rough, self.spoken, favour, habits)
        backward, _ = self._sums(
            self.seconds[::-1], self.rough[::-1], self.total - self.spoken[::-1], favour[::-1], habits
        )
        found = []
        for boundary in range(1, count):
            first, ahead = forward[boundary]
            other, behind = backward[count - boundary]
            other = pauses - other - len(behind)  # its first pause, counted from the front
            low, high = max(first, other), min(first + len(ahead), other + len(behind))
            if low < high:
                log = ahead[low - first : high - first] + behind[::-1][low - other : high - other] - favour[low:high]
                chances = np.exp(np.minimum(log - whole, 0))
                found.append((np.full(high - low, boundary), np.arange(low, high), chances))
        return tuple(map(np.concatenate, zip(*found, strict=True))) if found and np.isfinite(whole) else None

    def _sums(self, seconds, rough, spoken, favour, habits):
        """Log of the summed weight of all ways to each (boundary, pause).

        returns: [(first pause, (window,) sums)] for each boundary but the last, and the sum of all ways to the end
        """
        pace = self.total / seconds.sum()
        until = np.concatenate([[0.0], np.cumsum(seconds)]) * pace
        variance = (
            np.concatenate([[0.0], np.cumsum(rough + (_UNEVEN * pace * seconds) ** 2)]) * habits.uneven * _FREEDOM
        )
        states, times = [(0, np.zeros(1))], [np.zeros(1)]  # of boundary 0: the beginning, no pause
        skipped = np.log(habits.no_pause)

        def arrivals(boundary, at, near):
            """(len(at),) log sums of the ways from the boundaries `near` to the times `at`."""
            begun = np.concatenate([times[before] for before in near])  # (ways,)
            sizes = [len(times[before]) for before in near]
            log = np.concatenate([states[before][1] + (boundary - before - 1) * skipped for before in near])
            spread = np.repeat(variance[boundary] - variance[near], sizes)
            expected = np.repeat(until[boundary] - until[near], sizes)
            most = log.max()
            weights = np.exp(log - most) / np.sqrt(spread)
            taken = at - begun[:, None]  # (ways, at) seconds of speech
            density = 1 + (taken - expected[:, None]) ** 2 / spread[:, None]
            density *= density * np.sqrt(density)  # Student's t: 1 / density^2.5
            density = np.divide(taken > _SHORTEST, density, out=density)
            with np.errstate(divide="ignore"):
                return np.log(weights @ density) + most

        for boundary in range(1, len(seconds) + 1):
            near = [b for b in range(max(0, boundary - 1 - _MOST_SKIPPED), boundary) if len(times[b])]
            if not near:
                return states + [(0, np.zeros(0))] * (len(seconds) - boundary), -np.inf
            if boundary == len(seconds):
                return states, float(arrivals(boundary, np.array([self.total]), near)[0])
            reach = until[boundary] - until[near]
            low = min(times[b][0] + _LEAST * r - _SLACK for b, r in zip(near, reach, strict=True))
            high = max(times[b][-1] + _MOST * r + _SLACK for b, r in zip(near, reach, strict=True))
            first, last = np.searchsorted(spoken, [low, high])
            sums = arrivals(boundary, spoken[first:last], near) + favour[first:last]
            kept = np.flatnonzero(sums > sums.max(initial=-np.inf) - _BEAM)
            low, high = (kept[0], kept[-1] + 1) if len(kept) else (0, 0)
            states.append((int(first + low), sums[low:high]))
            times.append(spoken[first + low : first + high])


def _likeliest(found):
    """{boundary: (pause, chance)} of the likeliest pause for each boundary."""
    best = {}
    for boundary, pause, chance in zip(*(values.tolist() for values in found), strict=True):
        if chance > best.get(boundary, (0, 0.0))[1]:
            best[boundary] = pause, chance
    return best
