"""How clips are laid into batches and their codes are taken out again, whatever encodes."""

import numpy as np
import pytest
import torch

from orpheus.codec import encoder
from orpheus.codec.snac import Codec
from orpheus.common.tokens import interleave
from tests.fakes.checkpoints import save_codec, snac_config


class ReadsSamples:
    """In place of the fused kernels: a code is the sample that it begins at, so that each says where it is from."""

    def __init__(self):
        self.batches = []

    def codes(self, audio, bounds):
        self.batches.append([int(end - first) for first, end in zip(bounds, bounds[1:])])
        assert len(audio) == bounds[-1] * 2048
        return [audio[:: 2048 // count].long() for count in (1, 2, 4)]


@pytest.fixture
def reading(tmp_path, monkeypatch):
    """(a batching encoder with ReadsSamples, which starts from memory that holds other numbers; ReadsSamples)"""
    save_codec(tmp_path, snac_config(32))
    reads, batching = ReadsSamples(), encoder.BatchEncoder(Codec.from_folder(tmp_path).model, fused=True)
    batching.batched, batching._fused = True, reads
    monkeypatch.setattr(torch, "empty", lambda *size, **_: torch.full(size, 7e6))
    return batching, reads


def codes_of(clip):
    padded = np.pad(clip, (0, -len(clip) % 2048))
    return interleave([padded[:: 2048 // count].astype(np.int64) for count in (1, 2, 4)])


@pytest.mark.parametrize("lengths", [[1], [2048, 2049, 4095], [3 * 2048 - 5, 100, 2048 * 9, 5, 2047, 2048 * 2 + 1]])
@pytest.mark.parametrize("seconds", [0, 0.3, 160])
def test_each_clip_gets_its_own_codes_and_zeros_after_its_end(reading, lengths, seconds):
    batching, _ = reading
    batching.seconds_per_batch = seconds
    ends = np.cumsum(lengths)
    clips = [np.arange(end - length + 1, end + 1, dtype=np.float32) for length, end in zip(lengths, ends)]
    made = batching.encode(clips)
    assert made.redone == []
    for codes, clip in zip(made.codes, clips, strict=True):
        assert codes.dtype == np.int64 and codes.base is None  # a kept clip keeps no batch
        assert np.array_equal(codes, codes_of(clip))


@pytest.mark.parametrize(
    "frames, batches",
    [
        ([1] * 40, [2, 4, 8, 16, 10]),  # an eighth of 16, then twice as much each time
        ([3] * 12, [1, 1, 2, 5, 3]),
        ([20, 1, 1, 1, 1, 20, 1], [1, 4, 1, 1]),
        ([1], [1]),
    ],
)
def test_the_first_fused_batches_are_small_and_none_is_larger_than_asked(reading, frames, batches):
    batching, reads = reading
    batching.seconds_per_batch = 16 * 2048 / 24_000
    batching.encode([np.ones(2048 * count, np.float32) for count in frames])
    assert [len(batch) for batch in reads.batches] == batches
    assert sum(reads.batches, []) == frames


def test_batches_of_the_packages_layers_are_all_full(reading):
    batching, _ = reading
    batching._fused, batching.seconds_per_batch = None, 16 * 2048 / 24_000
    assert [len(batch) for batch in batching._batches([1] * 40)] == [16, 16, 8]
