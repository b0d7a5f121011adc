"""Training tokens per second, memory and loss: plain transformers, Unsloth and this project on the same examples, in one run.

    python -m benchmarks.train                       Orpheus-3B's shape, random weights (CUDA); a tiny model (CPU)
    python -m benchmarks.train --model FOLDER        a checkpoint with its tokenizer
    python -m benchmarks.train --seconds-budget 150 --out benchmarks/results/train.json
    python -m benchmarks.train --peers none --curve-steps 0

Examples are about 508 tokens long (log-normal, 120 to 850): text, then codes that walk through an alphabet of their position in
the frame, so that there is something to learn. Rates count real tokens of whole optimizer steps (making the batch, forward, backward, clipping,
AdamW), the first steps with their compilation left out. "Share" is of this card's own rate for an 8192^3 bf16 product, at
4 FLOP per token and base parameter used (layers and the head's rows that take part) + 6 per LoRA parameter: frozen weights
need no gradient; recomputation and attention are not counted. The loss curves take the same 16 examples per step, the same LoRA
weights, AdamW 8-bit and the learning rates of transformers' linear schedule on both sides; loss is on audio and the two
tokens that end it, over the whole vocabulary. Time to quality is what common/quality.py says; the notebook's loss after one pass comes from its steps on this project's layers, which are the same arithmetic. The last line of standard output is JSON with everything.
"""

import statistics
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import torch

from benchmarks.common import quality
from benchmarks.common.report import finish_report, start_report, write_report
from benchmarks.common.training import (
    Side,
    load,
    make_examples,
    measure_quality,
    packed_steps,
    reset_peak,
    steps_in_order,
    time_ours,
    train,
)
from benchmarks.common.training_results import EQUAL_EXAMPLES, share, show, show_curves, table_rows
from benchmarks.peers.train import (
    PLAIN,
    collect,
    measure_plain,
    note_plain,
    plain_curve,
    start_unsloth,
    write_examples,
    write_quality,
)
from orpheus.common.cards import Card
from orpheus.training.hardware import matrix_rate

OURS_SHARE = 0.55  # of the budget: after this no setting of ours begins where Unsloth has yet to come


@dataclass(frozen=True)
class Arguments:
    model: str = "auto"
    """auto or a folder with model and tokenizer in Orpheus' vocabulary."""
    peers: tuple[str, ...] = (PLAIN, "packed_varlen_kept", "padded", "notebook", "padded_kept", "packed_varlen")
    """transformers (with peft, the notebook's batch of 1 x 4) and, with CUDA, Unsloth's of peers/unsloth/train.py; none for none."""
    tokens: tuple[int, ...] = ()
    """Tokens per pack; 12288 with CUDA, else 1024."""
    optimizers: tuple[str, ...] = ()
    """adamw, adamw_8bit; adamw_8bit with CUDA where bitsandbytes is, else adamw."""
    steps: int = 0
    """Optimizer steps per setting; 0 for 14 with CUDA, else 3."""
    skip: int = -1
    """First steps left out of the rates; -1 for 4 with CUDA, else 1."""
    curve_steps: int = 30
    """Steps of the loss curves; at most 3 without CUDA."""
    quality: bool = True
    """Measures the time until the held-out loss that the notebook's setting has after one pass."""
    four_bit_tokens: tuple[int, ...] = ()
    """Also trains a 4-bit base with checkpointing at these pack sizes; needs bitsandbytes."""
    rank: int = 64
    compiled: bool = True
    """Layers as kernels, with CUDA."""
    fp8: bool = True
    """Also trains with the frozen weights' products in FP8, where the card has them."""
    files: str = ""
    """Folder for the random 3B's files: kept, and used again. By default a temporary one."""
    seconds_budget: float = 1e9
    """After this no setting and no peer begins, and the peer that trains is ended."""
    out: str | None = None
    """Also writes the JSON to this file, anew after each setting."""


def settings(arguments):
    cuda = torch.cuda.is_available()
    small = "adamw_8bit" if cuda and find_spec("bitsandbytes") else "adamw"
    return SimpleNamespace(
        cuda=cuda,
        tokens=arguments.tokens or ((12_288,) if cuda else (1024,)),
        optimizers=arguments.optimizers or (small,),
        steps=arguments.steps or (14 if cuda else 3),
        skip=arguments.skip if arguments.skip >= 0 else 4 if cuda else 1,
        curve_steps=arguments.curve_steps if cuda else min(3, arguments.curve_steps),
        compiled=arguments.compiled and cuda,
        fp8=arguments.fp8 and arguments.compiled and cuda and Card(*torch.cuda.get_device_capability()).fp8,
        unsloth=[peer for peer in arguments.peers if peer not in (PLAIN, "none")] if cuda else [],
        began=time.perf_counter(),
    )


