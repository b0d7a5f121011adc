"""What a first sound must not wait for."""

import subprocess
import sys

import pytest

from orpheus.common.options import ROOT
from tests.fakes.adapters import train_adapter
from tests.fakes.gguf import gguf_bytes, tokenizer_values

HEAVY = ("transformers", "peft", "datasets", "accelerate", "sklearn", "librosa", "numba", "pandas", "scipy", "sympy", "torch._dynamo")  # fmt: skip


@pytest.mark.parametrize(
    "how", ["alone", "with an adapter", "through a server", "through a server, a GGUF's tokenizer"]
)
def test_speaking_loads_nothing_heavy(small_voice_folder, tmp_path, server, how):
    """A process of its own, 3 s: what the tests have loaded is no matter there. (A GGUF in one process: tests/engines/test_llama_cpp.py.)"""
    asked = ["Good morning.", "--device", "cpu", "--max-new-tokens", "70", "--out", str(tmp_path / "hi.wav")]
    lora = train_adapter(tmp_path / "adapter", small_voice_folder) if "adapter" in how else "none"
    asked += ["--lora", str(lora), *(["--url", server.url] if "server" in how else [])]
    model = small_voice_folder
    if "GGUF" in how:
        model = tmp_path / "voice.gguf"
        model.write_bytes(gguf_bytes(tokenizer_values(small_voice_folder)))
        asked += ["--codec", str(small_voice_folder / "codec")]
    assert heavy_after([*asked, "--model", str(model)]) == "[]"
    assert (tmp_path / "hi.wav").stat().st_size > 2000


def heavy_after(arguments):
    """Which of HEAVY a process has loaded after it has spoken."""
    code = f"""
import sys, inference
assert inference.main({arguments!r}) == 0
print(sorted(set({HEAVY!r}) & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]
