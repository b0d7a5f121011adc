"""What safetensors say without being loaded."""

import json
import struct

import pytest
import torch
from safetensors.torch import load_file, save_file

from orpheus.common.errors import CheckpointError
from orpheus.common.weights import fingerprint, header, same_weights, shapes_of, write_fingerprint


@pytest.fixture
def state(small_voice_folder):
    return load_file(small_voice_folder / "model.safetensors")


@pytest.fixture
def stored(tmp_path):
    def stored(state, name):
        (tmp_path / name).mkdir()
        save_file(state, tmp_path / name / "model.safetensors")
        return fingerprint(tmp_path / name)

    return stored


def test_shapes_of_several_files(tmp_path):
    save_file({"a": torch.zeros(2, 3)}, tmp_path / "model-00001-of-00002.safetensors")
    save_file(
        {"b": torch.zeros(5, dtype=torch.bfloat16)}, tmp_path / "model-00002-of-00002.safetensors", {"format": "pt"}
    )
    save_file({"c": torch.zeros(1)}, tmp_path / "adapter_model.safetensors")
    assert shapes_of(tmp_path) == {"a": (2, 3), "b": (5,)}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_samples_are_values_of_the_weight(tmp_path, dtype):
    values = (torch.arange(1000) / 7).to(dtype)
    save_file({"model.norm.weight": values}, tmp_path / "model.safetensors")
    sampled = fingerprint(tmp_path)["model.norm.weight"]
    assert sampled["shape"] == [1000] and len(sampled["values"]) == 64
    expected = [float(f"{values[n * 1000 // 64].item():.6g}") for n in range(64)]
    assert sampled["values"] == expected


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_rounding_changes_nothing(state, stored, dtype):
    whole, rounded = stored(state, "whole"), stored({name: value.to(dtype) for name, value in state.items()}, "rounded")
    assert same_weights(whole, rounded) is same_weights(rounded, whole) is True
    assert same_weights(json.loads(json.dumps(whole)), whole) is True


def test_a_fine_tune_is_another_model_even_if_rounded(state, stored):
    whole = stored(state, "whole")
    for name, dtype in (("same", torch.float32), ("rounded", torch.bfloat16)):
        tuned = {
            key: (value * 1.02).to(dtype) if "down_proj" in key else value.to(dtype) for key, value in state.items()
        }
        assert same_weights(whole, stored(tuned, name)) is False
    barely = dict(state) | {
        "model.layers.1.mlp.down_proj.weight": state["model.layers.1.mlp.down_proj.weight"] * 1.0001
    }
    assert same_weights(whole, stored(barely, "barely")) is False


def test_embeddings_and_norms_alone_are_no_proof(state, stored):
    """Which is all that a 4-bit copy keeps whole, and all that a LoRA adapter leaves alone."""
    whole, packed = stored(state, "whole"), {n: v for n, v in state.items() if "proj" not in n}
    packed["model.layers.0.self_attn.q_proj.weight"] = torch.zeros(2048, 1, dtype=torch.uint8)
    quantised = stored(packed, "quantised")
    assert same_weights(whole, quantised) is None
    packed["model.norm.weight"] = packed["model.norm.weight"] * 1.1
    assert same_weights(whole, stored(packed, "another")) is False
    assert same_weights(whole, {}) is None


def test_more_tokens_change_nothing(state, stored):
    whole = stored(state, "whole")
    state["model.embed_tokens.weight"] = torch.cat([state["model.embed_tokens.weight"], torch.zeros(2, 64)])
    assert same_weights(whole, stored(state, "more")) is True


def test_values_that_are_no_numbers_are_of_no_model(state, stored):
    whole = stored(state, "whole")
    state["model.norm.weight"] = state["model.norm.weight"] * float("nan")
    assert same_weights(whole, stored(state, "damaged")) is False


def test_what_is_written_is_what_is_read(small_voice_folder, tmp_path):
    write_fingerprint(tmp_path, "me/mine", small_voice_folder)
    kept = json.loads((tmp_path / "base.json").read_text())
    assert kept["name"] == "me/mine" and same_weights(kept["weights"], fingerprint(small_voice_folder)) is True
    assert (tmp_path / "base.json").stat().st_size < 20_000


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\3\4",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 1 << 40) + b"{}",
        struct.pack("<Q", 20) + b'{"a": {"shape": [1]}',
        struct.pack("<Q", 2) + b"\xff\xff",
    ],
)
def test_files_that_are_no_safetensors(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot be read as safetensors .*damaged or was not copied whole"):
        header(path)
