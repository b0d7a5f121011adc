"""What is held out: by the hash of the text, the same sentence never on both sides."""

import hashlib
from collections import defaultdict

import numpy as np
import pytest

from orpheus.common.errors import InputError
from orpheus.data.examples import Example
from orpheus.data.held_out import split_held_out
from orpheus.data.options import DataOptions


def key(n):
    return hashlib.sha256(str(n).encode()).hexdigest()


def example(n, text=None, recording=None):
    """recording: of which it is a part"""
    name = key(n) if recording is None else key(recording)[:-4] + f"{n:04x}"
    return Example(np.zeros(1, np.int32), 1, name, f"Sentence {n}." if text is None else text, None, str(n))


def sides(examples, share="auto"):
    train, held_out = split_held_out(examples, share)
    assert len(train) + len(held_out) == len(examples)
    return {e.where for e in train}, {e.where for e in held_out}


@pytest.mark.parametrize(
    "count, least, most",
    [(9, 0, 0), (10, 2, 2), (20, 4, 4), (40, 8, 8), (50, 8, 8), (100, 8, 8), (400, 8, 14), (1195, 14, 36)],
)
def test_auto_holds_out_enough_to_decide_and_of_much_data_2_percent(count, least, most):
    assert least <= len(sides([example(n) for n in range(count)])[1]) <= most


def test_a_share_is_taken_at_its_word():
    examples = [example(n) for n in range(60)]
    assert 1 <= len(sides(examples, 0.02)[1]) <= 4 and sides(examples, 0.0)[1] == set()


@pytest.mark.parametrize("count", [60, 3000])
def test_no_sentence_is_on_both_sides(count):
    forms = ("The {} owl sleeps.", "the {} owl <sigh> sleeps!", "THE {} OWL, sleeps")
    examples = [example(n, forms[n % 3].format(n // 3)) for n in range(count)]
    where = defaultdict(set)
    for side, found in enumerate(sides(examples)):
        for name in found:
            where[int(name) // 3].add(side)
    assert all(len(found) == 1 for found in where.values()) and {1} in where.values()


def test_rows_that_come_or_go_leave_the_others_on_their_side():
    examples = [example(n) for n in range(3000)]
    held_out = sides(examples)[1]
    fewer = examples[::2] + [example(n, f"Sentence {n - 5000}.") for n in range(5000, 5100)]  # the same words again
    kept = {e.where for e in fewer}
    found = sides(fewer)[1]
    assert found & {e.where for e in examples} == held_out & kept
    assert {int(name) - 5000 for name in found if int(name) >= 5000} <= {int(name) for name in held_out}


def test_the_parts_of_a_recording_are_together_and_no_likelier_held_out():
    parts = [example(n, recording=n // 10) for n in range(3000)]
    _, held_out = sides(parts, 0.1)
    assert 15 * 10 <= len(held_out) <= 48 * 10  # 10 % of 300 recordings
    counts = defaultdict(int)
    for name in held_out:
        counts[int(name) // 10] += 1
    assert set(counts.values()) == {10}


def test_a_text_that_is_everywhere_is_trained_on():
    examples = [example(n, "Yes." if n % 2 else None) for n in range(100)]
    assert all(int(name) % 2 == 0 for name in sides(examples)[1]) and len(sides(examples)[1]) == 8
    assert sides([example(n, "Yes.") for n in range(50)])[1] == set()


def test_neither_a_share_nor_auto():
    for wrong in (0.6, "some", -1):
        with pytest.raises(InputError, match="nor auto"):
            DataOptions(held_out=wrong)
