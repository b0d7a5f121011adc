"""`auto`: from the data's size to steps and passes, and as far as the held-out loss goes on falling."""

import math
from dataclasses import replace

import pytest
import torch

import orpheus_sft_unsloth as recipe
from orpheus.common.errors import CheckpointError, InputError, StoppedError
from orpheus.training.options import DEMO, TrainingOptions
from orpheus.training.schedule import (
    GAIN,
    PATIENCE,
    Patience,
    Plan,
    auto_strength,
    auto_tokens,
    learning_rate,
    plan_run,
)
from orpheus.training.states import TrainerState
from tests.fakes.training import OPTIONS, trainer, weights
from tests.training.test_plan import speech_lengths

AUTO = TrainingOptions()


@pytest.mark.parametrize("count", [20, 50, 100, 400, 1195, 4000])
def test_a_pass_has_at_least_the_notebooks_steps(count):
    plan = plan_run(speech_lengths(count), AUTO, measured=False)
    one = next(end for end in range(count) if sum(map(len, plan.steps[:end])) == count)
    assert math.ceil(count / 4) <= one <= 1.2 * count / 4 + 1


def test_much_data_gets_larger_steps():
    assert auto_tokens([500] * 4000) == 2000
    assert auto_tokens([500] * 8000) == 4000  # a pass of 1,000 steps
    assert auto_tokens([500] * 100_000) == 12_288
    assert auto_tokens([700, 300]) == 1000  # fewer examples than a step has


@pytest.mark.parametrize(
    "count, measured, passes, rounds",
    [
        (20, True, 40, 10),  # four passes make a round of 20 steps or more
        (50, True, 40, 20),
        (1195, True, 3, 3),
        (5000, True, 1, 0),
        (20, False, 10, 0),
        (400, False, 3, 0),
    ],
)
def test_passes_by_the_datas_size(count, measured, passes, rounds):
    plan = plan_run([500] * count, AUTO, measured)
    assert sum(map(len, plan.steps)) == passes * count and len(plan.rounds) == rounds
    if rounds:
        assert plan.rounds[-1] == len(plan.steps) and min(b - a for a, b in zip(plan.rounds, plan.rounds[1:])) >= 20


def test_what_is_asked_for_is_done():
    lengths = [500] * 40
    plan = plan_run(lengths, TrainingOptions(epochs=2.5), True)
    assert sum(map(len, plan.steps)) == 100 and plan.rounds == ()
    plan = plan_run(lengths, TrainingOptions(max_steps=7), True)
    assert len(plan.steps) == 7 and plan.rounds == ()
    plan = plan_run(lengths, TrainingOptions(tokens_per_step=12_288), True)
    assert max(map(len, plan.steps)) == 20 and plan.rounds == (20, 40, 60, 80)


def test_the_demo_leaves_nothing_to_chance():
    assert (DEMO["epochs"], DEMO["tokens_per_step"], DEMO["learning_rate"], DEMO["held_out"]) == (8.0, 2048, 1e-3, 0.02)
    demo = TrainingOptions(**{name: DEMO[name] for name in ("epochs", "tokens_per_step")})
    assert plan_run([500] * 60, demo, True).rounds == ()


@pytest.mark.parametrize(
    "wrong", [{"epochs": "many"}, {"tokens_per_step": "all"}, {"epochs": 0}, {"tokens_per_step": 1.5}]
)
def test_neither_a_number_nor_auto(wrong):
    with pytest.raises(InputError, match="nor auto"):
        TrainingOptions(**wrong)


@pytest.mark.parametrize(
    "count, options, measured, words",
    [
        (40, {}, True, "40 examples of 500 tokens: steps of 2,000 tokens (auto), 10 to a pass; up to 40 passes (auto), for as long "
         "as the held-out loss falls; few recordings, so the adapter gets 0.75 of its strength (auto)"),
        (40, {"epochs": 1.0}, True, "40 examples of 500 tokens: 10 steps of 2,000 tokens (auto), 1 pass asked for"),
        (40, {}, False, "40 examples of 500 tokens: steps of 2,000 tokens (auto), 10 to a pass; 10 passes (auto; no held-out loss "
         "says when to stop); few recordings, so the adapter gets 0.75 of its strength (auto)"),
    ],
)  # fmt: skip
def test_one_line_says_what_was_chosen_and_why(count, options, measured, words):
    assert plan_run([500] * count, TrainingOptions(**options), measured).reason == words


@pytest.mark.parametrize("count, strength", [(1, 0.75), (100, 0.75), (225, 0.88), (350, 1), (100_000, 1)])
def test_with_few_recordings_the_adapter_leans_towards_the_base(count, strength):
    assert auto_strength(count) == strength
    if count < 1000:
        assert plan_run([300] * count, AUTO, True).strength == strength


@pytest.mark.parametrize(
    "options, strength",
    [({"epochs": 3.0}, 1), ({"max_steps": 4}, 1), ({"max_steps": 4000}, 0.75), ({"adapter_strength": 0.5}, 0.5)],
)
def test_a_run_of_the_length_asked_for_gives_the_whole_adapter(options, strength):
    assert plan_run([300] * 20, TrainingOptions(**options), True).strength == strength


