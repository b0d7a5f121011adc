"""Prompts that are read along with the steps of many sequences."""

import pytest

from orpheus.engines.fast.engine import FastEngine
from orpheus.engines.fast.sizes import sizes_up_to, taken_along
from orpheus.engines.options import SamplingOptions
from tests.engines.test_fast import SEEDS, collect
from tests.engines.test_transformers import PROMPTS, rows_of
from tests.fakes.checkpoints import SMALL_CONFIG, SMALL_LAYOUT, walking_model


@pytest.mark.parametrize(
    "size, along", [(222, 34), (402, 110), (252, 132), (240, 144), (96, 32), (97, 159), (128, 128), (33, 95)]
)
def test_a_step_is_filled_up_to_whole_tiles(size, along):
    assert taken_along(size) == along
    assert (size + along) % 128 == 0 and 32 <= along < 32 + 128


@pytest.mark.parametrize("size, along", [(1, 63), (8, 56), (16, 48), (32, 32)])
def test_a_step_of_few_is_no_larger_than_it_must(size, along):
    """128 rows take 0.7 ms longer than 64, which the first sound waits for."""
    assert taken_along(size) == along and (size + along) % 64 == 0


def test_each_number_of_sequences_has_a_size():
    assert sizes_up_to(1) == [1] and sizes_up_to(6) == [1, 2, 4, 6] and sizes_up_to(222)[-2:] == [128, 222]


@pytest.mark.parametrize("few", [1, 3, 50])
def test_prompts_read_along_in_parts_give_the_same_rows(few, monkeypatch):
    """With `few` tokens of the waiting prompts in each step, whatever the others do meanwhile."""
    monkeypatch.setattr("orpheus.engines.fast.slots.taken_along", lambda size: few)
    engine = FastEngine(walking_model(SMALL_CONFIG, SMALL_LAYOUT, frames=8), SMALL_LAYOUT)
    sampling = SamplingOptions(max_new_tokens=90)
    prompts = [PROMPTS[0], PROMPTS[1], PROMPTS[2][:1], PROMPTS[3]]
    expected = [rows_of(engine, [prompt], sampling, [seed])[0] for prompt, seed in zip(prompts, SEEDS)]
    slots = engine.open(4, 256)
    slots._many = 1
    reads = []
    read, begin = slots._prefill, slots._begin
    slots._prefill = lambda sequences: (reads.append(len(sequences)), read(sequences))
    started = []
    slots._begin = lambda sequences: (started.append([sequence.slot for sequence in sequences]), begin(sequences))
    slots.join(prompts[0], sampling, SEEDS[0])
    rows = collect(slots, {}, steps=2)
    for prompt, seed in zip(prompts[1:], SEEDS[1:]):
        slots.join(prompt, sampling, seed)
    collect(slots, rows)
    assert reads == [1] and sum(started, []) == [0, 1, 2, 3]  # first come, first served, and all but the first along
    assert [rows[slot] for slot in range(4)] == expected


def test_a_prompt_that_leaves_half_read_leaves_no_trace(monkeypatch):
    monkeypatch.setattr("orpheus.engines.fast.slots.taken_along", lambda size: 2)
    engine = FastEngine(walking_model(SMALL_CONFIG, SMALL_LAYOUT, frames=8), SMALL_LAYOUT)
    sampling = SamplingOptions(max_new_tokens=60)
    expected = rows_of(engine, [PROMPTS[0]], sampling, [5]) + rows_of(engine, [PROMPTS[3]], sampling, [6])
    slots = engine.open(2, 256)
    slots._many = 1
    slots.join(PROMPTS[0], sampling, 5)
    rows = collect(slots, {}, steps=3)
    gone = slots.join(PROMPTS[1], sampling, 9)
    collect(slots, rows, steps=1)
    assert 0 < slots._seats[gone].unread < len(PROMPTS[1]) - 1
    slots.leave(gone)
    rows.pop(gone, None)
    assert slots.join(PROMPTS[3], sampling, 6) == gone
    collect(slots, rows)
    assert [rows[0], rows[gone]] == expected
