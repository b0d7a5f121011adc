"""Training tokens per second, memory and loss: Unsloth and this project on the same rows, in one run.

    python benchmarks/train.py                       Orpheus-3B's shape, random weights (CUDA); a tiny model (CPU)
    python benchmarks/train.py --model FOLDER        a checkpoint with its tokenizer
    python benchmarks/train.py --peers none --curve-steps 0

Rows are about 508 tokens long (log-normal, 120 to 850): text, then codes that walk through an alphabet of their slot, so that
there is something to learn. Rates count real tokens of whole optimizer steps (making the batch, forward, backward, clipping,
AdamW), the first steps with their compilation left out. "Share" is of this card's own rate for an 8192^3 bf16 product, at
4 FLOP per token and base parameter used (layers and the head's rows that take part) + 6 per LoRA parameter: frozen weights
need no gradient; recomputation and attention are not counted. The loss curves take the same 16 rows per step, the same LoRA
weights, AdamW 8-bit and the learning rates of transformers' linear schedule on both sides; loss is on audio and the two
tokens that end it, over the whole vocabulary. The last line of standard output is JSON with everything.
"""

import gc
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from checkpoints import ORPHEUS_LAYOUT, SMALL_CONFIG, SMALL_LAYOUT, save_full_size_voice, save_voice  # noqa: E402

from orpheus.data import Example  # noqa: E402
from orpheus.frame import CODES_PER_FRAME  # noqa: E402
from orpheus.llama import LoraLlama, matrix_rate  # noqa: E402
from orpheus.packing import plan_steps  # noqa: E402
from orpheus.training import make_optimizer, make_pack  # noqa: E402

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
LEARNING_RATE, WARMUP, DECAY = 2e-4, 5, 0.001  # the notebook's
CURVE_ROWS = 16
CURVE_PEER = "padded"  # the peer with as many rows per step
SHOWN = (1, 25, 50, 100)


@dataclass(frozen=True)
class Arguments:
    model: str = "auto"
    """auto or a folder with model and tokenizer in Orpheus' vocabulary."""
    peers: tuple[str, ...] = ("notebook", "padded", "packed_varlen", "padded_kept", "packed_varlen_kept")
    """Of unsloth_peer.py, with CUDA; none for none."""
    tokens: tuple[int, ...] = ()
    """Tokens per pack; 12288 and 16384 with CUDA, else 1024."""
    optimizers: tuple[str, ...] = ()
    """adamw, adamw_8bit; both with CUDA, else adamw."""
    steps: int = 0
    """Optimizer steps per setting; 0 for 20 with CUDA, else 3."""
    skip: int = -1
    """First steps left out of the rates; -1 for 6 with CUDA, else 1."""
    curve_steps: int = 100
    """Steps of the loss curves; at most 3 without CUDA."""
    four_bit_tokens: tuple[int, ...] = ()
    """Also trains a 4-bit base with checkpointing at these pack sizes; needs bitsandbytes."""
    rank: int = 64
    compiled: bool = True
    """Compiles the layers, with CUDA."""


def make_rows(count, layout, seed=0, longest=850):
    """Examples with learnable codes: each slot walks on a circle of its own codes."""
    random = np.random.default_rng(seed)
    size = min(256, layout.codebook_size)
    alphabets = np.stack([random.permutation(layout.codebook_size)[:size] for _ in range(CODES_PER_FRAME)])
    words = random.integers(0, min(128_000, layout.begin_of_text), (64, 8))  # of a small vocabulary
    rows = []
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
        rows.append(Example(np.array(ids, np.int32), len(prompt), f"{index:x}", "", None, str(index)))
    return rows


