"""One recording: what can be measured of it, and its samples as the codec takes them."""

import hashlib
import io
import math
from dataclasses import asdict, dataclass

import numpy as np
import numpy.ma  # noqa: F401  np.unique would import it, and two threads that do so at once end in a RecursionError

from orpheus.common import media
from orpheus.common.audio import BLOCK_SAMPLES, NOT_FINITE, blocks, header_problem, open_sound, to_mono_24khz
from orpheus.common.errors import InputError
from orpheus.common.frame import FRAME_SAMPLES, SAMPLE_RATE

MEASURE_VERSION = 3  # to be raised with every change of what is measured: cached measurements are then made again

_WINDOW = 0.01  # seconds: the level is measured in windows this long
_HEARD = 1e-3  # -60 dBFS RMS: a window below is silence in any recording
_HEARD_WINDOWS = 5  # fewer are a click, no speech
_PAUSE = 0.15  # seconds; shorter gaps are closed consonants
_MARGIN = 0.1  # seconds kept around speech when silence is trimmed: soft consonants begin below the threshold
_LOUDNESS = 10 ** (-23 / 20)  # RMS of the active part after levelling
_PEAK = 0.95  # limit of levelling
_BEYOND = 1e9  # a peak that is no sound; its square would be infinite
_CEILING = 0.9  # a peak below stands at no ceiling
_STEP = 1.5 / 32768  # one step of 16 bit aside still counts as standing at the peak
_WHOLE = 60  # seconds: longer recordings are not decoded whole where a part is wanted
_PREROLL = (
    0.5  # seconds decoded before and after a part: decoders and the resampler have forgotten by then where they began
)


