"""Tokens per second and time to first audio: plain `transformers`, its engine here, and the fast engine, in one run.

    python benchmarks/generate.py                                   the demo voice (CPU), or a random 3B in the GPU's memory
    python benchmarks/generate.py --model FOLDER --batches 1 8 32   a checkpoint
    python benchmarks/generate.py --tune --seconds-budget 120       tries tiles of the kernels first and takes the fastest
    python benchmarks/generate.py --check 200                       greedy ids against transformers' own generate

The last line of standard output is JSON with everything. With --seconds-budget nothing new is begun once time is over.
"""

import json
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import common
from orpheus.frame import CONTEXT_FRAMES, TOKENS_PER_SECOND

TEXT = "It takes five minutes to walk from the swimming pool to the museum."
RANDOM_3B = "random-3b"


@dataclass(frozen=True)
class Arguments:
    model: str = "auto"
    """auto, demo, random-3b (made in the GPU's memory, no files), a folder or a hub id."""
    lora: str = "none"
    """Adapter to merge in."""
    tokens: int | None = None
    """Tokens per row at most; by default 400 on CUDA and 84 on a CPU."""
    batches: tuple[int, ...] = ()
    """Batch sizes; by default 1, 128, 32, 8 on CUDA and 1, 4 on a CPU, in this order."""
    repeats: int = 2
    """Timed runs after one that warms up; the median is shown."""
    peers: tuple[str, ...] = ("transformers",)
    """Others that are measured: transformers, unsloth (needs CUDA and --model FOLDER; imports for half a minute)."""
    peer_tokens: int = 48
    """Tokens per row for peers that take a quarter of a minute for 400."""
    tune: bool = False
    """Tries tiles for every weight and measures with the fastest; prints them for orpheus/engines/kernels.py."""
    check: int = 0
    """Compares greedy ids of so many prompts with transformers' generate, and does nothing else."""
    seconds_budget: float = 1e9
    """After so many seconds nothing new is begun."""
    out: str | None = None
    """Also writes the JSON to this file."""


@dataclass
class Run:
    """What all parts of a run share."""

    arguments: Arguments
    model: object
    layout: object
    prompt: list
    report: dict
    began: float = field(default_factory=time.perf_counter)

    @property
    def cuda(self):
        return self.model.device.type == "cuda"

    def due(self, what):
        """Whether there is time left for `what`."""
        left = self.arguments.seconds_budget - (time.perf_counter() - self.began)
        if left <= 0:
            self.report["left_out"].append(what)
            print(f"left out, no time: {what}", flush=True)
        return left > 0

    def synchronize(self):
        if self.cuda:
            import torch

            torch.cuda.synchronize()


def median_time(work, repeats, synchronize):
    """Median seconds of `work` after one run that warms up."""
    times = []
    for count in range(repeats + 1):
        synchronize()
        began = time.perf_counter()
        work()
        synchronize()
        if count:
            times.append(time.perf_counter() - began)
    return statistics.median(times)


def gpu_seconds(work, repeats=10):
    """Median seconds of GPU work, replayed as a CUDA graph where it can be captured."""
    import torch

    work()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    times = []
    for _ in range(repeats):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / 1000)
    return statistics.median(times)


# --- the card ---------------------------------------------------------------------------------------------------------