def write_for_peer(rows, path):
    """The rows as unsloth_peer.py reads them, labels on the audio and its end alone."""
    examples = [
        {
            "input_ids": row.input_ids.tolist(),
            "labels": [-100] * row.prompt_tokens + row.input_ids[row.prompt_tokens :].tolist(),
        }
        for row in rows
    ]
    Path(path).write_text(json.dumps(examples))


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
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16 if cuda else torch.float32, **arguments)
    torch.manual_seed(3407)
    model = get_peft_model(model, LoraConfig(r=rank, lora_alpha=rank, target_modules=TARGETS))
    if adapter:
        set_peft_model_state_dict(model, load_file(Path(adapter) / "adapter_model.safetensors"))
    return model


class Side:
    """This project's model with a way back to the weights that it started from."""

    def __init__(self, model, layout, compiled, checkpointing=False):
        self.llama, self.layout, self.compiled = LoraLlama(model, compiled, checkpointing), layout, compiled
        self.start = self.llama.adapter.master.data.clone()

    def restart(self, optimizer):
        adapter = self.llama.adapter
        adapter.master.data.copy_(self.start)
        adapter.refresh()
        adapter.zero_grad()
        return make_optimizer(optimizer, adapter.master, SimpleNamespace(weight_decay=DECAY))[0]

    def step(self, rows, optimizer, rate, tokens, longest, first):
        """One whole optimizer step; returns its mean loss."""
        adapter = self.llama.adapter
        adapter.zero_grad()
        fixed = {"tokens": tokens, "longest": longest} if self.compiled else {}
        pack = make_pack(rows, self.layout, self.llama.device, **fixed)
        loss = self.llama.loss(pack, first) / sum(len(row.input_ids) - row.prompt_tokens for row in rows)
        loss.backward()
        adapter.collect()
        torch.nn.utils.clip_grad_norm_([adapter.master], 1.0)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        adapter.refresh()
        return loss.item()

    def flop_per_token(self, first):
        """4 x the base weights that a token passes + 6 x the LoRA weights."""
        layers = sum(sum(group.rows) * group.width for group in self.llama.adapter.groups)
        head = (len(self.llama.head) - first) * self.llama.config.hidden_size
        return 4 * (layers + head) + 6 * len(self.llama.adapter.master)


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


def train(side, steps, optimizer, tokens, longest, first, skip):
    """Trains on the given rows of each step; returns rates, peak memory and losses."""
    reset_peak()
    work = side.restart(optimizer)
    losses, seconds = [], []
    for number, rows in enumerate(steps):
        synchronize()
        began = time.perf_counter()
        losses.append(side.step(rows, work, linear_rate(number, len(steps)), tokens, longest, first))
        synchronize()
        seconds.append(time.perf_counter() - began)
    counts = [sum(len(row.input_ids) for row in rows) for rows in steps]
    rates = [count / second for count, second in zip(counts, seconds)][skip:]
    return {
        "median_tokens_per_second": round(statistics.median(rates), 1),
        "mean_tokens_per_second": round(sum(counts[skip:]) / sum(seconds[skip:]), 1),
        "median_step_ms": round(statistics.median(seconds[skip:]) * 1000, 1),
        "first_step_seconds": round(seconds[0], 1),
        "filled": round(sum(counts) / len(counts) / tokens, 4),
        "peak_gib": peak_gib(),
        "losses": [round(loss, 5) for loss in losses],
    }


def packed_steps(rows, tokens, count):
    """The rows of each optimizer step, as a training run plans them."""
    plan = plan_steps([len(row.input_ids) for row in rows], tokens, 100, 0)[:count]
    return [[rows[index] for index in step] for step in plan]


