"""Time to the first sound of the fast engine: part of benchmarks/generate.py."""

import statistics
import time

from orpheus.common.frame import CONTEXT_FRAMES


def measure_first_audio(run, engine):
    """Milliseconds from a warm engine's start to the first token, and to the first chunk of audio in hand, by look-ahead."""
    from orpheus.engines import ENDED
    from orpheus.engines.options import SamplingOptions
    from orpheus.speech.streaming import FrameAssembler, stream_audio

    if not run.due("time to first audio"):
        return
    options = SamplingOptions(max_new_tokens=70)

    def tokens():
        return (int(step[0]) for step in engine.generate([run.prompt], options, [0]) if step[0] != ENDED)

    def until_in_hand(begin):
        """Median seconds until the first item of what `begin` begins, after one that warms up. Steps that were launched ahead
        of it are waited for before the next, and not counted."""
        times = []
        for _ in range(6):
            run.synchronize()
            began = time.perf_counter()
            items = begin()
            next(items)
            times.append(time.perf_counter() - began)
            items.close()
        return statistics.median(times[1:])

    found = {"prompt_tokens": len(run.prompt), "first_token": until_in_hand(tokens)}
    try:
        import numpy as np

        from benchmarks.common.models import full_shape_codec
        from tests.fakes.checkpoints import snac_config

        speech = np.random.default_rng(0).standard_normal(24_000).astype(np.float32) * 0.1
        config = snac_config(run.layout.codebook_size, 48, 1024) if run.cuda else snac_config(run.layout.codebook_size)
        codec = full_shape_codec(run.model.device, speech, config)

        def decode(codes, first):
            return codec.decode_window(codes, 0, first)

        for lookahead, early in ((CONTEXT_FRAMES, True), (CONTEXT_FRAMES, False), (1, False), (0, False)):
            name = f"first_audio_lookahead_{lookahead}" + ("_early" if early else "")
            found[name] = until_in_hand(
                lambda ahead=lookahead, early=early: stream_audio(
                    tokens(), decode, FrameAssembler(run.layout), ahead, 8, early
                )
            )
    except Exception as error:
        print(f"first audio left out: {error!r:.200}")
    found = {name: value if name == "prompt_tokens" else round(value * 1000, 1) for name, value in found.items()}
    run.report["milliseconds"] = found
    print("milliseconds after a warm start:", found, flush=True)
