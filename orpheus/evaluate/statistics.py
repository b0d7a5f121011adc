"""Figures of many clips with 95 % intervals, and differences between systems, by the bootstrap over clips."""

from dataclasses import asdict, dataclass

import numpy as np

_INTERVAL = (2.5, 97.5)  # percentiles
_BLOCK = 512  # resamplings at once: a few megabytes


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval; value, low and high are None if no clip has it."""

    value: float | None
    low: float | None
    high: float | None
    rows: int  # how many clips count

    def as_dict(self):
        return asdict(self)


def _resampled(numerators, denominators, count, seed):
    """Ratio of sums for `count` resamplings of the clips: float64 (count,), NaN where the denominators add up to 0.

    numerators, denominators: float64 (systems, clips); the same clips are drawn for every system
    """
    random, rows = np.random.default_rng(seed), numerators.shape[1]
    ratios = []
    for start in range(0, count, _BLOCK):
        drawn = random.integers(0, rows, (min(_BLOCK, count - start), rows))
        below = denominators[:, drawn].sum(-1)
        with np.errstate(invalid="ignore", divide="ignore"):
            ratios.append(numerators[:, drawn].sum(-1) / below)
    return np.concatenate(ratios, axis=1)  # (systems, count)


def _arrays(pairs):
    """[(numerator, denominator) or None] to two float64 arrays (clips,); None counts for nothing."""
    both = np.array([(0.0, 0.0) if pair is None else pair for pair in pairs], dtype=np.float64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _interval(ratios):
    ratios = ratios[np.isfinite(ratios)]
    return tuple(float(x) for x in np.percentile(ratios, _INTERVAL)) if len(ratios) else (None, None)


def estimate(pairs, count=2000, seed=0):
    """Sum of numerators over sum of denominators, with its percentile-bootstrap interval.

    pairs: for every clip (numerator, denominator), or None if it lacks the figure; for a mean, denominators are 1
    """
    pairs = [pair for pair in pairs if pair is not None]
    above, below = _arrays(pairs)
    if not below.sum():
        return Estimate(None, None, None, 0)
    low, high = _interval(_resampled(above[None], below[None], count, seed)[0])
    return Estimate(float(above.sum() / below.sum()), low, high, len(pairs))


def difference(first, second, count=2000, seed=0):
    """`second` minus `first`, two lists of pairs over the same clips, with the paired bootstrap's interval.

    Clips that lack the figure in either system are left out of both.
    """
    both = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    (above1, below1), (above2, below2) = _arrays([a for a, _ in both]), _arrays([b for _, b in both])
    if not below1.sum() or not below2.sum():
        return Estimate(None, None, None, 0)
    ratios = _resampled(np.stack([above1, above2]), np.stack([below1, below2]), count, seed)
    low, high = _interval(ratios[1] - ratios[0])
    return Estimate(float(above2.sum() / below2.sum() - above1.sum() / below1.sum()), low, high, len(both))
