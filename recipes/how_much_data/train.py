"""Teaches the demo voice a new speaker with few and with many clips, by the default options and by the notebook's, and lets it speak.

    python -m recipes.how_much_data.train --clips WORK/clips.npz --out OUT                          on a GPU; minutes
    python -m recipes.how_much_data.train --clips WORK/clips.npz --out OUT --counts 20 --seeds 0 --sentences 2 --max-steps 3

Arms: `default` is TrainingOptions as they are, which hold out examples to decide by; `notebook1` and `notebook3` are what Unsloth's
notebook does in one pass and in three, with all clips: 4 examples a step, learning rate 2e-4 with transformers' linear schedule, loss
on text and audio alike. `default:epochs=3.0,learning_rate=1e-3` changes options of the first. `base` is the voice as it was.

OUT/ARM_COUNT_SEED.npz has the codes of what was spoken, and `facts` as JSON: losses on clips that no arm has seen, steps, seconds.
"""

import argparse
import json
import multiprocessing
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from orpheus.common.options import ROOT
from orpheus.training.options import TrainingOptions
from recipes.demo_speaker.make import SPEAKER

TEST_CLIPS = 40  # the last ones: no arm learns them
SENTENCES = ROOT / "recipes" / "demo_voice" / "judge_sentences.txt"
MAX_NEW_TOKENS = 900  # 11 s, for sentences of 2 to 5
NOTEBOOK_EXAMPLES, NOTEBOOK_RATE, NOTEBOOK_WARMUP = 4, 2e-4, 5
MOST_AT_ONCE = 2048  # tokens in a pass of the model, where no loss is learnt from


def read_clips(path):
    """([text], [codes (frames, 7)])"""
    stored = np.load(path)
    ends = np.cumsum(stored["frames"])[:-1]
    return stored["texts"].tolist(), np.split(stored["codes"].astype(np.int64), ends)


def read_sentences(count):
    lines = SENTENCES.read_text(encoding="utf-8").splitlines()
    return [line.split(": ", 1)[1] for line in lines if line.strip()][:count]


class Voice:
    """The demo voice with a fresh adapter, and what surrounds it."""

    def __init__(self, options):
        import torch

        from orpheus.common.hub import locate
        from orpheus.engines.loading import load_tokenizer
        from orpheus.speech.model import DEMO_VOICE, MODEL_FILES
        from orpheus.text.prompt import PromptBuilder, layout_of
        from orpheus.training.llama import LoraLlama
        from orpheus.training.lora import load_with_peft

        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        folder = locate(str(DEMO_VOICE), MODEL_FILES)
        tokenizer = load_tokenizer(folder)
        codebook_size = json.loads((DEMO_VOICE / "codec" / "config.json").read_text())["codebook_size"]
        self.prompts = PromptBuilder(tokenizer, layout_of(tokenizer, codebook_size))
        self.layout = self.prompts.layout
        self.llama = LoraLlama(load_with_peft(folder, self.device, options))

    def examples(self, texts, codes):
        from orpheus.data.examples import Example, drop_repeated_frames
        from orpheus.text.prompt import IGNORE

        made = []
        for text, clip in zip(texts, codes):
            ids, labels = self.prompts.training_example(text, drop_repeated_frames(clip), SPEAKER)
            key = f"{len(made):016x}"
            made.append(Example(ids.astype(np.int32), int((labels == IGNORE).sum()), key, text, SPEAKER, text))
        return made

    def loss(self, examples):
        """Mean cross-entropy of the examples' audio."""
        import torch

        from orpheus.training.packing import make_pack, split_step, targets_of

        lengths = [len(example.input_ids) for example in examples]
        with torch.no_grad():
            packs = split_step(range(len(examples)), lengths, 1, MOST_AT_ONCE)[0]
            total = sum(
                self.llama.loss(make_pack([examples[i] for i in pack], self.layout, self.llama.device)).item()
                for pack in packs
            )
        return total / sum(targets_of(example, 0) for example in examples)

    def speak(self, sentences, voice, seed):
        """[codes (frames, 7)] of the sentences, drawn as users get them."""
        from orpheus.engines.options import SamplingOptions
        from orpheus.engines.transformers import TransformersEngine
        from orpheus.speech.streaming import FrameAssembler

        sampling = SamplingOptions(max_new_tokens=MAX_NEW_TOKENS)
        prompts = [self.prompts.prompt(text, voice) for text in sentences]
        assemblers = [FrameAssembler(self.layout) for _ in sentences]
        going = [True] * len(sentences)
        seeds = [1000 * seed + number for number in range(len(sentences))]
        for tokens in TransformersEngine(self.llama, self.layout).generate(prompts, sampling, seeds):
            for place, token in enumerate(tokens.tolist()):
                going[place] = going[place] and assemblers[place].push(token)
        return [assembler.window(0, assembler.frames) for assembler in assemblers]


