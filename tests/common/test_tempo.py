"""Speech at another speed: its length, its pitch, and that chunks change nothing."""

import numpy as np
import pytest

from orpheus.common.errors import InputError
from orpheus.common.tempo import Tempo


def tone(seconds, hertz=220):
    return (0.4 * np.sin(np.arange(round(seconds * 24_000)) * 2 * np.pi * hertz / 24_000)).astype(np.float32)


def at(speed, sound, size):
    tempo = Tempo(speed)
    return np.concatenate([*(tempo.push(sound[i : i + size]) for i in range(0, len(sound), size)), tempo.finish()])


def pitch(sound):
    """Hz of the strongest frequency."""
    middle = sound[len(sound) // 4 :][:16_384]
    return np.argmax(np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 1 << 17))) * 24_000 / (1 << 17)


@pytest.mark.parametrize("speed", [0.25, 0.5, 0.8, 1.0, 1.37, 2.0, 3.0, 4.0])
def test_length_and_pitch(speed):
    sound = tone(6)
    made = at(speed, sound, 2048)
    assert made.dtype == np.float32
    assert abs(len(made) / 24_000 - 6 / speed) < 0.06
    assert abs(pitch(made) - 220) < 1
    assert 0.35 < np.abs(made).max() < 0.45


@pytest.mark.parametrize("speed", [0.25, 0.9, 1.5, 4.0])
def test_the_size_of_the_chunks_changes_nothing(speed):
    sound = tone(2) * np.linspace(0.1, 1, 48_000, dtype=np.float32)
    whole = at(speed, sound, len(sound))
    for size in (100, 1387, 2048):
        assert np.array_equal(at(speed, sound, size), whole)


@pytest.mark.parametrize("speed", [0.5, 1.2, 2.0])
def test_sound_comes_while_it_is_made(speed):
    tempo, sound, made = Tempo(speed), tone(3), 0
    for index in range(0, len(sound), 2048):
        made += len(tempo.push(sound[index : index + 2048]))
        assert made > (index + 2048 - 6_000) / speed  # at most a quarter of a second behind


def test_nothing_in_nothing_out():
    for speed in (0.3, 2.5):
        assert len(Tempo(speed).finish()) == 0
        assert len(Tempo(speed).push(np.zeros(0, np.float32))) == 0


@pytest.mark.parametrize("speed", [0, 0.2, 4.1, float("nan"), "2", None, True])
def test_what_is_no_speed_is_refused(speed):
    with pytest.raises(InputError, match="speed must be between 0.25 and 4"):
        Tempo(speed)
