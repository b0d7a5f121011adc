"""What a first sound must not wait for."""

import subprocess
import sys

import pytest

from orpheus.common.options import ROOT
from tests.fakes.adapters import train_adapter

HEAVY = ("transformers", "peft", "datasets", "accelerate", "sklearn", "librosa", "numba", "pandas", "scipy", "sympy", "torch._dynamo")  # fmt: skip


@pytest.mark.parametrize("with_adapter", [False, True])
def test_speaking_loads_nothing_heavy(small_voice_folder, tmp_path, with_adapter):
    """A process of its own, 3 s: what the tests have loaded is no matter there."""
    lora = train_adapter(tmp_path / "adapter", small_voice_folder) if with_adapter else "none"
    code = f"""
import sys, inference
assert inference.main(["Good morning.", "--model", {str(small_voice_folder)!r}, "--lora", {str(lora)!r}, "--device", "cpu",
                       "--max-new-tokens", "70", "--out", {str(tmp_path / "hi.wav")!r}]) == 0
print(sorted(set({HEAVY!r}) & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert (tmp_path / "hi.wav").stat().st_size > 2000
