"""Unsloth as a peer of this project's training: the same examples, labels and order; Unsloth's kernels and trainers.

    python -m benchmarks.peers.unsloth.train --checkpoint FOLDER --examples examples.json --steps 30 --out unsloth.json

Needs a CUDA GPU. Run it as a process of its own: importing Unsloth replaces the Llama classes of transformers,
`transformers.Trainer`, peft's forward and trl's trainers for good. The last line of standard output is JSON.

Peers:
    notebook        Unsloth's Orpheus notebook: batch 1 x 4, "unsloth" checkpointing (activations go to host memory)
    padded          the same with batch 16 x 1, padded to the longest of the batch
    packed          16 examples in one row, through trl's SFTTrainer with packing=True as Unsloth patches it
    packed_varlen   the same with the attention kernel that Unsloth takes from torch 2.12 on (see varlen_attention)
    padded_kept, packed_varlen_kept     without checkpointing: what a large GPU allows
"""

import itertools
import json
import statistics
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common.quality import time_to_quality
from benchmarks.common.report import write_report
from benchmarks.peers.process import await_turn
from benchmarks.peers.unsloth.model import (
    copy_weights,
    free_memory,
    held_out_loss,
    load_model,
    own_forwards,
    peak_gib,
    restore_weights,
    varlen_attention,
    versions,
)
from benchmarks.peers.unsloth.trainers import (
    add_clock,
    add_watch,
    direct_packed_trainer,
    packed_trainer,
    padded_trainer,
    set_checkpointing,
)

BUILDERS = padded_trainer, packed_trainer, direct_packed_trainer
TO_STOP = 4  # seconds for the last step and the report
MEASURED = 2  # steps at least behind the skipped ones, where time ends a peer


@dataclass(frozen=True)
class Peer:
    name: str
    batch: int
    accumulation: int = 1
    packed: bool = False
    varlen: bool = False
    checkpointing: str | bool = "unsloth"

    @property
    def examples_per_step(self):
        return self.batch * self.accumulation


PEERS = {
    peer.name: peer
    for peer in (
        Peer("notebook", 1, accumulation=4),
        Peer("padded", 16),
        Peer("packed", 16, packed=True),
        Peer("packed_varlen", 16, packed=True, varlen=True),
        Peer("padded_kept", 16, checkpointing=False),
        Peer("packed_varlen_kept", 16, packed=True, varlen=True, checkpointing=False),
    )
}


@dataclass(frozen=True)
class Arguments:
    checkpoint: str
    """Folder with the base model and its tokenizer."""
    examples: str
    """JSON: a list of {"input_ids": [...], "labels": [...]} of equal lengths, labels -100 where there is no loss."""
    peers: tuple[str, ...] = ("notebook", "padded", "packed")
    """Of those above; run in this order on one loaded model."""
    steps: int = 30
    """Optimizer steps per peer."""
    longer: tuple[str, ...] = ()
    """Peers that take `longer_steps` instead."""
    longer_steps: int = 100
    skip: int = 8
    """First steps left out of the rates: compilation, warm-up."""
    adapter: str | None = None
    """Adapter folder (peft's) whose weights every peer starts from; otherwise Unsloth's own start, seed 3407."""
    rank: int = 64
    four_bit: bool = False
    """Loads the 16-bit folder in 4 bits (NF4), as QLoRA."""
    quality: str = ""
    """JSON: {"examples": as above, "held_out": so many of the last ones are, "target": held-out loss}. The time until then is
    measured after a peer's rate."""
    quality_peers: tuple[str, ...] = ("notebook", "padded", "packed_varlen_kept")
    """Whose time until then is measured."""
    passes: int = 4
    """How many passes over those examples a peer may take."""
    after: str = ""
    """Once Unsloth is imported, waits for this file. It holds seconds: then no peer begins, and the one that trains stops."""
    out: str | None = None
    """Also writes the JSON to this file, anew after each peer."""


def step_examples(examples, peer, steps):
    """The examples of every step in the given order, from the start again when there are too few."""
    stream = itertools.cycle(examples)
    return [list(itertools.islice(stream, peer.examples_per_step)) for _ in range(steps)]


def rates(tokens, seconds, skip):
    """Median and mean of real tokens per second after the first `skip` steps."""
    tokens, seconds = tokens[skip:], seconds[skip:]
    if not tokens:
        return {}
    return {
        "median_tokens_per_second": round(statistics.median(t / s for t, s in zip(tokens, seconds)), 1),
        "mean_tokens_per_second": round(sum(tokens) / sum(seconds), 1),
        "median_step_ms": round(statistics.median(seconds) * 1000, 1),
    }


def train_with(build, model, tokenizer, steps, peer, skip, deadline):
    """Trains once and returns what is known of it."""
    free_memory()
    set_checkpointing(model, peer)
    with tempfile.TemporaryDirectory() as folder, own_forwards(model), varlen_attention(peer.varlen):
        trainer = build(model, tokenizer, steps, peer, folder)
        times = add_clock(trainer, deadline, skip + MEASURED)
        trainer.train()
    seconds = [after - before for before, after in zip(times, times[1:])]
    tokens = [sum(len(example["input_ids"]) for example in step) for step in steps][: len(seconds)]
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    if len(losses) != len(seconds) or (len(seconds) < len(steps) and times[-1] <= deadline):
        raise RuntimeError(f"{len(steps)} steps asked for, {len(losses)} losses and {len(seconds)} times came")
    return {
        "peer": peer.name,
        "trainer": build.__name__,
        "batch": peer.batch,
        "accumulation": peer.accumulation,
        "checkpointing": peer.checkpointing,
        **rates(tokens, seconds, skip),
        "peak_gib": peak_gib(),
        "losses": [round(loss, 6) for loss in losses],
        "seconds": [round(second, 4) for second in seconds],
        "tokens": tokens,
    }


