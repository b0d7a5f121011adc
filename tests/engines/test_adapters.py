"""Adapters beside one copy of the weights: each row gets what it would get from a model of its own."""

from dataclasses import replace

import pytest
import torch

from orpheus.common.errors import InputError, OrpheusWarning
from orpheus.engines.fast.adapters import Adapted
from orpheus.engines.fast.engine import FastEngine
from orpheus.engines.fast.llama import Llama
from orpheus.engines.loading import read_llama, read_shared
from orpheus.speech.adapters import DEMO_VOICE
from orpheus.speech.model import load_model
from tests.engines.test_fast import SEEDS, collect
from tests.engines.test_merging import KINDS
from tests.engines.test_plain_lora import PLAIN
from tests.engines.test_transformers import GREEDY, PROMPTS, SAMPLED, rows_of
from tests.fakes.adapters import train_adapter
from tests.fakes.checkpoints import SMALL_LAYOUT

# The kinds of ranks, scalings and layers that a plain adapter can have.
SETTINGS = {
    "anna": {},
    "ben": {"r": 7, "use_rslora": True, "target_modules": ["q_proj", "v_proj", "down_proj"]},
    "cleo": {"rank_pattern": {"0.mlp.down_proj": 3, "up_proj": 9}, "alpha_pattern": {"o_proj": 3}, "size": 0.03},
    "dan": {"layers_to_transform": [1], "target_modules": ["gate_proj", "o_proj"], "size": 0.1},
}


