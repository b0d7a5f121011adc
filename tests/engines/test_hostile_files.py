"""Models and adapters of unknown origin: each of their files, changed at random, loads or is refused with a clear message."""

import json
import os
import random
import resource
import shutil

import pytest
from safetensors.torch import load_file, save_file

from orpheus.common.errors import CheckpointError, InputError
from orpheus.engines.loading import check_model, load_language_model, load_tokenizer
from orpheus.engines.merging import adapter_config, merge_adapter
from orpheus.speech.adapters import check_adapter_fits
from orpheus.text.identify import describe
from tests.fakes.checkpoints import save_adapter
from tests.fakes.hostile import change_header, write_changed

DESCRIPTION = {
    "like": "orpheus-3b-ft",
    "voices": ["ann"],
    "default_voice": "ann",
    "tags": {"laugh": 3},
    "language": "en",
    "languages": {"ann": "it"},
    "prompt": "orpheus",
    "piece_seconds": 8,
    "normalize_text": False,
    "references": False,
}


@pytest.fixture
def voice(small_voice_folder, tmp_path):
    folder = shutil.copytree(small_voice_folder, tmp_path / "voice")
    (folder / "orpheus.json").write_text(json.dumps(DESCRIPTION))
    return folder


def load(voice, adapter):
    describe(str(voice))
    model = load_language_model(voice, "cpu")
    load_tokenizer(voice)
    if adapter:
        check_adapter_fits(adapter, str(voice), folder=voice)
        merge_adapter(model, adapter)


FILES = {  # and how often
    "config.json": 60,
    "generation_config.json": 30,
    "tokenizer_config.json": 30,
    "orpheus.json": 60,
    "model.safetensors": 60,
    "adapter/adapter_config.json": 50,
    "adapter/adapter_model.safetensors": 50,
}


@pytest.mark.parametrize("name", FILES)
def test_random_changes(voice, name, tmp_path):
    adapter = save_adapter(tmp_path / "adapter", voice, str(voice)) if "/" in name else None
    path = tmp_path / name if adapter else voice / name
    good, dice, ends = path.read_bytes(), random.Random(14), {"loaded": 0, "refused": 0}
    load(voice, adapter)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(FILES[name]):
        if name.endswith("json"):
            written = write_changed(dice, path, json.loads(good))
        else:
            written = change_header(dice, good)
            path.write_bytes(written)
        try:
            load(voice, adapter)
            ends["loaded"] += 1
        except (CheckpointError, InputError) as error:
            ends["refused"] += 1
            assert "\n" not in str(error) and "weights_only=False" not in str(error), written
    assert ends["refused"] > FILES[name] / 4 and sum(ends.values()) == FILES[name]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - most < 500_000  # kB


def change(folder, name="config.json", **changes):
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"num_hidden_layers": 10**6}, "num_hidden_layers in .* is 1000000: it must be a whole number of 1 to 1,000"),
        ({"num_hidden_layers": 1000}, "says num_hidden_layers 1000, but the weights are of 2 layers"),
        ({"num_hidden_layers": 1}, "says num_hidden_layers 1, but the weights are of 2 layers"),
        ({"num_hidden_layers": None}, "says num_hidden_layers 32, but the weights are of 2 layers"),
        ({"hidden_size": 65_536}, r"hidden_size 65536, but the model's embeddings are \(492, 64\)"),
        ({"vocab_size": 4_000_000}, "vocab_size 4000000"),
        ({"intermediate_size": 1_000_000}, r"_proj.weight in .* must be \(1000000, 64\)|\(64, 1000000\)"),
        ({"num_attention_heads": 1024}, "must be"),
        ({"num_attention_heads": 3}, "num_attention_heads in .* is 3, which num_key_value_heads, 2, does not divide"),
        ({"head_dim": 4096}, "must be"),
        ({"head_dim": 0}, "head_dim in .* is 0: it must be a whole number of 2 to 4,096"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings in .* is 'yes': it must be true or false"),
        ({"tie_word_embeddings": False}, "incomplete: lm_head.weight is missing"),
        ({"model_type": ["llama"]}, "model_type in"),
        ({"rope_parameters": "llama3"}, "rope_parameters in"),
    ],
)
def test_sizes_are_compared_before_anything_is_allocated(voice, changes, message):
    change(voice, **changes)
    with pytest.raises(CheckpointError, match=message):
        check_model(voice, "cpu")


def test_a_weight_that_is_missing_or_overlaps(voice):
    state = load_file(voice / "model.safetensors")
    save_file(
        {n: v for n, v in state.items() if "layers.1.mlp.up" not in n}, voice / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(CheckpointError, match="incomplete: model.layers.1.mlp.up_proj.weight is missing"):
        check_model(voice, "cpu")


@pytest.mark.parametrize("name", ["tokenizer_config.json", "generation_config.json", "special.json"])
def test_files_that_transformers_would_wait_for(voice, name):
    (voice / name).unlink(missing_ok=True)
    os.mkfifo(voice / name)
    with pytest.raises(CheckpointError, match=f"{name} is no ordinary file: remove it"):
        check_model(voice, "cpu")
    (voice / name).unlink()
    with open(voice / name, "wb") as file:
        file.truncate(1_000_000_000)
    with pytest.raises(CheckpointError, match="is 1,000 MB long; at most 32 MB are read"):
        check_model(voice, "cpu")


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(.*a)*b", "((a*)*)*", ".*.*.*.*.*.*.*x", "(a|b)*c(.+)\\1", "(", "[" * 500]
)
def test_patterns_that_never_end(voice, tmp_path, pattern):
    adapter = save_adapter(tmp_path / "adapter", voice, str(voice))
    message = "has the pattern .* (repeats|is no regular expression)|may search for hours"
    change(adapter, "adapter_config.json", target_modules=pattern)
    with pytest.raises(CheckpointError, match=message):
        adapter_config(adapter)
    change(adapter, "adapter_config.json", target_modules=["q_proj"], rank_pattern={pattern: 4})
    with pytest.raises(CheckpointError, match=message):
        adapter_config(adapter)


@pytest.mark.parametrize(
    "pattern",
    [
        r".*\.(q_proj|v_proj)",
        r"^model\.layers\.(0|1)\.self_attn\.[a-z_]{1,8}$",
        r"(?:.*?(?:language|text).*?(?:self_attn|mlp|ffn).*?(?:k_proj|v_proj|q_proj|o_proj).*?)|(?:\bmodel\.layers\.[\d]{1,}\."
        r"(?:self_attn|mlp)\.(?:(?:k_proj|v_proj|q_proj|o_proj)))",
    ],
)
def test_patterns_that_trainers_write(voice, tmp_path, pattern):
    adapter = save_adapter(tmp_path / "adapter", voice, str(voice))
    change(adapter, "adapter_config.json", target_modules=pattern)
    assert adapter_config(adapter)["target_modules"] == pattern


@pytest.mark.parametrize("name", ["\x1b[2Jann", "a\nb", "x" * 1001, " ", 5, None])
def test_names_that_a_terminal_would_obey(voice, name):
    for changes in ({"voices": [name], "default_voice": name}, {"tags": {str(name): 2}}, {"languages": {"ann": name}}):
        if "tags" in changes and name in (5, None):
            continue
        if "languages" in changes and name is None:
            continue
        (voice / "orpheus.json").write_text(json.dumps(DESCRIPTION | changes))
        with pytest.raises(CheckpointError, match="orpheus.json") as error:
            describe(str(voice))
        assert "\x1b" not in str(error.value)
