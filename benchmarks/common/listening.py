"""How speech that is played while it is made arrives: for streams.py and server.py, whose clients' processes import no PyTorch."""

import time

import numpy as np

from orpheus.common.frame import SAMPLE_RATE

SENTENCE = "It takes five minutes to walk from the swimming pool to the museum, and ten more to the old bridge. "
PIECE_TOKENS, PROBE_TOKENS = 1200, 56
BURST_SECONDS, BURST_TOKENS = 5.0, 336  # how long gaps are looked at before and after a burst; what its texts take
TOGETHER = 0.005  # seconds: chunks closer than that came together, such as the end of a piece and the pause after it


def percentiles(values, *shares):
    return [round(float(np.percentile(values, share)), 4) if len(values) else None for share in shares]


def gaps_and_buffers(streams):
    """(gaps between chunks in seconds, their ratios to the speech before them, start buffers in seconds, one for each stream).

    streams: [[(seconds of a clock, samples) of each chunk]]; those of fewer than three chunks say nothing
    """
    gaps, ratios, buffers = [], [], []
    for chunks in streams:
        if len(chunks) < 3:
            continue
        times, audio = np.array(chunks).T
        audio = audio / SAMPLE_RATE
        starts = np.flatnonzero(np.diff(times, prepend=-np.inf) > TOGETHER)  # of what came together
        gaps.extend(np.diff(times[starts]))
        ratios.extend(np.diff(times[starts]) / np.add.reduceat(audio, starts)[:-1])
        late = times - times[0] - np.concatenate([[0], np.cumsum(audio)[:-1]])
        buffers.append(max(0.0, late.max()))
    return np.array(gaps), np.array(ratios), np.array(buffers)


def chunk_figures(speeches, began, ended):
    """Gaps between chunks and the start buffer, of chunks that came in began..ended (seconds of perf_counter)."""
    arrived = ([(speech.submitted + seconds, samples) for seconds, samples in speech.arrivals] for speech in speeches)
    gaps, ratios, buffers = gaps_and_buffers(
        [[chunk for chunk in chunks if began <= chunk[0] <= ended] for chunks in arrived]
    )
    return {
        "gap_ms_p50_p99": percentiles(gaps * 1e3, 50, 99),
        "gap_ratio_p50_p99": percentiles(ratios, 50, 99),
        "gaps_longer_than_their_audio": round(float(np.mean(ratios > 1 + 1e-6)), 5) if len(ratios) else None,
        "start_buffer_ms_p50_p99_max": percentiles(buffers * 1e3, 50, 99, 100),
        "chunks": len(ratios),
    }


def measure_burst(listeners, count):
    """What the listeners notice of `count` more that arrive at once, and how long these wait."""
    plans = [listeners.plan(max_new_tokens=BURST_TOKENS) for _ in range(count)]
    began = time.perf_counter()
    while time.perf_counter() - began < BURST_SECONDS:  # planning held the others up
        listeners.look_after()
    began = time.perf_counter()
    new = [listeners.start(plan) for plan in plans]
    while time.perf_counter() - began < BURST_SECONDS or not all(speech.arrivals for speech in new):
        listeners.look_after()
    those = [*listeners.speeches, *listeners.over]
    figures = {
        name: chunk_figures(those, start, start + BURST_SECONDS)["gap_ratio_p50_p99"]
        for name, start in (("gap_ratio_p50_p99_before", began - BURST_SECONDS), ("gap_ratio_p50_p99_meanwhile", began))
    }
    first = percentiles([speech.arrivals[0][0] * 1e3 for speech in new], 50, 99)
    for speech in new:
        speech.close()
    return {"arrivals": count, "first_chunk_ms_p50_p99": first} | figures
