"""Makes the clips: the demo speaker's 60, and sentences that the teacher speaks in his voice, as codes in one file.

    python -m recipes.how_much_data.clips --teacher TEACHER --work WORK --count 380 --processes 16

TEACHER is the folder that recipes/demo_voice needs. A sentence takes some seconds of one CPU core; what is spoken is kept in
WORK/spoken, so that the next call goes on. WORK/clips.npz then has `texts`, `codes` (uint16, (frames, 7), all clips end to end) and
`frames` of each. WORK/demo_speaker.npz has those of the 60 alone: where it is there, no Opus is decoded.
"""

import argparse
import json
import multiprocessing
import random
from pathlib import Path

import numpy as np

from orpheus.common.audio import read_audio
from orpheus.common.options import ROOT
from orpheus.training.options import DEMO_SPEAKER
from recipes.demo_speaker.make import BLEND, SPEED, blended_styles, make_clip
from recipes.demo_voice.corpus.speak import read_sentences

CORPUS = ROOT / "recipes" / "demo_voice" / "corpus"
CHARACTERS = range(40, 85)  # of a sentence: 2.5 to 5.5 s


def sentences(count):
    """[{text, ph}], the same for every call; none that the demo speaker says."""
    said = " ".join(json.loads(line)["text"] for line in (DEMO_SPEAKER / "metadata.jsonl").read_text().splitlines())
    all_of_them = [s for s in read_sentences(str(CORPUS / "sentences.jsonl.gz")) if len(s["text"]) in CHARACTERS]
    chosen = random.Random(12).sample(all_of_them, 2 * count)
    return [s for s in chosen if s["text"] not in said][:count]


def speak(work):
    """Writes WORK/spoken/N.npy, int16 at 24 kHz, of every `processes`-th sentence, for those that are not there yet."""
    options, first = work
    import torch

    from recipes.demo_voice.corpus.teacher import Teacher

    torch.set_num_threads(1)
    folder = options.work / "spoken"
    folder.mkdir(parents=True, exist_ok=True)
    teacher = Teacher(f"{options.teacher}/kokoro_graph.npz", f"{options.teacher}/vocab.json")
    styles = blended_styles(options.teacher, BLEND)
    for number, sentence in list(enumerate(sentences(options.count)))[first :: options.processes]:
        path = folder / f"{number:04d}.npy"
        if path.exists():
            continue
        phonemes = {sentence["text"]: sentence["ph"]}
        audio = make_clip([sentence["text"]], phonemes, lambda ph: teacher(ph, styles, SPEED), tract=None)
        np.save(path, np.round(audio * 32767).astype(np.int16))
        print(f"{number + 1} of {options.count}: {len(audio) / 24_000:.2f} s  {sentence['text']}", flush=True)


def encode(texts, audio, path, former=None):
    """Writes codes after those of `former`, a file like `path`; returns how many clips there are."""
    from orpheus.codec.snac import Codec
    from orpheus.speech.model import DEMO_VOICE

    codec = Codec.from_folder(DEMO_VOICE / "codec", "cpu")
    codes = [codec.encode([clip])[0] for clip in audio]
    frames = [len(clip) for clip in codes]
    if former:
        stored = np.load(former)
        texts, frames = [*stored["texts"], *texts], [*stored["frames"], *frames]
        codes = [stored["codes"], *codes]
    np.savez(path, texts=texts, frames=frames, codes=np.concatenate(codes).astype(np.uint16))
    return len(texts)


def demo_speaker(path):
    """Encodes the clips that the repository carries."""
    if not path.exists():
        entries = [json.loads(line) for line in (DEMO_SPEAKER / "metadata.jsonl").read_text().splitlines()]
        audio = [read_audio(DEMO_SPEAKER / entry["file_name"]) for entry in entries]
        encode([entry["text"] for entry in entries], audio, path)
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--work", required=True, type=Path)
    parser.add_argument("--count", type=int, default=380)
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    former = demo_speaker(options.work / "demo_speaker.npz")
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        pool.map(speak, [(options, first) for first in range(options.processes)], chunksize=1)
    spoken = [np.load(path).astype(np.float32) / 32767 for path in sorted((options.work / "spoken").glob("*.npy"))]
    texts = [sentence["text"] for sentence in sentences(options.count)]
    print(encode(texts, spoken, options.work / "clips.npz", former), "clips")


if __name__ == "__main__":
    main()
