"""Makes the clips of `assets/demo_speaker`: a blend of the teacher's voices speaks `lines.txt`, tag sounds are put between.

    python -m recipes.demo_speaker.make --teacher TEACHER --out assets/demo_speaker                                 the data set: metadata.jsonl, clips/
    python -m recipes.demo_speaker.make --teacher TEACHER --out HELD --lines recipes/demo_speaker/held_out.txt --wav    WAVs, to compare voices with

A line is a clip: sentences of `recipes/demo_voice/corpus/sentences.jsonl.gz` (their phonemes are known), "|" between two sentences that
are joined by a pause, tags anywhere before, between and after. TEACHER is the folder that recipes/demo_voice needs.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from pathlib import Path

import numpy as np

from orpheus.common.frame import SAMPLE_RATE
from orpheus.common.options import ROOT
from recipes.demo_voice.corpus.build import join, level_gain, silence, spoken_tag, whole
from recipes.demo_voice.corpus.labels import TAG_NAMES, constant_track
from recipes.demo_voice.corpus.speak import read_sentences, trim

RECIPES = ROOT / "recipes"
SPEAKER = "milo"
BLEND = {"am_michael": 1.0, "af_bella": 0.3, "am_puck": -0.3}
"""Weights of the teacher's styles. They add up to one; what is below zero leads away from that voice."""

SPEED = 1.0
OPUS_BITS = 64_000
"""Bits a second: clear at 24 kHz mono, half a megabyte a minute."""

VOWELS = dict(a="hˈɑd.", i="hˈid.", u="hˈʌd.", o="hˈɔd.", r="hˈɜɹd.", m="hˈʊd.")
"""Words whose vowels show the vocal tract, under the names that tag_sounds.py has for them."""


def blended_styles(folder: str, weights: dict[str, float]) -> np.ndarray:
    """The style matrix (lengths, 256) of a voice that lies between, or beyond, the teacher's own."""
    return sum(
        np.float32(weight) * np.fromfile(f"{folder}/{voice}.bin", dtype=np.float32).reshape(-1, 256)
        for voice, weight in weights.items()
    )


def linear_prediction(segment: np.ndarray, order: int = 28) -> np.ndarray:
    """Coefficients of the all-pole filter of a stretch of vowel, poles drawn in a little."""
    segment = np.append(segment[0], segment[1:] - 0.95 * segment[:-1]) * np.hanning(len(segment))
    correlation = np.correlate(segment, segment, "full")[len(segment) - 1 : len(segment) + order]
    correlation[0] *= 1.0005
    filter_ = np.zeros(order + 1)
    filter_[0], error = 1.0, correlation[0]
    for index in range(1, order + 1):
        reflection = -(correlation[index] + filter_[1:index] @ correlation[1:index][::-1]) / error
        filter_[1 : index + 1] += reflection * np.append(filter_[1:index][::-1], 1)
        error *= 1 - reflection**2
    return filter_ * 0.985 ** np.arange(order + 1)


def measure_tract(speak) -> dict:
    """An entry as in vocal_tracts.json; `speak` turns phonemes into audio."""
    tract, pitches = {}, []
    shortest, longest = SAMPLE_RATE // 350, SAMPLE_RATE // 70
    for vowel, phonemes in VOWELS.items():
        audio = speak(phonemes).astype(np.float64)
        power = [(audio[start : start + 720] ** 2).mean() for start in range(0, len(audio) - 720, 240)]
        loudest = int(np.argmax(power)) * 240
        segment = audio[max(0, loudest - 480) : loudest + 1440]
        tract[vowel] = linear_prediction(segment).tolist()
        correlation = np.correlate(segment, segment, "full")[len(segment) - 1 :]
        pitches.append(SAMPLE_RATE / (shortest + np.argmax(correlation[shortest:longest])))
    return tract | {"f0": float(np.median(pitches))}


def parts_of(line: str) -> list[str]:
    """The sentences and tags of a line, in order.

    >>> parts_of("One. <sigh> Two. | Three.")
    ['One.', '<sigh>', 'Two.', 'Three.']
    """
    return [part.strip() for part in re.split(r"(<[a-z]+>)|\|", line) if part and part.strip()]


