"""Lets the teacher speak the sentences, in several processes that share one GPU (or on a CPU).

Every process writes OUT/VOICE-K.npz: `pcm` (int16, 24 kHz, all clips end to end), `ends` (samples),
`track` (int8, label track of all clips, each clip begun anew at a multiple of TRACK_HOP), `texts`, and `halves` (bool:
whether the clip is the first half of a sentence whose other half follows).
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import time

import numpy as np

from orpheus.common.frame import SAMPLE_RATE
from recipes.demo_voice.corpus.labels import label_track

SPEEDS = (0.95, 1.0, 1.0, 1.05, 1.1)
SHORTEST, LONGEST = 0.3, 10  # seconds of a clip without the silence around it
BOTH_VOICES = ("short", "fragment")  # kinds that every voice speaks all of, and first


def trim(audio: np.ndarray) -> tuple[np.ndarray, int] | None:
    """Cuts silence off both ends and fades them; returns (clip, samples cut in front), or None for an empty clip."""
    step = 240
    steps = len(audio) // step
    energy = np.sqrt((audio[: steps * step].reshape(steps, step) ** 2).mean(1) + 1e-12)
    active = np.where(energy > max(energy.max() * 0.012, 1e-4))[0]
    if len(active) < 20:
        return None
    start = max(0, active[0] * step - 1200)
    clip = audio[start : min(len(audio), (active[-1] + 1) * step + 2400)].copy()
    clip[:240] *= np.linspace(0, 1, 240)
    clip[-720:] *= np.linspace(1, 0, 720)
    return clip * min(1.0, 0.95 / np.abs(clip).max()), int(start)


def read_sentences(path: str) -> list[dict]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def in_order(sentences: list[dict], seed: int, backwards: bool) -> list[dict]:
    """The sentences as they are spoken: first those of BOTH_VOICES, then the others, from one end or the other."""
    sentences = random.Random(seed).sample(sentences, len(sentences))
    first = [sentence for sentence in sentences if sentence["src"] in BOTH_VOICES]
    rest = [sentence for sentence in sentences if sentence["src"] not in BOTH_VOICES]
    return first + (rest[::-1] if backwards else rest)


def worker(index: int, options: argparse.Namespace) -> None:
    if options.gpus > 1:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(index % options.gpus)  # before torch looks
    import torch

    from recipes.demo_voice.corpus.teacher import Teacher

    torch.set_num_threads(1)

    began = time.time()
    teacher = Teacher(f"{options.teacher}/kokoro_graph.npz", f"{options.teacher}/vocab.json", options.device)
    style = np.fromfile(f"{options.teacher}/{options.voice}.bin", dtype=np.float32).reshape(-1, 256)
    sentences = [sentence for path in options.sentences for sentence in read_sentences(path)]
    sentences = in_order(sentences, options.seed, options.backwards)
    rng = random.Random(f"{options.voice}{index}")
    pcm, ends, tracks, texts, halves = [], [], [], [], []
    total = 0

    def speak(symbols: str, speed: float) -> tuple[np.ndarray, np.ndarray] | None:
        """(clip, its label track), None where there is nothing to hear or too much."""
        audio = teacher(symbols, style, speed)
        trimmed = trim(audio)
        if trimmed is None or not SHORTEST <= len(trimmed[0]) / SAMPLE_RATE <= LONGEST:
            return None
        clip, offset = trimmed
        return clip, label_track(teacher.known(symbols), teacher.durations, offset, len(clip))

    for sentence in sentences[index :: options.processes]:
        if time.time() - began > options.seconds or total > options.max_hours * 3600 * SAMPLE_RATE:
            break
        parts = sentence.get("parts") or [(sentence["text"], sentence["ph"])]
        speed = rng.choice(SPEEDS) * options.pace
        try:
            spoken = [speak(symbols, speed) for _, symbols in parts]
        except RuntimeError as error:
            print(f"{options.voice} {index}: stopped early: {error!r}"[:300], flush=True)
            break
        if None in spoken:
            continue
        for number, ((text, _), (clip, track)) in enumerate(zip(parts, spoken)):
            total += len(clip)
            pcm.append(np.round(np.clip(clip, -1, 1) * 32767).astype(np.int16))
            ends.append(total)
            tracks.append(track)
            texts.append(text)
            halves.append(number + 1 < len(parts))
    os.makedirs(options.out, exist_ok=True)
    np.savez(
        f"{options.out}/{options.voice}-{index}.npz",
        pcm=np.concatenate(pcm),
        ends=np.array(ends),
        track=np.concatenate(tracks),
        texts=np.frombuffer(json.dumps(texts).encode(), np.uint8),
        halves=np.array(halves),
    )
    hours = total / SAMPLE_RATE / 3600
    print(f"{options.voice} {index}: {len(texts)} clips, {hours:.3f} h in {time.time() - began:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", required=True, help="folder with kokoro_graph.npz, vocab.json and VOICE.bin")
    parser.add_argument(
        "--sentences", required=True, nargs="+", help="sentences.jsonl.gz and the like: text and phonemes"
    )
    parser.add_argument("--out", required=True)
    parser.add_argument("--voice", required=True, help="af_heart, am_puck, ...")
    parser.add_argument("--processes", type=int, default=7)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--gpus", type=int, default=1, help="the processes take them in turn")
    parser.add_argument("--seed", type=int, default=11, help="order of the sentences")
    parser.add_argument(
        "--backwards", action="store_true", help="take them from the end, so that two voices share little text"
    )
    parser.add_argument("--pace", type=float, default=1.0, help="below 1: slower")
    parser.add_argument("--seconds", type=float, default=200, help="stop after this long")
    parser.add_argument("--max-hours", type=float, default=99, help="or after this much speech per process")
    options = parser.parse_args()
    options.teacher = os.path.abspath(options.teacher)
    import multiprocessing

    multiprocessing.set_start_method("spawn")
    processes = [multiprocessing.Process(target=worker, args=(index, options)) for index in range(options.processes)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise SystemExit("a process failed")


if __name__ == "__main__":
    main()
