"""Tokens per second and time to first audio: the fast engine and its peers (peers/generate.py) in one run.

    python -m benchmarks.generate                                   the demo voice (CPU), or a random 3B in the GPU's memory
    python -m benchmarks.generate --model FOLDER --batches 1 8 32   a checkpoint
    python -m benchmarks.generate --tune int4 --seconds-budget 120  tries tiles of the kernels first and takes the fastest
    python -m benchmarks.generate --check 200                       greedy ids against transformers' own generate

The last line of standard output is JSON with everything. With --seconds-budget nothing new is begun once time is over;
what was measured until then stands in --out even where the run is ended from outside.
"""

import gc
import json
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.common.card import ceilings, tune
from benchmarks.common.first_audio import measure_first_audio
from benchmarks.common.report import finish_report, start_report, write_report
from benchmarks.peers.generate import PEERS, check_greedy, measure_llama_cpp, measure_peer, measure_processes
from orpheus.common.frame import TOKENS_PER_SECOND

TEXT = "It takes five minutes to walk from the swimming pool to the museum."
RANDOM_3B = "random-3b"


@dataclass(frozen=True)
class Arguments:
    model: str = "auto"
    """auto, demo, random-3b (made in the GPU's memory, no files), a folder or a hub id."""
    lora: str = "none"
    """Adapter to merge in."""
    tokens: int | None = None
    """Tokens per sequence at most; by default 400 on CUDA and 84 on a CPU."""
    batches: tuple[int, ...] = ()
    """Batch sizes; by default 1, 128, 32, 8 on CUDA and 1, 4 on a CPU, in this order."""
    repeats: int = 2
    """Timed runs after one that warms up; the median is shown."""
    peers: tuple[str, ...] = ()
    """Of those in peers/generate.py, or none; by default all on CUDA; transformers, continuous and llama.cpp on a CPU."""
    peer_tokens: int = 48
    """Tokens per sequence for peers that take a quarter of a minute for 400."""
    files: str = ""
    """Folder for the random 3B's files, which some peers load: kept, and used again. By default a temporary one."""
    tune: tuple[str, ...] = ()
    """Tries tiles for the weights same, int8, int4 or fp8 and measures with the fastest; prints them for orpheus/engines/fast/kernels/layer.py."""
    check: int = 0
    """Compares greedy ids of so many prompts with transformers' generate, and does nothing else."""
    seconds_budget: float = 1e9
    """After so many seconds nothing new is begun, and peers are ended."""
    out: str | None = None
    """Also writes the JSON to this file, anew after each row."""


@dataclass
class Run:
    """What all parts of a run share."""

    arguments: Arguments
    model: object
    layout: object
    prompt: list
    report: dict
    checkpoint: Path | str | None = None
    """Folder or hub id that the model was loaded from; None for the random one."""
    began: float = field(default_factory=time.perf_counter)

    @property
    def cuda(self):
        return self.model.device.type == "cuda"

    @property
    def batches(self):
        return self.arguments.batches or ((1, 128, 32, 8) if self.cuda else (1, 4))

    @property
    def peers(self):
        return self.arguments.peers or (PEERS if self.cuda else ("transformers", "continuous", "llama.cpp"))

    def left(self):
        """Seconds of the budget."""
        return self.arguments.seconds_budget - (time.perf_counter() - self.began)

    def due(self, what):
        """Whether there is time left for `what`."""
        if self.left() <= 0:
            self.report["left_out"].append(what)
            print(f"left out, no time: {what}", flush=True)
        return self.left() > 0

    def synchronize(self):
        if self.cuda:
            import torch

            torch.cuda.synchronize()

    def forget(self):
        """Gives unused memory back before the next measurement."""
        gc.collect()
        if self.cuda:
            import torch

            torch.cuda.empty_cache()

    def add_row(self, name, batch, seconds, tokens, weights=None, **more):
        """Prints and notes one measurement."""
        rate = tokens / seconds
        real_time = round(rate / TOKENS_PER_SECOND, 2)
        row = {"name": name, "batch": batch, "tokens_per_second": round(rate, 1), "x_real_time": real_time}
        read = self.report.get("ceilings", {}).get("read_gb_per_s")
        if weights and read:
            row["share_of_read_bandwidth"] = round(weights * rate / batch / read / 1e9, 3)
        row |= more
        self.report["rows"].append(row)
        print(f"{name:36} {batch:6} {rate:12.1f} {real_time:8.2f}  {json.dumps(more) if more else ''}", flush=True)
        write_report(self.report, self.arguments.out)

    def add_failure(self, name, batch, error):
        """Prints and notes what could not be measured."""
        reason = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
        self.report["failed"][f"{name} at batch {batch}"] = reason[-1500:]
        print(f"{name:36} {batch:>6} failed: {reason[-1500:]}", flush=True)
        write_report(self.report, self.arguments.out)


