"""The benchmarks' peers: bounded in time, what fails is noted, and what was measured until then is kept."""

import json
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from transformers import AutoModelForCausalLM

from benchmarks import generate, train
from benchmarks.common import models
from benchmarks.common.report import time_limit
from benchmarks.peers import generate as peers
from benchmarks.peers.generate import continuous_generate, plain_generate
from benchmarks.peers.process import PeerProcess
from orpheus.common.options import ROOT
from orpheus.engines.fast.engine import FastEngine
from orpheus.engines.options import SamplingOptions
from tests.fakes.checkpoints import ORPHEUS_LAYOUT, SMALL_CONFIG, SMALL_LAYOUT, walking_model

PROMPT = [SMALL_LAYOUT.start_of_human, SMALL_LAYOUT.begin_of_text, 5, 6, SMALL_LAYOUT.start_of_speech]


@pytest.fixture(scope="module")
def model():
    return walking_model(SMALL_CONFIG, SMALL_LAYOUT, 10**6)


def run_of(model, layout=SMALL_LAYOUT, **arguments):
    report = {"rows": [], "left_out": [], "failed": {}}
    arguments = generate.Arguments(**{"batches": (1, 3), "peer_tokens": 7} | arguments)
    return generate.Run(arguments, model, layout, PROMPT, report)


@torch.no_grad()
def test_continuous_batching_gives_all_tokens_and_leaves_the_model_as_it_was(model):
    before = model.config._attn_implementation
    first, second, made = continuous_generate(model, SMALL_LAYOUT, [PROMPT, PROMPT[1:], PROMPT], 9)
    assert made == 27 and min(first, second) > 0
    assert model.config._attn_implementation == before and not hasattr(model, "_cached_continuous_batching_manager")
    assert plain_generate(model, [PROMPT] * 2, SamplingOptions(max_new_tokens=7), SMALL_LAYOUT).shape == (2, 7)


def test_continuous_batching_ends_when_its_time_is_over(model):
    with pytest.raises(TimeoutError, match="of 2 sequences after 0 s"):
        continuous_generate(model, SMALL_LAYOUT, [PROMPT] * 2, 5000, seconds=0.3)
    assert not model.config._attn_implementation.startswith("paged")


def test_peers_make_rows_and_their_failures_are_noted(model, tmp_path, monkeypatch, capsys):
    run = run_of(model, out=str(tmp_path / "report.json"))
    peers.measure_peer(run, "transformers", 1)
    peers.measure_peer(run, "continuous", 3)
    monkeypatch.setattr(peers, "plain_generate", lambda *_, **__: time.sleep(9))
    monkeypatch.setitem(peers.SECONDS, "transformers", 0.1)
    peers.measure_peer(run, "transformers", 3)
    peers.measure_peer(run, "compiled", 1)  # not asked for on a CPU
    rows = [(row["name"], row["batch"], row["tokens_per_row"]) for row in run.report["rows"]]
    assert rows == [("transformers generate", 1, 7), ("transformers continuous batching", 3, 7)]
    assert run.report["failed"] == {"transformers at batch 3": "TimeoutError: not done within 0 s"}
    assert json.loads((tmp_path / "report.json").read_text()) == run.report
    late = run_of(model, seconds_budget=0.0)
    peers.measure_peer(late, "transformers", 1)
    assert late.report["left_out"] == ["transformers at batch 1"] and not late.report["rows"]


class FakeProcess:
    def __init__(self, module, _, name, *arguments):
        assert find_spec(module)
        self.name, self.arguments = name, [str(word) for word in arguments]

    def results(self, seconds):
        assert self.name == "unsloth" and "--batches 1 3" in " ".join(self.arguments)
        row = {"batch": 1, "tokens": 7, "seconds": 0.5, "first_run_seconds": 2.0}
        return {"versions": {"unsloth": "1"}, "rows": [row], "failed": {"3": "out of memory"}}

    def close(self):
        self.name = None


