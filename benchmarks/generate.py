"""Tokens per second, time to first audio and memory: plain `transformers` and this project, in one run.

    python benchmarks/generate.py                       the demo voice (CPU) or Orpheus-3B (CUDA)
    python benchmarks/generate.py --model FOLDER --batches 1 8 32

The last line of standard output is JSON with everything.
"""

import json
import platform
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from orpheus.frame import TOKENS_PER_SECOND

TEXT = "It takes five minutes to walk from the swimming pool to the museum."


@dataclass(frozen=True)
class Arguments:
    model: str = "auto"
    """auto, demo, a folder or a hub id."""
    lora: str = "none"
    """Adapter to merge in."""
    tokens: int = 400
    """Tokens per row at most."""
    batches: tuple[int, ...] = (1, 8)
    """Batch sizes."""
    repeats: int = 3
    """Timed runs after one that warms up; the median is shown."""


def median_time(work, repeats, synchronize):
    """Median seconds of `work`, and what it returned last."""
    times = []
    for count in range(repeats + 1):
        synchronize()
        began = time.perf_counter()
        result = work()
        synchronize()
        if count:
            times.append(time.perf_counter() - began)
    return statistics.median(times), result


def plain_generate(model, prompts, options, layout):
    """Tokens made by `transformers`' own generate with the same sampling, left-padded as its documentation says."""
    import torch

    width = max(map(len, prompts))
    ids = torch.tensor([[layout.pad] * (width - len(prompt)) + prompt for prompt in prompts], device=model.device)
    made = model.generate(
        ids,
        attention_mask=(ids != layout.pad).long(),
        do_sample=True,
        temperature=options.temperature,
        top_p=options.top_p,
        top_k=0,
        repetition_penalty=options.repetition_penalty,
        max_new_tokens=options.max_new_tokens,
        eos_token_id=layout.end_of_speech,
        pad_token_id=layout.pad,
    )[:, width:]
    return int((made != layout.pad).sum())


def our_generate(engine, prompts, options):
    """Tokens made by the project's engine."""
    return sum(int((tokens >= 0).sum()) for tokens in engine.generate(prompts, options, list(range(len(prompts)))))


def main(arguments):
    import torch
    import transformers

    from orpheus.options import SamplingOptions
    from orpheus.synthesis import OrpheusInference

    cuda = torch.cuda.is_available()
    synchronize = torch.cuda.synchronize if cuda else lambda: None
    began = time.perf_counter()
    speaker = OrpheusInference(arguments.model, arguments.lora)
    engine, prompt = speaker.engine, speaker.prompts.prompt(TEXT, speaker.default_voice)
    report = {
        "benchmark": "generate",
        "model": Path(speaker.name).name,
        "hardware": torch.cuda.get_device_name() if cuda else f"CPU, {torch.get_num_threads()} threads",
        "versions": {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "python": platform.python_version(),
        },
        "load_seconds": round(time.perf_counter() - began, 1),
        "prompt_tokens": len(prompt),
        "rows": [],
    }
    options = SamplingOptions(max_new_tokens=arguments.tokens)
    print(f"{report['model']} on {report['hardware']}, loaded in {report['load_seconds']} s")
    print(
        f"{'batch':>6} {'transformers':>14} {'this project':>14} {'ratio':>6}   tokens/s of all rows ({TOKENS_PER_SECOND:.0f} = real time of one)"
    )
    for batch in arguments.batches:
        prompts = [prompt] * batch
        rates = []
        for work in (
            lambda p=prompts: plain_generate(engine.model, p, options, engine.layout),
            lambda p=prompts: our_generate(engine, p, options),
        ):
            seconds, tokens = median_time(work, arguments.repeats, synchronize)
            rates.append(tokens / seconds)
        print(f"{batch:6} {rates[0]:14.1f} {rates[1]:14.1f} {rates[1] / rates[0]:6.2f}", flush=True)
        report["rows"].append({"batch": batch, "transformers": round(rates[0], 1), "ours": round(rates[1], 1)})

    for lookahead in (3, 1):
        seconds, _ = median_time(
            lambda ahead=lookahead: next(speaker.stream(TEXT, lookahead=ahead)), arguments.repeats, synchronize
        )
        report[f"first_audio_ms_lookahead_{lookahead}"] = round(seconds * 1000, 1)
        print(f"first audio with look-ahead {lookahead}: {seconds * 1000:.0f} ms after a warm start")
    speech = speaker.synthesize(TEXT, max_new_tokens=arguments.tokens)
    report["real_time_factor"] = round(speech.real_time_factor, 3)
    print(
        f"text to samples: {speech.seconds:.2f} s of speech in {speech.seconds_taken:.2f} s, real-time factor {speech.real_time_factor:.2f}"
    )
    if cuda:
        report["peak_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
        print(f"peak memory {report['peak_gib']} GiB")
    print(json.dumps(report))


if __name__ == "__main__":
    import tyro

    main(tyro.cli(Arguments, description=__doc__))
