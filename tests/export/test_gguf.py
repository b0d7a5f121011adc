"""GGUF files: every tensor is the model's, and the metadata says how to speak. `make test-engines`."""

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from orpheus.common.errors import CheckpointError, InputError
from orpheus.engines.loading import load_language_model, open_engine
from orpheus.engines.merging import merge_adapter
from orpheus.export.check import spoken
from orpheus.export.folder import export, find_source
from orpheus.export.gguf import kind_of
from orpheus.export.options import OWN_KINDS, ExportOptions
from tests.engines.test_transformers import GREEDY
from tests.export.halves import in_halves
from tests.fakes.adapters import add_tokens, train_adapter
from tests.fakes.checkpoints import SMALL_CONFIG, SMALL_LAYOUT, save_voice

pytestmark = [pytest.mark.llama, pytest.mark.filterwarnings("ignore:builtin type:DeprecationWarning")]
gguf = pytest.importorskip("gguf", reason="pip install -r requirements-llama.txt")
PLACES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_voice(tmp_path_factory.mktemp("base") / "voice", frames=25, margin=10.0, piece_seconds=5)


@pytest.fixture(scope="module")
def untied(base, tmp_path_factory):
    """The same with a head of its own, not quite the embeddings."""
    folder = shutil.copytree(base, tmp_path_factory.mktemp("base") / "untied")
    state = load_file(folder / "model.safetensors")
    state["lm_head.weight"] = state["model.embed_tokens.weight"] * 1.01
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))
    return folder


def write(out, model, *kinds, lora="none", **options):
    """{kind: path} of the files that were written."""
    return export(find_source(str(model), str(lora), lora_anyway=True), ExportOptions(gguf=kinds, out=out, **options))


def tensors(path):
    """{name in transformers: float32 values, in its order} of a file; under "kinds" that of each tensor by its name there."""
    found, kinds = {}, {}
    for tensor in gguf.GGUFReader(path).tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        kinds[tensor.name] = tensor.tensor_type.name
        if tensor.name == "rope_freqs.weight":
            continue
        part, _, kind = tensor.name.rpartition(".")
        layer, _, part = part.rpartition(".")
        place = f"{layer.replace('blk', 'model.layers')}.{PLACES[part]}" if layer else PLACES[part]
        found[f"{place}.{kind}"] = (
            in_halves(values, SMALL_CONFIG["head_dim"]) if part in ("attn_q", "attn_k") else values
        )
    return found, kinds


def values(path):
    """{key: value} of a file's metadata."""
    return {key: field.contents() for key, field in gguf.GGUFReader(path).fields.items()}


@pytest.fixture(scope="module")
def files(base, tmp_path_factory):
    return write(tmp_path_factory.mktemp("files") / "out", base, *OWN_KINDS)


# --- tensors ---------------------------------------------------------------------------------------------------------


def test_f32_is_the_model_bit_for_bit(base, files):
    found, kinds = tensors(files["f32"])
    expected = load_file(base / "model.safetensors")
    assert found.keys() == expected.keys() and set(kinds.values()) == {"F32"}
    for name in expected:
        assert np.array_equal(found[name].view(np.uint32), expected[name].numpy().view(np.uint32)), name
    assert "output.weight" not in kinds and "rope_freqs.weight" in kinds


@pytest.mark.parametrize("kind, dtype", [("f16", torch.float16), ("bf16", torch.bfloat16)])
def test_16_bits_are_rounded_as_pytorch_rounds(base, files, kind, dtype):
    found, kinds = tensors(files[kind])
    for name, value in load_file(base / "model.safetensors").items():
        expected = value if value.ndim == 1 else value.to(dtype).float()
        assert np.array_equal(found[name], expected.numpy()), name
    assert {kinds["blk.0.attn_q.weight"], kinds["token_embd.weight"]} == {kind.upper()} and kinds[
        "output_norm.weight"
    ] == "F32"


