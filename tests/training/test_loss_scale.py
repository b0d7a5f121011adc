"""float16: an overflow costs its step, not the run."""

import json
import math

import pytest
import torch

from orpheus.common.errors import OrpheusError, StoppedError
from orpheus.training.optimizer import MOST_OVERFLOWS, LossScale
from tests.fakes.training import trainer, weights


def half(folder, overflows=(), stop_after=None):
    """A trainer in float16 whose gradients overflow in the given steps; what it says is kept in `said`."""
    run = trainer(folder, dtype=torch.float16)
    gradients, run.said, run.held_out = run._gradients, [], []
    run.log.say = run.said.append

    def overflowing(step):
        loss = gradients(step)
        if run.state.step in overflows:
            run.llama.adapter.master.grad[3] = math.inf
        run.stop = run.state.step + 1 == stop_after
        return loss

    run._gradients = overflowing
    return run


def test_an_overflow_skips_its_step_and_halves_the_scale(tmp_path):
    run = half(tmp_path, overflows={1})
    run._step(0)
    run.state.step, before = 1, weights(run)
    run._step(1)
    assert torch.equal(weights(run), before)
    assert run.said == ["step 2 skipped: too large for float16; the loss is scaled by 2048 now"]
    run.state.step = 2
    run._step(2)
    assert not torch.equal(weights(run), before) and torch.isfinite(weights(run)).all()


def test_the_scale_does_not_show_in_loss_and_gradient(tmp_path):
    run = half(tmp_path)
    found = []
    for value in (4096.0, 256.0):
        run.state.loss_scale.value = value
        run.llama.adapter.zero_grad()
        found.append((run._gradients(run.steps[0]).item(), run.llama.adapter.master.grad.norm().item()))
    assert found[0] == pytest.approx(found[1], rel=1e-2)


def test_a_resumed_run_has_the_scale_of_an_uninterrupted_one(tmp_path):
    whole = half(tmp_path / "whole", overflows={1, 2, 5})
    whole.run()
    with pytest.raises(StoppedError):
        half(tmp_path / "cut", overflows={1, 2, 5}, stop_after=4).run()
    rest = half(tmp_path / "cut", overflows={1, 2, 5})
    rest.resume()
    assert rest.state.loss_scale == LossScale(1024.0, 1, 0, 2)
    rest.run()
    assert torch.equal(weights(rest), weights(whole)) and rest.state.loss_scale == whole.state.loss_scale
    lines = (tmp_path / "whole" / "log.jsonl").read_text().splitlines()
    assert len(lines) == len(whole.steps) and "gradient_norm" not in json.loads(lines[1])


def test_many_overflows_in_a_row_end_the_run(tmp_path):
    run = half(tmp_path, overflows=range(1000))
    run.plan.steps.extend(run.steps * 20)
    before = weights(run)
    with pytest.raises(
        OrpheusError, match=f"in step {MOST_OVERFLOWS}, as in the {MOST_OVERFLOWS - 1} steps before.*--learning-rate"
    ):
        run.run()
    assert torch.equal(weights(run), before)
    assert len(run.said) == MOST_OVERFLOWS - 1


def test_good_steps_let_the_scale_grow_again():
    scale = LossScale()
    assert scale.overflow() and scale.value == 2048
    for _ in range(199):
        scale.good()
    assert scale.value == 2048
    scale.good()
    assert scale.value == 4096 and scale.skipped == 1
