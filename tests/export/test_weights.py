"""Weights block by block are those of the model with the adapter merged, whatever kind of adapter it is."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from orpheus.common.errors import CheckpointError
from orpheus.engines.loading import load_language_model
from orpheus.engines.merging import merge_adapter
from orpheus.export import weights as module
from orpheus.export.weights import EMBEDDINGS, HEAD, open_weights
from tests.engines.test_merging import KINDS
from tests.fakes.adapters import train_adapter
from tests.fakes.checkpoints import SMALL_CONFIG, save_voice

PLAIN = [
    name for name in KINDS if not {"dora", "embeddings", "head", "tokens", "norms"} & set(name.replace(",", "").split())
]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_voice(tmp_path_factory.mktemp("base") / "voice", frames=25, margin=10.0)


@pytest.fixture(scope="module")
def untied(tmp_path_factory):
    return save_voice(tmp_path_factory.mktemp("base") / "untied", SMALL_CONFIG | {"tie_word_embeddings": False})


def whole(weights, name):
    return np.concatenate(list(weights.blocks(name)))


def check(base, adapter, tokens=0, **tolerance):
    """All weights, equal to merge_adapter's; returns them."""
    model = merge_adapter(load_language_model(base, "cpu"), adapter, tokens)
    expected = {name: value.float().numpy() for name, value in model.state_dict().items()}
    found = open_weights(base, adapter, tokens)
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert found.tied is tied
    assert found.shapes.keys() == expected.keys() - ({HEAD} if tied else set())
    for name in found.shapes:
        assert np.array_equal(whole(found, name), expected[name]), name
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_of_every_kind(base, tmp_path, kind):
    found = check(base, train_adapter(tmp_path / "adapter", base, **KINDS[kind]))
    assert (found.whole == 0) is (kind in PLAIN)


def test_most_kinds_need_no_whole_model():
    assert {"plain", "rslora", "ranks and alphas of their own", "one layer", "a pattern of names", "all linear"} <= set(
        PLAIN
    )


@pytest.mark.parametrize("which", ["base", "untied"])
def test_tokens_that_an_adapter_added(which, tmp_path, request):
    base = request.getfixturevalue(which)
    found = check(base, train_adapter(tmp_path / "adapter", base, more_tokens=3), SMALL_CONFIG["vocab_size"] + 3)
    assert found.shapes[EMBEDDINGS][0] == SMALL_CONFIG["vocab_size"] + 3 and found.whole == 0


def test_a_head_that_was_stored_apart(base, tmp_path):
    """Both matrices whole and different, on a base that has one."""
    adapter = train_adapter(tmp_path / "adapter", base, more_tokens=2)
    path = adapter / "adapter_model.safetensors"
    state = load_file(path)
    state["base_model.model.lm_head.weight"] = state["base_model.model.lm_head.weight"] + 1
    save_file(state, path)
    assert not check(base, adapter).tied


@pytest.mark.parametrize("rows", [1, 7, 100])
def test_blocks_of_any_size_say_the_same(base, tmp_path, monkeypatch, rows):
    adapter = train_adapter(tmp_path / "adapter", base)
    expected = {name: whole(open_weights(base, adapter), name) for name in open_weights(base, adapter).shapes}
    monkeypatch.setattr(module, "_BLOCK", rows * 64)
    found = open_weights(base, adapter)
    for name in expected:
        blocks = list(found.blocks(name, 16 if "q_proj" in name else 1))
        np.testing.assert_allclose(np.concatenate(blocks), expected[name], atol=1e-6)
        if "q_proj" in name:
            assert {len(block) % 16 for block in blocks} == {0} and len(blocks) >= (1 if rows == 100 else 4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_precision_is_read_exactly(base, tmp_path, dtype):
    folder = shutil.copytree(base, tmp_path / "voice")
    state = {name: value.to(dtype) for name, value in load_file(folder / "model.safetensors").items()}
    save_file(state, folder / "model.safetensors")
    found = open_weights(folder)
    for name, value in state.items():
        assert np.array_equal(whole(found, name), value.float().numpy())


def test_a_merge_that_is_not_finite(base, tmp_path):
    adapter = train_adapter(tmp_path / "adapter", base)
    path = adapter / "adapter_model.safetensors"
    state = load_file(path)
    name = next(name for name in state if "layers.1.mlp.up_proj.lora_B" in name)
    state[name][3] = float("nan")
    save_file(state, path)
    with pytest.raises(CheckpointError, match="model.layers.1.mlp.up_proj.weight has NaN or infinite"):
        whole(open_weights(base, adapter), "model.layers.1.mlp.up_proj.weight")


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda state: {n: v for n, v in state.items() if "layers.1.self_attn.v_proj" not in n}, "incomplete.*layers.1.self_attn.v_proj"),
        (lambda state: {n: v for n, v in state.items() if "layers.0.mlp.up_proj.lora_B" not in n}, "up_proj.lora_B.weight is missing"),
        (lambda state: {n: v[:2] if "lora_A" in n else v for n, v in state.items()}, r"lora_A.weight is \(2, 96\).*\(4, 96\)"),
    ],
    ids=["a layer", "a half", "a rank"],
)  # fmt: skip
def test_an_adapter_that_is_incomplete(base, tmp_path, change, message):
    adapter = train_adapter(tmp_path / "adapter", base)
    path = adapter / "adapter_model.safetensors"
    save_file({name: value.contiguous() for name, value in change(load_file(path)).items()}, path)
    with pytest.raises(CheckpointError, match=message):
        open_weights(base, adapter)


def test_a_file_that_was_cut_off(base, tmp_path):
    folder = shutil.copytree(base, tmp_path / "voice")
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match=r"lies at \[\d+, \d+\] of \d+ bytes"):
        open_weights(folder)


def test_a_kind_of_numbers_that_is_unknown(base, tmp_path):
    folder = shutil.copytree(base, tmp_path / "voice")
    state = load_file(folder / "model.safetensors")
    state["model.norm.weight"] = torch.ones(64, dtype=torch.int8)
    save_file(state, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match="holds weights as I8"):
        whole(open_weights(folder), "model.norm.weight")


def test_the_configuration_says_whether_the_head_is_the_embeddings(untied, tmp_path):
    folder = shutil.copytree(untied, tmp_path / "voice")
    assert HEAD in open_weights(folder).shapes
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))
    assert open_weights(folder).tied
