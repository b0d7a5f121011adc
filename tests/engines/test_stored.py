"""A folder read without transformers: the same weights to the bit, the same refusals, or left to transformers."""

import json
import shutil
from dataclasses import asdict

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from orpheus.common.errors import CheckpointError, OrpheusError, OrpheusWarning
from orpheus.engines.fast.engine import FastEngine
from orpheus.engines.fast.llama import Llama
from orpheus.engines.fast.matrix import quantized
from orpheus.engines.fast.stored import Config, StoredLlama
from orpheus.engines.layers import inverse_frequencies
from orpheus.engines.loading import load_language_model, open_engine, read_llama
from orpheus.engines.merging import merge_adapter
from orpheus.engines.options import SamplingOptions
from tests.engines.test_transformers import PROMPTS, rows_of
from tests.fakes.adapters import train_adapter
from tests.fakes.checkpoints import ORPHEUS_3B_CONFIG, SMALL_CONFIG, SMALL_LAYOUT, save_voice, walking_model
from tests.fakes.memory import LiveBytes


@pytest.fixture
def folder(small_voice_folder, tmp_path):
    return shutil.copytree(small_voice_folder, tmp_path / "voice")


def change(folder, **changes):
    path = folder / "config.json"
    values = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in values.items() if value is not None}))


def rewrite(path, work):
    state = load_file(path)
    work(state)
    save_file(state, path, {"format": "pt"})


def model_of(folder, adapter=None):
    model = load_language_model(folder, "cpu")
    return merge_adapter(model, adapter) if adapter else model


def same(folder, adapter=None):
    """Holds what is read to what transformers and peft make of it; returns the fast engine."""
    assert read_llama(folder, adapter, "cpu") is not None
    engine, expected = open_engine("auto", folder, adapter, "cpu", SMALL_LAYOUT), model_of(folder, adapter)
    assert isinstance(engine, FastEngine)
    found = engine.model.state_dict()
    assert found.keys() == expected.state_dict().keys()
    assert all(torch.equal(found[name], values) for name, values in expected.state_dict().items())
    tied = expected.get_output_embeddings().weight is expected.get_input_embeddings().weight
    assert tied is (engine.llama.head is engine.llama.embeddings)
    assert tied is (engine.model.lm_head.weight is engine.model.model.embed_tokens.weight)
    plain, ids = Llama(expected), torch.arange(40)[None]
    assert engine.llama.shape == plain.shape and engine.llama.limit == plain.limit
    assert all(torch.equal(a, b) for a, b in zip(engine.llama.rope(300), plain.rope(300), strict=True))
    assert torch.equal(engine.model(ids).logits, expected(ids).logits)
    return engine


# --- the same weights ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("shard", ["1GB", "60KB"])
def test_files_of_every_type(tmp_path, dtype, tied, shard):
    model = walking_model(SMALL_CONFIG | {"tie_word_embeddings": tied}, SMALL_LAYOUT).to(dtype)
    model.save_pretrained(tmp_path, max_shard_size=shard)
    files = len(list(tmp_path.glob("*.safetensors")))
    assert files == 1 if shard == "1GB" else files > 2
    assert same(tmp_path).llama.dtype == torch.float32


@pytest.mark.parametrize("added, tied", [(0.0, True), (1.0, False)])
def test_a_head_that_is_stored_though_it_is_tied(folder, added, tied):
    """transformers ties the two if they are equal in the data type that is loaded, and not otherwise."""

    def store(state):
        state["lm_head.weight"] = state["model.embed_tokens.weight"] + added

    rewrite(folder / "model.safetensors", store)
    engine = same(folder)
    assert (engine.llama.head is engine.llama.embeddings) is tied


