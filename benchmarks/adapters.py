"""What adapters cost that share one copy of the weights: memory, and tokens per second of batches whose rows speak with all of them.

    python -m benchmarks.adapters                        Orpheus-3B's shape, random weights (CUDA); the demo voice without
    python -m benchmarks.adapters --adapters 0 8 --rows 1 32 --rank 16

With no adapters (0), the same engine without any; with N, rows take the adapters and the plain base in turns. Each adapter changes all
linear layers. The last line of standard output is JSON with everything.
"""

import time
from dataclasses import dataclass

import torch

from benchmarks.common.models import random_orpheus, random_prompt
from benchmarks.common.report import finish_report, start_report
from orpheus.common.frame import TOKENS_PER_SECOND
from orpheus.engines.fast.engine import FastEngine
from orpheus.engines.loading import read_llama
from orpheus.engines.options import SamplingOptions
from orpheus.engines.plain_lora import Change
from orpheus.speech.adapters import DEMO_VOICE
from orpheus.speech.model import load_model

LENGTH = 512  # tokens of a slot
WARM = 12  # steps that are not measured


@dataclass(frozen=True)
class Arguments:
    adapters: tuple[int, ...] = (0, 1, 4, 8)
    """How many there are; one row of the report for each."""
    rows: tuple[int, ...] = ()
    """Sequences side by side: 1 4 32 128 with CUDA, else 1 4."""
    rank: int = 64
    """Of each adapter."""
    steps: int = 0
    """Measured for each number of rows: 150 with CUDA, else 40."""
    weights: str = "same"
    """Or int8 or int4. See FastEngine."""
    out: str = ""
    """Where the JSON goes as well."""


def random_changes(config, rank, device, dtype, seed):
    """{layer: Change} of an adapter of random weights for every linear layer."""
    generator = torch.Generator(device).manual_seed(seed)
    width, inner, dim = config.hidden_size, config.intermediate_size, config.head_dim
    q, kv = config.num_attention_heads * dim, config.num_key_value_heads * dim
    shapes = {f"self_attn.{name}_proj": (q if name == "q" else kv, width) for name in "qkv"}
    shapes |= {"self_attn.o_proj": (width, q), "mlp.down_proj": (width, inner)}
    shapes |= {f"mlp.{name}_proj": (inner, width) for name in ("gate", "up")}

    def made(rows, columns):
        return torch.randn(rows, columns, generator=generator, device=device, dtype=dtype) * 0.01

    return {
        f"model.layers.{layer}.{name}": Change(made(rank, columns), made(rows, rank), 1.0)
        for layer in range(config.num_hidden_layers)
        for name, (rows, columns) in shapes.items()
    }


def measure(engine, names, count, steps, prompt):
    """Tokens per second of `count` sequences."""
    slots = engine.open(count, LENGTH)
    sampling = SamplingOptions(max_new_tokens=LENGTH - len(prompt))
    speakers = [*names, None]
    for row in range(count):
        own = {"adapter": speakers[row % len(speakers)]} if names else {}
        slots.join(prompt, sampling, row, **own)
    slots.admit_all()
    for _ in range(WARM):
        slots.step()
    if engine.captured:
        torch.cuda.synchronize()
    began, made = time.perf_counter(), 0
    for _ in range(steps):
        made += int((slots.step() >= 0).sum())
    return made / (time.perf_counter() - began)


def main(arguments):
    cuda = torch.cuda.is_available()
    report = start_report("adapters") | {"rank": arguments.rank, "weights": arguments.weights, "rows": []}
    if cuda:
        source, layout = random_orpheus("cuda")
        prompt, dtype, device = random_prompt(layout), torch.bfloat16, "cuda"
        report["model"] = "Orpheus-3B's shape, random weights"
    else:
        loaded, _ = load_model("demo", "none", device="cpu")
        source, layout = read_llama(DEMO_VOICE, None, "cpu"), loaded.prompts.layout
        prompt, dtype, device = loaded.prompts.prompt("Good morning.", loaded.default_voice), torch.float32, "cpu"
        report["model"] = "demo voice"
    rows, steps = arguments.rows or ((1, 4, 32, 128) if cuda else (1, 4)), arguments.steps or (150 if cuda else 40)
    for count in arguments.adapters:
        changes = {
            f"adapter {n}": random_changes(source.config, arguments.rank, device, dtype, n) for n in range(count)
        }
        engine = FastEngine(source, layout, weights=arguments.weights, adapters=changes)
        names, changes = list(changes), None
        row = {"adapters": count, "adapters_gb": round(engine.llama.adapters.nbytes / 1e9, 3) if count else 0.0}
        if cuda:
            row["weights_gb"] = round(torch.cuda.memory_allocated() / 1e9, 2)
        for many in rows:
            speed = measure(engine, names, many, steps, prompt)
            row[f"tokens_per_second_{many}"] = round(speed, 1)
            print(
                f"{count} adapters, {row['adapters_gb']:.2f} GB: {many} rows make {speed:.0f} tokens/s, "
                f"{speed / TOKENS_PER_SECOND:.1f} seconds of speech a second",
                flush=True,
            )
        report["rows"].append(row)
        engine = None
    finish_report(report, arguments.out)


if __name__ == "__main__":
    from orpheus.common.command import parse

    main(parse(Arguments, __doc__))