# --- those who generate -----------------------------------------------------------------------------------------------


def engine_generate(engine, prompts, options):
    """Number of tokens made by one of the project's engines."""
    return sum(int((tokens >= 0).sum()) for tokens in engine.generate(prompts, options, list(range(len(prompts)))))


def bytes_per_step(engine):
    """Weights that a step of the fast engine reads for one sequence."""
    llama = engine.llama
    matrices = [matrix for layer in llama.layers for matrix in (layer.qkv, layer.o, layer.gate_up, layer.down)]
    rows = len(llama.head) if engine.head == "full" else 10 + engine.layout.codebook_size
    return sum(matrix.nbytes for matrix in matrices) + rows * llama.head[0].nbytes


def measure_engine(run, name, make, batch, tokens):
    """One row for an engine that `make` gives. What cannot run is noted, not raised."""
    from orpheus.engines.options import SamplingOptions

    if not run.due(f"{name} at batch {batch}"):
        return
    try:
        engine, prompts = make(), [run.prompt] * batch
        began = time.perf_counter()
        engine_generate(engine, prompts, SamplingOptions(max_new_tokens=tokens, temperature=0.6))
        first = time.perf_counter() - began
        if getattr(engine, "fallen_back", False):
            raise RuntimeError("it fell back to the TransformersEngine")
        times, made = [], 0
        for _ in range(run.arguments.repeats):
            run.synchronize()
            began = time.perf_counter()
            made = engine_generate(engine, prompts, SamplingOptions(max_new_tokens=tokens))
            times.append(time.perf_counter() - began)
        weights = bytes_per_step(engine) if hasattr(engine, "llama") else None
        more = {"first_run_seconds": round(first, 2), "tokens_per_row": tokens}
        run.add_row(name, batch, statistics.median(times), made, weights, **more)
    except Exception as error:
        run.add_failure(name, batch, error)
    finally:
        run.forget()


# --- what is spoken ---------------------------------------------------------------------------------------------------


def sentences(count):
    """Different short sentences."""
    who = "The old man|My sister|Nobody|The teacher|A small dog|Everyone|The driver|She|He|I".split("|")
    does = "walks to|looks at|thinks of|forgets|paints".split("|")
    what = "the river.|the station.|a red house.|the museum.".split("|")
    every = [f"{a} {b} {c}" for a in who for b in does for c in what]
    return [every[index % len(every)] for index in range(count)]


# --- all of it --------------------------------------------------------------------------------------------------------


def load(arguments):
    """(name, model, layout, prompt, prompts of the check)"""
    import torch

    cuda = torch.cuda.is_available()
    if arguments.model == RANDOM_3B or (arguments.model == "auto" and cuda):
        from benchmarks.common.models import random_orpheus, random_prompt

        model, layout = random_orpheus("cuda")
        return RANDOM_3B, model, layout, random_prompt(layout), []
    from orpheus.speech.synthesis import OrpheusInference

    tts = OrpheusInference(arguments.model, arguments.lora, engine="transformers")
    prompts = [tts.prompts.prompt(text, tts.default_voice) for text in [TEXT, *sentences(arguments.check)]]
    return Path(tts.name).name, tts.engine.model, tts.engine.layout, prompts[0], prompts[1:]


