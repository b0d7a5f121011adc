"""The loop: it learns, and neither memory nor precision changes what it learns."""

import json
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from orpheus.common.errors import OrpheusError
from orpheus.training.llama import LoraLlama
from orpheus.training.log import TrainingLog
from orpheus.training.trainer import Trainer, learning_rate
from tests.fakes.checkpoints import SMALL_LAYOUT
from tests.fakes.training import OPTIONS, examples, peft_model, trainer, weights


def test_the_learning_rate_rises_and_falls():
    rates = [learning_rate(step, 105, OPTIONS) for step in range(105)]
    assert rates[0] == pytest.approx(2e-3) and rates[4] == rates[5] == 1e-2
    assert rates[104] == pytest.approx(1e-4) and all(a > b for a, b in zip(rates[5:], rates[6:]))


def test_training_lowers_the_held_out_loss(tmp_path):
    rows = examples()
    run = Trainer(
        LoraLlama(peft_model(0)), rows, rows[:2], SMALL_LAYOUT, OPTIONS, tmp_path, TrainingLog(tmp_path, shown=False)
    )
    progress = run.run()
    assert progress.step == len(run.steps) and progress.last < progress.first - 0.5
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [*range(1, len(run.steps) + 1)]


def test_micro_batches_do_not_change_the_result(tmp_path):
    whole, cut = trainer(tmp_path / "a"), trainer(tmp_path / "b", options=replace(OPTIONS, micro_batch_tokens=64))
    whole.run(), cut.run()
    assert cut.capacity < whole.capacity
    assert torch.allclose(weights(whole), weights(cut), atol=1e-4)


def test_half_precision_keeps_small_gradients(tmp_path):
    """GPUs before Ampere compute in float16, where a gradient below 6e-8 is nothing: the loss is scaled."""

    def gradient(dtype):
        run = trainer(tmp_path / str(dtype), dtype=dtype, size=0.05, options=replace(OPTIONS, full_vocabulary=True))
        run._gradients(run.steps[0])
        return run.llama.adapter.master.grad.clone()

    exact, half = gradient(torch.float32), gradient(torch.float16)
    assert F.cosine_similarity(exact, half, dim=0) > 0.999
    assert 0.98 < half.norm() / exact.norm() < 1.02


def test_out_of_memory_halves_the_micro_batch_once_and_keeps_the_result(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)  # with more, a step's packs are smaller
    whole, tight = trainer(tmp_path / "a"), trainer(tmp_path / "b")
    loss, said = tight.llama.loss, []
    tight.log.say = said.append

    def limited(pack, first=0):
        if len(pack.ids) > 80:
            raise torch.OutOfMemoryError("out of memory")
        return loss(pack, first)

    monkeypatch.setattr(tight.llama, "loss", limited)
    tight.held_out = []
    whole.run(), tight.run()
    assert len(said) == 1 and "72 from now on" in said[0]
    assert torch.allclose(weights(whole), weights(tight), atol=1e-4)


def test_a_loss_that_is_no_number_stops_with_step_and_rows(tmp_path):
    run = trainer(tmp_path)
    before = weights(run)
    run.llama.loss = lambda pack, first=0: (run.llama.adapter.groups[0].a * math.nan).sum()
    run.held_out = []
    with pytest.raises(OrpheusError, match="step 1; .*row "):
        run.run()
    assert torch.equal(weights(run), before)