def test_the_learning_rate_stays_until_the_last_round():
    peak = AUTO.learning_rate
    assert [learning_rate(step, 100, AUTO, None) for step in (4, 50, 99)] == [peak] * 3
    rates = [learning_rate(step, 100, AUTO, 80) for step in range(100)]
    assert rates[79] == rates[80] == peak and rates[99] == pytest.approx(peak / 20)
    assert all(a > b for a, b in zip(rates[80:], rates[81:]))


def decisions(losses, rounds=(10, 20, 30, 40, 50)):
    """After which steps the last round begins, for held-out losses at the rounds' ends."""
    state = TrainerState(falls_from=None, to_beat=8.0)
    plan = Plan([[0]] * rounds[-1], rounds, 100, "")
    return [step for step, loss in zip(rounds, losses) if Patience(plan, state).spent(step, loss)][:1]


def test_patience_ends_the_run_where_the_loss_no_longer_falls():
    assert PATIENCE == 2
    assert decisions([7, 6, 5, 4, 3]) == [40]  # the planned end: the last of five rounds begins
    assert decisions([7, 7.1, 7.2, 4, 3]) == [30]
    assert decisions([7, 7.1, 6.9, 7, 7]) == [40]
    assert decisions([9, 9.5, 10]) == [20]  # worse than no adapter
    small = [7 * (1 - GAIN * 0.4 * n) for n in range(5)]  # too little in a round, but more than nothing in three
    assert decisions(small) == [30]


def test_the_last_round_begins_with_the_best_adapter(tmp_path, monkeypatch):
    options = replace(OPTIONS, epochs="auto", eval_steps=1000)
    monkeypatch.setattr("orpheus.training.schedule.ROUND_STEPS", 3)
    kept, said = {}, []
    run = trainer(tmp_path, options=options, on_best=lambda step: kept.update({step: weights(run)}))

    def back():
        run.llama.adapter.master.data.copy_(kept[run.state.best_step])
        run.llama.adapter.refresh()

    run.back_to_best, run.log.say = back, said.append
    losses = iter([8.0, 7.0, 6.0, 6.5, 6.6, 6.7])
    run._evaluate = lambda step, name="": next(losses)
    state = run.run()
    first = run.plan.rounds[0]
    assert len(run.plan.rounds) > 5 and state.falls_from == run.plan.rounds[3] and state.step == run.plan.rounds[4]
    assert state.best_step == run.plan.rounds[1] and state.last == 6.7
    assert f"from the best adapter, that of step {2 * first}" in said[-1] and f"until step {state.step}" in said[-1]


def test_held_out_losses_cannot_be_switched_off_where_they_decide(tmp_path):
    """--eval-steps may otherwise change when a run is resumed."""
    options = replace(OPTIONS, epochs="auto", max_steps=None)
    trainer(tmp_path, options=options).save()
    trainer(tmp_path, options=replace(options, eval_steps=7)).resume()
    with pytest.raises(CheckpointError):
        trainer(tmp_path, options=replace(options, eval_steps=0)).resume()


def test_a_resumed_auto_run_is_the_uninterrupted_one(tmp_path, monkeypatch):
    options = replace(OPTIONS, epochs="auto", save_steps=1)
    monkeypatch.setattr("orpheus.training.schedule.MOST_STEPS", 30)
    monkeypatch.setattr("orpheus.training.schedule.ROUND_STEPS", 6)
    whole = trainer(tmp_path / "whole", options=options)
    end = whole.run().step
    for after in (*range(1, end, 3), None):  # stopped after each of these steps, and gone on with
        rest = trainer(tmp_path / "cut", options=options)
        if after != 1:
            rest.resume()
        if after:
            step = rest._step

            def stop(number, rest=rest, step=step, after=after):
                rest.stop = number + 1 == after
                return step(number)

            rest._step = stop
            with pytest.raises(StoppedError):
                rest.run()
            assert rest.state.step == after
    assert rest.run() == replace(whole.state, seconds=rest.state.seconds)
    assert torch.equal(weights(rest), weights(whole))


# --- own recordings with --demo ------------------------------------------------------------------------------------------

DEMO_OPTIONS = TrainingOptions(epochs=8.0, least_steps=96, tokens_per_step=2048)


@pytest.mark.parametrize("count, passes, steps", [(20, 20, 100), (5, 40, 80), (60, 8, 120), (400, 8, 800)])
def test_few_recordings_get_more_passes(count, passes, steps):
    plan = plan_run([500] * count, DEMO_OPTIONS, measured=True)
    assert len(plan.steps) == steps and f"{passes} passes" in plan.reason
    assert ("8 would be too few steps" in plan.reason) == (passes > 8)
    assert sum(map(len, plan.steps)) == count * passes


def test_no_more_passes_than_were_asked_for(tmp_path):
    (tmp_path / "a.yaml").write_text("epochs: 3\n")
    (tmp_path / "b.yaml").write_text("epochs: 8\nleast_steps: 96\n")
    for flags, least in (
        (["--demo"], 96),
        (["--demo", "--dataset", "mine"], 96),
        (["--demo", "--epochs", "8"], 0),
        (["--demo", "--epochs=8"], 0),
        (["--demo", "--config", str(tmp_path / "a.yaml")], 0),
        (["--config", str(tmp_path / "b.yaml")], 96),
        ([], 0),
    ):
        assert recipe.parse(flags).training.least_steps == least, flags
