"""Weights that are float16 numbers, multiplied as such: what counts as one, the same sums, and where nothing changes."""

from dataclasses import replace

import pytest
import torch

from orpheus.engines.fast import engine as fast_engine
from orpheus.engines.fast import llama as fast_llama
from orpheus.engines.fast import slots
from orpheus.engines.fast.engine import FastEngine
from orpheus.engines.fast.halves import ALONE, Halves, halved
from orpheus.engines.fast.llama import Layer
from orpheus.engines.fast.matrix import Matrix, quantized
from tests.engines.test_transformers import GREEDY, PROMPTS, SAMPLED, rows_of
from tests.fakes.checkpoints import SMALL_CONFIG, SMALL_LAYOUT, walking_model

needs_fbgemm = pytest.mark.skipif(
    "fbgemm" not in torch.backends.quantized.supported_engines, reason="FBGEMM is for x86-64 with AVX2"
)


def one(values):
    """What becomes of a layer's matrix of these values."""
    norm, small = torch.ones(4), Matrix(torch.full((3, 4), 1 / 3))
    layer = halved([Layer(norm, Matrix(values), small, norm, small, small)])[0]
    assert layer.norm is norm and layer.o is small
    return layer.qkv


def random_halves(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))).half().float()


@needs_fbgemm
@pytest.mark.parametrize(("outputs", "inputs"), [(1, 1), (17, 40), (96, 32), (50, 1030)])
def test_products_are_those_in_float32(outputs, inputs):
    matrix = one(random_halves(outputs, inputs))
    x = torch.randn(ALONE + 1, inputs, generator=torch.Generator().manual_seed(1))
    assert isinstance(matrix, Halves) and isinstance(matrix, Matrix) and matrix.bits is None
    assert matrix.shape == (outputs, inputs) and matrix.nbytes == 2 * outputs * inputs
    expected = x.double() @ matrix.values.double().T
    for count in (1, 2, 3, 7, 33, ALONE):
        torch.testing.assert_close(matrix(x[:count]).double(), expected[:count], atol=1e-6 * inputs, rtol=1e-6)
    assert torch.equal(matrix(x), x @ matrix.values.T)


@needs_fbgemm
def test_every_float16_number_is_multiplied_as_it_is():
    numbers = torch.arange(-(2**15), 2**15, dtype=torch.int16).view(torch.float16).float()
    numbers = numbers[numbers.isfinite()].reshape(-1, 64)
    matrix = one(numbers)
    assert isinstance(matrix, Halves)
    assert torch.equal(matrix(torch.eye(64)), numbers.T)


@pytest.mark.parametrize("value", [1 / 3, 65_520.0, 1e5, 2.0**-25, 1 + 2.0**-11, float("nan")])
def test_a_matrix_with_any_other_number_stays(value):
    values = random_halves(8, 16)
    values[3, 5] = value
    matrix = one(values)
    assert type(matrix) is Matrix and matrix.values is values


def test_what_is_not_in_float32_stays():
    for matrix in (Matrix(random_halves(8, 16).half()), quantized(random_halves(8, 32), "int8")):
        assert halved([Layer(*[matrix] * 6)])[0].qkv is matrix


def missing(*_):
    raise RuntimeError("FBGEMM is not available")


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("fbgemm_pack_gemm_matrix_fp16", missing),
        ("fbgemm_linear_fp16_weight_fp32_activation", missing),
        ("fbgemm_linear_fp16_weight_fp32_activation", lambda x, packed: x),
        ("fbgemm_pack_gemm_matrix_fp16", None),
    ],
    ids=["not built", "old processor", "other arguments", "gone"],
)
def test_without_the_product_a_matrix_stays(name, instead, monkeypatch):
    if instead:
        monkeypatch.setattr(torch, name, instead, raising=False)
    else:
        monkeypatch.delattr(torch, name, raising=False)
    assert type(one(random_halves(8, 16))) is Matrix


def saved_in_float16(**changes):
    model = walking_model(SMALL_CONFIG | changes, SMALL_LAYOUT, frames=4)
    return model.half().float()


@needs_fbgemm
@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
@pytest.mark.parametrize("changes", [{}, {"num_key_value_heads": 1, "head_dim": 32}])
def test_a_voice_saved_in_float16_says_what_it_says_in_float32(changes, sampling, monkeypatch):
    model, sampling = saved_in_float16(**changes), replace(sampling, max_new_tokens=74)
    prompts = [*PROMPTS, [3, 4], [5] * (ALONE + 9)]
    engine = FastEngine(model, SMALL_LAYOUT)
    together = rows_of(engine, prompts, sampling, range(6))
    assert all(isinstance(layer.down, Halves) for layer in engine.llama.layers)
    assert [rows_of(engine, [prompt], sampling, [seed])[0] for seed, prompt in enumerate(prompts)] == together
    monkeypatch.setattr(slots, "MOST", 0)  # PyTorch's steps
    assert rows_of(engine, prompts, sampling, range(6)) == together
    monkeypatch.setattr(fast_engine, "halved", lambda layers: layers)
    plain = FastEngine(model, SMALL_LAYOUT)
    assert rows_of(plain, prompts, sampling, range(6)) == together
    assert all(type(layer.down) is Matrix for layer in plain.llama.layers)


@pytest.mark.parametrize(
    ("tokens", "small", "threads"), [(5, True, 1), (ALONE, True, 1), (ALONE + 1, True, 2), (5, False, 2)]
)
def test_short_prompts_of_a_small_model_are_read_in_one_thread(tokens, small, threads, monkeypatch):
    seen, attend, before = [], fast_llama.TorchOperations.attend, torch.get_num_threads()

    def watched(*arguments):
        seen.append(torch.get_num_threads())
        return attend(*arguments)

    monkeypatch.setattr(fast_llama.TorchOperations, "attend", watched)
    if not small:
        monkeypatch.setattr(fast_engine, "fits", lambda llama: False)
    model = walking_model(SMALL_CONFIG, SMALL_LAYOUT, frames=4)
    torch.set_num_threads(2)
    try:
        opened = FastEngine(model, SMALL_LAYOUT).open(1, ALONE + 20)
        opened.join([3] * (tokens + 1), replace(GREEDY, max_new_tokens=7), 0)
        opened.admit_all()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == [threads] * SMALL_CONFIG["num_hidden_layers"]
