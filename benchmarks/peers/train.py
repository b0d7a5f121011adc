"""Others that train, for benchmarks/train.py on the same examples: plain transformers with peft, and Unsloth in its own process."""

import json
import math
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from benchmarks.common.quality import MOST_PASSES, time_to_quality, until, watched
from benchmarks.common.training import (
    DECAY,
    LEARNING_RATE,
    NOTEBOOK_EXAMPLES,
    linear_rate,
    reset_peak,
    steps_in_order,
    timed_steps,
)
from benchmarks.peers.process import PeerProcess

PLAIN = "transformers"
CURVE_PEER = "padded"  # the peer with as many examples per step as our loss curve
QUALITY_PEERS = "packed_varlen_kept", "padded", "notebook"  # the others take the same steps more slowly
PLAIN_NAME = "transformers and peft, batch 1 x 4"


def _loss(model, example):
    """transformers' loss of one example's audio."""
    ids = torch.from_numpy(example.input_ids.astype(np.int64)).to(model.device)[None]
    labels = ids.clone()
    labels[:, : example.prompt_tokens] = -100
    with torch.autocast(model.device.type, torch.bfloat16, enabled=model.device.type == "cuda"):
        return model(input_ids=ids, labels=labels).loss


@contextmanager
def plain_step(model, optimizer, total):
    """`step(examples, number)` of `total`: transformers' forward on a peft model, an example after the other, as the notebook's
    settings do without Unsloth. The adapter's weights are put back."""
    reset_peak()
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    start = [weight.detach().clone() for weight in weights]
    options = {"lr": LEARNING_RATE, "weight_decay": DECAY}
    if optimizer == "adamw_8bit":
        import bitsandbytes

        work = bitsandbytes.optim.AdamW8bit(weights, **options)
    else:
        work = torch.optim.AdamW(weights, **options)

    def step(chosen, number):
        losses = []
        for example in chosen:
            loss = _loss(model, example) / len(chosen)
            loss.backward()
            losses.append(loss.item())
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        for group in work.param_groups:
            group["lr"] = linear_rate(number, total)
        work.step()
        work.zero_grad(set_to_none=True)
        return sum(losses)

    try:
        model.train()
        yield step
    finally:
        model.eval()
        with torch.no_grad():
            for weight, before in zip(weights, start):
                weight.copy_(before)
                weight.grad = None


def measure_plain(bench, model, examples):
    """A row of plain transformers."""
    chosen = bench.chosen

    def work():
        with plain_step(model, chosen.optimizers[-1], chosen.steps) as step:
            return timed_steps(step, steps_in_order(examples, NOTEBOOK_EXAMPLES, chosen.steps), chosen.skip)

    if PLAIN in bench.arguments.peers:
        bench.attempt("peers", PLAIN_NAME, work, peer=PLAIN_NAME)


@torch.no_grad()
def _held_out_loss(model, examples):
    counts = [len(example.input_ids) - example.prompt_tokens for example in examples]
    return sum(_loss(model, e).item() * count for e, count in zip(examples, counts)) / sum(counts)


def plain_curve(bench, model, examples, held_out):
    """Plain transformers' held-out losses over one pass in the notebook's steps; None where it is no peer."""
    if PLAIN not in bench.arguments.peers or not bench.due(f"{PLAIN_NAME} to the notebook's loss"):
        return None
    steps = steps_in_order(examples, NOTEBOOK_EXAMPLES, math.ceil(len(examples) / NOTEBOOK_EXAMPLES))
    with plain_step(model, bench.chosen.optimizers[-1], len(steps)) as step:
        return watched(step, steps, lambda: _held_out_loss(model, held_out))


def write_examples(examples, path):
    """The examples as Unsloth's process reads them, labels on the audio and its end alone."""
    made = []
    for example in examples:
        ids, prompt = example.input_ids.tolist(), example.prompt_tokens
        made.append({"input_ids": ids, "labels": [-100] * prompt + ids[prompt:]})
    Path(path).write_text(json.dumps(made))


def note_plain(bench, points, target):
    bench.note_quality(PLAIN_NAME, time_to_quality(lambda _: until(points, target), target, most_passes=1))


def write_quality(examples, held_out, target, path):
    """What Unsloth's process needs for its times to quality."""
    write_examples([*examples, *held_out], path)
    content = {"examples": json.loads(Path(path).read_text()), "held_out": len(held_out), "target": target}
    Path(path).write_text(json.dumps(content))


def start_unsloth(bench, checkpoint, folder):
    """Unsloth in a process of its own, importing until its turn; None where it cannot be. The curve's peer takes the
    curve's steps."""
    chosen = bench.chosen
    if not chosen.unsloth:
        return None
    if not find_spec("unsloth"):
        bench.report["not_installed"] = ["unsloth"]
        return print("not installed: unsloth", flush=True)
    words = ["--checkpoint", checkpoint, "--examples", folder / "examples.json", "--adapter", folder / "adapter"]
    words += ["--steps", chosen.steps, "--skip", chosen.skip, "--rank", bench.arguments.rank]
    if chosen.curve_steps:
        words += ["--longer-steps", chosen.curve_steps, "--longer", CURVE_PEER]
    if bench.arguments.quality:
        words += ["--quality", folder / "quality.json", "--passes", MOST_PASSES]
        words += ["--quality-peers", *QUALITY_PEERS]
    return PeerProcess("benchmarks.peers.unsloth.train", *words, "--peers", *chosen.unsloth)


def collect(bench, process, flop):
    """Unsloth's turn; returns the losses of the curve's peer."""
    found = process.results(bench.left())
    bench.report["peer_versions"] = found.get("versions", {})
    if reason := found.get("failed", {}).get("all"):
        found.setdefault("peers", []).append({"peer": "all that were left", "failed": reason})
    losses = None
    for result in found.get("peers", []):
        if not result.get("median_tokens_per_second"):
            result.setdefault("failed", "too few steps")
        if result["peer"] == CURVE_PEER:
            losses = result.get("losses")
        name = f"unsloth, {result['peer']}"
        if quality := result.pop("quality", None):
            bench.note_quality(name, quality)
        bench.note("peers", name, result | {"peer": name}, flop)
    return losses
