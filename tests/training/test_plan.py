"""The plan of a run: whole passes, even steps."""

import numpy as np
import pytest

from orpheus.training.packing import plan_pass, plan_steps


def speech_lengths(count, seed=0):
    """Tokens of examples as Elise has them: 508 on average."""
    lengths = np.random.default_rng(seed).lognormal(np.log(460), 0.45, count)
    return np.clip(lengths, 120, 2048).astype(int).tolist()


@pytest.mark.parametrize("count, tokens", [(12, 1024), (60, 2048), (400, 12_288), (1195, 2048)])
def test_a_pass_is_complete_before_the_next_begins(count, tokens):
    lengths, place = speech_lengths(count), 0
    steps = plan_steps(lengths, tokens, 4, seed=3)
    assert all(len(set(step)) == len(step) for step in steps)  # no example twice
    for _ in range(4):
        seen = []
        while len(seen) < count:
            seen += steps[place]
            place += 1
        assert sorted(seen) == [*range(count)]
    assert place == len(steps)


def test_steps_of_a_pass_are_even_and_full():
    lengths = speech_lengths(1195)
    totals = [sum(lengths[example] for example in step) for step in plan_pass(lengths, 12_288, 1, 0)]
    assert max(totals) <= 12_288 and min(totals) > 0.97 * max(totals)
    assert np.mean(totals) > 0.98 * 12_288
    totals = [sum(lengths[example] for example in step) for step in plan_pass(lengths, 2048, 1, 0)]
    assert max(totals) <= 2048 and np.mean(totals) > 0.95 * 2048 and min(totals) > 0.85 * max(totals)


def test_lengths_are_spread_evenly_over_a_pass():
    """Long examples came first once."""
    lengths = speech_lengths(1195)
    for seed in range(5):
        steps = plan_pass(lengths, 12_288, seed, 0)
        means = [np.mean([lengths[example] for example in step]) for step in steps]
        quarters = [np.mean(part) for part in np.array_split(means, 4)]
        assert np.allclose(quarters, np.mean(lengths), rtol=0.03)
        longest = [max(lengths[example] for example in step) for step in steps]
        assert min(longest) > np.percentile(lengths, 90)  # every step has its share of the long ones


def test_every_pass_has_other_steps_and_the_same_seed_the_same():
    lengths = speech_lengths(200)
    one, other = ([frozenset(step) for step in plan_pass(lengths, 2048, 1, number)] for number in (0, 1))
    assert len(set(one) & set(other)) < len(one) / 10
    assert plan_steps(lengths, 2048, 2, 1) == plan_pass(lengths, 2048, 1, 0) + plan_pass(lengths, 2048, 1, 1)
    assert plan_steps(lengths, 2048, 2, 1) != plan_steps(lengths, 2048, 2, 2)


def test_a_fraction_of_a_pass_and_an_example_longer_than_a_step():
    assert sorted(map(len, plan_steps([10] * 100, 50, 0.5, 0))) == [5] * 10
    steps = plan_steps([10] * 100, 50, 1.5, 0)
    assert sorted(example for step in steps[:20] for example in step) == [*range(100)]
    steps = plan_steps([500, 60, 20, 500, 30], 100, 1, 0)
    assert [0] in steps and [3] in steps and sorted(map(len, steps)) == [1, 1, 1, 2]