def make_checkpoint(arguments, cuda, folder):
    """(folder, layout)"""
    from benchmarks.common.models import full_size_files
    from tests.fakes.checkpoints import ORPHEUS_LAYOUT, SMALL_CONFIG, SMALL_LAYOUT, save_voice

    if arguments.model != "auto":
        return Path(arguments.model), ORPHEUS_LAYOUT
    if cuda:
        return full_size_files(files_of(arguments, folder)), ORPHEUS_LAYOUT
    return save_voice(folder / "small", SMALL_CONFIG, SMALL_LAYOUT), SMALL_LAYOUT


def files_of(arguments, folder):
    """Where the random 3B's files are or will be."""
    return Path(arguments.files or folder) / "orpheus-3b"


class Bench:
    """What the parts of a run share."""

    def __init__(self, arguments, chosen, report):
        self.arguments, self.chosen, self.report = arguments, chosen, report

    def left(self):
        return self.arguments.seconds_budget - (time.perf_counter() - self.chosen.began)

    def due(self, what):
        """Whether there is time for a setting of ours."""
        kept = (1 - OURS_SHARE) * self.arguments.seconds_budget if self.chosen.unsloth else 0
        if self.left() <= kept:
            self.report["left_out"].append(what)
            print(f"{what:44} left out, no time", flush=True)
        return self.left() > kept

    def attempt(self, part, name, work, **more):
        """The result of `work`, or why it failed, noted in a part of the report."""
        if not self.due(name):
            return None
        try:
            result = work()
        except Exception as error:
            result = {"failed": f"{type(error).__name__}: {error}"[-1500:]}
        finally:
            reset_peak()
        result = more | result
        self.note(part, name, result, 1e9 * result.get("gflop_per_token", 0))
        return result

    def note(self, part, name, result, flop=0):
        """Prints and notes one result, with its share of the card's rate where a token's arithmetic is known."""
        rate = result.get("median_tokens_per_second")
        if rate and flop:
            result["share"] = share(rate, flop, self.report["product_rate"])
        self.report[part].append(result)
        show(name, result)
        write_report(self.report, self.arguments.out)

    def note_quality(self, name, result):
        """Prints and notes one time to quality."""
        self.report["quality"]["systems"].append({"name": name} | result)
        print(f"{name:44} to the notebook's loss: {quality.in_words(result)}", flush=True)
        write_report(self.report, self.arguments.out)


def run_ours(bench, side, examples, heads):
    """Rates at each size of a pack and with as many examples a step as the peers have. heads: {name: first row}"""
    chosen = bench.chosen
    settings = {
        f"{tokens:,} packed": (packed_steps(examples, tokens, chosen.steps), {"tokens": tokens})
        for tokens in chosen.tokens
    }
    equal = steps_in_order(examples, EQUAL_EXAMPLES, chosen.steps)
    settings[f"{EQUAL_EXAMPLES} examples a step"] = equal, {"examples": EQUAL_EXAMPLES}
    for what, (steps, size) in settings.items():
        for head, first in heads.items():
            for optimizer in chosen.optimizers:
                bench.attempt(
                    "ours",
                    f"ours, {what}, {head}, {optimizer}{', fp8' if side.fp8 else ''}",
                    lambda o=optimizer, f=first, s=steps: train(side, s, o, f, chosen.skip),
                    **size,
                    what=what,
                    head=head,
                    optimizer=optimizer,
                    fp8=side.fp8,
                    gflop_per_token=side.flop_per_token(first) / 1e9,
                )


def run_curve(bench, side, examples):
    """Losses of ours over the steps that the curve's peer takes."""
    chosen = bench.chosen
    steps = steps_in_order(examples, EQUAL_EXAMPLES, chosen.curve_steps)
    result = bench.attempt(
        "curve_runs",
        f"ours, {EQUAL_EXAMPLES} examples a step for the curve{', fp8' if side.fp8 else ''}",
        lambda: train(side, steps, chosen.optimizers[-1], 0, min(chosen.skip, chosen.curve_steps - 1)),
    )
    return (result or {}).get("losses")


