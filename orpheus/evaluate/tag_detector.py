"""Hears laughs, sighs and the like: a small network over log-mel frames, trained by recipes/tag_detector/make.py.

It was trained on synthesised sounds. How often it is right, and how often it hears a tag that is not there, was
measured on speakers it had not heard: tag_detector.json, beside its weights, has the results, and so does every report.
"""

import functools
import json
from dataclasses import dataclass

import numpy as np

from orpheus.common.frame import SAMPLE_RATE
from orpheus.evaluate.options import ASSETS
from orpheus.text.tags import KNOWN_TAGS

CLASSES = (*KNOWN_TAGS, "speech", "silence")
MELS, HOP, WINDOW = 40, 480, 1024  # a frame every 20 ms, over 43 ms
LOWEST, HIGHEST = 60.0, 7600.0  # Hz: anything higher says more about the recording than about the sound
OFFSETS = tuple(range(-18, 19, 3))  # frames of context: 0.36 s on either side, each the mean of three
_FLOOR = -6.0  # log10 of power below the clip's own level
SMOOTHING = 5  # frames: a tenth of a second
THRESHOLD = 0.5
SHORTEST, JOINED = 0.14, 0.3  # seconds: shorter events are dropped, events with shorter gaps joined (as in a laugh)
SLACK = 0.4  # seconds: how far off a recogniser's word times are next to a sound that is not a word


@dataclass(frozen=True)
class Event:
    """A sound that is neither speech nor silence."""

    tag: str  # the likeliest
    start: float  # seconds
    end: float
    score: float  # mean probability of being a tag's sound


@functools.cache
def _filters():
    """Triangular mel filters: float32 (MELS, WINDOW // 2 + 1)."""

    def mel(hertz):
        return 2595 * np.log10(1 + hertz / 700)

    edges = 700 * (10 ** (np.linspace(mel(LOWEST), mel(HIGHEST), MELS + 2) / 2595) - 1)
    bins = np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE)
    rise = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return np.clip(np.minimum(rise, fall), 0, None).astype(np.float32)


def log_mel(audio):
    """float32 (samples,) at 24 kHz to log10 mel power below the clip's own level: float32 (frames, MELS) in -6..1 or so."""
    padded = np.pad(np.asarray(audio, np.float32), (WINDOW // 2, WINDOW // 2))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW).astype(np.float32), axis=1)) ** 2
    mel = power.astype(np.float32) @ _filters().T
    level = max(float(np.quantile(mel.mean(1), 0.9)), 1e-9)
    return np.maximum(np.log10(mel / level + 1e-12), _FLOOR).astype(np.float32)


def features(mel):
    """Log-mel frames with their surroundings: float32 (frames, len(OFFSETS) * MELS)."""
    reach = max(OFFSETS) + 1
    padded = np.pad(mel, ((reach, reach), (0, 0)), constant_values=_FLOOR)
    pooled = (padded[:-2] + padded[1:-1] + padded[2:]) / 3  # entry n is centred on padded frame n + 1
    return np.concatenate([pooled[reach + o - 1 : reach + o - 1 + len(mel)] for o in OFFSETS], axis=1)


class TagDetector:
    """weights: {"w1", "b1", "w2", "b2", "mean", "scale"} as make.py writes them"""

    def __init__(self, weights, card=None):
        self.weights, self.card = {name: np.asarray(w, np.float32) for name, w in weights.items()}, card or {}

    @classmethod
    def load(cls, path=ASSETS / "tag_detector.npz"):
        with np.load(path) as stored:
            weights = dict(stored)
        return cls(weights, json.loads(path.with_suffix(".json").read_text(encoding="utf-8")))

    def probabilities(self, mel):
        """Log-mel frames (frames, MELS) to float32 (frames, len(CLASSES)), 50 frames a second."""
        w = self.weights
        hidden = np.maximum((features(mel) - w["mean"]) * w["scale"] @ w["w1"] + w["b1"], 0)
        logits = hidden @ w["w2"] + w["b2"]
        logits = np.exp(logits - logits.max(1, keepdims=True))
        return logits / logits.sum(1, keepdims=True)

    def events(self, audio):
        """List of Event in 24 kHz audio (samples,), in order."""
        if not len(audio):
            return []
        return events_of(self.probabilities(log_mel(audio)))


def events_of(probabilities):
    """Events in frame-wise probabilities (frames, len(CLASSES))."""
    sound = probabilities[:, : len(KNOWN_TAGS)].sum(1)
    smooth = np.convolve(np.pad(sound, SMOOTHING // 2, mode="edge"), np.ones(SMOOTHING) / SMOOTHING, "valid")
    active = smooth > THRESHOLD
    edges = np.flatnonzero(np.diff(np.concatenate([[0], active.astype(np.int8), [0]])))
    per_second = SAMPLE_RATE / HOP
    runs = []
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if runs and (start - runs[-1][1]) / per_second < JOINED:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((start, end))
    found = []
    for start, end in runs:
        inside = active[start:end]
        if inside.sum() / per_second < SHORTEST:
            continue
        weight = probabilities[start:end][inside]
        tag = KNOWN_TAGS[int(weight[:, : len(KNOWN_TAGS)].sum(0).argmax())]
        found.append(
            Event(tag, float(start / per_second), float(end / per_second), float(sound[start:end][inside].mean()))
        )
    return found


def match_tags(tags, events):
    """For every tag in a text, the event that matches it, or None; an event matches one tag only.

    tags: list of (tag, start, end) with the gap in seconds where it should sound; events: of TagDetector.events
    """
    free, matched = list(events), []
    for tag, start, end in tags:
        inside = [e for e in free if min(e.end, end + SLACK) - max(e.start, start - SLACK) > 0.5 * (e.end - e.start)]
        # The right kind first, then the nearest to the gap's middle.
        best = min(inside, key=lambda e: (e.tag != tag, abs(e.start + e.end - start - end)), default=None)
        if best is not None:
            free.remove(best)
        matched.append(best)
    return matched
