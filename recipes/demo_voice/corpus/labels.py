"""The label track: which sound the teacher makes at each moment.

The teacher says how long it holds every symbol of the phoneme string, in units of 600 samples. That gives
a class for every instant of the corpus at no cost. The codec and the language model are trained to predict
these classes besides their main task; the heads that do so are thrown away afterwards.
"""

from __future__ import annotations

import numpy as np

TEACHER_UNIT = 600
"""Samples (at 24 kHz) of one unit of the teacher's durations."""

TEACHER_LAG = 1_250
"""Samples by which the teacher's sounds come before the times that its durations add up to (the shift at which
the classes explain the most of the log-mel spectrum: 35 % of the variance, 16 % without it)."""

TRACK_HOP = 64
"""Samples that one entry of the stored label track stands for."""

FRAME = 512
"""Samples of one step of the codec's finest code level: 46.875 labels a second."""

IGNORE = -1
"""Entries that no loss looks at (the space between two words belongs to neither sound)."""

TAG_NAMES = ("laugh", "chuckle", "giggles", "sigh", "cough", "sniffle", "groan", "yawn", "gasp")
PHONEMES = "əɹtnɪsdilðkzmʌɛæpwhfIAbɔvɑuOᵊʃŋɡɐɜTjWʊʧʤᵻθYʒ"
STRESS_MARKS = "ˈˌ"
PAUSES = ".,?!”“:;—…"

SILENCE = 0
FIRST_TAG = 1
FIRST_PHONEME = FIRST_TAG + len(TAG_NAMES)
CLASS_COUNT = FIRST_PHONEME + len(PHONEMES)


def symbol_classes(symbols: str) -> list[int]:
    """The class of every symbol of a phoneme string; a stress mark counts as the vowel that it stands before.

    >>> symbol_classes("ˈə.") == [FIRST_PHONEME, FIRST_PHONEME, SILENCE]
    True
    """
    classes: list[int] = []
    following = SILENCE
    for symbol in reversed(symbols):
        if symbol in STRESS_MARKS:
            value = following
        elif symbol == " ":
            value = IGNORE
        elif symbol in PAUSES:
            value = SILENCE
        else:
            value = FIRST_PHONEME + PHONEMES.index(symbol)
        following = value
        classes.append(value)
    return classes[::-1]


def label_track(symbols: str, durations: np.ndarray, offset: int, samples: int) -> np.ndarray:
    """Class of every `TRACK_HOP` samples of a clip, int8 of shape (ceil(samples / TRACK_HOP),).

    `durations` holds one count of units per symbol, and one more at each end for the teacher's padding;
    `offset` is the number of samples that were trimmed off the teacher's audio before the clip begins
    (negative when silence was put before it).
    """
    if len(durations) != len(symbols) + 2:
        raise ValueError(f"{len(durations)} durations for {len(symbols)} symbols and two ends")
    classes = np.array([SILENCE, *symbol_classes(symbols), SILENCE], dtype=np.int8)
    ends = np.cumsum(durations) * TEACHER_UNIT
    centres = np.arange(-(-samples // TRACK_HOP)) * TRACK_HOP + TRACK_HOP // 2 + offset + TEACHER_LAG
    at = np.searchsorted(ends, centres, side="right")
    padded = np.append(classes, np.int8(SILENCE))
    return np.where(centres < 0, np.int8(SILENCE), padded[at])


def constant_track(value: int, samples: int) -> np.ndarray:
    """A stretch of one class, as long as `samples` samples."""
    return np.full(-(-samples // TRACK_HOP), value, dtype=np.int8)