def test_peers_in_processes_of_their_own(model, monkeypatch):
    class OnCuda(generate.Run):
        cuda = True
        forget = synchronize = lambda self: None

    monkeypatch.setattr(peers, "PeerProcess", FakeProcess)
    monkeypatch.setattr(peers, "find_spec", lambda name: name == "unsloth")
    saved, meanwhile = [], []
    monkeypatch.setattr(models, "full_size_files", lambda folder, model: saved.append(folder))
    arguments = generate.Arguments(batches=(3, 1), peer_tokens=7, peers=("unsloth", "vllm"))
    run = OnCuda(arguments, model, ORPHEUS_LAYOUT, PROMPT, {"rows": [], "left_out": [], "failed": {}})
    peers.measure_processes(run, run.batches, lambda: meanwhile.append(1))
    assert run.report["not_installed"] == ["vllm"] and len(saved) == len(meanwhile) == 1
    assert [(row["name"], row["tokens_per_second"]) for row in run.report["rows"]] == [
        ("unsloth, adapter unmerged", 14)
    ]
    assert run.report["failed"] == {"unsloth at batch 3": "out of memory"}
    assert run.report["peer_versions"] == {"unsloth": {"unsloth": "1"}}


@pytest.mark.parametrize(
    "end, reason", [("well", None), ("badly", "status 1: no memory"), ("never", "ended after 3 s: ")]
)
def test_a_process_waits_for_its_turn_and_its_report_counts_even_where_it_fails(end, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # it runs in the project's folder, wherever the benchmark was started
    process = PeerProcess("tests.fakes.peer", end)
    try:
        time.sleep(0.3)
        assert process._process.poll() is None
        found = process.results(3)
        assert found["rows"] == [3.0]
        if reason is None:
            assert "failed" not in found
        else:
            assert found["failed"]["all"].startswith(reason)
    finally:
        process.close()
    assert process._process.poll() is not None


def test_paths_reach_a_process_whole(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = {}

    def start(words, **more):
        asked.update(more, words=words)
        return SimpleNamespace(poll=lambda: 0)

    monkeypatch.setattr(subprocess, "Popen", start)
    PeerProcess("module", "--checkpoint", Path("model"), "--steps", 3).close()
    expected = [sys.executable, "-m", "module", "--checkpoint", str(tmp_path / "model"), "--steps", "3"]
    assert asked["words"][:7] == expected and asked["cwd"] == ROOT


def test_files_of_a_model_whose_weights_the_engine_has_laid_together(model, tmp_path):
    expected = {name: weight.clone() for name, weight in model.state_dict().items()}
    FastEngine(model, SMALL_LAYOUT)
    folder = models.full_size_files(tmp_path / "model", model)
    again = AutoModelForCausalLM.from_pretrained(folder)
    assert all(torch.equal(weight, expected[name]) for name, weight in again.state_dict().items())
    (folder / "config.json").unlink()
    assert models.full_size_files(folder, model) == folder and not (folder / "config.json").exists()  # kept


def test_a_time_limit_does_not_outlast_its_block():
    with pytest.raises(TimeoutError, match="not done within 0 s"), time_limit(0.05):
        time.sleep(5)
    with time_limit(0.05):
        pass
    time.sleep(0.1)


def test_what_training_shows():
    def ours(rate, what, fp8=False, **size):
        return {"median_tokens_per_second": rate, "what": what, "head": "audio head", "fp8": fp8, **size}

    packed, equal = (30_000.0, "12,288 packed"), (25_000.0, "16 examples a step")
    peers = [
        {"peer": "unsloth, notebook", "median_tokens_per_second": 2_000.0, "batch": 1, "accumulation": 4},
        {"peer": "unsloth, padded", "median_tokens_per_second": 10_000.0, "batch": 16, "accumulation": 1},
        {"peer": "other", "failed": "why"},
    ]
    report = {"peers": peers, "rank": 64, "row_tokens": 507.9, "quality": {"systems": []}}
    settings = [ours(20_000.0, "4,096 packed"), ours(*packed), ours(*equal, examples=16)]
    rows = train.table_rows(report | {"ours": [*settings, {"failed": "why"}]})
    about = "LoRA training, rank 64, examples of 508 tokens"
    best, alike = "30,000 (12,288 packed, audio head)", "25,000 (16 examples a step, audio head)"
    assert [(row["what"], row["ours"], row["peer"], row["theirs"], row["ratio"]) for row in rows] == [
        (f"{about}: tokens/s", best, "unsloth, notebook", "2,000", 15.0),
        (f"{about}: tokens/s", best, "unsloth, padded", "10,000", 3.0),
        (f"{about}, 16 a step: tokens/s", alike, "unsloth, padded", "10,000", 2.5),
    ]
    rows = train.table_rows(report | {"ours": [*settings, ours(45_000.0, "12,288 packed", fp8=True)]})
    assert rows[0]["ours"] == "45,000 (12,288 packed, audio head, --fp8); 30,000 without" and rows[0]["ratio"] == 22.5
    assert train.table_rows({"ours": [], "peers": peers}) == []


def test_a_setting_that_fails_is_noted_and_late_ones_are_left_out(tmp_path, capsys):
    report = {"ours": [], "left_out": [], "product_rate": None}
    chosen = SimpleNamespace(began=time.perf_counter(), unsloth=["notebook"])
    bench = train.Bench(train.Arguments(seconds_budget=1e3, out=str(tmp_path / "t.json")), chosen, report)
    bench.attempt("ours", "a", lambda: 1 / 0, tokens=5)
    chosen.began -= 600  # more than OURS_SHARE of the budget
    bench.attempt("ours", "b", lambda: {})
    assert report["ours"] == [{"tokens": 5, "failed": "ZeroDivisionError: division by zero"}]
    assert report["left_out"] == ["b"]
    assert json.loads((tmp_path / "t.json").read_text())["ours"] == report["ours"]


def test_unsloth_reads_the_examples_when_its_turn_comes(tmp_path, monkeypatch):
    """The benchmark starts it before they are written."""
    from benchmarks.peers.unsloth import train as unsloth_train

    monkeypatch.setitem(sys.modules, "unsloth", ModuleType("unsloth"))
    written = tmp_path / "examples.json"

    def turn(path):
        written.write_text(json.dumps([{"input_ids": [1, 2], "labels": [-100]}]))
        return 9.0

    monkeypatch.setattr(unsloth_train, "await_turn", turn)
    with pytest.raises(SystemExit, match="differ in length"):
        unsloth_train.main(unsloth_train.Arguments(checkpoint="nowhere", examples=str(written)))


def test_llama_cpp_is_a_peer_where_it_is_installed(model, monkeypatch, capsys):
    run = run_of(model)
    peers.measure_llama_cpp(run, None, 7)  # a model without files
    assert "llama.cpp" in run.peers and "not_installed" not in run.report
    run.checkpoint = "demo"
    monkeypatch.setattr(peers, "find_spec", lambda name: name != "xllamacpp")
    peers.measure_llama_cpp(run, None, 7)
    assert run.report["not_installed"] == ["xllamacpp"] and not run.report["rows"]


@pytest.mark.llama
def test_llama_cpp_speaks_with_files_of_the_model(model, small_voice_folder, monkeypatch, capsys):
    pytest.importorskip("gguf", reason="pip install -r requirements-llama.txt")
    opened, measured = [], []

    class Engine(SimpleNamespace):
        def release(self):
            opened.append(self.path.name)

    fake = ModuleType("orpheus.engines.llama_cpp")
    fake.LlamaCppEngine = lambda path, layout, vocabulary, exact: Engine(
        path=path, exact=exact, size=path.stat().st_size
    )
    monkeypatch.setitem(sys.modules, fake.__name__, fake)
    monkeypatch.setattr(peers, "version", lambda name: f"{name} 1")
    monkeypatch.setattr(peers, "find_spec", lambda name: True)
    run = run_of(model)
    run.checkpoint = small_voice_folder
    peers.measure_llama_cpp(
        run, lambda run, name, make, batch, tokens: measured.append((name, batch, tokens, make().exact)), 7
    )
    assert measured == [(f"llama.cpp, {kind}", batch, 7, kind == "F32") for kind in ("F32", "Q8_0") for batch in (1, 3)]
    assert opened == ["small-F32.gguf", "small-Q8_0.gguf"] and not run.report["failed"]
    run.checkpoint = "not/there"
    peers.measure_llama_cpp(run, None, 7)
    assert "llama.cpp at batch 0" in run.report["failed"]