def attempt(build, model, tokenizer, steps, peer, skip, deadline):
    """As `train_with`; a failure is told and returned with its reason."""
    try:
        return train_with(build, model, tokenizer, steps, peer, skip, deadline)
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error)[:400]}"
        traceback.print_exc()
        print(f"{peer.name} by {build.__name__} failed: {reason}", file=sys.stderr, flush=True)
        return {"peer": peer.name, "trainer": build.__name__, "failed": reason}


def train_peer(model, tokenizer, start, examples, peer, step_count, skip, deadline):
    """One peer from the start weights. Packing falls back from trl's SFTTrainer to the same forward by hand."""
    if time.perf_counter() > deadline:
        return {"peer": peer.name, "failed": "no time left"}
    steps = step_examples(examples, peer, step_count)
    builders = BUILDERS[1:] if peer.packed else BUILDERS[:1]
    failures = []
    for build in builders:
        restore_weights(model, start)
        result = attempt(build, model, tokenizer, steps, peer, skip, deadline)
        if "failed" not in result:
            return {**result, "failed_before": failures} if failures else result
        failures.append(result)
    return failures[-1]


def measure_quality(model, tokenizer, start, peer, trainer, given, most_passes, deadline):
    """Time until the held-out loss of `given`, with the trainer that the peer's rates came from, or why it failed."""
    examples = checked(given["examples"])
    learnt, held_out = examples[: -given["held_out"]], examples[-given["held_out"] :]
    build = {build.__name__: build for build in BUILDERS}[trainer]

    def train(passes):
        if time.perf_counter() > deadline:
            return []
        restore_weights(model, start)
        free_memory()
        set_checkpointing(model, peer)
        steps = step_examples(learnt, peer, passes * -(-len(learnt) // peer.examples_per_step))
        with tempfile.TemporaryDirectory() as folder, own_forwards(model), varlen_attention(peer.varlen):
            work = build(model, tokenizer, steps, peer, folder)
            points = add_watch(work, len(steps), lambda: held_out_loss(model, held_out), given["target"], deadline)
            work.train()
        return points

    try:
        return time_to_quality(train, given["target"], most_passes)
    except Exception as error:
        traceback.print_exc()
        return {"failed": f"{type(error).__name__}: {str(error)[:400]}"}


def read_examples(path):
    """{"input_ids": ints, "labels": ints} each, labels -100 where there is no loss."""
    return checked(json.loads(Path(path).read_text()))


def checked(examples):
    if any(len(example["input_ids"]) != len(example["labels"]) for example in examples):
        raise SystemExit("input_ids and labels differ in length")
    return examples


def train_unsloth(arguments):
    """Trains each peer on the examples in their order, all from the same adapter weights.

    returns: {"versions": ..., "peers": [one dictionary per peer: losses, seconds and real tokens per step, median and
        mean tokens per second, peak GiB, or "failed" with the reason]}
    """
    import unsloth  # noqa: F401  before transformers, peft and trl

    seconds = await_turn(arguments.after)
    began = time.perf_counter()
    examples = read_examples(arguments.examples)  # there when the turn comes, not before
    length = max(len(example["input_ids"]) for example in examples)
    model, tokenizer = load_model(
        arguments.checkpoint, length, arguments.rank, arguments.four_bit, arguments.adapter or None
    )
    start = copy_weights(model)
    report = {
        "versions": versions(),
        "load_seconds": round(time.perf_counter() - began, 1),
        "trainable": sum(weight.numel() for weight in start.values()),
        "trainable_dtypes": sorted({str(weight.dtype) for weight in start.values()}),
        "peers": [],
    }
    for name in arguments.peers:
        steps = arguments.longer_steps if name in arguments.longer else arguments.steps
        deadline = began + seconds - TO_STOP
        result = train_peer(model, tokenizer, start, examples, PEERS[name], steps, arguments.skip, deadline)
        if arguments.quality and name in arguments.quality_peers and "failed" not in result:
            given = json.loads(Path(arguments.quality).read_text())
            measured = (model, tokenizer, start, PEERS[name], result["trainer"], given, arguments.passes, deadline)
            result["quality"] = measure_quality(*measured)
        report["peers"].append(result)
        print_result(result)
        write_report(report, arguments.out)
    return report


def print_result(result):
    if "failed" in result:
        print(f"{result['peer']:18} failed: {result['failed']}", flush=True)
        return
    print(
        f"{result['peer']:18} {result.get('median_tokens_per_second', 0):10.0f} tokens/s median "
        f"{result.get('mean_tokens_per_second', 0):10.0f} mean, peak {result['peak_gib']} GiB, "
        f"loss {result['losses'][0]:.4f} -> {result['losses'][-1]:.4f} ({result['trainer']})",
        flush=True,
    )


def main(arguments):
    unknown = set(arguments.peers) - set(PEERS)
    if unknown:
        raise SystemExit(f"no such peers: {', '.join(sorted(unknown))}")
    print(json.dumps(train_unsloth(arguments)))


if __name__ == "__main__":
    from orpheus.common.command import parse

    main(parse(Arguments, __doc__))
