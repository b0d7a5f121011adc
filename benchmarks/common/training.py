"""What benchmarks/train.py trains on, how steps are timed, and this project's model."""

import gc
import itertools
import statistics
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from benchmarks.common import quality
from orpheus.common.frame import CODES_PER_FRAME
from orpheus.data.examples import Example
from orpheus.training.llama import LoraLlama
from orpheus.training.optimizer import make_optimizer
from orpheus.training.packing import make_pack, plan_steps, split_step, targets_of
from orpheus.training.schedule import auto_tokens
from orpheus.training.steps import Gradients

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
LEARNING_RATE, WARMUP, DECAY = 2e-4, 5, 0.001  # the notebook's
NOTEBOOK_EXAMPLES = 4  # in a step


def make_examples(count, layout, seed=0, longest=850):
    """Examples with learnable codes: each position in the frame walks on a circle of its own codes."""
    random = np.random.default_rng(seed)
    size = min(256, layout.codebook_size)
    alphabets = np.stack([random.permutation(layout.codebook_size)[:size] for _ in range(CODES_PER_FRAME)])
    words = random.integers(0, min(128_000, layout.begin_of_text), (64, 8))  # of a small vocabulary
    examples = []
    for index in range(count):
        tokens = int(np.clip(random.lognormal(np.log(460), 0.45), 120, longest))
        text = np.concatenate([words[random.integers(64)] for _ in range(2 + tokens // 200)])
        prompt = [layout.start_of_human, layout.begin_of_text, *text, layout.end_of_turn, layout.end_of_human]
        prompt += [layout.start_of_ai, layout.start_of_speech]
        frames = max(1, (tokens - len(prompt) - 2) // CODES_PER_FRAME)
        walk = random.integers(0, size, CODES_PER_FRAME) + np.cumsum(
            random.integers(0, 3, (frames, CODES_PER_FRAME)), 0
        )
        codes = alphabets[np.arange(CODES_PER_FRAME), walk % size]
        ids = [*prompt, *layout.to_tokens(codes), layout.end_of_speech, layout.end_of_ai]
        examples.append(Example(np.array(ids, np.int32), len(prompt), f"{index:x}", "", None, str(index)))
    return examples


def load(folder, rank, adapter=None, four_bit=False):
    """A peft model with LoRA on all linear layers, its weights those of an adapter folder if one is given."""
    from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    cuda = torch.cuda.is_available()
    arguments = {"device_map": {"": 0}} if cuda else {}
    if four_bit:
        arguments["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
    dtype = torch.bfloat16 if cuda else torch.float32
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, trust_remote_code=False, **arguments)
    torch.manual_seed(3407)
    model = get_peft_model(model, LoraConfig(r=rank, lora_alpha=rank, target_modules=TARGETS))
    if adapter:
        set_peft_model_state_dict(model, load_file(Path(adapter) / "adapter_model.safetensors"))
    return model


class Side:
    """This project's model with a way back to the weights that it started from."""

    def __init__(self, model, layout, compiled, checkpointing=False, fp8=False, start=None):
        self.llama, self.layout, self.fp8 = LoraLlama(model, compiled, checkpointing, fp8), layout, fp8
        self.gradients, self.ready = Gradients(self.llama), (None, None)  # examples and their pack
        self.start = self.llama.adapter.master.data.clone() if start is None else start

    def restart(self, optimizer):
        adapter = self.llama.adapter
        adapter.master.data.copy_(self.start)
        adapter.refresh()
        adapter.zero_grad()
        return make_optimizer(optimizer, adapter.master, SimpleNamespace(weight_decay=DECAY))[0]

    def pack(self, examples):
        return make_pack(examples, self.layout, self.llama.device, multiple=self.llama.multiple)

    def step(self, examples, optimizer, rate, first, ahead=None):
        """One whole optimizer step; returns its mean loss. ahead: examples of the next one, packed while the GPU works, as a run does"""
        adapter = self.llama.adapter
        adapter.zero_grad()
        pack = self.ready[1] if self.ready[0] is examples else self.pack(examples)
        loss = self.gradients(pack, first, 1 / sum(targets_of(example, 0) for example in examples))
        torch.nn.utils.clip_grad_norm_([adapter.master], 1.0)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        adapter.refresh()
        self.ready = (ahead, self.pack(ahead)) if ahead else (None, None)
        return loss.item()

    @torch.no_grad()
    def loss(self, examples, tokens):
        """Mean cross-entropy of the examples' audio over the whole vocabulary, so many tokens at once."""
        lengths = [len(example.input_ids) for example in examples]
        packs = split_step(range(len(examples)), lengths, 1, tokens)[0]
        made = (self.pack([examples[i] for i in pack]) for pack in packs)
        return sum(self.llama.loss(pack).item() for pack in made) / sum(targets_of(e, 0) for e in examples)

    def flop_per_token(self, first):
        return self.llama.flop_per_token(first)


def synchronize():
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def reset_peak():
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_gib():
    return round(torch.cuda.max_memory_allocated() / 2**30, 2) if torch.cuda.is_available() else None


def linear_rate(step, total):
    """Learning rate of optimizer step `step` (from 0) in transformers' linear schedule."""
    if step < WARMUP:
        return LEARNING_RATE * step / WARMUP
    return LEARNING_RATE * (total - step) / max(1, total - WARMUP)


def train(side, steps, optimizer, first, skip):
    """Trains on the given examples of each step; returns rates, peak memory and losses."""
    reset_peak()
    work = side.restart(optimizer)

    def step(examples, number):
        return side.step(examples, work, linear_rate(number, len(steps)), first, *steps[number + 1 : number + 2])

    return timed_steps(step, steps, skip)


def tokens_of(examples):
    return sum(len(example.input_ids) for example in examples)


def timed_steps(work, steps, skip):
    """Rates, peak memory and losses of `work(examples, number)` over the given examples of each step."""
    losses, seconds = [], []
    for number, examples in enumerate(steps):
        synchronize()
        began = time.perf_counter()
        losses.append(work(examples, number))
        synchronize()
        seconds.append(time.perf_counter() - began)
    counts = [tokens_of(examples) for examples in steps]
    rates = [count / second for count, second in zip(counts, seconds)][skip:]
    return {
        "median_tokens_per_second": round(statistics.median(rates), 1),
        "mean_tokens_per_second": round(sum(counts[skip:]) / sum(seconds[skip:]), 1),
        "median_step_ms": round(statistics.median(seconds[skip:]) * 1000, 1),
        "first_step_seconds": round(seconds[0], 1),
        "peak_gib": peak_gib(),
        "losses": [round(loss, 5) for loss in losses],
    }


def packed_steps(examples, tokens, count=None, passes=100):
    """The examples of each optimizer step, as a training run plans them."""
    plan = plan_steps([len(example.input_ids) for example in examples], tokens, passes, 0)[:count]
    return [[examples[index] for index in step] for step in plan]


def steps_in_order(examples, size, count):
    """The examples of `count` steps of `size` in the given order, from the start again when there are too few."""
    stream = itertools.cycle(examples)
    return [list(itertools.islice(stream, size)) for _ in range(count)]


def curve(bench, side, steps, held_out, first, target=0.0):
    """Held-out losses of ours on the way through these steps. first: row of the head that the training loss begins with"""
    optimizer, tokens = bench.chosen.optimizers[-1], max(bench.chosen.tokens)
    side.step(steps[0], side.restart(optimizer), 0.0, first)  # what is compiled is compiled here
    work = side.restart(optimizer)

    def step(chosen_examples, number):
        side.step(chosen_examples, work, linear_rate(number, len(steps)), first, *steps[number + 1 : number + 2])

    return quality.watched(step, steps, lambda: side.loss(held_out, tokens), target)


def measure_quality(bench, side, examples, held_out):
    """The loss to reach: what the notebook's steps come to."""
    notebook = steps_in_order(examples, NOTEBOOK_EXAMPLES, -(-len(examples) // NOTEBOOK_EXAMPLES))
    after = curve(bench, side, notebook, held_out, 0)[-1]["loss"]
    side.restart(bench.chosen.optimizers[-1])
    before = side.loss(held_out, max(bench.chosen.tokens))
    target = quality.goal(before, after)
    found = {"before": before, "notebook": after, "target": target, "steps": len(notebook)}
    bench.report["quality"] |= found | {"examples": len(examples), "held_out": len(held_out)}
    print(
        f"\nheld-out loss before {before:.4f}, after the notebook's {len(notebook)} steps, one pass over {len(examples)} examples, "
        f"{after:.4f}; to reach: {target:.4f}"
    )
    return target


def time_ours(bench, side, examples, held_out, head, target):
    """Times to quality of ours, with the recipe's own size of a step and, in 16 bits, with large packs.

    head: (what the training loss is over, the first row of the head)
    """
    name, first = head
    sizes = {auto_tokens([len(example.input_ids) for example in examples])}
    for tokens in sorted(sizes if side.fp8 else sizes | {max(bench.chosen.tokens)}):
        found = quality.time_to_quality(
            lambda passes, t=tokens: curve(
                bench, side, packed_steps(examples, t, passes=passes), held_out, first, target
            ),
            target,
        )
        bench.note_quality(f"ours, {tokens:,} packed, {name}{', fp8' if side.fp8 else ''}", found)
