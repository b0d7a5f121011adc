"""Recordings made on the spot: noise in the rhythm of speech, in any rate, and folders of them."""

import csv
import io

import numpy as np
import soundfile

from orpheus.common.audio import decode_audio
from orpheus.common.frame import SAMPLE_RATE
from orpheus.text.tags import KNOWN_TAGS


def speech(seconds, rate=SAMPLE_RATE, channels=1, seed=0, level=0.1):
    """float32 (samples, channels): noise, the same in every channel."""
    noise = np.random.default_rng(seed).uniform(-level, level, round(seconds * rate)).astype(np.float32)
    return np.stack([noise] * channels, axis=1)


def talk(*parts, rate=SAMPLE_RATE, seed=0):
    """Speech and pauses in turn, given in seconds: float32 (samples, 1)."""
    pieces = [speech(seconds, rate, seed=seed + n) * (n % 2 == 0) for n, seconds in enumerate(parts)]
    return np.concatenate(pieces).astype(np.float32)


def write(path, audio, rate=SAMPLE_RATE, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio, rate, **options)
    return path


def encoded(audio, rate=SAMPLE_RATE, format="WAV", **options):
    """The bytes of an audio file."""
    file = io.BytesIO()
    soundfile.write(file, audio, rate, format=format, **options)
    return file.getvalue()


def write_csv(path, header, rows, encoding="utf-8", delimiter=","):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding=encoding, newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([header, *rows])
    return path


def folder_of(path, texts, seconds=1.0, source=None):
    """A folder with metadata.csv and one recording for each text; returns it."""
    header, rows = ["file_name", "text"] + (["source"] if source else []), []
    for n, text in enumerate(texts):
        write(path / f"{n}.wav", speech(seconds, seed=n))
        rows.append([f"{n}.wav", text] + ([source[n]] if source else []))
    write_csv(path / "metadata.csv", header, rows)
    return path


TWO_RATES = {"a.wav": 16_000, "b.wav": 48_000}


def two_recordings(path):
    """A folder with two recordings of different rates; returns it."""
    for n, (name, rate) in enumerate(TWO_RATES.items()):
        write(path / name, speech(0.5, rate, seed=n), rate)
    return path


def facts(source):
    """(text, speaker, rate of the recording) of every row of a Source."""
    return [(row.text, row.speaker, decode_audio(row.audio.load(), "")[1]) for row in source.entries]


TEXTS = [f"This is sentence number {n}." for n in range(12)]


def folder_of_twelve(path):
    """Twelve recordings of 1 to 2 seconds in three rates, mono and stereo, of two speakers; returns the folder."""
    rows = []
    for n, text in enumerate(TEXTS):
        rate = (16_000, 24_000, 48_000)[n % 3]
        write(path / f"{n}.wav", speech(1 + n % 3 / 2, rate, 1 + n % 2, seed=n, level=0.9), rate)
        rows.append([f"{n}.wav", text, "ann" if n % 4 else "bob"])
    write_csv(path / "metadata.csv", ["file_name", "text", "source"], rows)
    return path


def measured(folder, texts, tags=KNOWN_TAGS, **options):
    """Recordings of 3 seconds with these transcripts, read and checked."""
    from orpheus.data.options import DataOptions
    from orpheus.data.recordings import read_recordings

    data = folder_of(folder / "data", texts, seconds=3)
    return read_recordings(DataOptions(dataset=str(data), code_cache=folder / "cache", **options), False, tags=tags)


def prepare(voice, folder, cache, codec=None, **options):
    """Runs the whole of the data side; returns Prepared."""
    from orpheus.data.examples import make_examples
    from orpheus.data.options import DataOptions
    from orpheus.data.recordings import read_recordings

    options = DataOptions(dataset=str(folder), code_cache=cache, **options)
    return make_examples(
        read_recordings(options, progress=False), codec or voice.codec, voice.prompts, options, progress=False
    )


def everything(prepared):
    """What the examples are, by key: to compare runs."""
    return {
        e.key: (e.input_ids.tolist(), e.prompt_tokens, e.text, e.speaker) for e in prepared.train + prepared.held_out
    }


def twelve_recordings(path):
    """Twelve recordings of 1.0, 1.1, ... 2.1 seconds in three rates, of two speakers, no two of equal frame count; returns the folder."""
    rows = []
    for n, text in enumerate(TEXTS):
        rate = (16_000, 24_000, 48_000)[n % 3]
        write(path / f"{n}.wav", speech(1 + n / 10, rate, seed=n), rate)
        rows.append([f"{n}.wav", text, "ann" if n % 4 else "bob"])
    return write_csv(path / "metadata.csv", ["file_name", "text", "source"], rows).parent
