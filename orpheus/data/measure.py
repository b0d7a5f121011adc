"""One recording: what can be measured of it, and its samples as the codec takes them."""

import hashlib
from dataclasses import asdict, dataclass

import numpy as np

from orpheus.common.audio import decode_audio, to_mono_24khz
from orpheus.common.errors import InputError
from orpheus.common.frame import SAMPLE_RATE

MEASURE_VERSION = 1  # to be raised with every change of what is measured: cached measurements are then made again

_WINDOW = 0.01  # seconds: the level is measured in windows this long
_HEARD = 1e-3  # -60 dBFS RMS: a window below is silence in any recording
_HEARD_WINDOWS = 5  # fewer are a click, no speech
_PAUSE = 0.15  # seconds; shorter gaps are closed consonants
_MARGIN = 0.1  # seconds kept around speech when silence is trimmed: soft consonants begin below the threshold
_LOUDNESS = 10 ** (-23 / 20)  # RMS of the active part after levelling
_PEAK = 0.95  # limit of levelling


@dataclass(frozen=True)
class Measure:
    """What checks, trimming, levelling and splitting need to know of a recording; the only thing kept of it."""

    problem: str | None = None  # why it cannot be used at all; then nothing below is measured
    samples: int = 0  # per channel, at its own rate
    rate: int = 0  # Hz
    peak: float = 0.0  # of any channel; 1.0 is full scale
    clipped: float = 0.0  # share of samples that stand at the peak in runs of 3 or more
    heard: int = 0  # windows above -60 dBFS
    level: float = 0.0  # RMS of the active windows
    start: float = 0.0  # seconds: where the first active window begins
    end: float = 0.0  # seconds: where the last one ends
    pauses: tuple = ()  # (start, end) in seconds, between start and end
    digest: str = ""  # of the samples: the same for a WAV file and its FLAC copy

    @property
    def seconds(self):
        return self.samples / self.rate if self.rate else 0.0

    @property
    def samples_24khz(self):
        return -(-self.samples * SAMPLE_RATE // self.rate)

    @property
    def silent(self):
        return self.heard < _HEARD_WINDOWS

    def as_dict(self):
        return asdict(self)

    @classmethod
    def from_dict(cls, values):
        return cls(**values | {"pauses": tuple(map(tuple, values["pauses"]))})


def content_hash(data):
    return hashlib.sha256(data).hexdigest()


def measure_bytes(data):
    """Decodes and measures the bytes of an audio file. What is wrong with them is in `problem`, not raised."""
    if not data:
        return Measure(problem="empty: the file has no bytes")
    try:
        audio, rate = decode_audio(data, "the file")
    except InputError as error:
        return Measure(problem=f"unreadable: {str(error).rstrip('.')}; convert it (ffmpeg -i FILE FILE.wav)")
    return measure(audio, rate)


def measure(audio, rate):
    """float32 (samples, channels) to its Measure."""
    if not len(audio):
        return Measure(problem="empty: no samples")
    peak = float(max(audio.max(), -audio.min()))
    if not np.isfinite(peak):  # NaN and infinity both reach the peak
        return Measure(problem="unreadable: samples that are not finite (NaN or infinity)")
    levels = _window_levels(audio.mean(axis=1), rate)  # (windows,)
    active = levels >= _threshold(levels)
    where = np.flatnonzero(active)
    first, last = (int(where[0]), int(where[-1]) + 1) if len(where) else (0, 0)
    return Measure(
        samples=len(audio),
        rate=int(rate),
        peak=round(peak, 5),
        clipped=round(_clipped_share(audio, peak), 6),
        heard=int((levels >= _HEARD).sum()),
        level=float(np.sqrt(np.mean(levels[active] ** 2))) if len(where) else 0.0,
        start=round(first * _WINDOW, 2),
        end=round(min(last * _WINDOW, len(audio) / rate), 2),
        pauses=_pauses(active, first, last),
        digest=hashlib.sha256(f"{rate} {audio.shape}".encode() + np.ascontiguousarray(audio).tobytes()).hexdigest(),
    )


def _window_levels(mono, rate):
    """RMS of every window; the last one may be shorter."""
    size = max(1, round(rate * _WINDOW))
    whole = len(mono) // size * size
    squares = np.einsum("ws,ws->w", *[mono[:whole].reshape(-1, size)] * 2) / size
    rest = [np.mean(mono[whole:] ** 2)] if whole < len(mono) else []
    return np.sqrt(np.append(squares, rest))


def _threshold(levels):
    """RMS above which a window counts as speech: 40 dB below the loudest, higher where the background is loud (6 dB above
    it), yet never above 28 dB below the loudest: soft syllables are down there."""
    loudest, background = levels.max(), np.quantile(levels, 0.1)
    return max(_HEARD, min(max(2 * background, 0.01 * loudest), 0.04 * loudest))


def _clipped_share(audio, peak):
    """Share of samples that stand at the peak, one step of 16 bit aside, with both neighbours or as one of them."""
    at_peak = np.abs(audio) >= peak - 1.5 / 32768
    runs = at_peak[2:] & at_peak[1:-1] & at_peak[:-2]
    covered = np.zeros_like(at_peak)
    for shift in range(3):
        covered[shift : len(runs) + shift] |= runs
    return float(covered.mean())


def _pauses(active, first, last):
    """(start, end) in seconds of the silences of at least _PAUSE between the first and the last active window."""
    edges = np.flatnonzero(np.diff(active[first:last].astype(np.int8)))  # falls and rises in turn
    starts, ends = first + edges[::2] + 1, first + edges[1::2] + 1
    return tuple(
        (round(float(start) * _WINDOW, 2), round(float(end) * _WINDOW, 2))
        for start, end in zip(starts, ends, strict=True)
        if (end - start) * _WINDOW >= _PAUSE - 1e-9
    )


def span_of(measure, trim):
    """(start, end) of what is used of a recording, in samples at 24 kHz."""
    total = measure.samples_24khz
    if not trim:
        return 0, total
    start, end = measure.start - _MARGIN, measure.end + _MARGIN
    return max(0, round(start * SAMPLE_RATE)), min(total, round(end * SAMPLE_RATE))


def prepare(data, span, level=None):
    """The samples that are encoded: float32 (samples,), mono, 24 kHz.

    data: bytes of an audio file; span: from span_of; level: its Measure.level, to bring it to the common loudness
    """
    audio = to_mono_24khz(*decode_audio(data, "the recording"))[span[0] : span[1]]
    if level:
        audio = audio * min(_LOUDNESS / level, _PEAK / max(np.abs(audio).max(initial=0), 1e-9))
    return audio.astype(np.float32, copy=False)
