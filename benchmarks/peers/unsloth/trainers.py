"""The trainers that `train` measures: the notebook's, and packed rows in Unsloth's and trl's way."""

import time

from benchmarks.common.quality import LOOKS, good

IGNORE = -100


def set_checkpointing(model, peer):
    """Training mode with the peer's checkpointing, also where Unsloth's SFTTrainer looks it up."""
    from unsloth import FastLanguageModel

    vars(model)["_unsloth_gradient_checkpointing"] = peer.checkpointing  # a name of theirs
    FastLanguageModel.for_training(model, use_gradient_checkpointing=peer.checkpointing)


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


def pad_batch(examples, pad):
    """Collates examples to the longest on the right."""
    import torch

    width = max(len(example["input_ids"]) for example in examples)

    def padded(sequences, value):
        return torch.tensor([list(sequence) + [value] * (width - len(sequence)) for sequence in sequences])

    return {
        "input_ids": padded((example["input_ids"] for example in examples), pad),
        "labels": padded((example["labels"] for example in examples), IGNORE),
        "attention_mask": padded(([1] * len(example["input_ids"]) for example in examples), 0),
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

    examples = [{key: list(example[key]) for key in ("input_ids", "labels")} for step in steps for example in step]
    return Trainer(
        model=model,
        args=TrainingArguments(**training_arguments(peer, len(steps), folder)),
        train_dataset=datasets.Dataset.from_list(examples),
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


def add_clock(trainer, deadline, least):
    """A list that receives the time at the start and after each optimizer step, the GPU being done. After the deadline
    (of time.perf_counter) training stops, once `least` steps are done."""
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
            if times[-1] > deadline and len(times) > least:
                control.should_training_stop = True

    trainer.add_callback(Clock())
    return times


def add_watch(trainer, steps, loss, target, deadline):
    """A list that receives {"step", "seconds", "loss"} some times in a run of `steps` steps, as common/quality.py's `watched`
    gives it. Training stops at the target or the deadline."""
    import torch
    from transformers import TrainerCallback

    due = {round(steps * look / LOOKS) for look in range(1, LOOKS + 1)}
    points, clock = [], {"seconds": 0.0}

    def now():
        torch.cuda.synchronize()
        return time.perf_counter()

    class Watch(TrainerCallback):
        def on_train_begin(self, args, state, control, **kwargs):
            clock["from"] = now()

        def on_step_end(self, args, state, control, **kwargs):
            clock["seconds"] += now() - clock["from"]
            if state.global_step in due:
                found = loss()
                points.append(
                    {"step": state.global_step, "seconds": round(clock["seconds"], 2), "loss": round(found, 4)}
                )
                control.should_training_stop = good(points[-1], target)
            if time.perf_counter() > deadline:
                control.should_training_stop = True
            clock["from"] = now()

    trainer.add_callback(Watch())
    return points
