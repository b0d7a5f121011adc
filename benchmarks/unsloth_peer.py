"""Unsloth as a peer of this project's training: the same examples, labels and order; Unsloth's kernels and trainers.

    python benchmarks/unsloth_peer.py --checkpoint FOLDER --examples examples.json --steps 30 --out unsloth.json

Needs a CUDA GPU. Run it as a process of its own: importing Unsloth replaces the Llama classes of transformers,
`transformers.Trainer`, peft's forward and trl's trainers for good. The last line of standard output is JSON.

Peers:
    notebook        Unsloth's Orpheus notebook: batch 1 x 4, "unsloth" checkpointing (activations go to host memory)
    padded          the same with batch 16 x 1, padded to the longest of the batch
    packed          16 examples in one row, through trl's SFTTrainer with packing=True as Unsloth patches it
    packed_varlen   the same with the attention kernel that Unsloth takes from torch 2.12 on (see varlen_attention)
    padded_kept, packed_varlen_kept     without checkpointing: what a large GPU allows
"""

import gc
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
import traceback
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("UNSLOTH_DISABLE_STATISTICS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Unsloth writes the trainers it generates there; by default into the current folder.
os.environ.setdefault("UNSLOTH_COMPILE_LOCATION", str(Path(tempfile.gettempdir()) / "unsloth_compiled_cache"))

IGNORE = -100
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


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
    out: str | None = None
    """Also writes the JSON to this file."""


def load_model(checkpoint, length, rank=64, four_bit=False, adapter=None):
    """Base model, LoRA and tokenizer as in Unsloth's notebook. `length` is the longest example's.

    returns: (model, tokenizer)
    """
    from unsloth import FastLanguageModel  # before transformers, peft and trl

    model, tokenizer = FastLanguageModel.from_pretrained(
        model_name=str(checkpoint), max_seq_length=max(2048, length), dtype=None, load_in_4bit=four_bit
    )
    model = FastLanguageModel.get_peft_model(
        model,
        r=rank,
        target_modules=TARGETS,
        lora_alpha=rank,
        lora_dropout=0,
        bias="none",
        use_gradient_checkpointing="unsloth",
        random_state=3407,
        use_rslora=False,
        loftq_config=None,
    )
    if adapter:
        load_adapter(model, adapter)
    return model, tokenizer


def load_adapter(model, folder):
    """Puts the weights of an adapter folder into the model's own LoRA layers."""
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    outcome = set_peft_model_state_dict(model, load_file(Path(folder) / "adapter_model.safetensors"))
    if outcome.unexpected_keys:
        raise ValueError(f"{folder} does not fit: {outcome.unexpected_keys[:3]} ...")


def trainable(model):
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def copy_weights(model):
    return {name: parameter.detach().clone() for name, parameter in trainable(model).items()}


def restore_weights(model, weights):
    for name, parameter in trainable(model).items():
        parameter.data.copy_(weights[name])
        parameter.grad = None


def set_checkpointing(model, peer):
    """Training mode with the peer's checkpointing, also where Unsloth's SFTTrainer looks it up."""
    from unsloth import FastLanguageModel

    model._unsloth_gradient_checkpointing = peer.checkpointing
    FastLanguageModel.for_training(model, use_gradient_checkpointing=peer.checkpointing)


def step_examples(examples, peer, steps):
    """The examples of every step in the given order, from the start again when there are too few."""
    stream = itertools.cycle(examples)
    return [list(itertools.islice(stream, peer.examples_per_step)) for _ in range(steps)]


def training_arguments(peer, steps, folder):
    """The notebook's settings; the order of examples is the caller's."""
    return {
        "output_dir": folder,
        "per_device_train_batch_size": 1 if peer.packed else peer.batch,
        "gradient_accumulation_steps": peer.accumulation,
        "max_steps": steps,
        "learning_rate": 2e-4,
        "warmup_steps": 5,
        "lr_scheduler_type": "linear",
        "optim": "adamw_8bit",
        "weight_decay": 0.001,
        "seed": 3407,
        "bf16": True,
        "logging_steps": 1,
        "train_sampling_strategy": "sequential",
        "remove_unused_columns": False,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
    }


def pad_batch(rows, pad):
    """Collates rows to the longest on the right."""
    import torch

    width = max(len(row["input_ids"]) for row in rows)

    def padded(sequences, value):
        return torch.tensor([list(sequence) + [value] * (width - len(sequence)) for sequence in sequences])

    return {
        "input_ids": padded((row["input_ids"] for row in rows), pad),
        "labels": padded((row["labels"] for row in rows), IGNORE),
        "attention_mask": padded(([1] * len(row["input_ids"]) for row in rows), 0),
    }


def pack_batch(rows):
    """Collates one packed row for Unsloth's forward: positions start anew and `packed_seq_lengths` bounds attention."""
    import torch

    (row,) = rows
    lengths = list(row["seq_lengths"])
    positions = torch.cat([torch.arange(length) for length in lengths])
    labels = torch.tensor(row["labels"])
    labels[positions == 0] = IGNORE
    return {
        "input_ids": torch.tensor(row["input_ids"])[None],
        "labels": labels[None],
        "position_ids": positions[None],
        "packed_seq_lengths": torch.tensor(lengths, dtype=torch.int32),
    }


def pack_step(examples):
    """One row of a step's examples, with their lengths in the column that trl's packing uses."""
    return {
        "input_ids": [token for example in examples for token in example["input_ids"]],
        "labels": [label for example in examples for label in example["labels"]],
        "seq_lengths": [len(example["input_ids"]) for example in examples],
    }


def padded_trainer(model, tokenizer, steps, peer, folder):
    """`transformers.Trainer`, as the notebook uses it."""
    import datasets
    from transformers import Trainer, TrainingArguments

    rows = [{key: list(example[key]) for key in ("input_ids", "labels")} for step in steps for example in step]
    return Trainer(
        model=model,
        args=TrainingArguments(**training_arguments(peer, len(steps), folder)),
        train_dataset=datasets.Dataset.from_list(rows),
        data_collator=lambda batch: pad_batch(batch, tokenizer.pad_token_id),
    )


def packed_trainer(model, tokenizer, steps, peer, folder):
    """trl's SFTTrainer with Unsloth's packing. Rows come packed, so that each step has the given examples: trl's own
    packing sorts them by length, and with a labels column Unsloth's preparation would put a padding collator in."""
    import datasets
    from trl import SFTConfig, SFTTrainer

    arguments = SFTConfig(
        **training_arguments(peer, len(steps), folder),
        packing=True,
        gradient_checkpointing=bool(peer.checkpointing),
        dataset_kwargs={"skip_prepare_dataset": True},
        loss_type="nll",
    )
    trainer = SFTTrainer(
        model=model,
        args=arguments,
        train_dataset=datasets.Dataset.from_list([pack_step(step) for step in steps]),
        processing_class=tokenizer,
    )
    if not getattr(trainer.data_collator, "_unsloth_packing_wrapped", False):
        raise RuntimeError("Unsloth declined packing=True")
    return trainer


def direct_packed_trainer(model, tokenizer, steps, peer, folder):
    """`transformers.Trainer` handing Unsloth's forward what its packing hands it."""
    import datasets
    from transformers import Trainer, TrainingArguments

    return Trainer(
        model=model,
        args=TrainingArguments(**training_arguments(peer, len(steps), folder)),
        train_dataset=datasets.Dataset.from_list([pack_step(step) for step in steps]),
        data_collator=pack_batch,
    )


def add_clock(trainer):
    """A list that receives the time at the start and after each optimizer step, the GPU being done."""
    import torch
    from transformers import TrainerCallback

    times = []

    def note():
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter())

    class Clock(TrainerCallback):
        def on_train_begin(self, args, state, control, **kwargs):
            note()

        def on_step_end(self, args, state, control, **kwargs):
            note()

    trainer.add_callback(Clock())
    return times


