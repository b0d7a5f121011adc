"""Measuring, trimming and levelling one recording."""

import hashlib
import io
import subprocess
import sys

import numpy as np
import pytest

from orpheus.common.options import ROOT
from orpheus.data import measure as clips
from tests.fakes.recordings import encoded, speech, talk


def test_the_clipped_share_counts_runs_of_three_and_more():
    audio = np.tile(np.array([0, 1, 1, 0, 1, 1, 1, 1, 0, 0.5], np.float32), 100)[:, None]
    assert clips.measure(audio, 8_000).clipped == 0.4
    assert clips.measure(audio * 0.5, 8_000).peak == 0.5  # far from the ceiling: not judged


def test_trimming_leaves_a_tenth_of_a_second():
    audio = np.concatenate([np.zeros((12_000, 1)), talk(1, 0.5, 1), np.zeros((24_000, 1))]).astype(np.float32)
    measure = clips.measure(audio, 24_000)
    assert (measure.start, measure.end, measure.pauses) == (0.5, 3.0, ((1.5, 2.0),))
    assert clips.span_of(measure, trim=True) == (9_600, 74_400)
    assert clips.span_of(measure, trim=False) == (0, 96_000)


def test_trimming_in_another_rate_and_with_background_noise():
    rate = 16_000
    audio = np.concatenate([np.zeros((8_000, 1)), speech(1, rate), np.zeros((8_000, 1))])
    audio = (audio + np.random.default_rng(1).normal(0, 0.002, audio.shape)).astype(np.float32)
    measure = clips.measure(audio, rate)
    assert measure.start == pytest.approx(0.5, abs=0.011) and measure.end == pytest.approx(1.5, abs=0.011)
    assert clips.prepare(encoded(audio, rate), (9_600, 38_400)).shape == (28_800,)


@pytest.mark.parametrize("level", [0.02, 0.1, 0.8])
def test_levelling(level):
    audio = talk(1, 1, 1) * level * 10
    measure = clips.measure(audio.astype(np.float32), 24_000)
    made = clips.prepare(encoded(audio, subtype="FLOAT"), (0, 72_000), measure.level)
    active = np.concatenate([made[:24_000], made[48_000:]])
    assert 20 * np.log10(np.sqrt(np.mean(active**2))) == pytest.approx(-23, abs=0.01)
    assert made.dtype == np.float32


def test_levelling_stops_at_the_peak():
    audio = speech(1, level=0.001)
    audio[100] = 0.9
    made = clips.prepare(encoded(audio, subtype="FLOAT"), (0, 24_000), clips.measure(audio, 24_000).level)
    assert np.abs(made).max() == pytest.approx(0.95)


def test_threads_have_nothing_of_numpy_left_to_import():
    """numpy imports `numpy.ma` when it is first asked for; two threads that ask at once end in a RecursionError."""
    program = "import sys, orpheus.data.measure; sys.exit('numpy.ma' not in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_the_hash_of_a_file_is_that_of_its_bytes(size):
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    file = io.BytesIO(content)
    file.seek(size // 2)
    assert clips.content_hash(file) == clips.content_hash(content) == hashlib.sha256(content).hexdigest()
