"""The command: what it writes, whose it is, and what it refuses before it writes. What needs no extra."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from orpheus.common.errors import CheckpointError, OrpheusError
from orpheus.engines.loading import load_language_model
from orpheus.engines.merging import merge_adapter
from orpheus.export import cli, folder
from orpheus.export.check import agreeing, judge_ids, words_said
from orpheus.export.folder import export, file_name, find_source
from orpheus.export.gguf_metadata import Facts, spelled, vocabulary
from orpheus.export.merged import in_16_bits, write_safetensors
from orpheus.export.options import K_QUANTS, OWN_KINDS, ExportOptions
from orpheus.export.quantizer import find_quantizer
from orpheus.export.weights import open_weights
from orpheus.speech.synthesis import OrpheusInference
from orpheus.text.description import ModelDescription
from tests.fakes.adapters import train_adapter
from tests.fakes.checkpoints import SMALL_LAYOUT


@pytest.fixture
def call(capfd, in_empty_folder):
    """Runs the command; returns (status, stdout, stderr)."""

    def call(*arguments):
        try:
            status = cli.main([str(argument) for argument in arguments])
        except SystemExit as exit:
            status = exit.code
        return status, *capfd.readouterr()

    return call


def merged(out, base, lora="none"):
    export(find_source(str(base), str(lora), lora_anyway=True), ExportOptions(merged=True, out=out))
    return out


# --- merged ----------------------------------------------------------------------------------------------------------


def test_a_model_without_an_adapter(call, small_voice_folder, tmp_path):
    status, said, _ = call("--model", small_voice_folder, "--lora", "none", "--merged", "--out", tmp_path / "out")
    assert status == 0 and "model.safetensors" in said
    found, expected = load_file(tmp_path / "out/model.safetensors"), load_file(small_voice_folder / "model.safetensors")
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name].to(torch.bfloat16)) for name in expected)
    card = (tmp_path / "out/README.md").read_text()
    assert (
        "<custom_token_3><|begin_of_text|>ann: Good morning.<|eot_id|>" in card
        and "| voices | `ann` (default), `bob` |" in card
    )
    assert (
        "{" not in card.replace('{"prompt"', "").split("```")[0] and "vllm serve" in card and "llama-server" not in card
    )
    assert OrpheusInference(str(tmp_path / "out"), lora="none").synthesize("Hi.", max_new_tokens=70).seconds > 0


def test_an_adapter_is_merged_as_for_speaking(small_voice_folder, tmp_path):
    adapter = train_adapter(tmp_path / "adapter", small_voice_folder, use_rslora=True)
    found = load_file(merged(tmp_path / "out", small_voice_folder, adapter) / "model.safetensors")
    expected = merge_adapter(load_language_model(small_voice_folder, "cpu"), adapter).to(torch.bfloat16).state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in found) and len(found) == 20


def test_large_models_are_cut_into_files(small_voice_folder, tmp_path):
    write_safetensors(tmp_path, open_weights(small_voice_folder), "bfloat16", file_bytes=60_000)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    files = sorted(tmp_path.glob("*.safetensors"))
    assert len(files) > 1 and {path.name for path in files} == set(index["weight_map"].values())
    found = {name: value for path in files for name, value in load_file(path).items()}
    expected = load_file(small_voice_folder / "model.safetensors")
    assert found.keys() == expected.keys() == index["weight_map"].keys()
    assert all(torch.equal(found[name], expected[name].to(torch.bfloat16)) for name in expected)
    assert index["metadata"]["total_size"] == sum(value.numel() * 2 for value in found.values())


def test_16_bits_are_rounded_as_pytorch_rounds(random):
    values = np.concatenate(
        [random.standard_normal(10_000) * 10.0 ** random.integers(-40, 38, 10_000), [0, -0.0, 1e-45, 65_504]]
    )
    block = values.astype(np.float32)
    expected = torch.from_numpy(block).bfloat16().view(torch.int16).numpy()
    assert np.array_equal(in_16_bits(block, "bfloat16").view(np.int16), expected)
    assert np.array_equal(
        in_16_bits(block[np.abs(block) < 6e4], "float16"), block[np.abs(block) < 6e4].astype(np.float16)
    )
    with pytest.raises(CheckpointError, match="w has values up to 7e\\+04, and float16 holds 65,504"):
        in_16_bits(np.float32([[7e4]]), "float16", "w")


# --- whose it is -----------------------------------------------------------------------------------------------------


def test_only_what_was_written_is_replaced(small_voice_folder, tmp_path):
    out = merged(tmp_path / "out", small_voice_folder)
    (out / "notes.txt").write_text("mine")
    (out / "orpheus.json").unlink()
    merged(out, small_voice_folder)
    assert (out / "notes.txt").read_text() == "mine" and (out / "orpheus.json").is_file()


def test_a_folder_of_others_is_left_alone(call, small_voice_folder, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.tex").write_text("mine")
    status, _, said = call("--model", small_voice_folder, "--merged", "--out", tmp_path / "out")
    assert (
        status == 2 and "thesis.tex" in said and "left alone" in said and len(list((tmp_path / "out").iterdir())) == 1
    )
    status, _, said = call("--model", small_voice_folder, "--merged", "--out", small_voice_folder)
    assert status == 2 and "what --model reads" in said


def test_a_full_disk_is_seen_before(call, small_voice_folder, monkeypatch, tmp_path):
    monkeypatch.setattr("orpheus.common.places.free_bytes", lambda path: 10_000_000)
    status, _, said = call("--model", small_voice_folder, "--merged", "--out", tmp_path / "out")
    assert status == 2 and "10.0 MB are free" in said and not (tmp_path / "out").exists()


def test_nothing_stands_there_where_it_fails(small_voice_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "write_card", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OrpheusError, match="No space left"):
        merged(tmp_path / "out", small_voice_folder)
    assert not list((tmp_path / "out").glob("*")) or {p.name for p in (tmp_path / "out").iterdir()} == {".orpheus"}


# --- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((), "nothing to write: say --merged"),
        (("--merged", "--check"), "none is written: add --gguf f32"),
        (("--gguf", "f16", "f16"), "a kind is named twice in --gguf f16 f16"),
        (("--merged", "--name", "a/b"), "--name 'a/b' is no name for files"),
        (("--merged", "--name", ".."), "--name '..' is no name"),
        (("--merged", "--check-tokens", "3"), "check_tokens must be a whole number of at least 7, not 3"),
    ],
)
def test_bad_options(call, arguments, message):
    status, _, said = call("--model", "demo", *arguments)
    assert status == 2 and message in " ".join(said.replace("│", " ").split())


def test_tilde_is_the_users_folder(monkeypatch, tmp_path):
    from orpheus.export.cli import _parse

    monkeypatch.setenv("HOME", str(tmp_path))
    assert _parse(["--merged", "--out=~/voices/mine"]).writing.out == tmp_path / "voices" / "mine"


def test_a_package_that_is_missing_is_named_with_the_cure(call, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    monkeypatch.setitem(__import__("sys").modules, "xllamacpp", None)
    status, _, said = call("--model", "demo", "--lora", "none", "--gguf", "f32")
    assert status == 2 and "pip install -r requirements-llama.txt" in said and "package gguf" in said
    status, _, said = call("--model", "demo", "--lora", "none", "--gguf", "f32", "--check")
    assert status == 2 and "pip install -r requirements-llama.txt" in said and "xllamacpp" in said


def test_a_model_that_is_quantised_is_refused(call, small_voice_folder, tmp_path):
    copy = shutil.copytree(small_voice_folder, tmp_path / "voice")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"quantization_config": {"load_in_4bit": True}}))
    status, _, said = call("--model", copy, "--lora", "none", "--merged")
    assert status == 2 and "quantised copy of a model (4-bit, bitsandbytes): export the one in 16 bits" in said


def test_the_kinds_are_those_of_the_flag():
    from typing import get_args, get_type_hints

    allowed = get_args(get_args(get_type_hints(ExportOptions)["gguf"])[0])
    assert allowed == (*OWN_KINDS, *K_QUANTS)


def test_a_quantizer_on_the_path(tmp_path, monkeypatch):
    monkeypatch.setattr("orpheus.export.quantizer._llama_cpp", lambda: None)
    monkeypatch.setattr("orpheus.export.quantizer._cyllama", lambda: None)
    program = tmp_path / "llama-quantize"
    program.write_text('#!/bin/sh\n[ "$3" = Q6_K ] || { echo "no such kind" >&2; exit 3; }\necho "$3 of $1" > "$2"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    quantize, name = find_quantizer()
    quantize(tmp_path / "a", tmp_path / "b", "q6_k")
    assert name == "llama-quantize" and (tmp_path / "b").read_text() == f"Q6_K of {tmp_path / 'a'}\n"
    with pytest.raises(OrpheusError, match="could not quantize .* to q2_k .status 3.*no such kind"):
        quantize(tmp_path / "a", tmp_path / "b", "q2_k")


# --- what is said ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prompt, voice, expected",
    [
        ("orpheus", "tara", "<custom_token_3><|begin_of_text|>tara: Hi<|eot_id|><custom_token_4><custom_token_5><custom_token_1>"),
        ("orpheus", None, "<custom_token_3><|begin_of_text|>Hi<|eot_id|><custom_token_4><custom_token_5><custom_token_1>"),
        ("speaker_token", "kavya", "<custom_token_3><spk_kavya> Hi<custom_token_4><custom_token_5><custom_token_1>"),
    ],
)  # fmt: skip
def test_prompts_as_text(prompt, voice, expected):
    assert spelled(Facts("x", ModelDescription(prompt=prompt), SMALL_LAYOUT, None), "Hi", voice) == expected


def test_the_vocabulary_of_other_tokenizers():
    added = [
        {"id": 1, "content": "<custom_token_0>", "special": True},
        {"id": 2, "content": "<|eot_id|>", "special": True},
    ]
    stored = {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["a", "b"], "c d"]}, "added_tokens": added}
    tokens, types, merges = vocabulary(stored, 4, "x")
    assert tokens == [b"a", b"<custom_token_0>", b"<|eot_id|>", b"[PAD3]"]
    assert types == ["NORMAL", "USER_DEFINED", "CONTROL", "UNUSED"] and merges == ["a b", "c d"]
    assert vocabulary({"model": {"type": "Unigram"}}, 4, "x") is None
    with pytest.raises(CheckpointError, match="knows tokens beyond the model's 2"):
        vocabulary(stored, 2, "x")
    with pytest.raises(CheckpointError, match="incomplete or damaged"):
        vocabulary({"model": {"type": "BPE"}}, 2, "x")


def test_names_of_files(small_voice_folder, tmp_path):
    source = find_source("demo", "none")
    assert file_name(source) == "demo_voice"
    from dataclasses import replace

    assert file_name(replace(source, name="a/Köln 3b", adapter=tmp_path / "lora")) == "Köln_3b-lora"
    assert file_name(replace(source, name="///")) == "voice"


@pytest.mark.parametrize(
    "kind, differ, leads, passed",
    [
        ("f32", 0, (), True),
        ("f32", 1, (), False),
        ("f16", 1, (0.3,), True),
        ("f16", 2, (0.3, float("inf")), False),
        ("f16", 2, (0.3, 0.009), True),
        ("f16", 5, (0.001, -0.004, 0.0, 0.01, 1.5), True),
        ("f16", 3, (0.0, -0.011, 1.5), False),
        ("bf16", 20, (), True),
        ("q8_0", 20, (), True),
    ],
)
def test_how_many_sentences_must_be_equal(kind, differ, leads, passed):
    expected = [[1, 2, 3, 4]] * 20
    found = [[1, 2, 9]] * differ + [[1, 2, 3, 4]] * (20 - differ)
    said, verdict = judge_ids(kind, expected, found, [*leads, *[0.0] * (20 - len(leads))])
    assert verdict is passed and f"{20 - differ} of 20 sentences" in said and f"{80 - 2 * differ} of 80 ids" in said
    ties = {2: "; 1 parts at a near-tie (at most 0.0090", 5: "; 4 part at a near-tie (at most 0.0100"}
    if kind == "f16" and leads[-1] != float("inf"):
        assert ties.get(differ, "ids") in said
    assert said.endswith("must be equal or part at a near-tie") == (kind == "f16" and not passed)


def test_ids_are_compared_up_to_the_first_that_differs():
    assert agreeing([1, 2, 3], [1, 2]) == 2 and agreeing([], [1]) == 0 and agreeing([1, 5], [2, 5]) == 0


def test_word_errors_have_an_interval():
    here, there = [(0, 10)] * 20, [(n % 3, 10) for n in range(20)]
    assert "no worse" in words_said(here, here) and "0.0 % (0.0 to 0.0)" in words_said(here, here)
    assert words_said(here, there).startswith("word errors 9.5 % (") and "worse than the model" in words_said(
        here, there
    )


def test_words_are_heard_from_both(small_voice):
    from orpheus.export import check

    class Recognizer:
        def listen(self, audio):
            assert audio.dtype == np.float32 and len(audio) >= 2048
            return type("Heard", (), {"text": "good morning"})

    model, texts = small_voice.model, ["Good morning.", "Good night."]
    prompts = [model.prompts.prompt(text, "ann") for text in texts]
    said = check._words(model, Recognizer(), model.engine, texts, prompts)
    assert said.startswith("word errors 25.0 % (0.0 to 50.0), this project's engine 25.0 %") and "no worse" in said
    assert check._words(model, None, None, texts, prompts) == "words were not judged"
