"""Unsloth or vLLM generating, as a process of its own. benchmarks/generate.py starts it; by hand:

    python -m benchmarks.peers.generate_process --peer unsloth --checkpoint FOLDER --prompt ids.json --batches 1 8 --out peer.json

Importing Unsloth replaces the Llama classes of transformers for good, and vLLM takes its memory at the start. The report at
--out is written anew after each batch size.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.common.report import write_report
from benchmarks.peers.process import await_turn
from orpheus.common.tokens import TokenLayout
from orpheus.engines.options import SamplingOptions

WARM_TOKENS = 8


@dataclass(frozen=True)
class Arguments:
    peer: Literal["unsloth", "vllm"]
    checkpoint: str
    """Folder of the base model and its tokenizer."""
    prompt: str
    """JSON: a list of token ids, the same for every sequence."""
    batches: tuple[int, ...] = (1, 8)
    tokens: int = 48
    """Tokens per sequence."""
    rank: int = 64
    """Of Unsloth's adapter."""
    after: str = ""
    """Waits for this file once everything is imported."""
    out: str = ""


def unsloth(arguments):
    """(version, what generates so many tokens for a batch and returns their number), imported; then it waits."""
    import unsloth
    from unsloth import FastLanguageModel

    from benchmarks.peers.generate import plain_generate
    from benchmarks.peers.unsloth.model import load_model, randomize_adapter

    await_turn(arguments.after)
    import torch

    model, _ = load_model(arguments.checkpoint, 2048, arguments.rank)
    randomize_adapter(model)
    FastLanguageModel.for_inference(model)
    layout = TokenLayout()

    def generate(prompts, tokens):
        options = SamplingOptions(max_new_tokens=tokens)
        made = plain_generate(model, prompts, options, layout, min_new_tokens=tokens)
        torch.cuda.synchronize()
        return made.numel()

    return unsloth.__version__, generate


def vllm(arguments):
    """As `unsloth`."""
    import vllm

    await_turn(arguments.after)
    engine = vllm.LLM(
        model=arguments.checkpoint,
        dtype="bfloat16",
        max_model_len=2048,
        max_num_seqs=max(arguments.batches),
        gpu_memory_utilization=0.5,
    )
    options = SamplingOptions()

    def generate(prompts, tokens):
        sampling = vllm.SamplingParams(
            temperature=options.temperature,
            top_p=options.top_p,
            repetition_penalty=options.repetition_penalty,
            max_tokens=tokens,
            ignore_eos=True,
            detokenize=False,
        )
        made = engine.generate([{"prompt_token_ids": ids} for ids in prompts], sampling, use_tqdm=False)
        return sum(len(output.outputs[0].token_ids) for output in made)

    return vllm.__version__, generate


def main(arguments):
    began = time.perf_counter()
    prompt = json.loads(Path(arguments.prompt).read_text())
    version, generate = {"unsloth": unsloth, "vllm": vllm}[arguments.peer](arguments)
    report = {"versions": {arguments.peer: version}, "rows": [], "failed": {}}
    report["load_seconds"] = round(time.perf_counter() - began, 1)
    write_report(report, arguments.out)
    for batch in arguments.batches:
        try:
            began = time.perf_counter()
            generate([prompt] * batch, WARM_TOKENS)
            middle = time.perf_counter()
            tokens = generate([prompt] * batch, arguments.tokens)
            row = {"batch": batch, "tokens": tokens, "seconds": time.perf_counter() - middle}
            report["rows"].append(row | {"first_run_seconds": round(middle - began, 2)})
        except Exception as error:
            report["failed"][str(batch)] = f"{type(error).__name__}: {error}"[:300]
        write_report(report, arguments.out)
    print(json.dumps(report))


if __name__ == "__main__":
    from orpheus.common.command import parse

    main(parse(Arguments, __doc__))
