"""How speech that is played while it is made arrives: for streams.py and server.py, whose clients' processes import no PyTorch."""

import numpy as np

from orpheus.common.frame import SAMPLE_RATE

SENTENCE = "It takes five minutes to walk from the swimming pool to the museum, and ten more to the old bridge. "
PIECE_TOKENS, PROBE_TOKENS = 1200, 56
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