@pytest.mark.parametrize("kind, steps", [("q8_0", 127), ("q4_0", 8)])
def test_a_quantised_value_is_half_a_step_away_at_most(base, files, kind, steps):
    """A block of 32 has one step: its largest value / 127, or / 8. q4_0 ends at 7 steps on one side, so there a whole one."""
    found, kinds = tensors(files[kind])
    for name, value in load_file(base / "model.safetensors").items():
        if value.ndim == 1:
            assert np.array_equal(found[name], value.numpy())
            continue
        is_8 = kinds["token_embd.weight"] == "Q8_0" and name == "model.embed_tokens.weight"
        blocks = value.numpy().reshape(-1, 32)
        largest = np.abs(blocks).max(1, keepdims=True)
        allowed = largest / 127 * 0.5 if is_8 or kind == "q8_0" else largest / steps
        error = np.abs(found[name].reshape(-1, 32) - blocks)
        assert (error <= allowed + largest * 2e-3).all(), name  # the step itself is kept in 16 bits
        assert error.max() > 0
    assert kinds["token_embd.weight"] == "Q8_0" and kinds["blk.1.ffn_down.weight"] == kind.upper()


def test_a_row_without_blocks_of_32_is_kept_in_16_bits():
    assert kind_of("blk.0.ffn_down.weight", (64, 100), "q4_0") == "f16"
    assert kind_of("blk.0.ffn_down.weight", (64, 96), "q4_0") == "q4_0"
    assert kind_of("token_embd.weight", (500, 64), "q4_0") == kind_of("output.weight", (500, 64), "q4_0") == "q8_0"
    assert kind_of("output_norm.weight", (64,), "q4_0") == "f32"


def test_an_adapter_is_merged_as_for_speaking(base, tmp_path):
    adapter = train_adapter(tmp_path / "adapter", base, use_rslora=True)
    found, _ = tensors(write(tmp_path / "out", base, "f32", lora=adapter)["f32"])
    expected = merge_adapter(load_language_model(base, "cpu"), adapter).state_dict()
    assert all(np.array_equal(found[name], expected[name].numpy()) for name in found) and len(found) == 20


def test_a_head_of_its_own(untied, tmp_path):
    found, _ = tensors(write(tmp_path / "out", untied, "f32")["f32"])
    assert np.array_equal(found["lm_head.weight"], load_file(untied / "model.safetensors")["lm_head.weight"].numpy())


def test_values_beyond_16_bits_are_refused(base, tmp_path):
    folder = shutil.copytree(base, tmp_path / "voice")
    state = load_file(folder / "model.safetensors")
    state["model.layers.0.mlp.up_proj.weight"][3, 3] = 70_000
    save_file(state, folder / "model.safetensors")
    with pytest.raises(
        CheckpointError, match=r"up_proj.weight has values up to 7e\+04, and 16 bits hold 65,504: write bf16"
    ):
        write(tmp_path / "out", folder, "f16")
    assert not list((tmp_path / "out").glob("*.gguf"))
    assert (
        tensors(write(tmp_path / "out", folder, "bf16")["bf16"])[0]["model.layers.0.mlp.up_proj.weight"][3, 3] == 70_144
    )


# --- metadata --------------------------------------------------------------------------------------------------------


