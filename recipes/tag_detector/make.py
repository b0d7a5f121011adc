"""Trains the detector of tag sounds (orpheus/evaluate/tag_detector.py) and measures it on speakers it has not heard.

    for VOICE in af_heart am_puck af_bella am_michael; do      # some four minutes of speech of each
        python -m recipes.demo_voice.corpus.speak --teacher TEACHER --device cpu --processes 1 \\
            --sentences recipes/demo_voice/corpus/sentences.jsonl.gz --out SPEECH --voice $VOICE --seconds 200
    done
    python -m recipes.tag_detector.make --speech SPEECH

Speech of the demo voice's teacher is cut at random and joined with sounds of recipes/demo_voice/corpus/tag_sounds.py, so where each
sound stands is known to the sample. One voice after the other is left out and tested on (its tag sounds have its own vocal
tract); the weights that are kept come from all four. A last test is on assets/demo_speaker, a fifth speaker whose clips the
detector never sees, with the recogniser of `python -m orpheus.evaluate` telling where the words are.
Writes assets/evaluation/tag_detector.npz and .json. A few minutes on one CPU core.
"""

from __future__ import annotations

import argparse
import glob
import json
from pathlib import Path

import numpy as np

from orpheus.common.frame import SAMPLE_RATE
from orpheus.common.options import ROOT
from orpheus.evaluate.tag_detector import CLASSES, HOP, TagDetector, events_of, features, log_mel, match_tags
from orpheus.text.tags import KNOWN_TAGS
from recipes.demo_voice.corpus.build import level_gain, read_clips
from recipes.demo_voice.corpus.tag_sounds import read_tracts, tag_sound

SPEECH, SILENCE = CLASSES.index("speech"), CLASSES.index("silence")
HIDDEN = 48
CLIPS = 160
"""Per voice."""

THROUGH_CODEC = 0.12
"""Share of the clips that go through the demo voice's codec: what models speak has been through one."""