def measure_ours(run, tiles, tokens):
    """All rows of this project's engines, the most telling first."""
    from orpheus.engines.fast.engine import FastEngine
    from orpheus.engines.fast.matrix import WEIGHTS
    from orpheus.engines.transformers import TransformersEngine

    one, *many = run.batches
    fast = FastEngine(run.model, run.layout, tiles=tiles.get("same"))
    measure_engine(run, "fast", lambda: fast, one, tokens)
    measure_first_audio(run, fast)
    for batch in many:
        measure_engine(run, "fast", lambda: fast, batch, tokens)
    fast.release()
    kinds = {"full head": {"head": "full"}}
    if run.cuda:
        kinds |= {f"{weights} weights": {"weights": weights, "tiles": tiles.get(weights)} for weights in WEIGHTS[1:]}
        kinds["kernels not overlapped"] = {"overlap": False, "tiles": tiles.get("same")}
    for name, options in kinds.items():
        for batch in run.batches if name == "fp8 weights" else (one,):
            measure_engine(
                run, f"fast, {name}", lambda o=options: FastEngine(run.model, run.layout, **o), batch, tokens
            )
    for batch in run.batches:
        measure_engine(
            run, "TransformersEngine", lambda: TransformersEngine(run.model, run.layout), batch, min(tokens, 100)
        )


def measure(run):
    if run.cuda:
        run.report["ceilings"] = ceilings()
        print(run.report["ceilings"], flush=True)
    tiles = {weights: tune(run, weights) for weights in run.arguments.tune} if run.cuda else {}
    print(
        f"{'':36} {'batch':>6} {'tokens/s':>12} {'x real':>8}   ({TOKENS_PER_SECOND:.0f} tokens/s = real time of one)"
    )
    tokens = run.arguments.tokens or (400 if run.cuda else 84)
    measure_ours(run, tiles, tokens)

    def in_this_process():
        for batch in run.batches:
            measure_peer(run, "transformers", batch)
        measure_peer(run, "continuous", max(run.batches))

    measure_processes(run, run.batches, in_this_process)
    measure_llama_cpp(run, measure_engine, tokens)
    measure_peer(run, "compiled", 1)  # compiles for a minute


def main(arguments):
    import torch

    began = time.perf_counter()
    name, model, layout, prompt, prompts = load(arguments)
    report = start_report("generate") | {
        "model": name,
        "load_seconds": round(time.perf_counter() - began, 1),
        "prompt_tokens": len(prompt),
        "rows": [],
        "left_out": [],
        "failed": {},
    }
    print(f"{name} on {report['hardware']}, loaded in {report['load_seconds']} s", flush=True)
    loaded = Path(arguments.model) if Path(arguments.model).is_dir() else arguments.model
    checkpoint = None if name == RANDOM_3B else loaded
    run = Run(arguments, model, layout, prompt, report, checkpoint, began)
    if unknown := set(run.peers) - {*PEERS, "none"}:
        raise SystemExit(f"no such peers: {', '.join(sorted(unknown))}; there are {', '.join(PEERS)} and none")
    with torch.no_grad():
        check_greedy(run, prompts) if arguments.check else measure(run)
    rows = {(row["name"], row["batch"]): row["tokens_per_second"] for row in report["rows"]}
    report["ratios"] = {
        f"fast / {name} at batch {batch}": round(rows["fast", batch] / rate, 2)
        for (name, batch), rate in rows.items()
        if ("fast", batch) in rows and name != "fast" and rate
    }
    report["seconds"] = round(time.perf_counter() - began, 1)
    if run.cuda:
        report["peak_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
    finish_report(report, arguments.out)


if __name__ == "__main__":
    from orpheus.common.command import parse

    main(parse(Arguments, __doc__))