@dataclass(frozen=True)
class Measure:
    """What checks, trimming, levelling and splitting need to know of a recording; the only thing kept of it."""

    problem: str | None = None  # why it cannot be used at all; then nothing below is measured
    samples: int = 0  # per channel, at its own rate
    rate: int = 0  # Hz
    peak: float = 0.0  # of any channel; 1.0 is full scale
    clipped: float = 0.0  # share of samples that stand at the peak in runs of 3 or more; 0 where the peak is below 0.9
    heard: int = 0  # windows above -60 dBFS
    level: float = 0.0  # RMS of the active windows
    start: float = 0.0  # seconds: where the first active window begins
    end: float = 0.0  # seconds: where the last one ends
    pauses: tuple = ()  # (start, end) in seconds, between start and end
    agreement: float = (
        1.0  # power of the channels' mean, in that of unrelated channels: N where N are equal, 0 where they cancel
    )
    channels: int = 1
    digest: str = ""  # of the samples: the same for a WAV file and its FLAC copy

    @property
    def seconds(self):
        return self.samples / self.rate if self.rate else 0.0

    @property
    def samples_24khz(self):
        return -(-self.samples * SAMPLE_RATE // self.rate)

    @property
    def speech(self):
        """Seconds of sound, pauses not counted."""
        return self.end - self.start - sum(end - start for start, end in self.pauses)

    @property
    def silent(self):
        return self.heard < _HEARD_WINDOWS

    def as_dict(self):
        return asdict(self)

    @classmethod
    def from_dict(cls, values):
        return cls(**values | {"pauses": tuple(map(tuple, values["pauses"]))})


def content_hash(file):
    """Of the bytes of a binary file, or of bytes."""
    if isinstance(file, bytes):
        return hashlib.sha256(file).hexdigest()
    file.seek(0)
    digest = hashlib.sha256()
    while block := file.read(1 << 20):  # hashlib.file_digest is new in Python 3.11
        digest.update(block)
    return digest.hexdigest()


def measure_file(file):
    """Decodes and measures a binary file, in blocks: its length has no part in the memory taken. What is wrong with it is in
    `problem`, not raised."""
    if not file.seek(0, io.SEEK_END):
        return Measure(problem="empty: the file has no bytes")
    file.seek(0)
    try:
        with open_sound(file, "the file") as sound:
            problem = header_problem(sound)
            if problem:
                return Measure(problem=f"unreadable: {problem}")
            unit = _window_samples(sound.samplerate)
            return _measure(blocks(sound, "the file", unit=unit), sound.samplerate, sound.channels)
    except InputError as error:
        return Measure(problem=_unreadable(error))


def header_trouble(file):
    """Why a binary file cannot be used, from its header alone; None where that is good."""
    file.seek(0)
    try:
        with open_sound(file, "the file") as sound:
            problem = header_problem(sound)
            return f"unreadable: {problem}" if problem else None
    except InputError as error:
        return _unreadable(error)


def _unreadable(error):
    text = f"unreadable: {str(error).rstrip('.')}"
    return text if media.CUT_OFF in text else f"{text}; convert it (ffmpeg -i FILE FILE.wav)"


def measure(audio, rate):
    """float32 (samples, channels) to its Measure."""
    unit = _window_samples(rate)
    size = max(BLOCK_SAMPLES // audio.shape[1] // unit, 1) * unit
    return _measure((audio[n : n + size] for n in range(0, len(audio), size)), rate, audio.shape[1])


def _measure(parts, rate, channels):
    """Blocks of float32 (samples, channels), all but the last of whole windows, to their Measure."""
    samples, peak, power, power_of_mean = 0, 0.0, 0.0, 0.0
    levels, ceiling, digest = [], _Ceiling(channels), hashlib.sha256()
    for block in parts:
        samples += len(block)
        loudest = float(max(block.max(), -block.min()))
        if not np.isfinite(loudest):  # NaN and infinity both reach it
            return Measure(problem=f"unreadable: {NOT_FINITE}")
        if loudest > _BEYOND:
            return Measure(problem=f"unreadable: peak {loudest:.0e}, samples are not in -1..1")
        peak = max(peak, loudest)
        mono = block.mean(axis=1)
        levels.append(_window_levels(mono, rate))
        ceiling.add(block, peak)
        digest.update(np.ascontiguousarray(block))
        power += float(np.vdot(block, block)) / channels**2
        power_of_mean += float(np.vdot(mono, mono))
    if not samples:
        return Measure(problem="empty: no samples")
    levels = np.concatenate(levels)  # (windows,)
    active = levels >= _threshold(levels)
    where = np.flatnonzero(active)
    first, last = (int(where[0]), int(where[-1]) + 1) if len(where) else (0, 0)
    digest.update(f"{rate} {samples} {channels}".encode())
    return Measure(
        samples=samples,
        rate=int(rate),
        peak=round(peak, 5),
        clipped=round(ceiling.count(peak) / (samples * channels), 6),
        heard=int((levels >= _HEARD).sum()),
        level=float(np.sqrt(np.mean(levels[active] ** 2))) if len(where) else 0.0,
        start=round(first * _WINDOW, 2),
        end=round(min(last * _WINDOW, samples / rate), 2),
        pauses=_pauses(active, first, last),
        agreement=round(power_of_mean / power, 4) if power else 1.0,
        channels=channels,
        digest=digest.hexdigest(),
    )


def measure_codes(codes, lengths=None):
    """(content hash, Measure) of a recording that is codes already, (frames, 7).

    lengths: (samples at 24 kHz, seconds of sound without pauses), where whoever made the codes wrote them down; else it is sound from
    end to end, as far as anybody knows
    """
    content = hashlib.sha256(codes.tobytes()).hexdigest()
    if lengths is None or -(-lengths[0] // FRAME_SAMPLES) != len(codes):  # written down of something else
        lengths = len(codes) * FRAME_SAMPLES, None
    samples, speech = lengths
    seconds = samples / SAMPLE_RATE
    heard = round(seconds / _WINDOW)
    start = 0.0 if speech is None else round(max(seconds - speech, 0.0), 2)
    return content, Measure(samples=samples, rate=SAMPLE_RATE, peak=0.5, heard=max(heard, _HEARD_WINDOWS), level=_LOUDNESS,
                            start=start, end=round(seconds, 2), digest=content)  # fmt: skip


def _window_samples(rate):
    return max(1, round(rate * _WINDOW))


def _window_levels(mono, rate):
    """RMS of every window; the last one may be shorter."""
    size = _window_samples(rate)
    whole = len(mono) // size * size
    squares = np.einsum("ws,ws->w", *[mono[:whole].reshape(-1, size)] * 2) / size
    rest = [np.mean(mono[whole:] ** 2)] if whole < len(mono) else []
    return np.sqrt(np.append(squares.astype(np.float64), rest))


def _threshold(levels):
    """RMS above which a window counts as speech: 40 dB below the loudest, higher where the background is loud (6 dB above
    it), yet never above 28 dB below the loudest: soft syllables are down there."""
    loudest, background = levels.max(), np.quantile(levels, 0.1)
    return max(_HEARD, min(max(2 * background, 0.01 * loudest), 0.04 * loudest))


class _Ceiling:
    """Counts the samples that stand at the peak, in runs of 3 or more, while blocks come and the peak still grows."""

    def __init__(self, channels):
        self.counts = {}  # how high a sample's run of three stands -> samples: a handful of values within one step
        self.last = np.zeros((2, channels), np.float32)  # of what came before: runs cross the blocks

    def add(self, block, peak):
        heights = np.abs(np.concatenate([self.last, block]))
        self.last = heights[-4:]  # the last two of them are counted when their run is known
        if peak < _CEILING:
            return
        high = heights >= np.float32(peak - _STEP)
        if not (high[2:] & high[1:-1] & high[:-2]).any():
            return
        runs = np.minimum(np.minimum(heights[2:], heights[1:-1]), heights[:-2])  # (samples - 2, channels)
        highest = np.maximum(np.maximum(runs[2:], runs[1:-1]), runs[:-2])  # of the three runs that a sample is in
        values, counts = np.unique(highest[highest >= np.float32(peak - _STEP)], return_counts=True)
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            self.counts[value] = self.counts.get(value, 0) + count

    def count(self, peak):
        self.add(np.zeros((2, self.last.shape[1]), np.float32), peak)
        return sum(count for value, count in self.counts.items() if value >= np.float32(peak - _STEP))


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


def prepare(file, span, level=None):
    """The samples that are encoded: float32 (samples,), mono, 24 kHz.

    file: binary file, or the bytes of one; span: from span_of; level: its Measure.level, to bring it to the common loudness
    """
    if isinstance(file, bytes):
        file = io.BytesIO(file)
    file.seek(0)
    with open_sound(file, "the recording") as sound:
        audio = _span(sound, *span)
    if level:
        audio = audio * min(_LOUDNESS / level, _PEAK / max(np.abs(audio).max(initial=0), 1e-9))
    return audio.astype(np.float32, copy=False)


def _span(sound, start, end):
    """Samples `start` to `end`, at 24 kHz, of a sound that nothing was read of.

    Of a long one no more is decoded than that, from a place where both rates have a sample: at 24 kHz the samples are those of
    the whole, at the usual other rates within 1e-7, at odd ones (44,056 Hz), whose filter soxr interpolates, within 2e-5.
    """
    rate, skipped, frames = sound.samplerate, 0, None
    if sound.frames > _WHOLE * rate:
        common = math.gcd(rate, SAMPLE_RATE)
        step, step_24khz = rate // common, SAMPLE_RATE // common
        margin = _PREROLL * SAMPLE_RATE
        skipped = max(0, int((start - margin) // step_24khz))  # steps
        frames = (math.ceil((end + margin) / step_24khz) - skipped) * step
        _skip(sound, skipped * step)
        start, end = start - skipped * step_24khz, end - skipped * step_24khz
    # Averaged block by block: a whole block of many channels is never there twice.
    mono = [block.mean(axis=1) for block in blocks(sound, "the recording", frames)]
    return to_mono_24khz(np.concatenate(mono), rate)[start:end] if mono else np.zeros(0, np.float32)


def _skip(sound, frames):
    if sound.format != "MP3":
        sound.seek(frames)
        return
    for _ in blocks(sound, "the recording", frames):  # after a seek in an MP3 mpg123 complains on the screen
        pass
