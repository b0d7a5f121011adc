"""Long recordings: cut only where a pause surely is a sentence's end, in time and memory that do not grow out of hand."""

import json
import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from orpheus.common.audio import read_audio, to_mono_24khz
from orpheus.common.frame import SAMPLE_RATE
from orpheus.data import measure as measuring
from orpheus.data.measure import Measure, measure, measure_file, prepare
from orpheus.data.splitting import split_recording
from orpheus.training.options import DEMO_SPEAKER
from tests.fakes.recordings import speech, talk, write

# --- where words go -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clips():
    """[(text, samples without silence at either end)] of the demo speaker: real pauses inside, as long as those after sentences."""
    lines = (DEMO_SPEAKER / "metadata.jsonl").read_text("utf-8").splitlines()
    found = []
    for line in map(json.loads, lines):
        audio = read_audio(DEMO_SPEAKER / line["file_name"])
        there = measure(audio[:, None], SAMPLE_RATE)
        found.append((line["text"], audio[round(there.start * SAMPLE_RATE) : round(there.end * SAMPLE_RATE)]))
    return found


def chapter(clips, seed, count, shortest, longest, breaths=0.0):
    """(Measure, text, {letters before a clip's end: (its end, the next one's beginning) in seconds}) of clips end to end."""
    random = np.random.default_rng([seed, count])
    sounds, texts, ends, letters, samples = [], [], {}, 0, 0
    for index in random.permutation(len(clips))[:count]:
        text, sound = clips[index]
        if random.random() < breaths:  # one more pause, at the quietest place in the middle
            loudness = np.convolve(np.abs(sound), np.ones(480), "same")[len(sound) // 4 : -len(sound) // 4]
            place = len(sound) // 4 + int(np.argmin(loudness))
            sound = np.concatenate([sound[:place], silence(random.uniform(0.15, 0.7)), sound[place:]])
        pause = silence(random.uniform(shortest, longest))
        letters += letters_of(text)
        ends[letters] = (samples + len(sound)) / SAMPLE_RATE, (samples + len(sound) + len(pause)) / SAMPLE_RATE
        samples += len(sound) + len(pause)
        sounds += [sound, pause]
        texts.append(text)
    return measure(np.concatenate(sounds)[:, None], SAMPLE_RATE), " ".join(texts), ends


def silence(seconds):
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


def letters_of(text):
    return len(text.replace(" ", ""))


def wrong_cuts(pieces, ends):
    """(cuts, those with a word on the wrong side) of pieces that follow each other."""
    wrong, letters = 0, 0
    bounds = [(0, (0.0, 0.0)), *ends.items()]
    for text, _, cut in pieces[:-1]:
        letters += letters_of(text)
        clip = next(n for n, (reached, _) in enumerate(bounds) if reached >= letters)
        reached, (end, following) = bounds[clip]
        begun = bounds[clip - 1][1][1]
        # At a clip's end the pause is known; between two sentences of a clip, that it is inside.
        wrong += not (end - 0.03 <= cut <= following + 0.03 if reached == letters else begun + 0.3 < cut < end - 0.3)
    return len(pieces) - 1, wrong


@pytest.mark.parametrize(
    "shortest, longest, breaths, share",
    [(0.3, 0.8, 0.0, 0.85), (0.15, 0.5, 0.0, 0.75), (0.5, 2.0, 0.0, 0.9), (0.3, 0.8, 0.5, 0.85), (0.25, 0.6, 1.0, 0.7)],
)
def test_no_word_is_on_the_wrong_side_of_a_cut(clips, shortest, longest, breaths, share):
    """Pauses of many lengths; of 753 cuts that this set's like had before, 186 were wrong."""
    cuts = wrong = 0
    kept = seconds = 0.0
    for seed, count in [(1, 8), (2, 12), (3, 12), (4, 30)]:
        found, text, ends = chapter(clips, seed, count, shortest, longest, breaths)
        for limit in (12.0, 24.0):
            parts, lost = split_recording(
                text, found, 0.0, found.seconds, lambda _, s, most=limit: 0.5 <= s <= most, limit
            )
            pieces = sorted(parts + lost, key=lambda piece: piece[1])
            assert " ".join(piece[0] for piece in pieces) == text
            assert all(before[2] == after[1] for before, after in zip(pieces, pieces[1:], strict=False))
            made, bad = wrong_cuts(pieces, ends)
            cuts, wrong = cuts + made, wrong + bad
            kept, seconds = kept + sum(end - start for _, start, end in parts), seconds + found.seconds
    assert cuts > 20 and wrong == 0
    assert kept > share * seconds  # careful, not idle


def test_another_text_is_not_cut(clips):
    """The pauses are there, the sentences are those of another chapter."""
    for seed in (1, 2, 3, 4):
        found, _, _ = chapter(clips, seed, 20, 0.3, 0.8)
        _, other, _ = chapter(clips, seed + 10, 20, 0.3, 0.8)
        parts, _ = split_recording(other, found, 0.0, found.seconds, lambda _, s: 0.5 <= s <= 24, 24)
        assert len(parts) <= 1


def long_measure(sentences):
    """(Measure, text) of so many sentences of 3 to 7 seconds with a pause after and, mostly, inside each."""
    random, pauses, texts, at = np.random.default_rng(sentences), [], [], 0.0
    for number in range(sentences):
        seconds = random.uniform(3, 7)
        texts.append(("Word " + "and word " * 20)[: round(seconds * 15)].strip().ljust(round(seconds * 15), "h") + ".")
        said = seconds * random.uniform(0.9, 1.1)
        if number % 3:
            begin = at + said * random.uniform(0.3, 0.7)
            pauses.append((begin, begin + 0.3))
            at += 0.3
        at += said
        pauses.append((at, at + 0.6))
        at += 0.6
    return Measure(samples=round(at * 24_000), rate=24_000, end=at, pauses=tuple(pauses[:-1])), " ".join(texts)


def test_the_time_of_splitting_grows_with_the_length_alone():
    """49 minutes took 8.4 s; the square of four times the length would be sixteen times as much."""
    took = {}
    for sentences in (120, 480):  # 12 and 49 minutes
        found, text = long_measure(sentences)
        began = time.process_time()
        parts, lost = split_recording(text, found, 0.0, found.seconds, lambda _, s: 0.5 <= s <= 24, 24)
        took[sentences] = time.process_time() - began
        assert len(parts) > sentences / 10 and sum(end - start for _, start, end in lost) < 0.2 * found.seconds
    assert took[480] < 2 and took[480] < 8 * took[120]


# --- in blocks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate, channels", [(24_000, 1), (44_100, 2), (22_050, 3), (8_000, 1)])
def test_blocks_measure_what_the_whole_measures(tmp_path, monkeypatch, rate, channels):
    audio = np.repeat(talk(1.3, 0.4, 2.1, 0.2, 0.7, rate=rate) * 12, channels, axis=1).clip(-1, 1)
    audio[: rate // 2] *= 0.97  # the peak is met late
    whole = measure(audio.astype(np.float32), rate)
    assert whole.clipped > 0.005 and len(whole.pauses) == 2
    path = write(tmp_path / "a.wav", audio, rate, subtype="FLOAT")
    for size in (1 << 19, 30_000, 4_001, 481, 1):
        monkeypatch.setattr(measuring, "BLOCK_SAMPLES", size)
        assert measure(audio.astype(np.float32), rate) == whole
        monkeypatch.setattr("orpheus.common.audio.BLOCK_SAMPLES", size)
        with open(path, "rb") as file:
            assert measure_file(file) == whole


def peak_memory(work):
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_long_file_takes_no_more_memory_than_a_short_one(tmp_path):
    """Three minutes of stereo are 69 MB as samples; a thread holds a block of 2 MB and what it computes of that."""
    path, block = tmp_path / "long.wav", speech(60, 48_000, 2)
    with soundfile.SoundFile(path, "w", 48_000, 2) as file:
        for _ in range(3):
            file.write(block)
    with open(path, "rb") as file:
        assert prepare(file, (0, 24_000)).shape == (24_000,)  # librosa is imported by now: that is memory, too
        assert peak_memory(lambda: measure_file(file)) < 20e6
        assert peak_memory(lambda: prepare(file, (100 * 24_000, 110 * 24_000))) < 20e6
        assert measure_file(file).seconds == 180


FORMATS = [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")]


@pytest.mark.parametrize("format, subtype", FORMATS)
def test_a_part_of_any_format_is_that_of_the_whole(tmp_path, format, subtype):
    path, block = tmp_path / f"long.{format.lower()}", talk(3, 0.4, 2, 0.2, 4.4, rate=24_000)[:, 0]
    with soundfile.SoundFile(path, "w", 24_000, 1, format=format, subtype=subtype) as file:
        for n in range(7):
            file.write(block * (1 + n) / 2)
    whole = read_audio(path)
    with open(path, "rb") as file:
        for start, end in [(0, 50_000), (1_000_001, 1_240_000), (len(whole) - 70_000, len(whole))]:
            part = prepare(file, (start, end))
            assert len(part) == end - start and np.abs(part - whole[start:end]).max() <= 1e-6
        found = measure_file(file)
    assert replace(found, digest="") == replace(measure(whole[:, None], SAMPLE_RATE), digest="")  # whole: without -0.0


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 24_000, 44_056, 44_100, 48_000])
def test_a_part_of_any_rate_is_that_of_the_whole(tmp_path, rate):
    audio = np.tile(talk(3, 0.4, 2, 0.2, 4.4, rate=rate), (7, 1))
    path = write(tmp_path / "long.wav", audio, rate, subtype="FLOAT")
    whole = to_mono_24khz(audio, rate)
    for start, end in [(0, 50_000), (1_000_001, 1_240_000), (len(whole) - 70_000, len(whole))]:
        with open(path, "rb") as file:
            part = prepare(file, (start, end))
        assert part.shape == (end - start,)
        difference = np.abs(part - whole[start:end]).max()
        assert difference <= {24_000: 0, 44_056: 2e-5}.get(rate, 1e-7)