@pytest.fixture(scope="module")
def adapters(small_voice_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapters")
    return {name: train_adapter(folder / name, small_voice_folder, **settings) for name, settings in SETTINGS.items()}


def changes_of(base, adapters):
    return {name: read_llama(base, adapter, "cpu").lora for name, adapter in adapters.items()}


def engine_of(base, adapter=None, **options):
    return FastEngine(read_llama(base, adapter, "cpu"), SMALL_LAYOUT, **options)


@pytest.fixture(scope="module")
def engine(small_voice_folder, adapters):
    return engine_of(small_voice_folder, adapters=changes_of(small_voice_folder, adapters))


@pytest.fixture(scope="module", params=[GREEDY, SAMPLED], ids=["greedy", "sampled"])
def sampling(request):
    return request.param


@pytest.fixture(scope="module")
def expected(small_voice_folder, adapters, sampling):
    """{name: what a model of its own says to PROMPTS}; the base's under None."""
    return {
        name: rows_of(engine_of(small_voice_folder, adapter), PROMPTS, sampling, SEEDS)
        for name, adapter in {None: None, **adapters}.items()
    }


# --- the same tokens ---


def test_each_adapter_speaks_as_merged_and_the_base_as_without(engine, sampling, expected):
    for name, rows in expected.items():
        assert rows_of(engine.speaking_as(name), PROMPTS, sampling, SEEDS) == rows, name
    assert rows_of(engine, PROMPTS, sampling, SEEDS) == expected[None]
    assert len({str(rows) for rows in expected.values()}) == len(expected)  # no two say the same


def test_rows_of_different_adapters_in_one_batch_get_what_each_gets_alone(engine, sampling, expected):
    slots = engine.open(6, 256)
    asked = [("anna", 0), (None, 1), ("ben", 0), ("cleo", 2), ("dan", 3), (None, 3)]
    assert [slots.join(PROMPTS[row], sampling, SEEDS[row], name) for name, row in asked] == list(range(6))
    rows = collect(slots, {})
    assert [rows[slot] for slot in range(6)] == [expected[name][row] for name, row in asked]


def test_a_slot_takes_the_adapter_of_whoever_joins_next(engine, sampling, expected):
    slots = engine.open(2, 256)
    for name in ("anna", None, "ben", "anna"):  # one after the other in slot 0, while the base speaks beside it
        slots.join(PROMPTS[1], sampling, SEEDS[1], name)
        slots.join(PROMPTS[2], sampling, SEEDS[2])
        rows = collect(slots, {}, steps=8)
        assert [rows[0], rows[1]] == [expected[name][1][:8], expected[None][2][:8]]
        slots.clear()


@pytest.mark.parametrize("kind", PLAIN)
def test_every_plain_kind(small_voice_folder, tmp_path, kind):
    adapter = train_adapter(tmp_path / "adapter", small_voice_folder, **KINDS[kind])
    merged, sampling = engine_of(small_voice_folder, adapter), replace(SAMPLED, max_new_tokens=35)
    beside = engine_of(small_voice_folder, adapters=changes_of(small_voice_folder, {"it": adapter}))
    found = rows_of(beside.speaking_as("it"), PROMPTS, sampling, SEEDS)
    assert found == rows_of(merged, PROMPTS, sampling, SEEDS)


def test_on_the_demo_voice(tmp_path):
    loaded, _ = load_model("demo", "none", device="cpu")
    layout, prompt = loaded.prompts.layout, loaded.prompts.prompt("Good morning to you.", loaded.default_voice)
    adapter = train_adapter(tmp_path / "adapter", DEMO_VOICE, r=8, size=0.02)

    def speak(engine, sampling):
        return rows_of(engine, [prompt], sampling, [5])

    engines = {
        name: FastEngine(read_llama(DEMO_VOICE, folder, "cpu"), layout, adapters=beside)
        for name, folder, beside in (
            ("base", None, None),
            ("merged", adapter, None),
            ("both", None, changes_of(DEMO_VOICE, {"it": adapter})),
        )
    }
    for sampling in (replace(GREEDY, max_new_tokens=42), replace(SAMPLED, max_new_tokens=42)):
        base, merged = speak(engines["base"], sampling), speak(engines["merged"], sampling)
        assert speak(engines["both"], sampling) == base != merged
        assert speak(engines["both"].speaking_as("it"), sampling) == merged


# --- the products ---


@pytest.mark.parametrize("weights", ["same", "int8", "int4"])
def test_the_masked_products_are_the_grouped_ones(small_voice_folder, adapters, weights):
    """Those for a GPU, whose shapes do not depend on who speaks."""
    engine = engine_of(
        small_voice_folder, weights=weights, adapters=changes_of(small_voice_folder, adapters), kernels=False
    )
    llama = engine.llama
    chosen = torch.tensor([2, 0, 1, 4, 3, 3, 0])
    x = torch.randn(len(chosen), 64, generator=torch.Generator().manual_seed(0))
    inner = torch.randn(len(chosen), 96, generator=torch.Generator().manual_seed(1))
    both = [llama.adapters.onto(llama.layers, chosen, grouped) for grouped in (True, False)]
    for plain, grouped, masked in zip(llama.layers, *both):
        for field in ("qkv", "o", "gate_up", "down"):
            rows = inner if field == "down" else x
            one, other, base = (getattr(layer, field)(rows) for layer in (grouped, masked, plain))
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
            assert torch.equal(one[[1, 6]], base[[1, 6]]) and torch.equal(other[[1, 6]], base[[1, 6]])
            changed = (one - base).abs().amax(dim=1) > 1e-3
            assert changed[2] and not changed[[1, 6]].any()


def test_rows_without_an_adapter_take_the_layers_as_they_are(engine):
    layers = engine.llama.layers
    assert engine.llama.adapters.onto(layers, torch.zeros(3, dtype=torch.int64), grouped=True) is layers
    adapted = engine.llama.adapters.onto(layers, torch.ones(3, dtype=torch.int64), grouped=True)
    assert isinstance(adapted[0].qkv, Adapted) and adapted[0].norm is layers[0].norm


@pytest.mark.parametrize("weights", ["int8", "int4"])
def test_a_base_in_fewer_bits_speaks_with_adapters_of_full_precision(small_voice_folder, adapters, weights):
    """The base's rows are those of the same base without adapters; an adapter's are spoken beside them, and differ."""
    sampling = replace(SAMPLED, max_new_tokens=35)
    plain = rows_of(engine_of(small_voice_folder, weights=weights), PROMPTS, sampling, SEEDS)
    beside = engine_of(small_voice_folder, weights=weights, adapters=changes_of(small_voice_folder, adapters))
    assert rows_of(beside, PROMPTS, sampling, SEEDS) == plain
    assert rows_of(beside.speaking_as("anna"), PROMPTS, sampling, SEEDS) != plain


# --- memory ---


def test_the_bases_weights_are_there_once(small_voice_folder, adapters):
    changes = changes_of(small_voice_folder, adapters)
    one, many = (
        engine_of(small_voice_folder, adapters={name: changes[name] for name in names}) for names in (["anna"], changes)
    )
    sizes = [sum(matrix.nbytes for layer in e.llama.layers for matrix in (layer[1], layer[2])) for e in (one, many)]
    assert sizes[0] == sizes[1]
    views = [many.speaking_as(name) for name in (None, *adapters)]
    assert {view.engine.llama.layers[0].qkv.values.data_ptr() for view in views} == {
        many.llama.layers[0].qkv.values.data_ptr()
    }
    stored = sum(change.a.numel() + change.b.numel() for layers in changes.values() for change in layers.values())
    assert many.llama.adapters.nbytes == 4 * stored
    slots = many.open(2, 64)
    assert slots.llama.layers is many.llama.layers and slots.llama.head is many.llama.head


# --- errors, and what cannot be shared ---


def test_where_kernels_fail_adapters_still_speak(small_voice_folder, adapters, expected, sampling, monkeypatch):
    """Not with transformers' engine, which knows none of them."""

    def fail(self):
        raise RuntimeError("no compiler")

    monkeypatch.setattr(FastEngine, "_use_kernels", fail)
    with pytest.warns(OrpheusWarning, match="no compiler"):
        engine = engine_of(small_voice_folder, kernels=True, adapters=changes_of(small_voice_folder, adapters))
    for name in ("anna", None):
        assert rows_of(engine.speaking_as(name), PROMPTS, sampling, SEEDS) == expected[name]


def test_names_that_there_are_not(engine, small_voice_folder):
    with pytest.raises(InputError, match="there is no adapter 'zoe'; there are anna, ben, cleo, dan"):
        engine.speaking_as("zoe")
    with pytest.raises(InputError, match="there is no adapter 'zoe'"):
        engine.open(1, 64).join(PROMPTS[0], replace(GREEDY, max_new_tokens=7), 0, "zoe")
    slots = engine_of(small_voice_folder).open(1, 128)
    with pytest.raises(InputError, match="there is no adapter 'anna': the engine was opened without any"):
        slots.join(PROMPTS[0], GREEDY, 0, "anna")
    assert slots.free == 1
    assert Llama(read_llama(small_voice_folder, None, "cpu")).adapters is None


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("dora", "it is DoRA"),
        ("whole head", "it replaces whole modules"),
        ("a few tokens", "it changes the embeddings of single tokens"),
        ("embeddings", "it is not of the layers' projections alone"),
    ],
)
def test_what_cannot_share_weights(small_voice_folder, adapters, tmp_path, kind, why):
    odd = train_adapter(tmp_path / "odd", small_voice_folder, **KINDS[kind])
    asked = {"anna": (adapters["anna"], 0), "odd": (odd, 0), "more": (adapters["ben"], 10**6)}
    base, changes, alone = read_shared("auto", small_voice_folder, asked, "cpu")
    assert base.lora == {} and list(changes) == ["anna"]
    assert alone == {"odd": why, "more": "it has tokens that the model lacks"}


@pytest.mark.parametrize(("engine", "device"), [("transformers", "cpu"), ("fast", "mps")])
def test_engines_that_share_nothing(small_voice_folder, adapters, engine, device):
    base, changes, alone = read_shared(engine, small_voice_folder, {"anna": (adapters["anna"], 0)}, device)
    assert base is None and changes == {} and "only the fast engine on CUDA and CPUs can share weights" in alone["anna"]
