"""Nine non-verbal sounds in a speaker's own timbre.

Each is a source (glottal pulses, noise, or both) through an all-pole filter of the speaker's vocal tract, which
was measured by linear prediction on vowels that the teacher spoke: `vocal_tracts.json` holds, for every voice,
29 coefficients for six vowels and the median pitch `f0` in hertz.
"""

import json
from pathlib import Path

import numpy as np
from scipy.signal import butter, lfilter, sosfilt

from orpheus.common.frame import SAMPLE_RATE

LEVELS_DB = dict(laugh=-21, chuckle=-25, giggles=-23, sigh=-29, cough=-22, sniffle=-29, groan=-25, yawn=-25, gasp=-26)
"""RMS level of the loud part of each sound."""


def read_tracts():
    """{the teacher's name of a voice: its vocal tract}."""
    return json.loads(Path(__file__).with_name("vocal_tracts.json").read_text())


def _samples(seconds):
    return int(seconds * SAMPLE_RATE)


def _normalised(signal):
    return signal / (np.sqrt((signal**2).mean()) + 1e-9)


def _band(signal, low, high):
    sections = butter(2, [low, min(high, SAMPLE_RATE / 2 - 100)], "band", fs=SAMPLE_RATE, output="sos")
    return sosfilt(sections, signal)


class Voice:
    """Sources and filters of one speaker."""

    def __init__(self, tract, rng):
        self.tract, self.rng, self.pitch = tract, rng, tract["f0"]

    def noise(self, samples):
        return self.rng.normal(0, 1, samples)

    def pulses(self, pitch, jitter=0.01, shimmer=0.05, creak=0.0):
        """Derivative of glottal flow for a pitch contour in hertz, one value per sample.

        jitter and shimmer: spread of the pulses' times and heights; creak: how much every other pulse loses.
        """
        samples = len(pitch)
        phase = np.cumsum(pitch / SAMPLE_RATE)
        flow = np.zeros(samples)
        for count, mark in enumerate(np.searchsorted(phase, np.arange(0, phase[-1]))):
            mark = int(mark + self.rng.normal(0, jitter) * SAMPLE_RATE / max(pitch[min(mark, samples - 1)], 50))
            if not 0 <= mark < samples:
                continue
            length = max(8, int(0.62 * int(SAMPLE_RATE / pitch[mark])))
            time = np.arange(length) / length
            opening, closing = 0.5 * (1 - np.cos(np.pi * time / 0.66)), np.cos(np.pi * (time - 0.66) / 0.68)
            pulse = np.diff(np.append(np.where(time < 0.66, opening, closing), 0)) * length / 20
            height = 1 + self.rng.normal(0, shimmer)
            if creak and count % 2:
                height *= 1 - creak
            end = min(samples, mark + length)
            flow[mark:end] += height * pulse[: end - mark]
        return flow

    def shape(self, vowel, source):
        """The source through the vocal tract at a vowel, at an RMS of one."""
        return _normalised(lfilter([1], self.tract[vowel], source))

    def breath(self, vowel, samples, low, high):
        return self.shape(vowel, _band(self.noise(samples), low, high))


def _decay(samples, attack_s, rate, hold_s=0.0):
    """An envelope that rises, holds and dies away."""
    attack, hold = _samples(attack_s), _samples(hold_s)
    fall = np.linspace(0, 1, max(1, samples - attack - hold))
    return np.concatenate([np.linspace(0, 1, attack), np.ones(hold), np.exp(-fall * rate) * (1 - fall) ** 0.5])[
        :samples
    ]


def _bursts(voice, vowel, count, period_s, pitch, fall, breathiness, length_s, quieter):
    """Breathy syllables, one after the other: `pitch` is a factor on the speaker's own, `fall` what it loses with each."""
    rng = voice.rng
    sound, start = np.zeros(_samples(count * period_s * 1.35 + 0.35)), 0
    for index in range(count):
        length = _samples(length_s * rng.uniform(0.9, 1.1))
        contour = voice.pitch * pitch * (1 - fall * index) * np.linspace(1.06, 0.90, length) * rng.uniform(0.97, 1.03)
        voiced = voice.shape(vowel, voice.pulses(contour, 0.015, 0.08) + 0.02 * voice.noise(length))
        breath = voice.breath(vowel, length, 400, 9000)
        onset = _samples(0.055)
        onset = voice.breath(vowel, onset, 500, 9000) * np.linspace(0.2, 1, onset)
        body = _decay(length, 0.02, 2.2) * (voiced + breathiness * 0.5 * breath)
        burst = np.concatenate([breathiness * onset, body]) * quieter**index * rng.uniform(0.85, 1.1)
        sound[start : start + len(burst)] += burst[: len(sound) - start]
        start += _samples(period_s * rng.uniform(0.92, 1.08) * (1 + 0.03 * index))
    return sound[: min(len(sound), start + _samples(0.12))]


def _laugh(voice):
    rng = voice.rng
    count, period, pitch = int(rng.integers(4, 6)), rng.uniform(0.185, 0.205), rng.uniform(1.25, 1.4)
    return _bursts(voice, "a", count, period, pitch, 0.06, 0.35, 0.125, 0.90)


def _chuckle(voice):
    rng = voice.rng
    count, period, pitch = int(rng.integers(2, 4)), rng.uniform(0.165, 0.185), rng.uniform(0.88, 0.96)
    return lfilter([1], [1, -0.6], _bursts(voice, "m", count, period, pitch, 0.04, 0.5, 0.095, 0.85))


def _giggles(voice):
    rng = voice.rng
    count, period, pitch = int(rng.integers(5, 8)), rng.uniform(0.125, 0.14), rng.uniform(1.65, 1.85)
    return _bursts(voice, "i", count, period, pitch, 0.02, 0.3, 0.075, 0.95)


