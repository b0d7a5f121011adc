"""Faster and slower speech of the same pitch, while it is made: FFmpeg's atempo filter (PyAV), which overlaps and adds."""

from fractions import Fraction

import numpy as np

from orpheus.common.errors import InputError
from orpheus.common.frame import SAMPLE_RATE
from orpheus.common.media import INSTALL
from orpheus.common.options import is_number, shown

SLOWEST, FASTEST = 0.25, 4.0
_SLOWEST_OF_A_FILTER, _FASTEST_OF_A_FILTER = 0.5, 2.0  # beyond, it leaves sound out


def check_speed(speed):
    """Raises InputError for what is no speed."""
    if not is_number(speed) or not SLOWEST <= speed <= FASTEST:
        raise InputError(
            f"speed must be between {SLOWEST:g} and {FASTEST:g}, not {shown(speed)}; 1 is as it was spoken"
        )


_BLOCK = 512  # samples that the filters are given at a time: what they make of the end depends on it


class Tempo:
    """Sound at another speed. For one thread at a time; the size of the chunks that go in changes nothing of the result.

    speed: 0.25 to 4; 2 is twice as fast. Raises InputError for another one, or where PyAV is missing.
    """

    def __init__(self, speed, sample_rate=SAMPLE_RATE):
        check_speed(speed)
        try:
            import av
        except ImportError as error:
            raise InputError(f"another speed than 1 needs PyAV: {INSTALL}") from error
        self._av, self._rate, self._place = av, sample_rate, 0
        self._waiting = np.zeros(0, np.float32)
        graph = av.filter.Graph()
        nodes = [
            graph.add_abuffer(sample_rate=sample_rate, format="flt", layout="mono", time_base=Fraction(1, sample_rate))
        ]
        nodes += [graph.add("atempo", f"{factor:.9f}") for factor in _factors(speed)]
        nodes.append(graph.add("abuffersink"))
        graph.link_nodes(*nodes).configure()
        self._graph = graph

    def push(self, samples):
        """float32 (samples,) in, float32 (samples,) out: what is ready."""
        waiting = np.concatenate([self._waiting, np.asarray(samples, np.float32)])
        whole = len(waiting) - len(waiting) % _BLOCK
        for start in range(0, whole, _BLOCK):
            self._give(waiting[start : start + _BLOCK])
        self._waiting = waiting[whole:]
        return self._ready()

    def _give(self, block):
        frame = self._av.AudioFrame.from_ndarray(np.ascontiguousarray(block[None]), "flt", "mono")
        frame.sample_rate, frame.pts, frame.time_base = self._rate, self._place, Fraction(1, self._rate)
        self._place += len(block)
        self._graph.push(frame)

    def finish(self):
        """The rest: float32 (samples,)."""
        if len(self._waiting):
            self._give(self._waiting)
        self._graph.push(None)
        return self._ready()

    def _ready(self):
        parts = [np.zeros(0, np.float32)]
        while True:
            try:
                parts.append(self._graph.pull().to_ndarray().reshape(-1))
            except (self._av.BlockingIOError, self._av.EOFError):
                return np.concatenate(parts)


def _factors(speed):
    """Speeds of filters that follow one another, each within its limits."""
    factors = []
    while not _SLOWEST_OF_A_FILTER <= speed <= _FASTEST_OF_A_FILTER:
        factor = _FASTEST_OF_A_FILTER if speed > 1 else _SLOWEST_OF_A_FILTER
        factors.append(factor)
        speed /= factor
    return [*factors, speed]
