"""A tiny model with an adapter, rows to train it on, and a trainer over both."""

import numpy as np
import torch
from peft import LoraConfig, get_peft_model

from orpheus.data.examples import Example
from orpheus.training.llama import LoraLlama
from orpheus.training.log import TrainingLog
from orpheus.training.options import LORA_TARGETS, TrainingOptions
from orpheus.training.trainer import Trainer
from tests.fakes.checkpoints import SMALL_CONFIG, SMALL_LAYOUT, walking_model

OPTIONS = TrainingOptions(
    tokens_per_step=150, epochs=3, lora_rank=4, lora_alpha=8, report_to="none", learning_rate=1e-2
)


def peft_model(size=0.05):
    torch.manual_seed(1)
    model = walking_model(SMALL_CONFIG, SMALL_LAYOUT)
    tuned = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules=list(LORA_TARGETS)))
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name and size:
            torch.nn.init.normal_(parameter, std=size)
    return tuned


def examples(count=12, seed=0):
    draw = np.random.default_rng(seed)
    made = []
    for index in range(count):
        prompt = draw.integers(0, 256, 6)
        audio = SMALL_LAYOUT.to_tokens(draw.integers(0, 32, (int(draw.integers(2, 7)), 7)))
        ids = np.concatenate([prompt, audio, [SMALL_LAYOUT.end_of_speech, SMALL_LAYOUT.end_of_ai]]).astype(np.int32)
        made.append(Example(ids, len(prompt), f"{index:064x}", "text", None, f"row {index}"))
    return made


def trainer(folder, rows=None, options=OPTIONS, dtype=torch.float32, size=0, **more):
    log = TrainingLog(folder, shown=False)
    rows = examples() if rows is None else rows
    return Trainer(
        LoraLlama(peft_model(size).to(dtype)), rows, examples(2, 9), SMALL_LAYOUT, options, folder, log, **more
    )


def weights(run):
    return run.llama.adapter.master.data.clone()