def shaped(audio: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """The clip as another microphone, speaker or tempo would give it: (audio, factor on its length)."""
    factor = float(rng.uniform(0.85, 1.2))
    places = np.arange(0, len(audio) - 1, 1 / factor)
    audio = np.interp(places, np.arange(len(audio)), audio).astype(np.float32)
    spectrum, bins = np.fft.rfft(audio), np.fft.rfftfreq(len(audio), 1 / SAMPLE_RATE)
    knots = np.array([0, 200, 500, 1000, 2000, 4000, 6000, 12000])
    tilt = rng.normal(0, 2.5, len(knots)).cumsum() - rng.normal(0, 2)
    audio = np.fft.irfft(spectrum * 10 ** (np.interp(bins, knots, np.clip(tilt, -9, 9)) / 20), len(audio))
    noise = rng.normal(0, 1, len(audio)) * 10 ** (rng.uniform(-75, -48) / 20)
    return (audio + noise).astype(np.float32), factor


def some_speech(clips: list, rng: np.random.Generator) -> np.ndarray:
    """One of the voice's sentences, at times cut off at random in front or behind, as where a tag stands inside it."""
    audio = clips[int(rng.integers(len(clips)))]
    if rng.random() < 0.35:
        cut = int(rng.uniform(0.3, 0.7) * len(audio))
        audio = (audio[:cut] if rng.random() < 0.5 else audio[cut:]).copy()
        audio[:240] *= np.linspace(0, 1, 240)
        audio[-240:] *= np.linspace(1, 0, 240)
    return audio


def make_clip(clips: list, tract: dict, rng: np.random.Generator, tag: str | None):
    """(audio, frame classes, [(tag, start, end)]): speech, perhaps with a tag before, between or after."""
    place = rng.choice(["before", "between", "after"]) if tag else "none"
    pieces = []  # (audio, class)

    def pause(low, high):
        pieces.append((np.zeros(int(rng.uniform(low, high) * SAMPLE_RATE), np.float32), SILENCE))

    if place != "before":
        pieces.append((some_speech(clips, rng), SPEECH))
    pause(0.02, 0.35)
    if tag:
        gain = 10 ** (rng.uniform(-5, 5) / 20)
        pieces.append((tag_sound(tag, tract, rng) * gain, CLASSES.index(tag)))
        pause(0.02, 0.35)
    if place != "after":
        pieces.append((some_speech(clips, rng), SPEECH))
    pause(0.02, 0.3)
    audio = np.concatenate([piece for piece, _ in pieces])
    audio, factor = shaped(audio * level_gain(audio), rng)
    frames = len(audio) // HOP + 1
    classes, spans, start = np.full(frames, SILENCE), [], 0
    for piece, name in pieces:
        first, last = start * factor / HOP, (start + len(piece)) * factor / HOP
        classes[round(first) : round(last)] = name
        if name < SPEECH:
            spans.append((CLASSES[name], first * HOP / SAMPLE_RATE, last * HOP / SAMPLE_RATE))
        start += len(piece)
    return audio, classes, spans


def quiet_is_silence(mel: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Pauses inside speech, and between a laugh's bursts, are silence as well."""
    return np.where(mel.max(1) < -2.6, SILENCE, classes)


def make_set(path: str, seed: int, count: int) -> tuple[str, list]:
    """(voice, [(log-mel, frame classes, spans)]) with a voice's speech; a quarter of the clips has no tag."""
    import torch

    from orpheus.codec.snac import Codec

    torch.set_num_threads(1)
    voice, clips = Path(path).stem[:-2], [audio for _, (audio, _), _ in read_clips(path)]
    codec = Codec.from_folder(ROOT / "assets" / "demo_voice" / "codec", "cpu")
    tract = read_tracts()[voice]
    rng, made = np.random.default_rng(seed), []
    for number in range(count):
        tag = None if number % 4 == 0 else KNOWN_TAGS[int(rng.integers(len(KNOWN_TAGS)))]
        audio, classes, spans = make_clip(clips, tract, rng, tag)
        if rng.random() < THROUGH_CODEC:
            audio = codec.decode(codec.encode([audio])[0], number)[: len(audio)]
        mel = log_mel(audio)
        made.append((mel, quiet_is_silence(mel, classes[: len(mel)]), spans))
    print(f"{voice}: {len(clips)} sentences, {len(made)} clips", flush=True)
    return voice, made


def train(sets: list, seed: int = 0) -> TagDetector:
    import torch

    rng = np.random.default_rng(seed)
    clips = [(features(mel), classes) for data in sets for mel, classes, _ in data]
    keep = [rng.random(len(classes)) < 0.5 for _, classes in clips]  # neighbouring frames say nearly the same
    x = np.concatenate([f[k] for (f, _), k in zip(clips, keep)])
    y = np.concatenate([c[k] for (_, c), k in zip(clips, keep)])
    mean, scale = x.mean(0), 1 / (x.std(0) + 1e-3)
    torch.manual_seed(seed)
    inputs, targets = torch.from_numpy((x - mean) * scale), torch.from_numpy(y)
    net = torch.nn.Sequential(
        torch.nn.Linear(x.shape[1], HIDDEN),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.2),
        torch.nn.Linear(HIDDEN, len(CLASSES)),
    )
    epochs, batch = 10, 512
    steps = epochs * (len(y) // batch)
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, steps)
    for _ in range(epochs):
        order = torch.randperm(len(y))
        for start in range(0, len(y) - batch + 1, batch):
            index = order[start : start + batch]
            noise = torch.randn(len(index), x.shape[1]) * 0.2
            loss = torch.nn.functional.cross_entropy(net(inputs[index] + noise), targets[index], label_smoothing=0.02)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    weights = [p.detach().numpy() for p in net.parameters()]
    return TagDetector(dict(w1=weights[0].T, b1=weights[1], w2=weights[2].T, b2=weights[3], mean=mean, scale=scale))


def count_hits(detector: TagDetector, data: list) -> dict:
    """{tag: [clips, heard, named right]} and {"none": [clips without a tag, clips with an event]}."""
    found = {tag: [0, 0, 0] for tag in KNOWN_TAGS} | {"none": [0, 0]}
    for mel, _, spans in data:
        events = events_of(detector.probabilities(mel))
        if not spans:
            found["none"][0] += 1
            found["none"][1] += bool(events)
        for (tag, _, _), event in zip(spans, match_tags(spans, events)):
            found[tag][0] += 1
            found[tag][1] += event is not None
            found[tag][2] += event is not None and event.tag == tag
    return found


def added(parts: list) -> dict:
    return {name: [sum(values) for values in zip(*(part[name] for part in parts))] for name in parts[0]}


def shares(found: dict) -> dict:
    """Counts as the card has them."""
    counts = {tag: found[tag] for tag in KNOWN_TAGS if found[tag][0]}
    tags = {tag: dict(clips=n, heard=round(h / n, 3), named=round(m / n, 3)) for tag, (n, h, m) in counts.items()}
    clips, heard, named = (sum(values) for values in zip(*counts.values()))
    return dict(
        clips=clips,
        heard=round(heard / clips, 3),
        named=round(named / clips, 3),
        clips_without_tag=found["none"][0],
        false_alarms=round(found["none"][1] / max(1, found["none"][0]), 3),
        tags=tags,
    )


def on_demo_speaker(detector: TagDetector) -> dict:
    """The whole of the evaluation's way, recogniser included, on assets/demo_speaker."""
    from orpheus.evaluate.judges import recognizer
    from orpheus.evaluate.scoring import hear_tags
    from orpheus.evaluate.systems import read_recordings

    found, recogniser = {tag: [0, 0, 0] for tag in KNOWN_TAGS} | {"none": [0, 0]}, recognizer(None, "en")
    for clip in read_recordings(ROOT / "assets" / "demo_speaker"):
        tags, events = hear_tags(clip.text, clip.audio, recogniser.listen(clip.audio), detector, "en")
        if not tags:
            found["none"][0] += 1
            found["none"][1] += bool(events)
        for tag in tags:
            found[tag["tag"]][0] += 1
            found[tag["tag"]][1] += tag["realised"]
            found[tag["tag"]][2] += tag["heard_as"] == tag["tag"]
    return shares(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", required=True, help="folder with VOICE-0.npz of recipes.demo_voice.corpus.speak")
    parser.add_argument("--out", type=Path, default=ROOT / "assets" / "evaluation" / "tag_detector.npz")
    parser.add_argument("--clips", type=int, default=CLIPS, help="made of every voice")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--no-demo-speaker", action="store_true", help="leave out the test that needs faster-whisper")
    options = parser.parse_args()
    import multiprocessing

    import torch

    torch.set_num_threads(1)
    paths = sorted(glob.glob(f"{options.speech}/*-0.npz"))
    tasks = [(path, seed, options.clips) for seed, path in enumerate(paths)]
    if options.processes > 1:
        with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
            sets = dict(pool.starmap(make_set, tasks))
    else:
        sets = dict(make_set(*task) for task in tasks)
    parts = []
    for voice in sets:
        parts.append(count_hits(train([sets[other] for other in sets if other != voice]), sets[voice]))
        print(voice, "left out:", {k: v for k, v in shares(parts[-1]).items() if k != "tags"}, flush=True)
    detector = train(list(sets.values()))
    card = dict(
        trained_on="synthesised tag sounds and speech of the demo voice's teacher, an eighth of it through the demo voice's codec",
        voices=sorted(sets),
        unheard_voices=shares(added(parts)),
    )
    if not options.no_demo_speaker:
        card["demo_speaker"] = on_demo_speaker(detector)
    print(json.dumps(card, indent=1))
    small = {name: weight.astype(np.float16) for name, weight in detector.weights.items()}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(options.out, **small)
    options.out.with_suffix(".json").write_text(json.dumps(card, indent=1) + "\n")


if __name__ == "__main__":
    main()