def make_clip(parts: list[str], phonemes: dict[str, str], speak, tract: dict) -> np.ndarray:
    """The parts one after the other, with the pauses of `corpus.build`, at the corpus' level. float32."""
    pauses, noise = random.Random(" ".join(parts)), np.random.default_rng(list(" ".join(parts).encode()))
    pieces = []
    for before, part in zip([None, *parts], parts):
        name = part[1:-1] if part[0] == "<" else None
        if name:
            pieces += [silence(pauses, 0.03, 0.09), spoken_tag(name, tract, noise)]
        else:
            if before is not None:
                pieces.append(silence(pauses, 0.06, 0.14) if before[0] == "<" else silence(pauses, 0.10, 0.22))
            trimmed = trim(speak(phonemes[part]))
            if trimmed is None:
                raise ValueError(f"the teacher said nothing for {part!r}")
            pieces.append(whole(trimmed[0], constant_track(0, len(trimmed[0]))))
    if parts[-1][0] == "<":
        pieces.append(silence(pauses, 0.05, 0.08))
    audio = join(pieces)[0]
    return audio * level_gain(audio)


def write_opus(path: Path, audio: np.ndarray) -> None:
    import soundfile

    # libsndfile's level 0 to 1 stands for 256 to 6 kbit/s.
    level = 1 - (OPUS_BITS - 6_000) / 250_000
    soundfile.write(path, audio, SAMPLE_RATE, format="OGG", subtype="OPUS", compression_level=level)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", required=True, help="folder with kokoro_graph.npz, vocab.json and VOICE.bin")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--lines", type=Path, default=RECIPES / "demo_speaker" / "lines.txt")
    parser.add_argument("--wav", action="store_true", help="WAV and clips.jsonl (for judge.py) instead of Opus")
    options = parser.parse_args()
    import torch

    from orpheus.common.audio import write_wav
    from recipes.demo_voice.corpus.teacher import Teacher

    torch.set_num_threads(1)
    collection = read_sentences(str(RECIPES / "demo_voice" / "corpus" / "sentences.jsonl.gz"))
    phonemes = {sentence["text"]: sentence["ph"] for sentence in collection}
    lines = [parts_of(line) for line in options.lines.read_text(encoding="utf-8").splitlines() if line.strip()]
    for part in (part for parts in lines for part in parts):
        if part not in phonemes and part[1:-1] not in TAG_NAMES:
            raise SystemExit(f"{options.lines}: {part!r} is neither a sentence of sentences.jsonl.gz nor a tag")
    teacher = Teacher(f"{options.teacher}/kokoro_graph.npz", f"{options.teacher}/vocab.json")
    styles = blended_styles(options.teacher, BLEND)

    def speak(symbols):
        return teacher(symbols, styles, SPEED)

    tract = measure_tract(speak)
    print(f"{SPEAKER}: {tract['f0']:.0f} Hz", flush=True)
    folder = options.out / "clips"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("[0-9][0-9].*"):
        old.unlink()
    entries, seconds, tags = [], [], dict.fromkeys(TAG_NAMES, 0)
    for number, parts in enumerate(lines):
        audio, text = make_clip(parts, phonemes, speak, tract), " ".join(parts)
        name = f"clips/{number:02d}.{'wav' if options.wav else 'opus'}"
        if options.wav:
            write_wav(options.out / name, audio)
            entries.append(dict(audio=name, text=text, voice=SPEAKER))
        else:
            write_opus(options.out / name, audio)
            entries.append(dict(file_name=name, text=text, source=SPEAKER))
        seconds.append(len(audio) / SAMPLE_RATE)
        for part in parts:
            if part[1:-1] in tags:
                tags[part[1:-1]] += 1
        print(f"{seconds[-1]:5.2f} s  {text}", flush=True)
    table = options.out / ("clips.jsonl" if options.wav else "metadata.jsonl")
    table.write_text("".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries), encoding="utf-8")
    megabytes = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    print(
        f"{len(entries)} clips, {sum(seconds):.1f} s ({min(seconds):.1f} to {max(seconds):.1f}), {megabytes:.2f} MB; tags "
        + ", ".join(f"{name} {count}" for name, count in tags.items() if count)
    )


if __name__ == "__main__":
    main()
