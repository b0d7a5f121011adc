"""SNAC codes to audio for many streams: a frame of each per tick, in every way there is, in one run.

    python -m benchmarks.decode                          demo codec, few streams (CPU); the 24 kHz SNAC's shape (CUDA)
    python -m benchmarks.decode --streams 1 8 32 --out benchmarks/results/decode.json

A stream at real time brings 11.72 frames a second. "Window" decodes 7 frames for a new one (3 of context on each side);
"window of 14" 8 new frames at once, which makes a listener wait for 8. "Share" is the part of real time that decoding takes
for all streams; above 100 % speech stalls. The last line of standard output is JSON with everything.
"""

import statistics
import time
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.common.models import random_codec
from benchmarks.common.report import finish_report, start_report
from orpheus.codec.snac import Codec
from orpheus.codec.stream_decoder import StreamDecoder
from orpheus.common.frame import CONTEXT_FRAMES, FRAMES_PER_SECOND, LEVEL_CODES
from orpheus.speech.model import DEMO_VOICE

SLOW = 2.0  # seconds for one row
BUDGET_MARGIN = 0.8  # of the budget: a row begun late still ends


@dataclass(frozen=True)
class Arguments:
    codec: str = "auto"
    """auto, demo, full (random weights) or a folder."""
    streams: tuple[int, ...] = ()
    """Streams side by side; 1 8 32 128 200 with CUDA, else 1 8."""
    ticks: int = 0
    """Timed ticks, the median is shown; 0 for 20 with CUDA, else 3."""
    seconds_budget: float = 60.0
    """No further row begins after this."""
    out: str = ""
    """Where the JSON goes as well."""


def timed(work, ticks, cuda):
    """Median seconds of a call after two that warm up; fewer calls where they are slow."""
    times, start = [], time.perf_counter()
    for count in range(ticks + 2):
        if times and time.perf_counter() - start > SLOW:
            break
        if cuda:
            torch.cuda.synchronize()
        began = time.perf_counter()
        work()
        if cuda:
            torch.cuda.synchronize()
        if count >= 2:
            times.append(time.perf_counter() - began)
    return statistics.median(times)


class WindowGraph:
    """Codec.decode_levels as a CUDA graph: the peer that a window can be at best."""

    def __init__(self, codec, streams, frames):
        def zeros(*shape):
            return torch.zeros(*shape, dtype=torch.int64, device=codec.device)

        levels = [zeros(streams, frames * count) for count in LEVEL_CODES]
        self.inputs = levels, zeros(streams), zeros(streams)  # kept: the graph reads them
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(2):
                codec.decode_levels(*self.inputs)
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.audio = codec.decode_levels(*self.inputs)

    def __call__(self):
        self.graph.replay()
        return self.audio.cpu()


def ways(codec, streams, cuda):
    """(name, a tick's work, new frames per stream and tick)"""
    random = np.random.default_rng(0)
    codes = random.integers(0, codec.codebook_size, (streams, 8 + 2 * CONTEXT_FRAMES, 7))
    narrow, wide = 1 + 2 * CONTEXT_FRAMES, 8 + 2 * CONTEXT_FRAMES
    seeds = first = np.zeros(streams, dtype=np.int64)

    def one_by_one():
        for window in codes:
            codec.decode_window(window[:narrow], 0, 0)

    yield "window, one by one, eager", one_by_one, 1
    yield "window, one batch, eager", lambda: codec.decode_windows(codes[:, :narrow], seeds, first).cpu(), 1
    if cuda:
        yield "window, one batch, CUDA graph", WindowGraph(codec, streams, narrow), 1
        yield "window of 14, one batch, CUDA graph", WindowGraph(codec, streams, wide), 8
    else:
        yield "window of 14, one batch, eager", lambda: codec.decode_windows(codes, seeds, first).cpu(), 8
    decoder = StreamDecoder(codec, streams)
    joined = [decoder.join(seed) for seed in range(streams)]

    def tick():
        for stream, frames in zip(joined, codes):
            decoder.push(stream, frames[0])
        decoder.step().chunks()

    yield "this project: no frame twice", tick, 1


def largest_error(codec):
    """Of a stream against the whole: samples in -1..1."""
    codes = np.random.default_rng(1).integers(0, codec.codebook_size, (12, 7))
    decoder = StreamDecoder(codec, 2)
    stream, parts = decoder.join(5), []
    decoder.push(stream, codes)
    decoder.finish(stream)
    while decoder.waiting():
        parts.extend(decoder.step().chunks().values())
    return float(np.abs(np.concatenate(parts) - codec.decode(codes, 5)).max())


def table_rows(report):
    """For docs/speed.md: the best peer that is not behind by more than a frame, and this project."""
    rows = []
    for streams in dict.fromkeys(row["streams"] for row in report["rows"]):
        single = [row for row in report["rows"] if row["streams"] == streams and "of 14" not in row["way"]]
        ours, others = single[-1], single[:-1]
        if not others or "this project" not in ours["way"]:
            continue
        best = min(others, key=lambda row: row["ms_per_tick"])
        rows.append(
            {
                "what": f"SNAC decoding of {streams} stream{'s' * (streams > 1)}, share of real time",
                "peer": best["way"],
                "theirs": f"{best['share_of_real_time']:.1%}",
                "ours": f"{ours['share_of_real_time']:.1%}",
                "ratio": round(best["ms_per_tick"] / ours["ms_per_tick"], 2),
            }
        )
    return rows


def main(arguments):
    began = time.perf_counter()
    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    kind = {"auto": "full" if cuda else "demo"}.get(arguments.codec, arguments.codec)
    if kind == "full":
        codec = random_codec(device)
    else:
        codec = Codec.from_folder(DEMO_VOICE / "codec" if kind == "demo" else kind, device)
    report = start_report("decode")
    report |= {"codec": kind if kind in ("full", "demo") else "folder", "rows": []}
    report["largest_error"] = largest_error(codec)
    print(
        f"codec {report['codec']} on {report['hardware']}; a stream differs from the whole by {report['largest_error']:.1e} at most"
    )
    print(f"{'streams':>7} {'':56} {'ms per tick':>11} {'us per frame':>12} {'share':>8}")
    for streams in arguments.streams or ((1, 8, 32, 128, 200) if cuda else (1, 8)):
        for name, work, frames in ways(codec, streams, cuda):
            if time.perf_counter() - began > BUDGET_MARGIN * arguments.seconds_budget:
                report["cut_short"] = True
                continue
            seconds = timed(work, arguments.ticks or (20 if cuda else 3), cuda)
            row = {
                "streams": streams,
                "way": name,
                "ms_per_tick": round(seconds * 1e3, 3),
                "us_per_frame": round(seconds / streams / frames * 1e6, 1),
                "share_of_real_time": round(seconds * FRAMES_PER_SECOND / frames, 4),
            }
            report["rows"].append(row)
            print(
                f"{streams:7} {name:56} {row['ms_per_tick']:11.2f} {row['us_per_frame']:12.1f} {row['share_of_real_time']:8.1%}",
                flush=True,
            )
    report["table"] = table_rows(report)
    if cuda:
        report["peak_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
    finish_report(report, arguments.out)


if __name__ == "__main__":
    from orpheus.common.command import parse

    main(parse(Arguments, __doc__))
