"""What serves listeners elsewhere, for benchmarks/streams.py: one text after the other, or tokens of many in one batch."""

import gc
import time

import torch

from benchmarks.common.listening import SENTENCE
from benchmarks.common.report import time_limit
from benchmarks.peers.generate import continuous_generate, plain_generate
from orpheus.common.frame import TOKENS_PER_SECOND
from orpheus.engines.options import SamplingOptions


def peer_prompts(tts, count):
    prompt = tts.prompts.prompt(SENTENCE, tts.default_voice)
    return [list(prompt) for _ in range(count)]


def one_by_one(tts, tokens, count, seconds):
    """transformers' generate, then the codec: a text after the other, as simple servers do. Tokens per second."""
    model, layout, made = tts.engine.model, tts.engine.layout, 0
    options, prompts = SamplingOptions(max_new_tokens=tokens), peer_prompts(tts, count)
    with time_limit(seconds):
        plain_generate(model, prompts[:1], SamplingOptions(max_new_tokens=8), layout)  # warms up
        began = time.perf_counter()
        for prompt in prompts:
            ids = plain_generate(model, [prompt], options, layout)[0].tolist()
            tts.codec.decode(layout.to_codes(ids))
            made += len(ids)
    return made / (time.perf_counter() - began)


def generate_batch(tts, tokens, count, seconds):
    """transformers' continuous batching, tokens alone (no audio). Tokens per second of the second, warm wave."""
    engine = tts.engine
    _, warm, made = continuous_generate(engine.model, engine.layout, peer_prompts(tts, count), tokens, seconds)
    return made / warm


PEERS = {"one_by_one": one_by_one, "generate_batch": generate_batch}


def run_peers(tts, arguments, largest, left):
    """The report's rows of the peers; `left` gives the seconds that they still have."""
    rows = []
    for name in arguments.peers or PEERS:
        if name == "none":
            continue
        count = largest if name == "generate_batch" else 2
        row = {"peer": name, "streams": count}
        if left() <= 0:
            row["skipped"] = "no time left"
        else:
            try:
                rate = PEERS[name](tts, arguments.peer_tokens, count, left())
                row |= {"tokens_per_second": round(rate, 1), "real_time_streams": round(rate / TOKENS_PER_SECOND, 2)}
            except Exception as error:  # a peer's own faults are a result as well
                row["failed"] = f"{type(error).__name__}: {error}"[:800]
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        rows.append(row)
        print(f"peer {row}", flush=True)
    return rows
