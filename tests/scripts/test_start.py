"""What a first sound must not wait for."""

import json
import subprocess
import sys

from orpheus.common.options import ROOT
from tests.fakes.adapters import train_adapter
from tests.fakes.gguf import gguf_bytes, tokenizer_values
from tests.test_setup import NEED_A_GPU

HEAVY = ("transformers", "peft", "datasets", "accelerate", "sklearn", "librosa", "numba", "pandas", "scipy", "sympy", "torch._dynamo")  # fmt: skip


def test_speaking_loads_nothing_heavy_and_asks_for_nothing_that_needs_a_gpu(small_voice_folder, tmp_path, server):
    """One process of its own for all ways, as what the tests have loaded is no matter there. (A GGUF in one process:
    tests/engines/test_llama_cpp.py.)"""
    gguf, lora = tmp_path / "voice.gguf", train_adapter(tmp_path / "adapter", small_voice_folder)
    gguf.write_bytes(gguf_bytes(tokenizer_values(small_voice_folder)))
    folder, url = ["--model", small_voice_folder], ["--url", server.url]
    ways = {
        "alone": [*folder, "--lora", "none"],
        "with an adapter": [*folder, "--lora", lora],
        "through a server": [*folder, "--lora", "none", *url],
        "through a server, a GGUF's tokenizer": [
            *("--model", gguf, "--lora", "none", *url, "--codec", small_voice_folder / "codec")
        ],
    }
    spoken = {way: tmp_path / f"{index}.wav" for index, way in enumerate(ways)}
    fixed = ["Good morning.", "--device", "cpu", "--max-new-tokens", 70]
    asked = {way: [str(word) for word in (*fixed, *ways[way], "--out", spoken[way])] for way in ways}
    assert heavy_after(asked) == dict.fromkeys(ways, [])
    assert [path.stat().st_size > 2000 for path in spoken.values()] == [True] * 4


def heavy_after(asked):
    """{way: which of HEAVY a process has loaded after it has spoken in all ways until then}. asked: {way: arguments}"""
    code = f"""
import json, sys
for name in {NEED_A_GPU!r}:
    sys.modules[name] = None  # importing it fails
import inference
found = {{}}
for way, arguments in {asked!r}.items():
    assert inference.main(arguments) == 0, way
    found[way] = sorted(set({HEAVY!r}) & set(sys.modules))
print(json.dumps(found))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
