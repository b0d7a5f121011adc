"""Models' folders: what is not sound is refused before it speaks, and nothing in a folder is run."""

import ast
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from orpheus.common.errors import CheckpointError, InputError
from orpheus.common.options import ROOT
from orpheus.engines.loading import load_language_model, load_tokenizer


@pytest.fixture
def folder(small_voice_folder, tmp_path):
    return shutil.copytree(small_voice_folder, tmp_path / "voice")


def change(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def refused(folder, message, error=CheckpointError):
    with pytest.raises(error, match=message) as caught:
        load_language_model(folder, "cpu")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "name, value",
    [
        ("model.layers.1.self_attn.q_proj.weight", float("nan")),
        ("model.norm.weight", float("inf")),
        ("model.embed_tokens.weight", float("-inf")),
    ],
)
def test_weights_that_are_no_numbers(folder, name, value):
    state = load_file(folder / "model.safetensors")
    state[name].view(-1)[7] = value
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    refused(folder, f"NaN or infinite values in 1 of its 20 weights, including {name}")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"rms_norm_eps": float("nan")}, "rms_norm_eps in .* is nan: it must be a finite number"),
        ({"rms_norm_eps": 0}, "rms_norm_eps in .* is 0: it must be above 0 and below 1"),
        ({"rms_norm_eps": "small"}, "rms_norm_eps in .* is 'small'"),
        ({"rope_theta": 0}, "rope_theta in .* is 0: it must be at least 1"),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 0.0}}, "rope_theta in .* is 0.0"),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": -1e4}}, "rope_theta in .* is -10000.0"),
        ({"rope_parameters": {"rope_type": "linear", "factor": float("inf")}}, "rope_parameters.factor in .* is inf"),
        ({"rope_scaling": {"rope_type": "linear", "factor": 0}}, "factor in .* is 0: it must be above 0"),
        ({"attention_dropout": [1.0, float("nan")]}, "attention_dropout.1 in .* is nan"),
    ],
)
def test_figures_that_no_model_has(folder, changes, message):
    change(folder, **changes)
    assert "Download it again" not in refused(folder, message).replace("or download it again", "")


def write_code(folder, name):
    """A file that leaves a trace where it is run."""
    (folder / name).write_text(f"open({str(folder / 'it_ran')!r}, 'w').close()\nclass Any:\n    pass\n")


def test_a_model_with_code_of_its_own(folder, monkeypatch):
    write_code(folder, "modeling_own.py")
    change(
        folder,
        model_type="own",
        auto_map={"AutoConfig": "modeling_own.Any", "AutoModelForCausalLM": "modeling_own.Any"},
    )
    monkeypatch.setattr("builtins.input", lambda *_: "y")  # what transformers asks unless it is told
    message = refused(folder, "code of its own, which is never run")
    assert "Download" not in message and not (folder / "it_ran").exists()


def test_a_tokenizer_with_code_of_its_own(folder, monkeypatch):
    write_code(folder, "tokenization_own.py")
    path = folder / "tokenizer_config.json"
    config = {"tokenizer_class": "OwnTokenizer", "auto_map": {"AutoTokenizer": ["tokenization_own.Any", None]}}
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    change(folder, model_type="own")
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    with pytest.raises(CheckpointError, match="tokenizer in .* cannot be loaded"):
        load_tokenizer(folder)
    assert not (folder / "it_ran").exists()


def test_a_pickle_is_not_opened(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    message = refused(folder, "holds its weights as a pickle .pytorch_model.bin.*weights_only=True", InputError)
    command = message.split("trust it: ")[1]  # the cure works
    assert command.startswith('python -c "') and command.endswith('"')
    exec(command.removeprefix('python -c "').removesuffix('"'), {})
    load_language_model(folder, "cpu")


@pytest.mark.parametrize(
    "settings, named",
    [
        ({"load_in_4bit": True, "quant_method": "bitsandbytes"}, "4-bit, bitsandbytes"),
        ({"load_in_8bit": True}, "8-bit, bitsandbytes"),
        ({"bits": 4, "quant_method": "gptq"}, "4-bit, gptq"),
        ({"quant_method": "fp8"}, "fp8"),
    ],
)
def test_quantised_copies_need_cuda(folder, settings, named):
    change(folder, quantization_config=settings)
    message = refused(folder, f"quantised copy of a model .{named}., which needs CUDA", InputError)
    assert message.endswith("--model unsloth/orpheus-3b-0.1-ft")


def test_a_model_with_an_adapter_beside_it(folder):
    """transformers would put the adapter onto the model without a word."""
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "x"}')
    refused(folder, "holds a whole model and a LoRA adapter beside it", InputError)


@pytest.mark.parametrize(
    "name", ["../model.safetensors", "/tmp/model.safetensors", "..\\model.safetensors", "a/b.safetensors", 5]
)
def test_an_index_that_names_other_places(folder, name):
    index = {"weight_map": {"model.norm.weight": name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(folder, "index.json names .*, which is no file in its folder")


def test_an_index_that_names_a_missing_part(folder):
    index = {"weight_map": {"model.norm.weight": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(folder, "incomplete: model-00002-of-00002.safetensors, which .* names, is missing. Download it again")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "codec"])
def test_links_out_of_the_folder(folder, tmp_path, name):
    (folder / name).rename(tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    refused(folder, f"{name} is a symbolic link to .*elsewhere, outside of its folder")


def test_the_hubs_cache_is_made_of_links(folder, tmp_path):
    blobs, snapshot = tmp_path / "models--a--b" / "blobs", tmp_path / "models--a--b" / "snapshots" / "0123"
    for path in (blobs, snapshot):
        path.mkdir(parents=True)
    for count, path in enumerate(sorted(folder.glob("*.*"))):
        path.rename(blobs / str(count))
        (snapshot / path.name).symlink_to(blobs / str(count))
    assert load_language_model(snapshot, "cpu").config.vocab_size == 492
    (tmp_path / "short").symlink_to(snapshot)  # the folder itself may be a link
    assert load_language_model(tmp_path / "short", "cpu").config.vocab_size == 492


def test_no_call_leaves_it_open_whether_code_is_run():
    """transformers asks "run the custom code? [y/N]" where it is not told, and runs it on a y from standard input."""
    scripts = [path for folder in ("orpheus", "recipes", "benchmarks/common") for path in (ROOT / folder).rglob("*.py")]
    checked = 0
    for path in [*scripts, *ROOT.glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            call = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if call.startswith("Auto") and call.endswith(".from_pretrained"):
                told = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                assert told.get("trust_remote_code") == "False", f"{path}:{node.lineno}"
                checked += 1
    assert checked >= 5