def test_metadata(files):
    found = values(files["q8_0"])
    expected = {
        "general.architecture": "llama",
        "general.name": "voice",
        "llama.vocab_size": 492,
        "llama.context_length": 16_384,
        "llama.embedding_length": 64,
        "llama.block_count": 2,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        "llama.attention.key_length": 16,
        "llama.rope.freq_base": 500_000.0,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.bos_token_id": 256,
        "tokenizer.ggml.eos_token_id": 260,
        "tokenizer.ggml.add_bos_token": False,
        "orpheus.voices": ["ann", "bob"],
        "orpheus.default_voice": "ann",
        "orpheus.language": "en",
        "orpheus.prompt": "orpheus",
        "orpheus.piece_seconds": 5.0,
        "orpheus.codebook_size": 32,
        "orpheus.first_custom_token": 258,
        "orpheus.end_of_speech": 260,
    }
    assert {key: found.get(key) for key in expected} == expected
    assert math.isclose(found["llama.attention.layer_norm_rms_epsilon"], 1e-5, rel_tol=1e-6)
    assert json.loads(found["orpheus.description"]) == json.loads((files["q8_0"].parent / "orpheus.json").read_text())
    chat = "<custom_token_3><|begin_of_text|>{{ messages[-1]['content'] }}<|eot_id|><custom_token_4><custom_token_5><custom_token_1>"
    assert found["tokenizer.chat_template"] == chat


def test_audio_tokens_can_be_read_by_clients_of_text(files):
    found = values(files["f16"])
    tokens, types = found["tokenizer.ggml.tokens"], found["tokenizer.ggml.token_type"]
    assert tokens[258] == "<custom_token_0>" and set(types[258:492]) == {gguf.TokenType.USER_DEFINED}
    assert tokens[256] == "<|begin_of_text|>" and types[256] == gguf.TokenType.CONTROL
    assert found["tokenizer.ggml.merges"] == ["\u0120 \u0120"]


def test_tokens_that_an_adapter_added(base, tmp_path):
    adapter = add_tokens(train_adapter(tmp_path / "adapter", base, more_tokens=2), base, "<happy>", "<sad>")
    path = write(tmp_path / "out", base, "f32", lora=adapter)["f32"]
    assert values(path)["tokenizer.ggml.tokens"][-2:] == ["<happy>", "<sad>"]
    assert tensors(path)[0]["model.embed_tokens.weight"].shape == (494, 64)


# --- speaking --------------------------------------------------------------------------------------------------------


def greedy_ids(path, prompts, count=40):
    pytest.importorskip("xllamacpp")
    from orpheus.engines.llama_cpp import LlamaCppEngine

    engine = LlamaCppEngine(path, SMALL_LAYOUT, SMALL_CONFIG["vocab_size"], exact=True)
    return [spoken(engine, prompt, replace(GREEDY, max_new_tokens=count)) for prompt in prompts]


PROMPTS = [[259, 256, *range(40, 40 + n), 257, 262, 263, 259] for n in (3, 10, 25)]


def test_f32_speaks_with_this_projects_ids(base, untied, files, tmp_path):
    adapter = train_adapter(tmp_path / "adapter", base, size=0.01)
    tuned = write(tmp_path / "tuned", base, "f32", lora=adapter)["f32"]
    apart = write(tmp_path / "untied", untied, "f32")["f32"]
    for path, folder, lora in ((files["f32"], base, None), (tuned, base, adapter), (apart, untied, None)):
        engine = open_engine("auto", folder, lora, "cpu", SMALL_LAYOUT)
        sampling = replace(GREEDY, max_new_tokens=40)
        assert greedy_ids(path, PROMPTS) == [spoken(engine, prompt, sampling) for prompt in PROMPTS], path


@pytest.mark.parametrize("kind", OWN_KINDS)
def test_every_kind_loads_and_speaks(files, kind):
    for ids in greedy_ids(files[kind], PROMPTS):
        assert len(ids) > 7 and SMALL_LAYOUT.first_out_of_range(ids) >= len(ids) - 1


def test_a_quantizer_that_is_not_there(base, tmp_path, monkeypatch):
    monkeypatch.setattr("orpheus.export.quantizer._llama_cpp", lambda: None)
    monkeypatch.setattr("orpheus.export.quantizer._cyllama", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="q2_k.*pip install llama-cpp-python.*Or take q8_0 or q4_0"):
        write(tmp_path / "out", base, "q4_k_m")
    assert not (tmp_path / "out").exists()