def test_tensors_that_nobody_asks_for(folder):
    def store(state):
        state["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(8)
        state["projector.weight"] = torch.full((3,), float("nan"))

    rewrite(folder / "model.safetensors", store)
    same(folder)


def test_the_engine_speaks_the_same(folder):
    sampling = SamplingOptions(max_new_tokens=30)
    engine = open_engine("fast", folder, None, "cpu", SMALL_LAYOUT)
    expected = rows_of(FastEngine(model_of(folder), SMALL_LAYOUT), PROMPTS[:2], sampling, [1, 2])
    assert rows_of(engine, PROMPTS[:2], sampling, [1, 2]) == expected


def test_where_reading_fails_transformers_loads(folder, monkeypatch):
    """On a device that it was never tried on, say."""

    def parts(self, weights):
        raise RuntimeError("not implemented for this device")

    monkeypatch.setattr(StoredLlama, "parts", parts)
    with pytest.warns(OrpheusWarning, match="could not be read directly .not implemented for this device"):
        engine = open_engine("fast", folder, None, "cpu", SMALL_LAYOUT)
    expected = rows_of(FastEngine(model_of(folder), SMALL_LAYOUT), PROMPTS[:1], SamplingOptions(max_new_tokens=20), [1])
    assert rows_of(engine, PROMPTS[:1], SamplingOptions(max_new_tokens=20), [1]) == expected


# --- configurations --------------------------------------------------------------------------------------------------

LLAMA3 = ORPHEUS_3B_CONFIG["rope_parameters"]
OLD = {name: value for name, value in LLAMA3.items() if name != "rope_theta"}
BASE = {"model_type": "llama"} | {
    name: value for name, value in SMALL_CONFIG.items() if name not in ("rope_parameters", "head_dim")
}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"rope_parameters": LLAMA3},
        {"rope_theta": 500_000.0, "rope_scaling": OLD, "torch_dtype": "bfloat16", "head_dim": 32},
        {"rope_theta": 10_000, "rope_scaling": {"type": "linear", "factor": 2.0}},
        {"rope_theta": 3e4, "rope_scaling": None, "num_key_value_heads": None, "head_dim": None},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}, "rms_norm_eps": 1e-6},
        {"rope_parameters": {"rope_theta": 5e5}, "tie_word_embeddings": False},
        {"rope_scaling": {"rope_type": "linear", "factor": 4, "rope_theta": 2e4}, "rope_theta": 1e4},
    ],
)
def test_what_a_configuration_says(more):
    values = BASE | more
    found, expected = Config.read(values), LlamaConfig(**{k: v for k, v in values.items() if k != "model_type"})
    for name, value in asdict(found).items():
        if name != "rope_parameters":
            assert getattr(expected, name) == value, name
    ours, theirs = found.rope_parameters, expected.rope_parameters
    assert {name: ours[name] for name in theirs} == theirs
    frequencies, scale = inverse_frequencies(found, "cpu")
    if ours["rope_type"] != "default":
        wanted, factor = ROPE_INIT_FUNCTIONS[ours["rope_type"]](expected, "cpu")
    else:
        dim = torch.arange(0, found.head_dim, 2, dtype=torch.int64).float() / found.head_dim
        wanted, factor = 1.0 / (ours["rope_theta"] ** dim), 1.0
    assert torch.equal(frequencies, wanted) and scale == factor


@pytest.mark.parametrize(
    "more",
    [
        {"model_type": "qwen2"},
        {"model_type": None},
        {"hidden_act": "gelu"},
        {"attention_bias": True},
        {"mlp_bias": True},
        {"quantization_config": {"load_in_4bit": True}},
        {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}},
        {"rope_scaling": {"rope_type": "llama3", "factor": 4.0}},
        {"rope_scaling": OLD | {"high_freq_factor": 1.0}},
        {"rope_parameters": {"full": LLAMA3}},
        {"rope_parameters": [1]},
        {"rope_parameters": {"rope_type": ["default"], "rope_theta": 1e4}},
        {"rope_theta": "large"},
        {"partial_rotary_factor": 0.5},
        {"hidden_size": 66},
        {"hidden_size": 64.0},
        {"hidden_size": None},
        {"num_hidden_layers": -1},
        {"num_key_value_heads": 3},
        {"head_dim": 17},
        {"rms_norm_eps": "small"},
        {"tie_word_embeddings": "yes"},
    ],
)
def test_what_is_left_to_transformers(more):
    assert Config.read(BASE) is not None
    assert Config.read(BASE | more) is None


# --- faults ----------------------------------------------------------------------------------------------------------


def drop(state):
    del state["model.layers.1.mlp.up_proj.weight"]


def reshape(state):
    state["model.layers.1.self_attn.k_proj.weight"] = torch.zeros(31, 64)


def rename(state):
    state["model.layers.0.mlp.down.weight"] = state.pop("model.layers.0.mlp.down_proj.weight")


