"""Models whose weights others run: speech through a server, names in the command line, and what describes a GGUF."""

import json
import shutil

import numpy as np
import pytest

from orpheus.common.errors import CheckpointError
from orpheus.common.gguf import read_gguf
from orpheus.server.pool import StreamPool
from orpheus.speech.synthesis import OrpheusInference
from orpheus.text.gguf_tokenizer import tokenizer_of
from orpheus.text.identify import describe
from tests.fakes.gguf import gguf_bytes, tokenizer_values

TEXT = "Good morning."


def test_speech_through_a_server_is_that_of_the_engine_here(server, small_voice, small_voice_folder, in_empty_folder):
    tts = OrpheusInference(str(small_voice_folder), url=server.url, device="cpu")
    here = small_voice.synthesize(TEXT, temperature=0)
    there = tts.synthesize(TEXT, temperature=0)
    assert np.array_equal(here.audio, there.audio) and here.finish_reasons == there.finish_reasons
    assert tts.name == f"{small_voice_folder} at {server.url}"
    assert np.allclose(np.concatenate(list(tts.stream(TEXT, temperature=0))), here.audio, atol=1e-5)


def test_no_weights_are_needed_for_it(server, small_voice_folder, tmp_path, in_empty_folder):
    folder = tmp_path / "tokenizer_alone"
    shutil.copytree(small_voice_folder, folder, ignore=shutil.ignore_patterns("model*.safetensors"))
    shutil.copytree(small_voice_folder / "codec", folder / "codec", dirs_exist_ok=True)
    assert not list(folder.glob("*.safetensors"))
    assert OrpheusInference(str(folder), url=server.url, device="cpu").synthesize(TEXT, temperature=0).seconds > 0.5


def test_a_pool_runs_on_it_and_one_text_fails_alone(server, small_voice, small_voice_folder, in_empty_folder):
    here = small_voice.synthesize(TEXT, temperature=0).audio
    with StreamPool(OrpheusInference(str(small_voice_folder), url=server.url, device="cpu"), slots=2) as pool:
        server.faults = [(400, {"error": "no such thing"})]
        failing = pool.submit(TEXT, temperature=0)
        with pytest.raises(Exception, match="refuses the request .400: no such thing"):
            list(failing)
        speeches = [pool.submit(TEXT, temperature=0) for _ in range(3)]
        for speech in speeches:
            assert np.allclose(np.concatenate(list(speech)), here, atol=1e-5)
        assert pool.alive


def test_the_command_line(server, run):
    status, _, said = run(TEXT, "--url", server.url, "--temperature", "0", "--out", "a.wav")
    assert (status, f"{server.url} speaks llama.cpp" in said) == (0, True)
    assert run(TEXT, "--engine", "endpoint")[2].endswith("needs the server's address: --url http://localhost:8080\n")
    assert (
        "--url is for --engine endpoint, not for --engine fast" in run(TEXT, "--url", server.url, "--engine", "fast")[2]
    )
    assert "give its address with --url" in run(TEXT, "--dialect", "vllm")[2]
    status, _, said = run(TEXT, "--url", server.url, "--lora", "tuned")
    assert status == 2 and f"--lora tuned cannot be added to weights that {server.url} runs: merge it" in said


# --- GGUF files ---


@pytest.fixture
def gguf(small_voice_folder, tmp_path):
    """gguf(**more): a file with the small voice's tokenizer, and nothing beside it."""

    def make(name="voice.gguf", **more):
        path = tmp_path / name
        path.write_bytes(gguf_bytes(tokenizer_values(small_voice_folder) | more))
        return path

    return make


@pytest.mark.parametrize(
    "text", ["Good morning.", "Grüße, 你好 🎉 <laugh>", "a <|eot_id|> b <custom_token_12>", "  two  spaces\n\n"]
)
def test_the_tokenizer_of_a_gguf_builds_the_same_prompts(text, gguf, small_voice):
    from orpheus.text.prompt import PromptBuilder, layout_of

    tokenizer = tokenizer_of(read_gguf(gguf()))
    layout = layout_of(tokenizer, small_voice.codec.codebook_size)
    assert layout == small_voice.prompts.layout
    assert PromptBuilder(tokenizer, layout).prompt(text, "theo") == small_voice.prompts.prompt(text, "theo")


def test_a_tokenizer_json_beside_it_comes_first_and_other_kinds_are_refused(gguf, small_voice_folder):
    path = gguf(**{"tokenizer.ggml.model": "llama"})
    with pytest.raises(CheckpointError, match="tokenizer is 'llama', not the byte-level one.*put the tokenizer.json"):
        tokenizer_of(read_gguf(path))
    shutil.copy(small_voice_folder / "tokenizer.json", path.parent)
    assert tokenizer_of(read_gguf(path)).convert_tokens_to_ids("<custom_token_0>") == 258


def test_what_describes_a_gguf(gguf):
    described = {"voices": ["ann", "bo"], "normalize_text": True}
    inside = describe(str(gguf(**{"orpheus.description": json.dumps(described)})))
    assert (inside.voices, inside.default_voice, inside.closed, inside.normalize_text) == (
        ("ann", "bo"),
        "ann",
        True,
        True,
    )
    path = gguf()
    (path.parent / "orpheus.json").write_text(json.dumps({"voices": ["cy"]}))
    assert describe(str(path)).voices == ("cy",)
    assert describe(str(path), None, "maya1").name == "maya1"
    (path.parent / "orpheus.json").unlink()
    by_name = describe(str(gguf("Orpheus-3b-FT-Q8_0.gguf")))
    assert (by_name.name, by_name.guessed, by_name.default_voice) == ("orpheus-3b-ft", True, None)
    origin = {"general.base_model.0.repo_url": "https://huggingface.co/canopylabs/orpheus-3b-0.1-ft"}
    assert describe(str(gguf("v.gguf", **origin))).name == "orpheus-3b-ft"
    assert describe(str(gguf("v.gguf"))).voices == ()
    with pytest.raises(CheckpointError, match="orpheus.description in .* is no description"):
        describe(str(gguf(**{"orpheus.description": "[1"})))


def test_engines_and_files_that_do_not_go_together(gguf, run, small_voice_folder, monkeypatch):
    path = gguf()
    assert "--engine llama.cpp does" in run(TEXT, "--engine", "fast", model=path)[2]
    assert "runs GGUF files" in run(TEXT, "--engine", "llama.cpp")[2]
    assert f"--model {path}" in run(TEXT, "--engine", "llama.cpp", model=path.parent)[2]
    monkeypatch.setitem(__import__("sys").modules, "xllamacpp", None)
    status, _, said = run(TEXT, model=path)
    assert status == 2 and "pip install -r requirements-llama.txt" in said
