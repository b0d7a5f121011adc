"""Which models llama.cpp's Llama can hold, and how it wants their weights."""

import json

import numpy as np
import pytest
import torch
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from orpheus.common.errors import CheckpointError, InputError
from orpheus.engines.layers import rope_settings
from orpheus.export.llama import check_llama, interleaved, rope_factors, tensor_names
from orpheus.export.weights import EMBEDDINGS, HEAD
from tests.export.halves import in_halves
from tests.fakes.checkpoints import ORPHEUS_3B_CONFIG, SMALL_CONFIG

LLAMA = SMALL_CONFIG | {"model_type": "llama"}


@pytest.fixture(scope="module")
def shapes():
    from transformers import LlamaForCausalLM

    with torch.device("meta"):
        model = LlamaForCausalLM(LlamaConfig(**SMALL_CONFIG))
    return {name: tuple(value.shape) for name, value in model.state_dict().items() if name != HEAD}


def test_pairs_that_turn_together_stand_side_by_side():
    rows = np.arange(16)[:, None]  # two heads of eight rows
    assert interleaved(rows, 8)[:, 0].tolist() == [0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15]


@pytest.mark.parametrize("heads, width, columns", [(4, 16, 64), (2, 128, 3), (1, 2, 5)])
def test_the_order_can_be_undone(heads, width, columns, random):
    block = random.standard_normal((heads * width, columns))
    assert np.array_equal(in_halves(interleaved(block, width), width), block)
    assert width == 2 or not np.array_equal(interleaved(block, width), block)


@pytest.mark.parametrize("config", [ORPHEUS_3B_CONFIG, SMALL_CONFIG])
def test_frequencies_are_those_of_transformers(config):
    plain = 500_000.0 ** (-np.arange(0, config["head_dim"], 2) / config["head_dim"])
    expected = LlamaRotaryEmbedding(LlamaConfig(**config)).inv_freq.numpy()
    np.testing.assert_allclose(plain / rope_factors(config), expected, rtol=1e-5)
    assert rope_factors(config)[-1] == 32 and rope_factors(config)[0] == 1


@pytest.mark.parametrize(
    "config, theta, kind",
    [
        ({"rope_theta": 5e5, "rope_scaling": None}, 5e5, "default"),
        ({"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 2.0}}, 5e5, "linear"),
        ({"rope_parameters": {"rope_theta": 7e4, "rope_type": "default"}, "rope_theta": 1.0}, 7e4, "default"),
        (
            {"rope_parameters": {"rope_theta": 7e4}, "rope_scaling": {"rope_type": "linear", "factor": 2.0}},
            1e4,
            "linear",
        ),
        ({}, 1e4, "default"),
    ],
)
def test_rope_under_the_names_of_both_generations(config, theta, kind):
    rope = rope_settings(config)
    assert (rope["rope_theta"], rope["rope_type"]) == (theta, kind)
    assert rope_factors({"hidden_size": 64, "num_attention_heads": 4} | config) is None


@pytest.mark.parametrize(
    "change, message",
    [
        ({"model_type": "qwen2"}, "model_type 'qwen2'.*convert_hf_to_gguf"),
        ({"hidden_act": "gelu"}, "hidden_act 'gelu'"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "rope_type 'yarn'"),
        ({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}}, "partial_rotary_factor 0.5"),
        ({"pretraining_tp": 4}, "pretraining_tp 4"),
    ],
)
def test_other_architectures_are_refused_by_name(change, message):
    with pytest.raises(InputError, match=f"a/b has {message}"):
        check_llama(LLAMA | change, "a/b")


@pytest.mark.parametrize("theta", [0, None, "1e4", -5.0])
def test_a_rope_theta_that_no_llama_has(theta):
    with pytest.raises(CheckpointError, match="rope_theta in config.json is .*, and must be a number above 0"):
        check_llama({k: v for k, v in LLAMA.items() if not k.startswith("rope")} | {"rope_theta": theta}, "a/b")


def test_rope_settings_that_are_no_object():
    with pytest.raises(CheckpointError, match="the rope settings in config.json are no object"):
        check_llama(LLAMA | {"rope_scaling": "linear"}, "a/b")


@pytest.mark.parametrize("change", [{"hidden_size": None}, {"num_hidden_layers": 0}, {"intermediate_size": "x"}])
def test_figures_that_no_llama_has(change):
    with pytest.raises(CheckpointError, match=f"{next(iter(change))} in config.json is"):
        check_llama(LLAMA | change, "a/b")


def test_a_llama_is_accepted(shapes):
    check_llama(LLAMA, "a/b")
    names = tensor_names(shapes, LLAMA, "a/b")
    assert len(names) == 2 + 2 * 9 and names[EMBEDDINGS] == "token_embd.weight"
    assert names["model.layers.1.self_attn.k_proj.weight"] == "blk.1.attn_k.weight"


def test_a_head_of_its_own_and_biases_have_their_places(shapes):
    more = {HEAD: shapes[EMBEDDINGS], "model.layers.0.self_attn.q_proj.bias": (64,)}
    names = tensor_names(shapes | more, LLAMA, "a/b")
    assert names[HEAD] == "output.weight" and names["model.layers.0.self_attn.q_proj.bias"] == "blk.0.attn_q.bias"


@pytest.mark.parametrize(
    "more, less, message",
    [
        ({"model.layers.0.self_attn.q_norm.weight": (16,)}, (), "no place for, including model.layers.0.self_attn.q_norm.weight"),
        ({}, ("model.layers.1.mlp.up_proj.weight",), "incomplete: 1 weights are missing, including model.layers.1.mlp.up_proj.weight"),
        ({"model.layers.1.mlp.up_proj.weight": (64, 64)}, (), r"up_proj.weight is \(64, 64\), and config.json says \(96, 64\)"),
    ],
)  # fmt: skip
def test_weights_without_a_place_and_places_without_weights(shapes, more, less, message):
    found = {name: shape for name, shape in (shapes | more).items() if name not in less}
    with pytest.raises((InputError, CheckpointError), match=message):
        tensor_names(found, json.loads(json.dumps(LLAMA)), "a/b")
