"""Time to quality: the first schedule that reaches the notebook's loss, up to the step where it does."""

import json
import time
from types import SimpleNamespace

import pytest
import torch

from benchmarks import train
from benchmarks.common import quality
from benchmarks.common.quality import goal, in_words, quality_rows, time_to_quality, until, watched
from benchmarks.common.training import Side, make_examples, measure_quality, time_ours
from benchmarks.peers.train import note_plain, plain_curve, write_quality
from tests.fakes.checkpoints import SMALL_LAYOUT
from tests.fakes.training import peft_model


def test_a_run_is_watched_until_it_is_good_enough():
    losses, done = iter([5.0, 4.0, 3.0, 2.0]), []

    def work(examples, number):
        done.append((examples, number))
        time.sleep(0.02)

    def loss():
        time.sleep(0.2)  # looking takes no time
        return next(losses)

    points = watched(work, ["a", "b", "c", "d", "e", "f"], loss, target=3.5, looks=3)
    assert [(point["step"], point["loss"]) for point in points] == [(2, 5.0), (4, 4.0), (6, 3.0)]
    assert done[2] == ("c", 2) and 0.1 < points[-1]["seconds"] < 0.3
    assert len(watched(work, ["a"] * 6, lambda: 3.4, target=3.5, looks=3)) == 1


def test_the_shortest_sufficient_schedule_counts():
    asked = []

    def train(passes):
        asked.append(passes)
        return [{"step": 8 * passes, "seconds": 1.0 * passes, "loss": 5.0 - passes}]

    assert time_to_quality(train, 3.2) == {"reached": True, "passes": 2, "step": 16, "seconds": 2.0, "loss": 3.0}
    assert asked == [1, 2]
    never = time_to_quality(train, 0.5)
    assert not never["reached"] and never["passes"] == 4 and in_words(never) == "not in 4 passes: 1.000 after 4.0 s"
    assert in_words(time_to_quality(lambda _: [], 1.0)) == "no time"
    assert goal(12.0, 10.0) == pytest.approx(10.04)
    points = [{"loss": 3}, {"loss": 2}, {"loss": 1}]
    assert until(points, 2) == points[:2] and until(points, 0) == points


def test_rows_for_the_page():
    systems = [
        {"name": "ours, a", "reached": True, "seconds": 5.0, "step": 60},
        {"name": "ours, b", "reached": False, "seconds": 9.0, "step": 40},
        {"name": "notebook", "reached": True, "seconds": 90.0, "step": 64},
        {"name": "slow", "reached": False, "seconds": 70.0, "step": 64},
        {"name": "broken", "failed": "why"},
    ]
    rows = quality_rows({"systems": systems})
    assert [(row["ours"], row["peer"], row["theirs"], row.get("ratio")) for row in rows] == [
        ("5.0 (60 steps)", "notebook", "90.0 (64 steps)", 18.0),
        ("5.0 (60 steps)", "slow", "not reached in 70.0 (64 steps)", None),
    ]
    assert quality_rows({"systems": systems[2:]}) == []


def test_ours_and_plain_transformers_reach_the_notebooks_loss(tmp_path, monkeypatch):
    """One pass of the notebook's steps is the same arithmetic in both."""
    monkeypatch.setattr("benchmarks.common.training.LEARNING_RATE", 5e-3)
    chosen = SimpleNamespace(tokens=(512,), optimizers=("adamw",), began=time.perf_counter(), unsloth=[])
    report = {"quality": {"systems": []}, "left_out": []}
    bench = train.Bench(train.Arguments(out=str(tmp_path / "report.json")), chosen, report)
    made = make_examples(40, SMALL_LAYOUT, longest=200)
    examples, held_out = made[:32], made[32:]
    torch.manual_seed(0)
    model = peft_model(0)
    points = plain_curve(bench, model, examples, held_out)
    assert len(points) == quality.LOOKS and points[-1]["step"] == 8
    side = Side(model, SMALL_LAYOUT, compiled=False)
    target = measure_quality(bench, side, examples, held_out)
    time_ours(bench, side, examples, held_out, ("audio head", SMALL_LAYOUT.base), target)
    note_plain(bench, points, target)
    found = json.loads((tmp_path / "report.json").read_text())["quality"]
    assert found["before"] > found["target"] > found["notebook"] == pytest.approx(points[-1]["loss"], abs=2e-3)
    names = [system["name"] for system in found["systems"]]
    assert len(names) == 3 and names[-1] == "transformers and peft, batch 1 x 4"
    reached = {system["name"]: system["reached"] for system in found["systems"]}
    assert reached[names[0]] and reached[names[-1]]  # steps of 4 examples
    write_quality(examples, held_out, target, tmp_path / "quality.json")
    given = json.loads((tmp_path / "quality.json").read_text())
    assert len(given["examples"]) == 40 and given["held_out"] == 8 and given["target"] == target