def run_peers(arguments, checkpoint, examples, adapter, chosen, folder):
    """Unsloth in a process of its own; returns its results and versions. The curve's peer takes the curve's steps."""
    out = Path(folder) / "unsloth.json"
    command = [sys.executable, ROOT / "benchmarks" / "unsloth_peer.py", "--checkpoint", checkpoint]
    command += ["--examples", examples, "--adapter", adapter, "--steps", chosen.steps, "--skip", chosen.skip]
    command += ["--rank", arguments.rank, "--out", out]
    if chosen.curve_steps:
        command += ["--longer-steps", chosen.curve_steps, "--longer", CURVE_PEER]
    command += ["--peers", *arguments.peers]
    done = subprocess.run([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if not out.exists():
        return [{"peer": peer, "failed": done.stderr[-1500:]} for peer in arguments.peers], {}
    report = json.loads(out.read_text())
    return report["peers"], report["versions"]


def share(rate, flop, probe):
    return round(rate * flop / probe, 4) if probe else None


def percent(value):
    return "" if value is None else f"{value * 100:5.1f} %"


def show(name, result):
    if "failed" in result:
        return print(f"{name:44} failed: {result['failed'][-200:]}", flush=True)
    memory = "" if result["peak_gib"] is None else f"{result['peak_gib']:7.2f} GiB"
    print(
        f"{name:44} {result['median_tokens_per_second']:9.0f} {result['mean_tokens_per_second']:9.0f} "
        f"{percent(result.get('share')):>8} {memory:>11}  loss {result['losses'][0]:.3f} -> {result['losses'][-1]:.3f}",
        flush=True,
    )


def show_curves(curves):
    print("\nmean loss of step     " + " ".join(f"{step:>9}" for step in SHOWN))
    for name, losses in curves.items():
        print(
            f"{name:21} " + " ".join(f"{losses[step - 1]:9.4f}" if step <= len(losses) else " " * 9 for step in SHOWN)
        )
    if len(curves) == 2:
        ours, theirs = curves.values()
        gaps = [abs(a - b) for a, b in zip(ours, theirs)]
        print(f"largest difference of a step {max(gaps):.4f}, mean {statistics.mean(gaps):.4f}")


def settings(arguments):
    cuda = torch.cuda.is_available()
    return SimpleNamespace(
        cuda=cuda,
        tokens=arguments.tokens or ((12_288, 16_384) if cuda else (1024,)),
        optimizers=arguments.optimizers or (("adamw", "adamw_8bit") if cuda else ("adamw",)),
        steps=arguments.steps or (20 if cuda else 3),
        skip=arguments.skip if arguments.skip >= 0 else 6 if cuda else 1,
        curve_steps=arguments.curve_steps if cuda else min(3, arguments.curve_steps),
        compiled=arguments.compiled and cuda,
    )


def make_checkpoint(arguments, cuda, folder):
    """(folder, layout)"""
    if arguments.model != "auto":
        return Path(arguments.model), ORPHEUS_LAYOUT
    if cuda:
        return save_full_size_voice(folder / "orpheus-3b-0.1-ft"), ORPHEUS_LAYOUT
    return save_voice(folder / "small", SMALL_CONFIG, SMALL_LAYOUT), SMALL_LAYOUT


def run_ours(side, rows, chosen, probe, report):
    longest = max(len(row.input_ids) for row in rows)
    for tokens in chosen.tokens:
        steps = packed_steps(rows, tokens, chosen.steps)
        for head, first in (("audio head", side.layout.base), ("whole head", 0)):
            for optimizer in chosen.optimizers:
                result = train(side, steps, optimizer, tokens, longest, first, chosen.skip)
                flop = side.flop_per_token(first)
                result |= {"tokens": tokens, "head": head, "optimizer": optimizer, "gflop_per_token": flop / 1e9}
                result["share"] = share(result["median_tokens_per_second"], flop, probe)
                report["ours"].append(result)
                show(f"ours, {tokens:,} packed, {head}, {optimizer}", result)


def run_four_bit(checkpoint, layout, rows, adapter, arguments, chosen, report):
    longest = max(len(row.input_ids) for row in rows)
    reset_peak()
    try:
        side = Side(load(checkpoint, arguments.rank, adapter, four_bit=True), layout, chosen.compiled, True)
    except Exception as error:  # no bitsandbytes, say: the other figures stand
        report["four_bit"].append({"failed": f"{type(error).__name__}: {error}"})
        return show("ours, 4-bit", report["four_bit"][-1])
    for tokens in arguments.four_bit_tokens:
        steps = packed_steps(rows, tokens, chosen.steps)
        try:
            result = train(side, steps, "adamw_8bit", tokens, longest, layout.base, chosen.skip)
        except Exception as error:
            result = {"failed": f"{type(error).__name__}: {error}"}
        result |= {"tokens": tokens}
        report["four_bit"].append(result)
        show(f"ours, 4-bit, checkpointing, {tokens:,} packed", result)


def main(arguments):
    chosen = settings(arguments)
    cuda = chosen.cuda
    device = torch.device("cuda" if cuda else "cpu")
    probe = matrix_rate(device)
    report = {
        "benchmark": "train",
        "device": torch.cuda.get_device_name() if cuda else platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "product_rate": probe,
        "ours": [],
        "peers": [],
        "four_bit": [],
    }
    print(
        f"{report['device']}, torch {torch.__version__}" + (f", 8192^3 bf16 {probe / 1e12:.0f} TFLOP/s" if cuda else "")
    )
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        checkpoint, layout = make_checkpoint(arguments, cuda, folder)
        rows = make_rows(max(256, CURVE_ROWS * chosen.curve_steps) if cuda else 48, layout)
        lengths = [len(row.input_ids) for row in rows]
        report["row_tokens"] = round(statistics.mean(lengths), 1)
        print(f"{len(rows)} rows of {report['row_tokens']} tokens on average, {min(lengths)} to {max(lengths)}")
        print(f"\n{'':44} {'median':>9} {'mean':>9} {'share':>8} {'peak':>11}  (real tokens/s)")
        model = load(checkpoint, arguments.rank)
        adapter, examples = folder / "adapter", folder / "examples.json"
        model.save_pretrained(adapter, save_embedding_layers=False)
        write_for_peer(rows, examples)
        side = Side(model, layout, chosen.compiled)
        whole = side.flop_per_token(0)
        run_ours(side, rows, chosen, probe, report)
        curves = {}
        if chosen.curve_steps:
            steps = [
                [rows[(start + row) % len(rows)] for row in range(CURVE_ROWS)]
                for start in range(0, CURVE_ROWS * chosen.curve_steps, CURVE_ROWS)
            ]
            longest = max(sum(len(row.input_ids) for row in step) for step in steps)
            result = train(
                side, steps, chosen.optimizers[-1], -(-longest // 1024) * 1024, max(lengths), 0, min(chosen.skip, 1)
            )
            curves["ours"] = result["losses"]
        del side, model
        reset_peak()
        if arguments.four_bit_tokens:
            run_four_bit(checkpoint, layout, rows, adapter, arguments, chosen, report)
            reset_peak()
        if cuda and arguments.peers != ("none",):
            report["peers"], report["peer_versions"] = run_peers(
                arguments, checkpoint, examples, adapter, chosen, folder
            )
        for result in report["peers"]:
            if "failed" not in result:
                result["share"] = share(result["median_tokens_per_second"], whole, probe)
                if result["peer"] == CURVE_PEER and arguments.curve_steps:
                    curves["unsloth"] = result["losses"]
            show(f"unsloth, {result['peer']}", result)
    best = max(report["ours"], key=lambda result: result["median_tokens_per_second"])
    report["ratios"] = {
        result["peer"]: round(best["median_tokens_per_second"] / result["median_tokens_per_second"], 2)
        for result in report["peers"]
        if "failed" not in result
    }
    for peer, ratio in report["ratios"].items():
        print(f"ours, the fastest setting / unsloth, {peer}: {ratio:.2f}")
    if curves:
        show_curves(curves)
    report["curves"] = curves
    print(json.dumps(report))


if __name__ == "__main__":
    import tyro

    main(tyro.cli(Arguments, description=__doc__))
