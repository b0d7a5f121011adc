"""What a path is, and what to do where it is not what was wanted."""

import os
import tarfile
import zipfile

import pytest

from orpheus.common.checkpoints import explain, inside, is_adapter, quantization


def fill(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    return folder


FILES = {
    "adapter": ("adapter_config.json", "adapter_model.safetensors"),
    "whole model": ("config.json", "model.safetensors", "tokenizer.json"),
}


@pytest.mark.parametrize("flag", ["--model", "--lora"])
def test_files_where_a_folder_is_wanted(tmp_path, flag):
    gguf, unnamed = tmp_path / "orpheus.Q8_0.gguf", tmp_path / "weights"
    for path in (gguf, unnamed):
        path.write_bytes(b"GGUF\3\0\0\0")
        cure = f"give the file itself, --model {path}" if flag == "--model" else "adapters are read as folders"
        assert f"{path} is a GGUF file" in explain(path, flag) and cure in explain(path, flag)
    packed = tmp_path / "voice.zip"
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("a.txt", "a")
    assert f"is an archive: unpack it (unzip {packed} -d {tmp_path}/voice), then" in explain(packed, flag)
    packed = tmp_path / "voice.tar.gz"
    with tarfile.open(packed, "w:gz") as file:
        file.add(gguf, "a")
    assert f"(mkdir {tmp_path}/voice && tar xf {packed} -C {tmp_path}/voice)" in explain(packed, flag)
    pickled = fill(tmp_path, "adapter_model.bin") / "adapter_model.bin"
    assert "is a pickle, which can run code as it is read" in explain(pickled, flag)
    weights = fill(tmp_path, "adapter_model.safetensors") / "adapter_model.safetensors"
    assert explain(weights, flag).endswith(f"is a file, not a folder: give the folder that it is in, {flag} {tmp_path}")


@pytest.mark.parametrize(
    "names, message",
    [
        ((), "is empty (holds no adapter_config.json). Give the folder that training wrote"),
        (("notes.txt",), "holds no adapter_config.json: not a LoRA adapter. Give the folder"),
        (("voice.gguf",), "not a LoRA adapter; voice.gguf in it is a GGUF file"),
        (FILES["whole model"], "it is a whole model, not a LoRA adapter. Speak with it by --model FOLDER --lora none"),
        (("config.json", "pytorch_model.bin"), "it is a whole model, not a LoRA adapter"),
        (("adapter_model.safetensors",), "only an adapter's weights: copy that file beside them"),
        (
            ("checkpoint-60/adapter_config.json",),
            "in it: FOLDER/checkpoint-60. Give one of them: --lora FOLDER/checkpoint-60",
        ),
        (("a/b/c/adapter_config.json",), "--lora FOLDER/a/b/c"),
        (("a/b/c/d/adapter_config.json",), "not a LoRA adapter. Give the folder"),
    ],
)
def test_folders_that_are_no_adapter(tmp_path, names, message):
    folder = fill(tmp_path, *names)
    assert message.replace("FOLDER", str(folder)) in explain(folder, "--lora")


@pytest.mark.parametrize(
    "names, message",
    [
        ((), "is an empty folder. Give a folder with a model, a hub id, or --model demo"),
        (("a.wav", "a.txt"), "holds no config.json: not a model. Give a folder with a model"),
        (("voice.gguf",), "not a model; voice.gguf in it is a GGUF file"),
        (FILES["adapter"], "is a LoRA adapter, not a whole model: give it as --lora FOLDER"),
        (
            ("config.json", "pytorch_model-00001-of-00002.bin"),
            "holds its weights as a pickle (pytorch_model-00001-of-00002.bin)",
        ),
        (
            ("config.json", "optimizer.pt"),
            "no weights in safetensors (model.safetensors), the only kind that is read. Copy",
        ),
        (("config.json", "voice.gguf"), "the only kind that is read; voice.gguf in it is a GGUF file"),
        (("v1/config.json", "v1/model.safetensors"), "there are models in it: FOLDER/v1. Give one: --model FOLDER/v1"),
        (("run/checkpoint-9/adapter_config.json",), "holds no model, but LoRA adapters: FOLDER/run/checkpoint-9."),
    ],
)
def test_folders_that_are_no_model(tmp_path, names, message):
    folder = fill(tmp_path, *names)
    assert message.replace("FOLDER", str(folder)) in explain(folder, "--model")


def test_the_nearest_come_first_then_the_latest(tmp_path):
    for count, name in enumerate(["deep/x/adapter", "old", "new"]):
        fill(tmp_path / name, *FILES["adapter"])
        os.utime(tmp_path / name, (count, count))
    (tmp_path / "loop").symlink_to(tmp_path)
    assert [str(p.relative_to(tmp_path)) for p in inside(tmp_path, is_adapter)] == ["new", "old", "deep/x/adapter"]


def test_many_are_counted(tmp_path):
    for count in range(5):
        fill(tmp_path / f"checkpoint-{count}", *FILES["adapter"])
    assert " and 2 more. Give one of them" in explain(tmp_path, "--lora")


@pytest.mark.parametrize(
    "config, words",
    [
        ({}, None),
        ({"quantization_config": None}, None),
        ({"quantization_config": {"load_in_4bit": True, "quant_method": "bitsandbytes"}}, "4-bit, bitsandbytes"),
        ({"quantization_config": {"bits": 8, "quant_method": "gptq"}}, "8-bit, gptq"),
        ({"quantization_config": {"quant_method": "mxfp4"}}, "mxfp4"),
    ],
)
def test_what_is_quantised(config, words):
    assert quantization(config) == words
