"""Others that generate, for benchmarks/generate.py and benchmarks/streams.py: with the same sampling, in the same run.

    transformers   `generate` as it is
    compiled       `generate` with the static cache, which transformers compiles on CUDA; one sequence
    continuous     the manager behind transformers' `generate_batch`; it has no repetition penalty
    unsloth        `for_inference` with a LoRA adapter that is not merged: what users run after training
    llama.cpp      the model as GGUF files in F32 and Q8_0, on a CPU, where requirements-llama.txt is installed
    vllm           where it is installed

unsloth and vllm are processes of their own (generate_process.py): they replace parts of transformers, or take the memory. Each
peer is bounded in time; what fails is noted in the report and not raised.
"""

import json
import tempfile
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from benchmarks.common.report import time_limit
from benchmarks.peers.process import PeerProcess
from orpheus.common.tokens import TokenLayout
from orpheus.engines.options import SamplingOptions

IN_PROCESSES = {"unsloth": "unsloth, adapter unmerged", "vllm": "vllm"}
PEERS = ("transformers", "compiled", "continuous", "llama.cpp", *IN_PROCESSES)
SECONDS = {"transformers": 60, "compiled": 120, "continuous": 90, "unsloth": 100, "vllm": 150}  # at most
GENERATE = "benchmarks.peers.generate_process"
BLOCK = 256  # tokens of a block of the continuous cache, its default


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