@contextmanager
def varlen_attention(wanted):
    """Before 2.12 torch's varlen_attn lacks `enable_gqa`, so that Unsloth without flash-attn and xformers attends to a
    packed row example by example. The kernel below it takes grouped heads already; Unsloth's own call of it is enough.
    """
    if not wanted:
        yield
        return
    from torch.nn.attention.varlen import varlen_attn
    from unsloth.utils import attention_dispatch

    replaced = {"_TORCH_VARLEN_ATTN": varlen_attn, "_LEAN_VARLEN": True, "_varlen_can_use_cudnn": lambda *a, **k: False}
    if attention_dispatch._TORCH_VARLEN_ATTN is not None:
        replaced = {}
    before = {name: getattr(attention_dispatch, name, None) for name in replaced}
    try:
        vars(attention_dispatch).update(replaced)
        yield
    finally:
        vars(attention_dispatch).update(before)


@contextmanager
def own_forwards(model):
    """Takes back the forwards that accelerate (autocast) and trl (a fused head) put on the model's instances."""
    modules = (model, model.get_base_model())
    before = [module.__dict__.get("forward") for module in modules]
    try:
        yield
    finally:
        for module, forward in zip(modules, before):
            module.__dict__.pop("forward", None)
            if forward is not None:
                module.__dict__["forward"] = forward


