"""Adapters of every kind that peft writes: merged they say what peft says unmerged, or they are refused by name."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from orpheus.common.errors import CheckpointError, InputError, OrpheusWarning
from orpheus.engines.fast.engine import FastEngine
from orpheus.engines.loading import choose_engine, load_language_model, open_engine
from orpheus.engines.merging import adapter_shapes, merge_adapter, vocabulary_of
from orpheus.engines.transformers import TransformersEngine
from tests.engines.test_transformers import GREEDY, PROMPTS, SAMPLED, rows_of
from tests.fakes.adapters import LINEAR, change_config, train_adapter, unmerged
from tests.fakes.checkpoints import SMALL_CONFIG, SMALL_LAYOUT, save_adapter, save_voice

ROWS = SMALL_CONFIG["vocab_size"]
IDS = torch.arange(40)[None] * 7 % ROWS
KINDS = {
    "plain": {},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "ranks and alphas of their own": {"rank_pattern": {"q_proj": 8}, "alpha_pattern": {"up_proj": 3}},
    "one layer": {"layers_to_transform": [1]},
    "a pattern of names": {"target_modules": r".*\.0\..*(q|up)_proj"},
    "all linear": {"target_modules": "all-linear"},
    "all but one": {"exclude_modules": ["q_proj"]},
    "gaussian": {"init_lora_weights": "gaussian"},
    "embeddings": {"target_modules": [*LINEAR, "embed_tokens"]},
    "head": {"target_modules": [*LINEAR, "lm_head"]},
    "embeddings and head": {"target_modules": [*LINEAR, "embed_tokens", "lm_head"]},
    "embeddings and head, dora": {"target_modules": ["embed_tokens", "lm_head"], "use_dora": True},
    "embeddings that stay tied": {"target_modules": [*LINEAR, "embed_tokens"], "ensure_weight_tying": True},
    "whole embeddings": {"modules_to_save": ["embed_tokens"]},
    "whole head": {"modules_to_save": ["lm_head"]},
    "whole embeddings and head": {"modules_to_save": ["embed_tokens", "lm_head"]},
    "whole embeddings that stay tied": {"modules_to_save": ["embed_tokens"], "ensure_weight_tying": True},
    "whole norms": {"modules_to_save": ["norm", "input_layernorm"]},
    "a few tokens": {"trainable_token_indices": [3, 5, 300]},
}
SHARED = [kind for kind in KINDS if "embed" in kind or "head" in kind or "tokens" in kind]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_voice(tmp_path_factory.mktemp("base") / "voice", frames=25, margin=10.0)


@pytest.fixture(scope="module")
def untied(tmp_path_factory):
    return save_voice(tmp_path_factory.mktemp("base") / "untied", SMALL_CONFIG | {"tie_word_embeddings": False})


def logits(model):
    with torch.inference_mode():
        return model(IDS).logits


def check(base, adapter, more_tokens=0, merged=None):
    """Merged as unmerged, and not as without."""
    model = load_language_model(base, "cpu")
    plain = logits(model)
    merged = merged or merge_adapter(model, adapter)
    expected, found = logits(unmerged(base, adapter, more_tokens)), logits(merged)
    assert found.shape[-1] == ROWS + more_tokens
    assert (expected - found).abs().max() < 5e-5
    assert (expected[..., :ROWS] - plain).abs().max() > 0.1
    return merged


@pytest.mark.parametrize("kind", KINDS)
def test_merged_is_what_peft_says_unmerged(base, tmp_path, kind):
    model = check(base, train_adapter(tmp_path / "adapter", base, **KINDS[kind]))
    apart = model.get_output_embeddings().weight is not model.get_input_embeddings().weight
    assert model.config.tie_word_embeddings is not apart
    assert apart is (kind in SHARED and kind != "whole embeddings that stay tied")


@pytest.mark.parametrize("kind", ["plain", *SHARED])
def test_so_it_is_with_tokens_that_were_added(base, tmp_path, kind):
    adapter = train_adapter(tmp_path / "adapter", base, more_tokens=3, **KINDS[kind])
    assert (
        vocabulary_of(adapter_shapes(adapter)) == ROWS + 3
    )  # peft saves the embeddings because there are more of them
    check(base, adapter, more_tokens=3)


@pytest.mark.parametrize("kind", ["embeddings", "head", "whole embeddings", "a few tokens"])
def test_so_it_is_where_the_base_is_not_tied(untied, tmp_path, kind):
    check(untied, train_adapter(tmp_path / "adapter", untied, **KINDS[kind]))


def test_tokens_that_have_a_head_of_their_own(untied, tmp_path):
    places = {"embed_tokens": [3, 5], "lm_head": [5, 7, 300]}
    check(untied, train_adapter(tmp_path / "adapter", untied, trainable_token_indices=places))


def test_so_it_is_where_tokens_were_left_out(base, tmp_path):
    """resize_token_embeddings(len(tokenizer)) makes models smaller that were padded."""
    padded = load_language_model(base, "cpu")
    padded.resize_token_embeddings(ROWS + 4)
    padded.save_pretrained(tmp_path / "padded")
    adapter = train_adapter(
        tmp_path / "adapter", tmp_path / "padded", more_tokens=-4, target_modules=["q_proj", "lm_head"]
    )
    merged = merge_adapter(load_language_model(tmp_path / "padded", "cpu"), adapter)
    assert (logits(unmerged(tmp_path / "padded", adapter, -4)) - logits(merged)).abs().max() < 5e-5
    assert merged.config.vocab_size == ROWS


def test_a_plain_adapter_is_merged_bit_by_bit_as_peft_merges_it(base, tmp_path):
    adapter = train_adapter(tmp_path / "adapter", base)
    expected = unmerged(base, adapter).merge_and_unload().state_dict()
    found = merge_adapter(load_language_model(base, "cpu"), adapter).state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("kind", ["embeddings", "head", "whole embeddings and head"])
@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_the_fast_engine_has_the_head_of_its_own(base, tmp_path, kind, sampling):
    adapter = train_adapter(tmp_path / "adapter", base, size=0.01, **KINDS[kind])
    sampling = replace(sampling, max_new_tokens=40)
    fast = open_engine("auto", base, adapter, "cpu", SMALL_LAYOUT)
    assert isinstance(fast, FastEngine)
    assert fast.llama.head.data_ptr() != fast.llama.embeddings.data_ptr()
    plain = TransformersEngine(merge_adapter(load_language_model(base, "cpu"), adapter), SMALL_LAYOUT)
    beside = TransformersEngine(unmerged(base, adapter).get_base_model(), SMALL_LAYOUT)
    expected = rows_of(beside, PROMPTS[:2], sampling, [1, 2])
    assert rows_of(plain, PROMPTS[:2], sampling, [1, 2]) == expected
    assert rows_of(fast, PROMPTS[:2], sampling, [1, 2]) == expected
    assert (
        rows_of(TransformersEngine(load_language_model(base, "cpu"), SMALL_LAYOUT), PROMPTS[:2], sampling, [1, 2])
        != expected
    )


def test_in_16_bits_all_weights_stay_in_16_bits(base, tmp_path):
    """Whole modules are saved in 32 bits; the fast engine takes one data type."""
    adapter = train_adapter(tmp_path / "adapter", base, modules_to_save=["embed_tokens", "norm"], use_dora=True)
    model = merge_adapter(load_language_model(base, "cpu").to(torch.bfloat16), adapter)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert isinstance(choose_engine("auto", model, SMALL_LAYOUT), FastEngine)


def test_a_bias_that_was_trained(tmp_path):
    base = save_voice(tmp_path / "voice", SMALL_CONFIG | {"attention_bias": True})
    adapter = train_adapter(tmp_path / "adapter", base, bias="all")
    assert isinstance(choose_engine("auto", check(base, adapter), SMALL_LAYOUT), TransformersEngine)


def test_quantised_weights_keep_the_adapter_beside_them(base, tmp_path):
    """Merged into 4 bits it would be rounded away."""
    adapter = train_adapter(tmp_path / "adapter", base)
    model = load_language_model(base, "cpu")
    model.is_quantized = True
    check(base, adapter, merged=merge_adapter(model, adapter))
    assert "lora_A" in "".join(name for name, _ in model.named_modules())


def test_matrices_that_were_tied_and_are_saved_apart(base, tmp_path):
    adapter = train_adapter(tmp_path / "adapter", base, more_tokens=2)
    path = adapter / "adapter_model.safetensors"
    state = load_file(path)
    state["base_model.model.lm_head.weight"] += 1.0
    save_file(state, path)
    merged = merge_adapter(load_language_model(base, "cpu"), adapter)
    assert torch.equal(merged.lm_head.weight, merged.model.embed_tokens.weight + 1.0)


# --- tokens without embeddings ---------------------------------------------------------------------------------------


def test_tokens_that_nobody_has_embeddings_for(base, tmp_path):
    adapter, model = save_adapter(tmp_path / "adapter", base, str(base)), load_language_model(base, "cpu")
    mean = model.get_input_embeddings().weight.detach().mean(dim=0)
    with pytest.warns(OrpheusWarning, match="adapter has 2 tokens that the model lacks and no embeddings"):
        merged = merge_adapter(model, adapter, tokens=ROWS + 2)
    assert merged.get_input_embeddings().weight.shape[0] == merged.config.vocab_size == ROWS + 2
    assert torch.allclose(merged.get_output_embeddings().weight[ROWS:], mean.expand(2, -1), atol=1e-6)


def test_a_tokenizer_with_more_tokens_than_the_adapters_embeddings(base, tmp_path):
    adapter = train_adapter(tmp_path / "adapter", base, more_tokens=2, modules_to_save=["embed_tokens"])
    with pytest.raises(CheckpointError, match=f"knows {ROWS + 3} tokens, but its weights are for {ROWS + 2}"):
        merge_adapter(load_language_model(base, "cpu"), adapter, tokens=ROWS + 3)


@pytest.mark.parametrize(
    "shapes, rows",
    [
        ({}, None),
        ({"model.layers.0.self_attn.q_proj.lora_A.weight": (4, 64)}, None),
        ({"model.embed_tokens.lora_embedding_A": (4, 500), "model.embed_tokens.lora_embedding_B": (64, 4)}, 500),
        ({"lm_head.lora_A.weight": (4, 64), "lm_head.lora_B.weight": (501, 4)}, 501),
        ({"lm_head.weight": (502, 64), "model.embed_tokens.weight": (502, 64)}, 502),
    ],
)
def test_how_many_tokens_an_adapter_was_trained_with(shapes, rows):
    assert vocabulary_of(shapes) == rows


def test_an_adapter_for_two_vocabularies_at_once():
    with pytest.raises(CheckpointError, match="weights are for 500 and 502 tokens at once"):
        vocabulary_of({"lm_head.weight": (502, 64), "model.embed_tokens.weight": (500, 64)})


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.fixture
def adapter(base, tmp_path):
    return train_adapter(tmp_path / "adapter", base)


def refuse(base, adapter, message, error=CheckpointError):
    with pytest.raises(error, match=message) as caught:
        merge_adapter(load_language_model(base, "cpu"), adapter)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("start", ["pissa", "pissa_niter_4", "olora", "loftq", "corda", "lora_ga"])
def test_starts_that_change_the_base_as_well(base, adapter, start):
    change_config(adapter, init_lora_weights=start)
    refuse(base, adapter, f"init_lora_weights is '{start}', which changes the base model")


@pytest.mark.parametrize(
    "changes, named",
    [
        ({"lora_bias": True}, "lora_bias is True"),
        ({"layer_replication": [[0, 2], [1, 2]]}, "layer_replication is"),
        ({"alora_invocation_tokens": [1, 2]}, "alora_invocation_tokens is"),
        ({"use_something_new": True}, "use_something_new is True"),
        ({"something_config": {"a": 1}}, "something_config is"),
        ({"peft_type": "IA3"}, "peft_type is 'IA3'; only LORA"),
        ({"peft_type": None}, "peft_type is None; only LORA"),
    ],
)
def test_what_cannot_be_merged_is_named(base, adapter, changes, named):
    change_config(adapter, **changes)
    refuse(base, adapter, named)


def test_what_changes_nothing_is_no_obstacle(base, adapter):
    change_config(adapter, a_new_size=16, a_new_word="on", a_new_switch=False, lora_dropout=0.1, peft_version="9.9")
    check(base, adapter)


@pytest.mark.parametrize(
    "changes, named",
    [
        ({"lora_alpha": float("nan")}, "lora_alpha in .* is nan: it must be a finite number"),
        ({"lora_alpha": float("inf")}, "lora_alpha in .* is inf"),
        ({"lora_alpha": 0}, "lora_alpha must be above 0 and at most 1,000,000, not 0"),
        ({"lora_alpha": "16"}, "lora_alpha must be above 0 and at most 1,000,000, not '16'"),
        ({"alpha_pattern": {"q_proj": float("inf")}}, "alpha_pattern.q_proj in .* is inf"),
        ({"r": 0}, "r must be a whole number of 1 to 16384, not 0"),
        ({"rank_pattern": [4]}, r"rank_pattern must name layers with their figures, not \[4\]"),
        ({"rank_pattern": {"up_proj": 2.5}}, "rank_pattern up_proj must be a whole number"),
    ],
)
def test_figures_that_no_adapter_has(base, adapter, changes, named):
    change_config(adapter, **changes)
    refuse(base, adapter, named)


def rewrite(adapter, change):
    path = adapter / "adapter_model.safetensors"
    state = load_file(path)
    save_file(change(state), path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_no_numbers(base, adapter, value):
    def spoil(state):
        state["base_model.model.model.layers.1.mlp.up_proj.lora_B.weight"][5, 2] = value
        return state

    rewrite(adapter, spoil)
    refuse(base, adapter, "NaN or infinite values in model.layers.1.mlp.up_proj.lora_B.weight: its training failed")


def test_no_weights(base, adapter):
    rewrite(adapter, lambda state: {})
    refuse(base, adapter, "holds no weights: save the adapter again")


def test_weights_of_something_else(base, adapter):
    rewrite(adapter, lambda state: {"conv.weight": torch.zeros(3)})
    refuse(base, adapter, "holds 1 weights, none of them LoRA's")


def test_a_part_of_the_weights(base, adapter):
    rewrite(adapter, lambda state: {name: value for name, value in state.items() if "layers.1." not in name})
    refuse(base, adapter, r"incomplete: 14 weights .* are missing, including model.layers.1.\S+.lora_A.weight")


def test_weights_of_other_names(base, adapter):
    rewrite(adapter, lambda state: {name.replace("layers", "blocks"): value for name, value in state.items()})
    refuse(base, adapter, "28 of its 28 weights have no place in the model, including model.blocks.0")


def test_more_weights_than_the_configuration_asks_for(base, adapter):
    change_config(adapter, target_modules=["q_proj"])
    refuse(base, adapter, "24 of its 28 weights have no place in the model")


def test_a_whole_module_that_is_missing(base, adapter):
    change_config(adapter, modules_to_save=["embed_tokens"])
    refuse(base, adapter, "lacks .*embed_tokens")


def test_no_file_of_weights(base, adapter):
    (adapter / "adapter_model.safetensors").unlink()
    refuse(base, adapter, "has no adapter_model.safetensors: the adapter is incomplete")


def test_half_a_file_of_weights(base, adapter):
    path = adapter / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])
    refuse(base, adapter, "cannot be (read as safetensors|loaded)")


def test_a_pickle_is_not_opened(base, adapter):
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    refuse(base, adapter, "as a pickle.*can run code.*weights_only=True", InputError)


def test_the_configuration_is_no_object(base, adapter):
    (adapter / "adapter_config.json").write_text(json.dumps(["LORA"]))
    refuse(base, adapter, "cannot be read .a list, not a dict")
