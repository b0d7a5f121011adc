"""What we write, loaded by the former generation of transformers: the same values, token ids and logits. `make test-transformers4`."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from orpheus.common.options import ROOT
from orpheus.export.generations import for_both_generations
from orpheus.export.merged import merge
from orpheus.speech.model import DEMO_VOICE
from orpheus.speech.options import EXAMPLES
from tests.export.under_transformers4 import answer
from tests.fakes.checkpoints import save_voice, write_tuned

pytestmark = [pytest.mark.transformers4, pytest.mark.timeout(600)]

GENERATION = (
    "bos_token_id eos_token_id pad_token_id do_sample temperature top_p top_k repetition_penalty max_new_tokens".split()
)
CONFIG = (
    "vocab_size hidden_size num_hidden_layers num_key_value_heads head_dim max_position_embeddings rms_norm_eps".split()
)
CONFIG += "tie_word_embeddings bos_token_id eos_token_id pad_token_id voices default_voice piece_seconds normalize_text".split()


def texts():
    """Sentences, tags, every control token, other scripts, odd white space."""
    sentences = (ROOT / "assets" / "evaluation" / "sentences.jsonl").read_text(encoding="utf-8").splitlines()
    said = [json.loads(line)["text"] for line in sentences] + list(EXAMPLES)
    named = [f"{voice}: {text}" for voice in ("nora", "mara") for text in said]
    controls = ["".join(f"<custom_token_{n}>" for n in range(60)), "<|begin_of_text|>Hi<|eot_id|>", "<custom_token_3"]
    return (
        said + named + controls + ["", " ", "\n\t  x  ", "Привет, 你好, مرحبا 😀", "naïve café", "a" * 500, "1,234.5 %"]
    )


def tuned(folder, base, name):
    """(adapter, merged model) of a voice, as the recipe leaves them."""
    adapter = write_tuned(folder / "lora", base, name)
    merge(folder / "merged", base, adapter)
    return str(adapter), str(folder / "merged")


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """(what transformers 5 makes of all folders, what 4 does, the folders)"""
    python = os.environ.get("TRANSFORMERS4_PYTHON")
    if not python:
        pytest.fail("TRANSFORMERS4_PYTHON names no Python with transformers 4: make test-transformers4")
    folder = tmp_path_factory.mktemp("generations")
    llama3 = save_voice(folder / "llama3", frames=25, margin=10.0, piece_seconds=5)  # the 3B's rotary embedding
    for_both_generations(llama3)  # as a base that is on the hub
    small = tuned(folder / "small", llama3, str(llama3))
    demo = tuned(folder / "demo", DEMO_VOICE, DEMO_VOICE.name)
    draw = np.random.default_rng(0)
    request = {
        "texts": texts(),
        "config": CONFIG,
        "generation": GENERATION,
        "tokenizers": [*small, *demo, str(DEMO_VOICE)],
        "models": [small[1], demo[1], str(DEMO_VOICE)],
        "adapters": {small[0]: str(llama3), demo[0]: str(DEMO_VOICE)},
        "prompts": [draw.integers(0, 490, length).tolist() for length in (1, 7, 60, 400, 1500)],
    }
    (folder / "request.json").write_text(json.dumps(request))
    script = Path(__file__).with_name("under_transformers4.py")
    done = subprocess.run(
        [python, script, folder / "request.json", folder / "answer.json"], capture_output=True, text=True, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return answer(request), json.loads((folder / "answer.json").read_text()), request


def test_it_is_the_former_generation(answers):
    new, old, _ = answers
    assert old["version"].startswith("4.") and new["version"].startswith("5.")
    print(f"\ntransformers {old['version']} beside {new['version']}")


def test_configurations_are_read_alike(answers):
    new, old, request = answers
    for folder in request["models"]:
        for name, value in new["config"][folder].items():
            same = pytest.approx(value, rel=1e-6) if name == "inverse frequencies" else value
            assert old["config"][folder][name] == same, (folder, name)
        for name, value in json.loads((Path(folder) / "generation_config.json").read_text()).items():
            if name in request["generation"]:
                assert old["generation"][folder][name] == new["generation"][folder][name] == value, (folder, name)
    print(f"\n{len(request['models'])} configurations: the same {', '.join(new['config'][folder])}")


def test_token_ids_are_the_same(answers):
    new, old, request = answers
    assert old["specials"] == new["specials"]
    for folder in request["tokenizers"]:
        for text, expected, found in zip(request["texts"] * 2, new["ids"][folder], old["ids"][folder], strict=True):
            assert found == expected, (folder, text)
    print(
        f"{len(request['texts'])} texts x {len(request['tokenizers'])} tokenizers: the same ids, with and without BOS"
    )


def test_logits_are_the_same(answers):
    new, old, _ = answers
    for folder, expected in new["logits"].items():
        apart = np.abs(np.array(old["logits"][folder]) - np.array(expected)).max()
        print(
            f"\n{'/'.join(Path(folder).parts[-2:])}: logits at most {apart:.1e} apart, of {np.abs(expected).max():.1f}"
        )
        assert apart < 1e-3