def spoil(state):
    state["model.layers.1.self_attn.q_proj.weight"][3, 4] = float("nan")
    state["model.norm.weight"][7] = float("-inf")


def cut(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def link(folder):
    (folder / "model.safetensors").rename(folder.parent / "elsewhere")
    (folder / "model.safetensors").symlink_to(folder.parent / "elsewhere")


def index(folder, name="../model.safetensors"):
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"model.norm.weight": name}}))


FAULTS = {
    "missing": lambda folder: rewrite(folder / "model.safetensors", drop),
    "misshapen": lambda folder: rewrite(folder / "model.safetensors", reshape),
    "renamed": lambda folder: rewrite(folder / "model.safetensors", rename),
    "NaN": lambda folder: rewrite(folder / "model.safetensors", spoil),
    "cut": cut,
    "text": lambda folder: (folder / "model.safetensors").write_text("no tensors"),
    "link": link,
    "index": index,
    "index of what is missing": lambda folder: index(folder, "model-2.safetensors"),
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "wide": lambda folder: change(folder, hidden_size=4096),
    "more layers": lambda folder: change(folder, num_hidden_layers=3),
    "eps": lambda folder: change(folder, rms_norm_eps=0),
    "heads": lambda folder: change(folder, num_attention_heads=5),
    "kind": lambda folder: change(folder, model_type="unheard of"),
    "both": lambda folder: (folder / "adapter_config.json").write_text("{}"),
}


def error_of(work):
    with pytest.raises(OrpheusError) as caught:
        work()
    return type(caught.value), str(caught.value)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_same_is_refused_in_the_same_words(folder, fault):
    FAULTS[fault](folder)
    expected = error_of(lambda: load_language_model(folder, "cpu"))
    assert error_of(lambda: open_engine("auto", folder, None, "cpu", SMALL_LAYOUT)) == expected


def test_billions_of_layers_take_no_time(folder):
    change(folder, num_hidden_layers=10**9)
    with pytest.raises(CheckpointError, match="is 1000000000: it must be a whole number of 1 to 1,000"):
        read_llama(folder, None, "cpu")


# --- 8 bits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_adapter, weights", [(False, "int8"), (True, "int8"), (True, "int4"), (True, "fp8")])
def test_fewer_bits_are_made_layer_by_layer(tmp_path, with_adapter, weights):
    """What is live at any time: what is kept, and less than one layer of the model."""
    layers, hidden, inner = 6, 128, 320
    shape = {"hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers, "head_dim": 32}
    base = save_voice(tmp_path / "voice", SMALL_CONFIG | shape)
    adapter = train_adapter(tmp_path / "adapter", base) if with_adapter else None
    stored = read_llama(base, adapter, "cpu")
    with LiveBytes() as live:
        parts = stored.parts(weights)
    one_layer = 4 * sum(p.numel() for p in load_language_model(base, "cpu").model.layers[0].parameters())
    assert one_layer == 4 * stored.config.layer_size
    kept = live.now
    assert kept < layers * one_layer  # what they take in 32 bits
    assert kept < live.peak < kept + one_layer
    expected = Llama(model_of(base, adapter), weights)
    for found, wanted in zip(parts.layers, expected.layers, strict=True):
        for name in ("qkv", "o", "gate_up", "down"):
            assert all(torch.equal(a, b) for a, b in zip(getattr(found, name), getattr(wanted, name), strict=True))
    with LiveBytes() as live:
        plain = stored.parts("same")
    assert live.peak < live.now + one_layer and live.now > 2 * kept
    assert torch.equal(plain.embeddings, parts.embeddings)


@pytest.mark.parametrize("weights", ["int8", "int4", "fp8"])
def test_rows_are_quantised_one_by_one(monkeypatch, weights):
    weight = torch.randn(304, 64, generator=torch.Generator().manual_seed(0))
    whole = quantized(weight, weights)
    monkeypatch.setattr("orpheus.engines.fast.matrix._AT_ONCE", 64 * 7)
    assert all(torch.equal(a, b) for a, b in zip(quantized(weight, weights), whole, strict=True))
    largest = {"int8": 127, "fp8": 448}.get(weights)
    assert weights == "int4" or whole.values.float().abs().amax(dim=1).eq(largest).all()
