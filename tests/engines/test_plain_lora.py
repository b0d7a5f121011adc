"""Plain adapters without peft: merged as peft merges them, refused in the same words, or left to it."""

import pytest
import torch

from orpheus.engines.loading import open_engine, read_llama
from tests.engines.test_merging import KINDS
from tests.engines.test_stored import error_of, model_of, rewrite, same
from tests.fakes.adapters import change_config, train_adapter
from tests.fakes.checkpoints import SMALL_CONFIG, SMALL_LAYOUT

PLAIN = ("plain", "rslora", "ranks and alphas of their own", "one layer", "a pattern of names", "all linear", "all but one", "gaussian")  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_plain_adapters_are_merged_as_peft_merges_them(small_voice_folder, tmp_path, kind):
    adapter = train_adapter(tmp_path / "adapter", small_voice_folder, **KINDS[kind])
    if kind in PLAIN:
        assert len(read_llama(small_voice_folder, adapter, "cpu").lora) > 1
        same(small_voice_folder, adapter)
    else:
        assert read_llama(small_voice_folder, adapter, "cpu") is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_adapters_in_16_bits(small_voice_folder, tmp_path, dtype):
    adapter = train_adapter(tmp_path / "adapter", small_voice_folder, r=7, use_rslora=True)
    rewrite(
        adapter / "adapter_model.safetensors", lambda state: state.update({k: v.to(dtype) for k, v in state.items()})
    )
    same(small_voice_folder, adapter)


@pytest.mark.parametrize(
    "changes",
    [
        {"layers_to_transform": 0, "target_modules": ["q_proj", "up_proj"]},
        {"layers_to_transform": [0], "layers_pattern": "layers"},
        {"target_modules": ["model.layers.1.mlp.down_proj", "layers.0.self_attn.o_proj"]},
        {"exclude_modules": ["layers.0.self_attn.q_proj", "v_proj"]},
        {"rank_pattern": {"layers.0.mlp.up_proj": 2, "up_proj": 6, r".*\.1\.self_attn\..*": 3}, "use_rslora": True},
        {"alpha_pattern": {"0.self_attn.q_proj": 1, "q_proj": 32}},
    ],
)
def test_any_part_of_the_layers(small_voice_folder, tmp_path, changes):
    adapter = train_adapter(tmp_path / "adapter", small_voice_folder, **changes)
    same(small_voice_folder, adapter)


def no_numbers(state):
    next(iter(state.values()))[0, 0] = float("inf")


ADAPTER_FAULTS = {
    "NaN": lambda adapter, weights: rewrite(weights, no_numbers),
    "a part": lambda adapter, weights: rewrite(weights, lambda state: state.pop(next(iter(state)))),
    "none": lambda adapter, weights: rewrite(weights, lambda state: state.clear()),
    "more than is asked for": lambda adapter, weights: change_config(adapter, target_modules=["q_proj"]),
    "less than is asked for": lambda adapter, weights: change_config(adapter, target_modules=["mlp", "q_proj"]),
    "rank": lambda adapter, weights: change_config(adapter, r=5),
    "other names": lambda adapter, weights: rewrite(weights, lambda s: s.update({f"x.{n}": s.pop(n) for n in list(s)})),
    "cut": lambda adapter, weights: weights.write_bytes(weights.read_bytes()[:-400]),
    "pattern": lambda adapter, weights: change_config(adapter, target_modules="(q_proj"),
    "alpha": lambda adapter, weights: change_config(adapter, lora_alpha=0),
    "unknown": lambda adapter, weights: change_config(adapter, use_something_new=True),
}


@pytest.mark.parametrize("fault", ADAPTER_FAULTS)
def test_the_same_adapters_are_refused_in_the_same_words(small_voice_folder, tmp_path, fault):
    adapter = train_adapter(tmp_path / "adapter", small_voice_folder)
    ADAPTER_FAULTS[fault](adapter, adapter / "adapter_model.safetensors")
    expected = error_of(lambda: model_of(small_voice_folder, adapter))
    assert error_of(lambda: open_engine("auto", small_voice_folder, adapter, "cpu", SMALL_LAYOUT)) == expected


def test_tokens_that_the_model_lacks_are_left_to_peft(small_voice_folder, tmp_path):
    adapter = train_adapter(tmp_path / "adapter", small_voice_folder)
    assert read_llama(small_voice_folder, adapter, "cpu", SMALL_CONFIG["vocab_size"]) is not None
    assert read_llama(small_voice_folder, adapter, "cpu", SMALL_CONFIG["vocab_size"] + 1) is None
