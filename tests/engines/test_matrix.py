"""Weights in 8 and in 4 bits."""

from dataclasses import replace

import pytest
import torch

from orpheus.engines.fast.engine import FastEngine
from orpheus.engines.fast.matrix import GROUP, quantized
from tests.engines.test_transformers import GREEDY, PROMPTS, SAMPLED, rows_of
from tests.fakes.checkpoints import SMALL_CONFIG, SMALL_LAYOUT, walking_model

SEEDS = [3, 1, 4, 1]


@pytest.fixture(scope="module")
def model():
    return walking_model(SMALL_CONFIG, SMALL_LAYOUT, frames=8)


def speaks_alone_as_together(model, weights):
    engine = FastEngine(model, SMALL_LAYOUT, weights=weights)
    for sampling in (GREEDY, SAMPLED):
        short = replace(sampling, max_new_tokens=14)
        together = rows_of(engine, PROMPTS, short, SEEDS)
        assert together == [rows_of(engine, [p], short, [s])[0] for p, s in zip(PROMPTS, SEEDS)]
        assert any(len(row) >= 7 for row in together)


def test_int8_weights_are_near_and_speak(model):
    weight, x = torch.randn(20, 64), torch.randn(3, 64)
    matrix = quantized(weight, "int8")
    assert matrix.values.dtype == torch.int8 and matrix.scale.shape == (20,) and matrix.shape == (20, 64)
    assert torch.equal(matrix.values.abs().amax(1), torch.full((20,), 127, dtype=torch.int8))
    plain = (matrix.values.float() * matrix.scale[:, None]).unflatten(1, (32, 2)).transpose(1, 2).flatten(1)
    assert (plain - weight).norm() / weight.norm() < 0.01
    assert torch.allclose(matrix(x), x @ plain.T, atol=1e-4)
    speaks_alone_as_together(model, "int8")
    with pytest.raises(ValueError, match="int3"):
        FastEngine(model, SMALL_LAYOUT, weights="int3")


def test_fp8_weights_are_near_and_speak(model):
    weight, x = torch.randn(32, 64) * torch.logspace(-3, 3, 32)[:, None], torch.randn(3, 64)
    matrix = quantized(weight, "fp8")
    assert matrix.values.dtype == torch.float8_e4m3fn and matrix.scale.shape == (32,) and matrix.shape == (32, 64)
    assert torch.equal(matrix.values.float().abs().amax(1), torch.full((32,), 448.0))
    plain = matrix.values.float() * matrix.scale[:, None]
    assert ((plain - weight).norm(dim=1) / weight.norm(dim=1)).max() < 0.04
    assert torch.allclose(matrix(x), x @ plain.T, rtol=1e-4, atol=1e-4)
    speaks_alone_as_together(model, "fp8")
    assert quantized(torch.randn(20, 64), "fp8").values.dtype == torch.int8  # 20 rows: no product in FP8 has so many


def test_int4_weights_are_near_and_speak(model):
    weight, x = torch.randn(20, 128), torch.randn(3, 128)
    matrix = quantized(weight, "int4")
    assert matrix.values.shape == (20, 16) and matrix.scale.shape == (20, 4) and matrix.shape == (20, 128)
    assert matrix.values.nbytes + matrix.scale.nbytes == 20 * 128 * 4.5 / 8
    plain = matrix.plain(torch.float32)
    assert (plain - weight).norm() / weight.norm() < 0.1  # of a normal distribution
    assert torch.allclose(matrix(x), x @ plain.T, atol=1e-4)
    speaks_alone_as_together(model, "int4")


def test_what_4_bits_can_hold_they_hold_exactly():
    """Input c + j * 16 is nibble j of word c; 4 words in a row share a scale."""
    steps, scales = torch.randint(-8, 8, (7, 128)), torch.tensor([0.5, 2.0, 0.25, 64.0])
    group = torch.arange(128) % 16 // 4
    steps[:, :16:4] = -8  # the largest of every group
    weight = steps * scales[group]
    weight[3] = 0
    matrix = quantized(weight, "int4")
    assert torch.equal(matrix.plain(torch.float32), weight)
    assert torch.equal(matrix.scale[0].float().abs(), scales) and not matrix.scale[3].any()
    assert matrix.values[0, 5] & 15 == steps[0, 5] + 8 and (matrix.values[0, 5] >> 28) & 15 == steps[0, 5 + 7 * 16] + 8


def test_scales_of_4_bits_are_chosen_by_their_error():
    weight = torch.randn(400, 128).pow(3)  # a few large ones
    largest = weight.unflatten(1, (8, 4, 4)).transpose(1, 2).flatten(2).abs().amax(2) / 7
    scale = largest.repeat_interleave(4, 1).repeat(1, 8)
    rounded = (weight / scale).round() * scale
    assert (quantized(weight, "int4").plain(torch.float32) - weight).norm() < 0.9 * (rounded - weight).norm()


def test_a_width_that_groups_do_not_divide_takes_8_bits():
    assert GROUP == 32
    assert quantized(torch.randn(3, 64), "int4").bits == 4 and quantized(torch.randn(3, 80), "int4").bits == 8
