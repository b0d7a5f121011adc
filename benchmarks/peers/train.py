"""Others that train, for benchmarks/train.py on the same examples: plain transformers with peft, and Unsloth in its own process."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from benchmarks.common.training import DECAY, LEARNING_RATE, linear_rate, reset_peak, timed_steps
from benchmarks.peers.process import PeerProcess

PLAIN = "transformers"
CURVE_PEER = "padded"  # the peer with as many examples per step as our loss curve


def train_plain(model, examples, steps, optimizer, skip):
    """transformers' forward on a peft model, four examples a step one after the other, as the notebook's settings do without
    Unsloth. The adapter's weights are put back."""
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
            ids = torch.from_numpy(example.input_ids.astype(np.int64)).to(model.device)[None]
            labels = ids.clone()
            labels[:, : example.prompt_tokens] = -100
            with torch.autocast(model.device.type, torch.bfloat16, enabled=model.device.type == "cuda"):
                loss = model(input_ids=ids, labels=labels).loss / len(chosen)
            loss.backward()
            losses.append(loss.item())
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        for group in work.param_groups:
            group["lr"] = linear_rate(number, steps)
        work.step()
        work.zero_grad(set_to_none=True)
        return sum(losses)

    try:
        model.train()
        plan = [[examples[(4 * number + index) % len(examples)] for index in range(4)] for number in range(steps)]
        return timed_steps(step, plan, skip)
    finally:
        model.eval()
        with torch.no_grad():
            for weight, before in zip(weights, start):
                weight.copy_(before)
                weight.grad = None


def measure_plain(bench, model, examples):
    """A row of plain transformers."""
    name, chosen = "transformers and peft, batch 1 x 4", bench.chosen
    if PLAIN in bench.arguments.peers:
        bench.attempt(
            "peers",
            name,
            lambda: train_plain(model, examples, chosen.steps, chosen.optimizers[-1], chosen.skip),
            peer=name,
        )


def write_examples(examples, path):
    """The examples as Unsloth's process reads them, labels on the audio and its end alone."""
    made = []
    for example in examples:
        ids, prompt = example.input_ids.tolist(), example.prompt_tokens
        made.append({"input_ids": ids, "labels": [-100] * prompt + ids[prompt:]})
    Path(path).write_text(json.dumps(made))


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
        bench.note("peers", name, result | {"peer": name}, flop)
    return losses
