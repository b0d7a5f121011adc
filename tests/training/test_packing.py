"""Which rows make a step, and how a step is shared."""

import numpy as np

from orpheus.training.packing import plan_steps, split_step


def test_every_row_comes_once_per_epoch_and_steps_are_full():
    lengths = np.random.default_rng(0).integers(60, 900, 300).tolist()
    steps = plan_steps(lengths, 4096, 2, seed=1)
    assert sorted(row for step in steps for row in step) == sorted([*range(300)] * 2)
    fill = [sum(lengths[row] for row in step) / 4096 for step in steps]
    assert max(fill) <= 1 and min(fill[:-1]) > 0.9
    assert steps == plan_steps(lengths, 4096, 2, seed=1) != plan_steps(lengths, 4096, 2, seed=2)


def test_half_an_epoch_and_rows_longer_than_a_step():
    assert sum(map(len, plan_steps([10] * 100, 50, 0.5, 0))) == 50
    assert sorted(plan_steps([500, 500], 100, 1, 0)) == [[0], [1]]


def test_a_step_is_shared_evenly_and_cut_into_micro_batches():
    lengths = [100, 90, 80, 70, 60, 50]
    shares = split_step(range(6), lengths, 2, 130)
    assert sorted(row for share in shares for rows in share for row in rows) == [*range(6)]
    totals = [sum(lengths[row] for rows in share for row in rows) for share in shares]
    assert abs(totals[0] - totals[1]) <= 50
    assert all(sum(lengths[row] for row in rows) <= 130 for share in shares for rows in share)