def ceilings():
    """What the card does at most: GB/s of a copy, of reading, and of a matrix-vector product; TFLOP/s of a product."""
    import torch

    size = 2**31
    a, b = (torch.zeros(size // 2, dtype=torch.bfloat16, device="cuda") for _ in range(2))
    floats, weight = a.view(torch.float32), a.view(-1, 4096)
    vector = torch.zeros(4096, dtype=torch.bfloat16, device="cuda")
    left, right = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    found = {
        "copy_gb_per_s": 2 * size / gpu_seconds(lambda: b.copy_(a)) / 1e9,
        "read_gb_per_s": size / gpu_seconds(lambda: floats.sum()) / 1e9,
        "matrix_vector_gb_per_s": size / gpu_seconds(lambda: weight @ vector) / 1e9,
        "product_tflop_per_s": 2 * 8192**3 / gpu_seconds(lambda: left @ right) / 1e12,
    }
    return {name: round(value, 1) for name, value in found.items()}


def tune(run):
    """The fastest tile of every weight, {name: Tile}: measured over all layers, so that nothing stays in the L2 cache."""
    import torch

    from orpheus.engines.kernels import KernelOperations, Tile, can_overlap
    from orpheus.engines.llama import Llama, Tokens

    candidates = [Tile(*t) for t in ((8, 1024, 4), (4, 1024, 4), (8, 512, 4), (4, 2048, 8), (16, 512, 8), (2, 2048, 4))]
    llama, config = Llama(run.model), run.model.config
    layers, shape = llama.layers, llama.shape
    x, y, attended = (
        torch.zeros(1, n, dtype=llama.dtype, device="cuda")
        for n in (config.hidden_size, config.intermediate_size, shape.heads * shape.dim)
    )
    cache, rope, zero = llama.cache(1, 64), llama.rope(64), torch.zeros(1, dtype=torch.int64, device="cuda")
    tokens = Tokens(zero, zero, zero)
    keys, values = cache.keys[0], cache.values[0]
    works = {
        "qkv": lambda do, layer: do.qkv(x, layer, shape, rope, tokens, keys, values),
        "o": lambda do, layer: do.add_product(x, attended, layer.o),
        "gate_up": lambda do, layer: do.gate_up(x, layer, shape),
        "down": lambda do, layer: do.add_product(x, y, layer.down),
    }
    inputs = {"qkv": x, "o": attended, "gate_up": x, "down": y}
    best, overlap = {}, can_overlap(llama.device)
    for name, work in works.items():
        size = sum(getattr(layer, name).values.nbytes for layer in layers)
        library = gpu_seconds(lambda n=name: [getattr(layer, n)(inputs[n]) for layer in layers])
        rates = {"library": round(size / library / 1e9)}
        for tile in candidates:
            if not run.due(f"tile {name} {tuple(tile)}"):
                break
            operations = KernelOperations({name: tile}, overlap)
            seconds = gpu_seconds(lambda w=work, do=operations: [w(do, layer) for layer in layers])
            rates[str(tuple(tile))] = round(size / seconds / 1e9)
            if name not in best or seconds < best[name][0]:
                best[name] = seconds, tile
        print(f"GB/s of {name}: {rates}", flush=True)
        run.report.setdefault("tiles_gb_per_s", {})[name] = rates
    run.report["tiles"] = {name: tuple(tile) for name, (_, tile) in best.items()}
    return {name: tile for name, (_, tile) in best.items()}


# --- those who generate -----------------------------------------------------------------------------------------------


def plain_generate(model, prompts, options, layout, **changes):
    """Tokens made by `transformers`' own generate with the same sampling, left-padded as its documentation says."""
    import torch

    width = max(map(len, prompts))
    ids = torch.tensor([[layout.pad] * (width - len(prompt)) + prompt for prompt in prompts], device=model.device)
    sampled = {"temperature": options.temperature, "top_p": options.top_p, "top_k": 0} if options.temperature else {}
    return model.generate(
        ids,
        attention_mask=(ids != layout.pad).long(),
        do_sample=bool(sampled),
        **sampled,
        repetition_penalty=options.repetition_penalty,
        max_new_tokens=options.max_new_tokens,
        eos_token_id=layout.end_of_speech,
        pad_token_id=layout.pad,
        **changes,
    )[:, width:]


def engine_generate(engine, prompts, options):
    """Number of tokens made by one of the project's engines."""
    return sum(int((tokens >= 0).sum()) for tokens in engine.generate(prompts, options, list(range(len(prompts)))))


def bytes_per_step(engine):
    """Weights that a step of the fast engine reads for one row."""
    llama = engine.llama
    matrices = [matrix for layer in llama.layers for matrix in (layer.qkv, layer.o, layer.gate_up, layer.down)]
    rows = len(llama.head) if engine.head == "full" else 10 + engine.layout.codebook_size
    return sum(matrix.values.nbytes for matrix in matrices) + rows * llama.head[0].nbytes


def add_row(run, name, batch, seconds, tokens, weights=None, **more):
    """Prints and notes one measurement."""
    rate = tokens / seconds
    row = {
        "name": name,
        "batch": batch,
        "tokens_per_second": round(rate, 1),
        "x_real_time": round(rate / TOKENS_PER_SECOND, 2),
    }
    if weights and run.cuda and "read_gb_per_s" in run.report.get("ceilings", {}):
        row["share_of_read_bandwidth"] = round(
            weights * rate / batch / run.report["ceilings"]["read_gb_per_s"] / 1e9, 3
        )
    row |= more
    run.report["rows"].append(row)
    print(f"{name:28} {batch:6} {rate:12.1f} {row['x_real_time']:8.2f}  {json.dumps(more) if more else ''}", flush=True)


def measure_engine(run, name, make, batch, tokens):
    """One row for an engine that `make` gives. What cannot run is noted, not raised."""
    from orpheus.options import SamplingOptions

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
        add_row(
            run,
            name,
            batch,
            statistics.median(times),
            made,
            weights,
            first_run_seconds=round(first, 2),
            tokens_per_row=tokens,
        )
    except Exception as error:
        run.report["failed"][f"{name} at batch {batch}"] = f"{type(error).__name__}: {error}"[:300]
        print(f"{name:28} {batch:6} failed: {error!r:.300}", flush=True)
    finally:
        forget(run)


def forget(run):
    """Gives unused memory back before the next measurement."""
    if run.cuda:
        import gc

        import torch

        gc.collect()
        torch.cuda.empty_cache()


def measure_plain(run, batch, name="transformers generate", model=None):
    from orpheus.options import SamplingOptions

    if not run.due(f"{name} at batch {batch}"):
        return
    model, prompts, tokens = model or run.model, [run.prompt] * batch, run.arguments.peer_tokens
    plain_generate(model, prompts, SamplingOptions(max_new_tokens=8), run.layout, min_new_tokens=8)
    run.synchronize()
    began = time.perf_counter()
    made = plain_generate(model, prompts, SamplingOptions(max_new_tokens=tokens), run.layout)
    run.synchronize()
    add_row(run, name, batch, time.perf_counter() - began, int((made != run.layout.pad).sum()))


def measure_unsloth(run, batches):
    """Unsloth's for_inference with the adapter not merged: what users run after training."""
    if not (run.cuda and Path(run.arguments.model).is_dir() and run.due("unsloth")):
        return print("unsloth left out: it needs CUDA, --model FOLDER and time")
    try:
        from unsloth import FastLanguageModel
    except Exception as error:
        return print(f"unsloth left out: {error!r:.200}")
    from unsloth_peer import load_model

    model, _ = load_model(run.arguments.model, 2048)
    FastLanguageModel.for_inference(model)
    for batch in batches:
        measure_plain(run, batch, "unsloth, adapter unmerged", model)


# --- time to first audio ----------------------------------------------------------------------------------------------


def measure_first_audio(run, engine):
    """Milliseconds from a warm engine's start to the first token, and to the first 85 ms of audio by look-ahead."""
    from orpheus.engines import ENDED
    from orpheus.options import SamplingOptions
    from orpheus.streaming import FrameAssembler, stream_audio

    if not run.due("time to first audio"):
        return
    options = SamplingOptions(max_new_tokens=70)

    def tokens():
        return (int(step[0]) for step in engine.generate([run.prompt], options, [0]) if step[0] != ENDED)

    def first_token():
        steps = tokens()
        next(steps)
        steps.close()

    found = {"prompt_tokens": len(run.prompt), "first_token": median_time(first_token, 5, run.synchronize)}
    try:
        import numpy as np
        from checkpoints import snac_config

        from benchmarks.encode import full_shape_codec

        speech = np.random.default_rng(0).standard_normal(24_000).astype(np.float32) * 0.1
        config = snac_config(run.layout.codebook_size, 48, 1024) if run.cuda else snac_config(run.layout.codebook_size)
        codec = full_shape_codec(run.model.device, speech, config)
        for lookahead in (CONTEXT_FRAMES, 1, 0):

            def first_chunk(ahead=lookahead):
                chunks = stream_audio(
                    tokens(),
                    lambda codes, first: codec.decode_window(codes, 0, first),
                    FrameAssembler(run.layout),
                    ahead,
                    8,
                )
                next(chunks)

            found[f"first_audio_lookahead_{lookahead}"] = median_time(first_chunk, 5, run.synchronize)
    except Exception as error:
        print(f"first audio left out: {error!r:.200}")
    found = {name: value if name == "prompt_tokens" else round(value * 1000, 1) for name, value in found.items()}
    run.report["milliseconds"] = found
    print("milliseconds after a warm start:", found, flush=True)


# --- greedy ids -------------------------------------------------------------------------------------------------------


def sentences(count):
    """Different short sentences."""
    who = (
        "The old man",
        "My sister",
        "Nobody",
        "The teacher",
        "A small dog",
        "Everyone",
        "The driver",
        "She",
        "He",
        "I",
    )
    does = ("walks to", "looks at", "thinks of", "forgets", "paints")
    what = ("the river.", "the station.", "a red house.", "the museum.")
    every = [f"{a} {b} {c}" for a in who for b in does for c in what]
    return [every[index % len(every)] for index in range(count)]


def check(run, prompts):
    """How many prompts get the greedy ids of transformers' generate; the number of tokens compared."""
    from orpheus.engines.fast import FastEngine
    from orpheus.options import SamplingOptions

    engine, options = FastEngine(run.model, run.layout), SamplingOptions(temperature=0, max_new_tokens=28)
    same = compared = 0
    for prompt in prompts:
        ours = [int(step[0]) for step in engine.generate([prompt], options, [0])]
        theirs = plain_generate(run.model, [prompt], options, run.layout)[0].tolist()
        same += ours == theirs[: len(ours)] and (len(ours) == len(theirs) or ours[-1] == theirs[len(ours) - 1])
        compared += len(ours)
    run.report["check"] = {"prompts": len(prompts), "same": same, "tokens": compared}
    print(f"greedy ids of transformers' generate: {same} of {len(prompts)} prompts, {compared} tokens")


# --- all of it --------------------------------------------------------------------------------------------------------


def load(arguments):
    """(name, model, layout, prompt, prompts of the check)"""
    import torch

    cuda = torch.cuda.is_available()
    if arguments.model == RANDOM_3B or (arguments.model == "auto" and cuda):
        from checkpoints import ORPHEUS_3B_CONFIG, ORPHEUS_LAYOUT, walking_model

        model = walking_model(ORPHEUS_3B_CONFIG, ORPHEUS_LAYOUT, 10**6, 0, torch.bfloat16, "cuda", margin=11.0)
        layout = ORPHEUS_LAYOUT
        text = [1000 + 37 * index for index in range(33)]
        begin = [layout.start_of_human, layout.begin_of_text]
        end = [layout.end_of_turn, layout.end_of_human, layout.start_of_ai, layout.start_of_speech]
        return RANDOM_3B, model, layout, [*begin, *text, *end], []
    from orpheus.synthesis import OrpheusInference

    speaker = OrpheusInference(arguments.model, arguments.lora, engine="transformers")
    prompts = [speaker.prompts.prompt(text, speaker.default_voice) for text in [TEXT, *sentences(arguments.check)]]
    return Path(speaker.name).name, speaker.engine.model, speaker.engine.layout, prompts[0], prompts[1:]


def measure(run):
    """All rows, the most telling first."""
    from orpheus.engines.fast import FastEngine
    from orpheus.engines.transformers import TransformersEngine

    cuda, arguments = run.cuda, run.arguments
    batches = arguments.batches or ((1, 128, 32, 8) if cuda else (1, 4))
    tokens = arguments.tokens or (400 if cuda else 84)
    if cuda:
        run.report["ceilings"] = ceilings()
        print(run.report["ceilings"], flush=True)
    tiles = tune(run) if cuda and arguments.tune else None
    print(
        f"{'':28} {'batch':>6} {'tokens/s':>12} {'x real':>8}   ({TOKENS_PER_SECOND:.0f} tokens/s = real time of one)"
    )
    fast = FastEngine(run.model, run.layout, tiles=tiles)
    measure_engine(run, "fast", lambda: fast, batches[0], tokens)
    measure_first_audio(run, fast)
    short = min(tokens, 100)

    def plain_engine():
        return TransformersEngine(run.model, run.layout)

    def measure_others(batch):
        measure_engine(run, "TransformersEngine", plain_engine, batch, short)
        if "transformers" in arguments.peers:
            measure_plain(run, batch)

    measure_others(batches[0])
    for batch in batches[1:]:
        measure_engine(run, "fast", lambda: fast, batch, tokens)
    fast._idle = None
    one = batches[0]
    full = {"head": "full", "tiles": tiles}
    measure_engine(run, "fast, full head", lambda: FastEngine(run.model, run.layout, **full), one, tokens)
    if cuda:
        for kind in ("int8", "fp8"):
            measure_engine(
                run,
                f"fast, {kind} weights",
                lambda k=kind: FastEngine(run.model, run.layout, weights=k, tiles=tiles),
                one,
                tokens,
            )
        apart = {"tiles": tiles, "overlap": False}
        measure_engine(
            run, "fast, kernels not overlapped", lambda: FastEngine(run.model, run.layout, **apart), one, tokens
        )
    for batch in sorted(batches[1:]):
        measure_others(batch)
    if "unsloth" in arguments.peers:
        measure_unsloth(run, sorted(batches))


def main(arguments):
    import torch

    began = time.perf_counter()
    name, model, layout, prompt, prompts = load(arguments)
    cuda = model.device.type == "cuda"
    report = common.start_report("generate") | {
        "model": name,
        "load_seconds": round(time.perf_counter() - began, 1),
        "prompt_tokens": len(prompt),
        "rows": [],
        "left_out": [],
        "failed": {},
    }
    print(f"{name} on {report['hardware']}, loaded in {report['load_seconds']} s", flush=True)
    run = Run(arguments, model, layout, prompt, report)
    with torch.no_grad():
        check(run, prompts) if arguments.check else measure(run)
    rows = {(row["name"], row["batch"]): row["tokens_per_second"] for row in report["rows"]}
    report["ratios"] = {
        f"fast / {name} at batch {batch}": round(rows["fast", batch] / rate, 2)
        for (name, batch), rate in rows.items()
        if ("fast", batch) in rows and name != "fast" and rate
    }
    if cuda:
        report["peak_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
    common.finish_report(report, arguments.out)


if __name__ == "__main__":
    import tyro

    main(tyro.cli(Arguments, description=__doc__))
