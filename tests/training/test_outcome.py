"""What is said of an adapter was measured on the adapter that is written."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from orpheus.common.errors import WorseError
from orpheus.training.outcome import Outcome, meaning
from orpheus.training.states import Best, load_state
from tests.fakes.training import OPTIONS, examples, trainer, weights

MEMORY = SimpleNamespace(gpu=None)


def ran(folder, losses=None, **changes):
    """(trainer that has run, its Outcome); losses: what it measures on the way, instead of what it would."""
    run = trainer(folder, options=replace(OPTIONS, **{"eval_steps": 2} | changes))
    run.held_out = examples()[:3]  # it learns them by heart
    best = run.best = Best(run.llama.adapter)
    if run.options.keep_best:
        run.on_best = best.save
    evaluate, given = run._evaluate, iter(losses or ())
    run._evaluate = lambda step, name="held_out_loss": next(given, None) or evaluate(step, name)
    run.run()
    return run, Outcome(run, best)


def test_the_loss_is_of_the_adapter_at_its_strength(tmp_path):
    run, outcome = ran(tmp_path, adapter_strength=0.5)
    state = run.state
    assert state.written == pytest.approx(run._evaluate(0), abs=1e-6) and state.last < state.written < state.first
    assert (
        outcome.sentence() == f"held-out loss {state.first:.2f} before training, {state.written:.2f} with the adapter"
    )
    facts = outcome.facts(MEMORY)
    assert facts["held_out_loss_with_the_adapter"] == f"{state.written:.2f}"
    assert facts["adapter"] == f"that of step {state.best_step}" and not outcome.worse
    assert facts["epochs"] == "3.0" and facts["learning_rate"] == "0.01" and facts["tokens_per_step"] == "150"
    assert facts["speed"].endswith(" tokens/s") and facts["tokens_trained_on"] == f"{state.tokens:,}"
    assert not any(isinstance(value, float) and len(str(value)) > 4 for value in facts.values())
    outcome.check("lora_model")


def test_the_loss_is_that_of_the_best_adapter_where_the_best_is_kept(tmp_path):
    end = 2 + len(trainer(tmp_path / "plan").steps) // 2  # measurements: before, every second step, the last
    run, outcome = ran(tmp_path, losses=[8, 1, *[9] * (end - 2)])
    kept = load_state(run.states, run.fingerprint, "cpu", print)
    assert run.state.best_step == 2 and torch.equal(weights(run), kept["best"])
    assert not torch.equal(weights(run), kept["master"])
    assert outcome.facts(MEMORY)["adapter"] == "that of step 2"
    run, outcome = ran(tmp_path, losses=[8, 1, *[9] * (end - 2)], keep_best=False)
    assert outcome.facts(MEMORY)["adapter"] == f"that of step {run.state.step}"


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"keep_best": False}, "in lora/ is worse than none: held-out loss 1.00 before"),
        ({}, "leaves the base model as it is.*--keep-worse"),
    ],
)
def test_worse_than_the_base_model_is_an_error(tmp_path, changes, words):
    """The base model takes part in the choice of the best."""
    run, outcome = ran(tmp_path, losses=[1.0], **changes)  # nothing that is trained comes below
    assert outcome.worse
    with pytest.raises(WorseError, match=words) as error:
        outcome.check("lora")
    assert error.value.status == 3 and "--learning-rate (0.01; 2e-4 is usual)" in str(error.value)
    assert outcome.none == (not changes)
    if outcome.none:
        groups = run.llama.adapter.groups
        assert not any(module.lora_B["default"].weight.any() for group in groups for module in group.modules)
        assert "none: " in outcome.facts(MEMORY)["adapter"]


def test_a_worse_adapter_may_be_asked_for(tmp_path):
    run, outcome = ran(tmp_path, losses=[1.0], keep_worse=True)
    outcome.check("lora")
    assert outcome.worse and not outcome.none and run.state.best_step > 0
    assert torch.equal(weights(run), run.best.master)


@pytest.mark.parametrize(
    "held_out, eval_steps, why", [(True, 0, "--eval-steps is 0"), (False, 20, "no recording was held out")]
)
def test_not_measured_is_said_with_the_reason(tmp_path, held_out, eval_steps, why):
    run = trainer(tmp_path, options=replace(OPTIONS, eval_steps=eval_steps))
    if not held_out:
        run.held_out = []
    run.run()
    outcome = Outcome(run, None)
    assert outcome.sentence() == f"held-out loss not measured: {why}"
    assert outcome.facts(MEMORY)["held_out_loss"] == f"not measured: {why}" and not outcome.worse
    outcome.check("lora_model")


def test_what_the_loss_means_is_measured_with_the_demo_voice_alone():
    assert "below 4 the new voice is usually recognisable" in meaning(demo=True)
    assert "below" not in meaning(demo=False) and "how far it falls" in meaning(demo=False)
