"""What one utterance's samples become on their way to a listener."""

import gc
from types import SimpleNamespace

import numpy as np
import pytest

from orpheus.server.pooled import Job, keep_what_lives


class Speech:
    def __init__(self, first):
        self.first, self.given = first, []

    def _give(self, samples):
        self.given.append(samples.tolist())

    def _end_utterance(self, utterance):
        self.given.append(utterance.name)


def heard(opens, *chunks):
    utterance = SimpleNamespace(name="end")
    speech = Speech(utterance if opens else None)
    job = Job(speech, utterance, slot=0, stream=0)
    for chunk in chunks:
        job.give(np.array(chunk, np.float32))
    job.end()
    return speech.given


@pytest.mark.parametrize(
    "opens, chunks, expected",
    [
        (True, ([1, 2], [3], [4]), [[1, 2], [3], [4], "end"]),  # a text's first sound waits for nothing
        (False, ([1, 2], [3], [4]), [[1, 2, 3], [4], "end"]),
        (False, ([], [1], [], [2], [3]), [[1], [2], [3], "end"]),
        (False, ([1],), [[1], "end"]),  # nothing followed
        (False, (), ["end"]),
        (True, (), ["end"]),
    ],
)
def test_a_later_pieces_first_samples_come_with_the_next(opens, chunks, expected):
    assert [chunk for chunk in heard(opens, *chunks) if chunk != []] == expected


def test_what_lives_in_a_server_is_seldom_looked_through():
    before, thresholds = gc.get_freeze_count(), gc.get_threshold()
    try:
        keep_what_lives()
        assert gc.get_freeze_count() > before + 10_000
        assert gc.get_threshold() == (*thresholds[:2], 1_000)
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