def continuous_generate(model, layout, prompts, tokens, seconds=90.0):
    """transformers' continuous batching over all prompts at once, with room for all; ends of speech are not heeded.

    returns: (seconds of a first wave, seconds of a second, tokens of the second)
    """
    from transformers import ContinuousBatchingConfig, GenerationConfig
    from transformers.generation.continuous_batching.utils import WorkloadHints

    deadline, options, longest = time.perf_counter() + seconds, SamplingOptions(), max(map(len, prompts))
    sampling = GenerationConfig(
        max_new_tokens=tokens,
        do_sample=True,
        temperature=options.temperature,
        top_p=options.top_p,
        top_k=0,
        eos_token_id=-1,
        pad_token_id=layout.pad,
        use_cache=True,
    )
    blocks = len(prompts) * -(-(longest + tokens) // BLOCK)
    room = ContinuousBatchingConfig(
        block_size=BLOCK, num_blocks=blocks + blocks // 2 + 16, max_batch_tokens=max(1024, 4 * len(prompts))
    )
    walls = []
    with model.continuous_batching_context_manager(
        generation_config=sampling,
        continuous_batching_config=room,
        timeout=10,
        workload_hints=WorkloadHints(longest, tokens, len(prompts)),
    ) as manager:
        for _ in range(2):
            began, made = time.perf_counter(), []
            manager.add_requests(prompts, max_new_tokens=tokens)
            while len(made) < len(prompts):
                result = manager.get_result(timeout=0.2)
                if result and result.error:
                    raise RuntimeError(str(result.error))
                if result and result.is_finished():
                    made.append(len(result.generated_tokens))
                if not result and not manager.is_running():
                    raise RuntimeError(f"its thread ended: {manager.background_thread_status.fatal_error}")
                if time.perf_counter() > deadline:
                    manager.stop(timeout=10, hard_stop=True)
                    raise TimeoutError(f"{len(made)} of {len(prompts)} sequences after {seconds:.0f} s")
            walls.append(time.perf_counter() - began)
    if min(made) != tokens:
        raise RuntimeError(f"sequences of {min(made)} to {max(made)} tokens instead of {tokens}")
    return *walls, sum(made)


def check_greedy(run, prompts):
    """How many prompts get the greedy ids of transformers' generate from the fast engine; the number of tokens compared."""
    from orpheus.engines.fast.engine import FastEngine

    engine, options = FastEngine(run.model, run.layout), SamplingOptions(temperature=0, max_new_tokens=28)
    same = compared = 0
    for prompt in prompts:
        ours = [int(step[0]) for step in engine.generate([prompt], options, [0])]
        theirs = plain_generate(run.model, [prompt], options, run.layout)[0].tolist()
        same += ours == theirs[: len(ours)] and (len(ours) == len(theirs) or ours[-1] == theirs[len(ours) - 1])
        compared += len(ours)
    run.report["check"] = {"prompts": len(prompts), "same": same, "tokens": compared}
    print(f"greedy ids of transformers' generate: {same} of {len(prompts)} prompts, {compared} tokens")


def measure_plain(run, batch):
    prompts, tokens = [run.prompt] * batch, run.arguments.peer_tokens
    plain_generate(run.model, prompts, SamplingOptions(max_new_tokens=8), run.layout, min_new_tokens=8)
    run.synchronize()
    began = time.perf_counter()
    made = plain_generate(run.model, prompts, SamplingOptions(max_new_tokens=tokens), run.layout)
    run.synchronize()
    seconds, count = time.perf_counter() - began, int((made != run.layout.pad).sum())
    run.add_row("transformers generate", batch, seconds, count, tokens_per_row=tokens)


def measure_compiled(run, batch):
    """The second of two equal calls: the first one compiles."""
    prompts, options, times = [run.prompt] * batch, SamplingOptions(max_new_tokens=2 * run.arguments.peer_tokens), []
    try:
        for _ in range(2):
            began = time.perf_counter()
            made = plain_generate(run.model, prompts, options, run.layout, cache_implementation="static")
            run.synchronize()
            times.append(time.perf_counter() - began)
    finally:
        vars(run.model).pop("_compiled_call", None)
    first, seconds = times
    run.add_row(
        "transformers, static cache, compiled",
        batch,
        seconds,
        int((made != run.layout.pad).sum()),
        first_run_seconds=round(first, 2),
        tokens_per_row=options.max_new_tokens,
    )


def measure_continuous(run, batch):
    tokens, left = run.arguments.peer_tokens, min(run.left(), SECONDS["continuous"])
    first, seconds, made = continuous_generate(run.model, run.layout, [run.prompt] * batch, tokens, left)
    more = {"first_run_seconds": round(first, 2), "tokens_per_row": tokens}
    run.add_row("transformers continuous batching", batch, seconds, made, **more)


WORKS = {"transformers": measure_plain, "compiled": measure_compiled, "continuous": measure_continuous}


def measure_peer(run, name, batch):
    """A row of a peer in this process."""
    if name not in run.peers or not run.due(f"{name} at batch {batch}"):
        return
    try:
        with time_limit(min(run.left(), SECONDS[name])):
            WORKS[name](run, batch)
    except Exception as error:
        run.add_failure(name, batch, error)
    finally:
        run.forget()


def measure_llama_cpp(run, measure_engine, tokens):
    """Rows of llama.cpp with the model's GGUF files, which are written for it. It is measured as this project's engines are.

    measure_engine: that of benchmarks/generate.py
    """
    if "llama.cpp" not in run.peers or run.cuda or not run.checkpoint or not run.due("llama.cpp"):
        return  # the package's wheels have no CUDA
    missing = [name for name in ("gguf", "xllamacpp") if not find_spec(name)]
    if missing:
        run.report.setdefault("not_installed", []).extend(missing)
        print(f"not installed: {', '.join(missing)}", flush=True)
        return
    from orpheus.engines.llama_cpp import LlamaCppEngine
    from orpheus.export.folder import export, find_source
    from orpheus.export.options import ExportOptions

    run.report.setdefault("peer_versions", {})["llama.cpp"] = {"xllamacpp": version("xllamacpp")}
    with tempfile.TemporaryDirectory() as folder:
        try:
            source = find_source(str(run.checkpoint), run.arguments.lora)
            files = export(source, ExportOptions(gguf=("f32", "q8_0"), out=Path(folder) / "export"))
        except Exception as error:  # a model that is no Llama, say
            return run.add_failure("llama.cpp", 0, error)
        for kind, path in files.items():
            engine = LlamaCppEngine(path, run.layout, run.layout.last_audio + 1, exact=kind == "f32")
            for batch in run.batches:
                measure_engine(run, f"llama.cpp, {kind.upper()}", lambda e=engine: e, batch, tokens)
            engine.release()


def installed(run):
    """The processes' peers that are installed; the report names the others. They need CUDA and Orpheus' vocabulary."""
    wanted = [name for name in IN_PROCESSES if name in run.peers and run.cuda and run.layout == TokenLayout()]
    missing = [name for name in wanted if not find_spec(name)]
    if missing:
        run.report["not_installed"] = missing
        print(f"not installed: {', '.join(missing)}", flush=True)
    return [name for name in wanted if name not in missing]


def measure_processes(run, batches, meanwhile=lambda: None):
    """Rows of the peers in processes of their own. They import while `meanwhile` runs."""
    names = [name for name in installed(run) if run.due(name)]
    if not names:
        return meanwhile()
    with tempfile.TemporaryDirectory() as folder:
        prompt = Path(folder) / "prompt.json"
        prompt.write_text(json.dumps(run.prompt))
        files = run.checkpoint or Path(run.arguments.files or folder) / "orpheus-3b"  # a Path, or a hub id
        arguments = ["--checkpoint", files, "--prompt", prompt, "--tokens", run.arguments.peer_tokens]
        arguments += ["--batches", *sorted(batches)]
        processes = {name: PeerProcess(GENERATE, "--peer", name, *arguments) for name in names}
        try:
            try:
                if not run.checkpoint:
                    from benchmarks.common.models import full_size_files

                    full_size_files(files, run.model)
            except Exception as error:  # no room, say: the peers will miss them
                run.add_failure("files", 0, error)
            meanwhile()
            run.forget()
            for name in names:
                if run.due(name):
                    collect(run, name, processes[name])
        finally:
            for process in processes.values():
                process.close()


def collect(run, name, process):
    """Lets a process have its turn and takes over its rows."""
    found = process.results(min(run.left(), SECONDS[name]))
    run.report.setdefault("peer_versions", {})[name] = found.get("versions")
    for row in found.get("rows", []):
        more = {"tokens_per_row": row["tokens"] // row["batch"], "first_run_seconds": row["first_run_seconds"]}
        run.add_row(IN_PROCESSES[name], row["batch"], row["seconds"], row["tokens"], **more)
    for batch, reason in found.get("failed", {}).items():
        run.add_failure(name, batch, reason)