def run_four_bit(bench, checkpoint, layout, examples, adapter):
    arguments = bench.arguments
    for tokens in arguments.four_bit_tokens:

        def work(tokens=tokens):
            model = load(checkpoint, arguments.rank, adapter, four_bit=True)
            side = Side(model, layout, bench.chosen.compiled, True)
            steps = packed_steps(examples, tokens, bench.chosen.steps)
            return train(side, steps, "adamw_8bit", layout.base, bench.chosen.skip)

        bench.attempt("four_bit", f"ours, 4-bit, checkpointing, {tokens:,} packed", work, tokens=tokens)


def measure(bench, folder):
    """All parts of a run; returns the curves."""
    arguments, chosen, report = bench.arguments, bench.chosen, bench.report
    files = files_of(arguments, folder) if arguments.model == "auto" else Path(arguments.model)
    unsloth = start_unsloth(bench, files, folder)
    try:
        checkpoint, layout = make_checkpoint(arguments, chosen.cuda, folder)
        count = max(quality.EXAMPLES, EQUAL_EXAMPLES * chosen.curve_steps) if chosen.cuda else 48
        examples = make_examples(count + quality.HELD_OUT, layout)
        examples, held_out = examples[:count], examples[count:]
        lengths = [len(example.input_ids) for example in examples]
        report["row_tokens"] = round(statistics.mean(lengths), 1)
        print(f"{len(examples)} examples of {report['row_tokens']} tokens on average, {min(lengths)} to {max(lengths)}")
        print(f"\n{'':44} {'median':>9} {'mean':>9} {'share':>8} {'peak':>11}  (real tokens/s)")
        model = load(checkpoint, arguments.rank)
        model.save_pretrained(folder / "adapter", save_embedding_layers=False)
        write_examples(examples, folder / "examples.json")
        measure_plain(bench, model, examples)
        data = examples[: quality.EXAMPLES], held_out
        plain = plain_curve(bench, model, *data) if arguments.quality else None
        side, curves = Side(model, layout, chosen.compiled), {}
        whole = side.flop_per_token(0)
        heads = {"audio head": layout.base, "whole head": 0}
        run_ours(bench, side, examples, heads)
        if chosen.curve_steps:
            curves["ours"] = run_curve(bench, side, examples)
        if arguments.quality:
            # Random weights give text tokens their share of the probability, which a loss over audio alone leaves with them.
            learnt = ("whole head", 0) if arguments.model == "auto" else ("audio head", layout.base)
            target = measure_quality(bench, side, *data)
            time_ours(bench, side, *data, learnt, target)
            if plain:
                note_plain(bench, plain, target)
            write_quality(*data, target, folder / "quality.json")
        if chosen.fp8:
            start = side.start
            del side
            reset_peak()
            side = Side(model, layout, chosen.compiled, fp8=True, start=start)
            run_ours(bench, side, examples, {"audio head": layout.base})
            if chosen.curve_steps:
                curves["ours, fp8"] = run_curve(bench, side, examples)
            if arguments.quality:
                time_ours(bench, side, *data, learnt, target)
        del side, model
        reset_peak()
        run_four_bit(bench, checkpoint, layout, examples, folder / "adapter")
        if unsloth:
            curves["unsloth"] = collect(bench, unsloth, whole)
        return {name: losses for name, losses in curves.items() if losses}
    finally:
        if unsloth:
            unsloth.close()


def main(arguments):
    chosen = settings(arguments)
    report = start_report("train") | {
        "product_rate": matrix_rate(torch.device("cuda" if chosen.cuda else "cpu")),
        "rank": arguments.rank,
        "ours": [],
        "peers": [],
        "four_bit": [],
        "curve_runs": [],
        "quality": {"systems": []},
        "left_out": [],
    }
    rate = report["product_rate"]
    print(
        f"{report['hardware']}, torch {torch.__version__}"
        + (f", 8192^3 bf16 {rate / 1e12:.0f} TFLOP/s" if rate else "")
    )
    with tempfile.TemporaryDirectory() as folder:
        curves = measure(Bench(arguments, chosen, report), Path(folder))
    report["table"] = table_rows(report)
    report["ratios"] = {
        f"{row['peer']}: {row['what']}": round(row["ratio"], 2) for row in report["table"] if "ratio" in row
    }
    for what, ratio in report["ratios"].items():
        print(f"our fastest setting beside {what}: {ratio:.2f} times as good")
    if curves:
        show_curves(curves)
    report["curves"] = curves
    report["seconds"] = round(time.perf_counter() - chosen.began, 1)
    finish_report(report, arguments.out)


if __name__ == "__main__":
    from orpheus.common.command import parse

    main(parse(Arguments, __doc__))
