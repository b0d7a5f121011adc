"""Ids, slots and the order of codes, on exact values; the public faults in this area as regression tests."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orpheus.common.frame import FRAMES_PER_SECOND, LEVEL_CODES, TOKENS_PER_SECOND
from orpheus.common.tokens import TokenLayout, deinterleave, interleave

LAYOUT = TokenLayout()


def test_the_ids_of_orpheus_3b():
    assert LAYOUT.begin_of_text == 128_000
    assert LAYOUT.end_of_turn == 128_009
    assert LAYOUT.start_of_speech == 128_257
    assert LAYOUT.end_of_speech == 128_258
    assert LAYOUT.start_of_human == 128_259
    assert LAYOUT.end_of_human == 128_260
    assert LAYOUT.start_of_ai == 128_261
    assert LAYOUT.end_of_ai == 128_262
    assert LAYOUT.pad == 128_263
    assert LAYOUT.first_audio == 128_266
    assert LAYOUT.last_audio == 156_937


def test_the_frame_in_numbers():
    assert LEVEL_CODES == (1, 2, 4)
    assert FRAMES_PER_SECOND == 24_000 / 2_048 == 11.71875
    assert TOKENS_PER_SECOND == 82.03125


def test_slot_ranges():
    starts = [128_266, 132_362, 136_458, 140_554, 144_650, 148_746, 152_842]
    assert [LAYOUT.range_start(slot) for slot in range(7)] == starts
    assert LAYOUT.range_start(7 + 3) == starts[3]


def test_frame_order():
    coarse, middle, fine = [10, 11], [20, 21, 22, 23], [30, 31, 32, 33, 34, 35, 36, 37]
    codes = interleave((coarse, middle, fine))
    assert codes.tolist() == [[10, 20, 30, 31, 21, 32, 33], [11, 22, 34, 35, 23, 36, 37]]
    assert [level.tolist() for level in deinterleave(codes)] == [coarse, middle, fine]


@pytest.mark.parametrize("size", [1, 32, 4096])
def test_every_code_of_every_slot_makes_the_round_trip(size):
    layout = TokenLayout(codebook_size=size)
    codes = np.repeat(np.arange(size)[:, None], 7, axis=1)
    tokens = layout.to_tokens(codes)
    assert len(np.unique(tokens)) == 7 * size
    assert tokens.min() == layout.first_audio and tokens.max() == layout.last_audio
    assert np.array_equal(layout.to_codes(tokens), codes)


@given(st.lists(st.lists(st.integers(0, 4095), min_size=7, max_size=7), max_size=8))
def test_any_codes_make_the_round_trip(codes):
    codes = np.array(codes, dtype=np.int64).reshape(-1, 7)
    assert np.array_equal(LAYOUT.to_codes(LAYOUT.to_tokens(codes)), codes)
    assert np.array_equal(interleave(deinterleave(codes)), codes)


def test_code_zero_is_a_code():
    """Public clients drop it (`token > 0`), which shifts every later slot."""
    tokens = LAYOUT.to_tokens(np.zeros((3, 7)))
    assert LAYOUT.first_out_of_range(tokens) == 21
    assert LAYOUT.to_codes(tokens).tolist() == [[0] * 7] * 3


@pytest.mark.parametrize("slot", range(7))
def test_code_4096_is_out_of_range(slot):
    """Public clients accept it; in slot j it is code 0 of slot j + 1."""
    tokens = LAYOUT.to_tokens(np.full((2, 7), 4095))
    tokens[7 + slot] += 1
    assert LAYOUT.first_out_of_range(tokens) == 7 + slot
    assert LAYOUT.to_codes(tokens).tolist() == [[4095] * 7]
    with pytest.raises(ValueError, match="4096"):
        LAYOUT.to_tokens(np.full((1, 7), 4096))


@pytest.mark.parametrize("position", range(21))
@pytest.mark.parametrize("intruder", ["below", "above", "text", "end of speech", "pad", "unused"])
def test_the_first_token_out_of_range_ends_speech_wherever_it_stands(position, intruder, random):
    codes = random.integers(0, 4096, (3, 7))
    tokens = LAYOUT.to_tokens(codes)
    start = LAYOUT.range_start(position)
    replacement = {"below": start - 1, "above": start + 4096, "text": 42, "end of speech": LAYOUT.end_of_speech}
    tokens[position] = (replacement | {"pad": LAYOUT.pad, "unused": 156_939})[intruder]
    assert LAYOUT.first_out_of_range(tokens) == position
    kept = LAYOUT.to_codes(tokens)
    assert np.array_equal(kept, codes[: position // 7])  # nothing clamped, the incomplete frame dropped


def test_an_incomplete_last_frame_is_dropped(random):
    codes = random.integers(0, 4096, (2, 7))
    assert np.array_equal(LAYOUT.to_codes(LAYOUT.to_tokens(codes)[:13]), codes[:1])
    assert LAYOUT.to_codes([]).shape == (0, 7)


def test_tokens_in_words():
    assert LAYOUT.describe(128_258) == "128258 (end-of-speech)"
    assert LAYOUT.describe(128_266 + 4096 * 3) == "140554 (audio, position 3)"
    assert LAYOUT.describe(42) == "42 (text)"
    assert LAYOUT.describe(156_938) == "156938 (unused)"