def train_by_default(voice, examples, options):
    """The facts of a run as the recipe makes it."""
    from orpheus.data.held_out import split_held_out
    from orpheus.training.log import TrainingLog
    from orpheus.training.outcome import Outcome
    from orpheus.training.states import Best
    from orpheus.training.trainer import Trainer

    train, held_out = split_held_out(examples, "auto")
    with tempfile.TemporaryDirectory() as folder:
        log = TrainingLog(folder, shown=False)
        best = Best(voice.llama.adapter)
        run = Trainer(
            voice.llama, train, held_out, voice.layout, options, folder, log, on_best=best.save, back_to_best=best.load
        )
        run.save = lambda: None  # nothing is resumed here
        state = run.run()
        Outcome(run, best)
        lines = map(json.loads, log.path.read_text().splitlines())
        curve = [(line["step"], round(line["held_out_loss"], 4)) for line in lines if "held_out_loss" in line]
    return {
        "reason": run.plan.reason,
        "steps": state.step,
        "best_step": state.best_step,
        "falls_from": state.falls_from,
        "examples": len(train),
        "held_out_curve": curve,
    }


def train_by_notebook(voice, examples, passes, seed):
    """The same for batches of 4 in random order, AdamW, gradients of at most 1, transformers' linear schedule."""
    import torch

    from orpheus.training.packing import make_pack, targets_of

    adapter, draw = voice.llama.adapter, np.random.default_rng(seed)
    optimizer = torch.optim.AdamW([adapter.master], lr=0.0, weight_decay=0.001)
    orders = [draw.permutation(len(examples)) for _ in range(passes)]
    steps = [
        [examples[i] for i in order[start : start + NOTEBOOK_EXAMPLES]]
        for order in orders
        for start in range(0, len(examples), NOTEBOOK_EXAMPLES)
    ]
    for number, step in enumerate(steps):
        adapter.zero_grad()
        total = sum(targets_of(example, 1.0) for example in step)
        (voice.llama.loss(make_pack(step, voice.layout, voice.llama.device, 1.0)) / total).backward()
        adapter.collect()
        torch.nn.utils.clip_grad_norm_([adapter.master], 1.0)
        left = (len(steps) - number) / max(1, len(steps) - NOTEBOOK_WARMUP)
        optimizer.param_groups[0]["lr"] = NOTEBOOK_RATE * min(number / NOTEBOOK_WARMUP, left)
        optimizer.step()
        adapter.refresh()
    return {"steps": len(steps), "examples": len(examples)}


def changed(arm, options):
    """The options of `default:name=value,...`."""
    pairs = [pair.split("=") for pair in arm.partition(":")[2].split(",") if pair]
    return replace(options, **{name: json.loads(value) for name, value in pairs})


def run(task):
    """One arm with one number of clips and one seed; writes its file."""
    arm, count, seed, given = task
    import torch

    torch.set_num_threads(1)
    texts, codes = read_clips(given.clips)
    options = changed(
        arm, TrainingOptions(seed=seed, optimizer="adamw", report_to="none", save_steps=0, max_steps=given.max_steps)
    )
    voice = Voice(options)
    examples = voice.examples(texts, codes)
    learnt, test = examples[:-TEST_CLIPS], examples[-TEST_CLIPS:]
    chosen = [learnt[i] for i in np.random.default_rng([7, seed]).permutation(len(learnt))[:count]]
    before = voice.loss(test)
    began, facts = time.perf_counter(), {}
    if arm.startswith("default"):
        facts = train_by_default(voice, chosen, options)
    elif arm != "base":
        facts = train_by_notebook(voice, chosen, int(arm.removeprefix("notebook")), seed)
    if voice.device == "cuda":
        torch.cuda.synchronize()
    facts |= {"seconds": round(time.perf_counter() - began, 1), "before": before, "after": voice.loss(test)}
    facts |= {"arm": arm, "count": count, "seed": seed}
    spoken = voice.speak(read_sentences(given.sentences), "nora" if arm == "base" else SPEAKER, seed)
    frames = [len(clip) for clip in spoken]
    path = given.out / f"{arm.replace(':', '_').replace(',', '_')}_{count}_{seed}.npz"
    np.savez(path, facts=json.dumps(facts), frames=frames, codes=np.concatenate(spoken).astype(np.uint16))
    print(json.dumps(facts | {"held_out_curve": "in the file"}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--arms", nargs="+", default=["default", "notebook1", "notebook3"])
    parser.add_argument("--counts", nargs="+", type=int, default=[20, 50, 100, 400])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--sentences", type=int, default=40)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--max-steps", type=int)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    available = len(read_clips(given.clips)[0]) - TEST_CLIPS
    counts = sorted((min(count, available) for count in set(given.counts)), reverse=True)  # the long ones first
    tasks = [("base", 0, seed, given) for seed in given.seeds]
    tasks += [(arm, count, seed, given) for count in counts for arm in given.arms for seed in given.seeds]
    if given.processes == 1:
        for task in tasks:
            run(task)
    else:
        with multiprocessing.get_context("spawn").Pool(given.processes) as pool:
            for _ in pool.imap_unordered(run, tasks, chunksize=1):
                pass


if __name__ == "__main__":
    main()