def free_memory():
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_gib():
    import torch

    return round(torch.cuda.max_memory_allocated() / 2**30, 2) if torch.cuda.is_available() else None


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


def train_with(build, model, tokenizer, steps, peer, skip):
    """Trains once and returns what is known of it."""
    free_memory()
    set_checkpointing(model, peer)
    with tempfile.TemporaryDirectory() as folder, own_forwards(model), varlen_attention(peer.varlen):
        trainer = build(model, tokenizer, steps, peer, folder)
        times = add_clock(trainer)
        trainer.train()
    seconds = [after - before for before, after in zip(times, times[1:])]
    tokens = [sum(len(example["input_ids"]) for example in step) for step in steps]
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    if not len(losses) == len(seconds) == len(steps):
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


def attempt(build, model, tokenizer, steps, peer, skip):
    """As `train_with`; a failure is told and returned with its reason."""
    try:
        return train_with(build, model, tokenizer, steps, peer, skip)
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error)[:400]}"
        traceback.print_exc()
        print(f"{peer.name} by {build.__name__} failed: {reason}", file=sys.stderr, flush=True)
        return {"peer": peer.name, "trainer": build.__name__, "failed": reason}


def train_peer(model, tokenizer, start, examples, peer, step_count, skip):
    """One peer from the start weights. Packing falls back from trl's SFTTrainer to the same forward by hand."""
    steps = step_examples(examples, peer, step_count)
    builders = (packed_trainer, direct_packed_trainer) if peer.packed else (padded_trainer,)
    failures = []
    for build in builders:
        restore_weights(model, start)
        result = attempt(build, model, tokenizer, steps, peer, skip)
        if "failed" not in result:
            return {**result, "failed_before": failures} if failures else result
        failures.append(result)
    return failures[-1]


def train_unsloth(
    checkpoint,
    examples,
    peers=("notebook", "padded", "packed"),
    steps=30,
    skip=8,
    adapter=None,
    rank=64,
    four_bit=False,
    longer=(),
    longer_steps=100,
):
    """Trains each peer for `steps` steps on the examples in their order, all from the same adapter weights.

    checkpoint: folder of the base model and its tokenizer
    examples: sequence of {"input_ids": ints, "labels": ints}, labels IGNORE where there is no loss
    skip: first steps left out of the rates
    longer: peers that take `longer_steps` instead
    adapter: peft folder to start from, so that other trainers can start from it too
    returns: {"versions": ..., "peers": [one dictionary per peer: losses, seconds and real tokens per step, median and
        mean tokens per second, peak GiB, or "failed" with the reason]}
    """
    for example in examples:
        if len(example["input_ids"]) != len(example["labels"]):
            raise ValueError("input_ids and labels differ in length")
    began = time.perf_counter()
    length = max(len(example["input_ids"]) for example in examples)
    model, tokenizer = load_model(checkpoint, length, rank, four_bit, adapter)
    start = copy_weights(model)
    report = {
        "versions": versions(),
        "load_seconds": round(time.perf_counter() - began, 1),
        "trainable": sum(weight.numel() for weight in start.values()),
        "trainable_dtypes": sorted({str(weight.dtype) for weight in start.values()}),
        "peers": [],
    }
    for name in peers:
        result = train_peer(
            model, tokenizer, start, examples, PEERS[name], longer_steps if name in longer else steps, skip
        )
        report["peers"].append(result)
        print_result(result)
    return report


def versions():
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in ("unsloth", "unsloth_zoo", "torch", "transformers", "peft", "trl", "bitsandbytes", "triton"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


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
    report = train_unsloth(
        arguments.checkpoint,
        json.loads(Path(arguments.examples).read_text()),
        arguments.peers,
        arguments.steps,
        arguments.skip,
        arguments.adapter,
        arguments.rank,
        arguments.four_bit,
        arguments.longer,
        arguments.longer_steps,
    )
    text = json.dumps(report)
    if arguments.out:
        Path(arguments.out).write_text(text)
    print(text)


if __name__ == "__main__":
    import tyro

    main(tyro.cli(Arguments, description=__doc__))
