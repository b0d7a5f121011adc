"""--text-loss-weight: the loss on the prompt, held against transformers' Trainer with peft."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import Trainer as TransformersTrainer
from transformers import TrainingArguments

from orpheus.training.llama import LoraLlama
from orpheus.training.log import TrainingLog
from orpheus.training.trainer import Trainer
from tests.fakes.checkpoints import SMALL_LAYOUT
from tests.fakes.training import OPTIONS, examples, peft_model

ONE_STEP = replace(OPTIONS, epochs=1, tokens_per_step=1000, max_grad_norm=1.0, full_vocabulary=True)


class Recorder(TransformersTrainer):
    """Keeps the loss of its one step."""

    def log(self, logs, *args, **kwargs):
        self.first_loss = getattr(self, "first_loss", None) or logs.get("loss")


def with_transformers(model, rows, folder, text):
    """(loss, {name: adapter weight}) of one step over all rows, `text`: on all tokens, else on the audio alone."""
    rows = [
        {
            "input_ids": row.input_ids.tolist(),
            "labels": row.input_ids.astype(np.int64).tolist(),
            "start": row.prompt_tokens,
        }
        for row in rows
    ]
    for row in rows:
        start = row.pop("start")
        if not text:
            row["labels"][:start] = [-100] * start
    arguments = TrainingArguments(
        str(folder), per_device_train_batch_size=1, gradient_accumulation_steps=len(rows), max_steps=1, use_cpu=True,
        learning_rate=ONE_STEP.learning_rate, lr_scheduler_type="constant", weight_decay=ONE_STEP.weight_decay,
        optim="adamw_torch", report_to="none", save_strategy="no", logging_steps=1, max_grad_norm=1.0, disable_tqdm=True,
    )  # fmt: skip

    def collate(batch):
        return {name: torch.tensor([row[name] for row in batch]) for name in ("input_ids", "labels")}

    trainer = Recorder(model, arguments, train_dataset=rows, data_collator=collate)
    trainer.train()
    return trainer.first_loss, {n: p.detach() for n, p in model.named_parameters() if "lora_" in n}


@pytest.mark.parametrize("weight", [0.0, 1.0])
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
def test_loss_and_adapter_are_those_of_transformers_trainer(tmp_path, weight):
    model, rows = peft_model(), examples(6)
    expected, theirs = with_transformers(copy.deepcopy(model), rows, tmp_path / "theirs", text=weight == 1)
    options = replace(ONE_STEP, text_loss_weight=weight)
    log = TrainingLog(tmp_path, shown=False)
    run = Trainer(LoraLlama(model), rows, [], SMALL_LAYOUT, options, tmp_path, log)
    assert len(run.steps) == 1
    loss, _, _ = run._step(0)
    assert loss == pytest.approx(expected, abs=1e-4)  # theirs is rounded to four digits
    ours = {n: p.detach() for n, p in model.named_parameters() if "lora_" in n}
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.allclose(value, theirs[name], atol=2e-5), name


def test_a_weight_between_lies_between(tmp_path):
    losses = []
    for weight in (0.0, 0.5, 1.0):
        options = replace(ONE_STEP, text_loss_weight=weight)
        log = TrainingLog(tmp_path, shown=False)
        run = Trainer(LoraLlama(peft_model()), examples(6), [], SMALL_LAYOUT, options, tmp_path, log)
        losses.append(run._step(0)[0])
    assert losses[0] < losses[1] < losses[2] or losses[0] > losses[1] > losses[2]