def _sigh(voice):
    rng = voice.rng
    length = _samples(rng.uniform(0.28, 0.36))
    inhale = voice.breath("u", length, 800, 6000) * np.linspace(0, 1, length) ** 1.5 * 0.30
    inhale[-240:] *= np.linspace(1, 0, 240)
    length = _samples(rng.uniform(0.75, 0.95))
    envelope = _decay(length, 0.07, 2.0, 0.08)
    contour = voice.pitch * np.linspace(1.08, 0.68, length)
    breath = voice.breath("u", length, 300, 7000)
    voiced = voice.shape("u", voice.pulses(contour, 0.01, 0.05)) * np.linspace(1, 0, length)
    return np.concatenate([inhale, np.zeros(_samples(0.05)), envelope * (breath + 0.45 * voiced)])


def _cough(voice):
    rng, parts = voice.rng, []
    for index in range(int(rng.integers(2, 4))):
        length = _samples(rng.uniform(0.17, 0.21))
        rough = voice.shape("u", voice.noise(length))
        contour = voice.pitch * np.linspace(1.25, 0.9, length)
        voiced = voice.shape("u", voice.pulses(contour, 0.06, 0.3)) * _decay(length, 0.02, 3.0)
        click, begin = np.zeros(length), _samples(0.012)
        click[:begin] = voice.noise(begin) * np.linspace(2.5, 0, begin)
        parts.append((_decay(length, 0.004, 5.0) * (rough + 0.9 * voiced) + click) * (1 - 0.12 * index))
        parts.append(np.zeros(_samples(rng.uniform(0.07, 0.10))))
    return np.concatenate(parts)


def _sniffle(voice):
    rng, parts = voice.rng, []
    for _ in range(int(rng.integers(2, 4))):
        length = _samples(rng.uniform(0.13, 0.18))
        time = np.linspace(0, 1, length)
        flutter = 1 + 0.5 * np.sin(2 * np.pi * 38 * time * length / SAMPLE_RATE + rng.uniform(0, 6))
        nose = _band(voice.noise(length), 1600, 2900) + 0.9 * _band(voice.noise(length), 4200, 7600)
        parts.append(np.sin(np.pi * time**1.6) ** 0.8 * flutter * _normalised(nose) * 0.55)
        parts.append(np.zeros(_samples(rng.uniform(0.09, 0.13))))
    return np.concatenate(parts)


def _groan(voice):
    length = _samples(voice.rng.uniform(0.85, 1.1))
    time = np.linspace(0, 1, length)
    contour = voice.pitch * (0.70 + 0.10 * np.sin(np.pi * time**0.8) - 0.16 * time)
    envelope = np.minimum(1, time / 0.12) * np.minimum(1, (1 - time) / 0.25)
    voiced = voice.shape("r", voice.pulses(contour, 0.03, 0.15, 0.45))
    return lfilter([1], [1, -0.5], envelope * (voiced + 0.12 * voice.shape("r", voice.noise(length))))


def _yawn(voice):
    rng = voice.rng
    length = _samples(rng.uniform(0.45, 0.6))
    inhale = voice.breath("o", length, 500, 4500) * np.sin(np.linspace(0, np.pi * 0.85, length)) * 0.35
    length = _samples(rng.uniform(1.0, 1.25))
    time = np.linspace(0, 1, length)
    contour = voice.pitch * (0.85 + 0.42 * np.exp(-(((time - 0.28) / 0.2) ** 2)) - 0.25 * time)
    pulses = voice.pulses(contour, 0.008, 0.04)
    closed = np.clip(abs(time - 0.30) / 0.30, 0, 1)
    voiced = voice.shape("a", pulses) * (1 - closed) + voice.shape("o", pulses) * closed
    breath = voice.breath("o", length, 300, 6000)
    envelope = np.minimum(1, time / 0.15) * np.minimum(1, (1 - time) / 0.35)
    return np.concatenate([inhale, envelope * (voiced * (1 - 0.6 * time) + breath * (0.12 + 0.45 * time))])


def _gasp(voice):
    length = _samples(voice.rng.uniform(0.30, 0.38))
    time = np.linspace(0, 1, length)
    envelope = time**1.2
    end = _samples(0.015)
    envelope[-end:] *= np.linspace(1, 0, end)
    breath = voice.breath("i", length, 900, 9500)
    contour = voice.pitch * np.linspace(1.3, 1.9, length)
    return envelope * (breath + 0.25 * voice.shape("u", voice.pulses(contour, 0.02, 0.1)) * time**2)


SOUNDS = dict(
    laugh=_laugh,
    chuckle=_chuckle,
    giggles=_giggles,
    sigh=_sigh,
    cough=_cough,
    sniffle=_sniffle,
    groan=_groan,
    yawn=_yawn,
    gasp=_gasp,
)


def tag_sound(name, tract, rng):
    """One rendering of a tag, float32 at 24 kHz, 0.3 to 2 s; no two are alike.

    tract: the speaker's entry of vocal_tracts.json; rng: a numpy Generator
    """
    sound = np.asarray(SOUNDS[name](Voice(tract, rng)), np.float64)
    sound = sosfilt(butter(2, 70, "high", fs=SAMPLE_RATE, output="sos"), sound - sound.mean())
    loud = np.abs(sound) > np.abs(sound).max() * 0.1
    level_db = LEVELS_DB[name] + rng.uniform(-1, 1)
    sound *= 10 ** (level_db / 20) / np.sqrt((sound[loud] ** 2).mean())
    sound *= min(1.0, 0.9 / np.abs(sound).max())
    sound[:120] *= np.linspace(0, 1, 120)
    sound[-120:] *= np.linspace(1, 0, 120)
    return sound.astype(np.float32)
