"""Judges what `train` has let speak: held-out loss, likeness to the speaker and word error rate, with 95 % intervals.

    python -m recipes.how_much_data.judge --clips WORK/clips.npz --runs OUT          needs requirements-eval.txt and Resemblyzer

Clips are judged once and kept in OUT/scores.jsonl. The table is Markdown; differences are paired over seed and sentence.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np

from orpheus.evaluate.judges import load_judges
from orpheus.evaluate.options import JudgeOptions
from orpheus.evaluate.scoring import judge
from orpheus.evaluate.statistics import difference, estimate
from orpheus.evaluate.systems import Clip
from orpheus.speech.model import DEMO_VOICE
from recipes.demo_speaker.make import SPEAKER
from recipes.how_much_data.train import TEST_CLIPS, read_clips, read_sentences

METRICS = ("wer", "likeness")
ARMS = "base default notebook1 notebook3 recordings"


def load_runs(folder):
    """[(facts, [codes])]"""
    found = []
    for path in sorted(folder.glob("*.npz")):
        stored = np.load(path)
        codes = np.split(stored["codes"].astype(np.int64), np.cumsum(stored["frames"])[:-1])
        found.append((json.loads(str(stored["facts"])), codes))
    return found


def judge_all(runs, recordings, path):
    """{(arm, count, seed): [score]}; recordings: [(text, audio)], of which half is what likeness is measured by."""
    from orpheus.codec.snac import Codec

    kept = {}
    if path.exists():
        kept = {tuple(line["run"]): line["scores"] for line in map(json.loads, path.read_text().splitlines())}
    codec = Codec.from_folder(DEMO_VOICE / "codec", "cpu")
    decoded = [(text, codec.decode(codes)) for text, codes in recordings]
    judges, _, _ = load_judges(JudgeOptions(metrics=METRICS), [(audio, SPEAKER) for _, audio in decoded[::2]])
    systems = [(("recordings", 0, 0), decoded[1::2])]
    systems += [((f["arm"], f["count"], f["seed"]), list(zip(read_sentences(len(c)), c))) for f, c in runs]
    with open(path, "a") as file:
        for run, clips in systems:
            if run in kept:
                continue
            scores = []
            for text, clip in clips:
                audio = clip if clip.ndim == 1 else codec.decode(clip) if len(clip) else np.zeros(2400, np.float32)
                found = judge(Clip(text, audio, SPEAKER), judges)
                scores.append([found["word_errors"], found["words"], found.get("likeness")])
            kept[run] = scores
            file.write(json.dumps({"run": run, "scores": scores}) + "\n")
            file.flush()
            print(*run, "judged", flush=True)
    return kept


def pairs(scores, runs, what):
    """For `estimate`: of all clips of some runs."""
    clips = [clip for run in runs for clip in scores[run]]
    if what == "wer":
        return [(errors, words) for errors, words, _ in clips]
    return [None if likeness is None else (likeness, 1) for *_, likeness in clips]


def shown(found, scale=1, digits=3):
    return f"{found.value * scale:.{digits}f} ({found.low * scale:.{digits}f} to {found.high * scale:.{digits}f})"


def losses(runs):
    return [(facts["after"], 1) for facts in runs]


def report(runs, scores):
    """Prints the table, and how each arm differs from `default`."""
    by_arm = defaultdict(list)
    for facts, _ in runs:
        by_arm[facts["count"], facts["arm"]].append(facts)
    print("| clips | arm | steps | seconds | loss on unseen clips | likeness | word error rate, % |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    recordings = [("recordings", 0, 0)]
    like, words = (estimate(pairs(scores, recordings, what)) for what in ("likeness", "wer"))
    print(f"| | recordings | | | | {shown(like)} | {shown(words, 100, 1)} |")
    for (count, arm), group in sorted(by_arm.items()):
        keys = [(arm, count, facts["seed"]) for facts in group]
        like, words = (estimate(pairs(scores, keys, what)) for what in ("likeness", "wer"))
        steps, seconds = (np.mean([facts.get(name, 0) for facts in group]) for name in ("steps", "seconds"))
        loss = np.mean([facts["after"] for facts in group])
        spread = np.std([facts["after"] for facts in group], ddof=1) if len(group) > 1 else 0
        print(
            f"| {count or ''} | {arm} | {steps:.0f} | {seconds:.0f} | {loss:.3f} ± {spread:.3f} | {shown(like)} "
            f"| {shown(words, 100, 1)} |"
        )
    print("\n| clips | default minus | loss | likeness | word error rate, points |\n| --- | --- | --- | --- | --- |")
    for (count, arm), group in sorted(by_arm.items()):
        ours = by_arm.get((count, "default"))
        if arm in ("default", "base") or not ours:
            continue
        seeds = sorted({facts["seed"] for facts in group} & {facts["seed"] for facts in ours})
        theirs, mine = ([(name, count, seed) for seed in seeds] for name in (arm, "default"))
        like, words = (
            difference(pairs(scores, theirs, what), pairs(scores, mine, what)) for what in ("likeness", "wer")
        )
        after = [{facts["seed"]: facts["after"] for facts in runs} for runs in (group, ours)]
        loss = difference(*[[(found[seed], 1) for seed in seeds] for found in after])
        print(f"| {count} | {arm} | {shown(loss)} | {shown(like)} | {shown(words, 100, 1)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", required=True, type=Path)
    parser.add_argument("--runs", required=True, type=Path)
    parser.add_argument("--scores", type=Path, help="where scores are kept; by default in --runs")
    options = parser.parse_args()
    texts, codes = read_clips(options.clips)
    recordings = list(zip(texts, codes))[-TEST_CLIPS:]
    runs = load_runs(options.runs)
    scores = judge_all(runs, recordings, options.scores or options.runs / "scores.jsonl")
    report(runs, scores)


if __name__ == "__main__":
    main()
