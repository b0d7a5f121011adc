"""Many listeners at once: how many streams are served in real time, and what each costs, peers in the same run.

    python -m benchmarks.streams                         the demo voice (CPU); Orpheus-3B's shape, random weights (CUDA)
    python -m benchmarks.streams --streams 1 8 32 128 220 --seconds 6 --hold 60 --out benchmarks/results/streams.json

For each number of streams, listeners arrive one after the other, ask for long texts and for the next one when a text ends;
measured is what happens once all have arrived, for --seconds (the last number for --hold). "Real-time streams" are seconds
of speech made per second. A gap is the time between two chunks of a stream; its ratio is to the speech of the earlier
one, which plays meanwhile: up to 1, none runs dry. "Start buffer" is how much speech a player must hold back at first so
that it never runs dry. Probes are short texts sent while all the others speak: their time to the first chunk. SNAC's share is
the time that decoding alone takes, per second. The last line of standard output is JSON with everything.
"""

import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.common.listening import PIECE_TOKENS, PROBE_TOKENS, SENTENCE, chunk_figures, measure_burst, percentiles
from benchmarks.common.models import our_engine, random_model
from benchmarks.common.report import finish_report, start_report, write_report
from benchmarks.peers.streams import PEERS, run_peers
from orpheus.codec.stream_decoder import StreamDecoder
from orpheus.common.errors import OrpheusError
from orpheus.common.frame import FRAMES_PER_SECOND, TOKENS_PER_SECOND
from orpheus.engines.options import SamplingOptions
from orpheus.server.pool import StreamPool
from orpheus.server.pooled import keep_what_lives
from orpheus.speech.request import plan_stream
from orpheus.speech.synthesis import OrpheusInference

TEXT = (
    SENTENCE * 10
)  # some 25 pieces of PIECE_SECONDS, or 6 minutes of the random model, which ends none before its last token
# Of text in a prompt of the random model, whose tokenizer makes bytes: as many tokens as Orpheus' makes of 10 seconds.
PIECE_SECONDS = 2.5
POLL, TO_BEGIN = (
    0.01,
    60,
)  # seconds between two looks at the listeners; seconds for all to have a first chunk, and for probes to end
SPARE = 2  # slots beyond the streams: one for the probe, one for what ends
PEER_SHARE = 0.4  # of the budget: after this no peer begins


@dataclass(frozen=True)
class Arguments:
    model: str = "auto"
    """auto, full (Orpheus-3B's shape, random weights), demo, a folder or a hub id."""
    streams: tuple[int, ...] = ()
    """Numbers of streams, rising; 1 8 32 64 128 220 with CUDA, else 1 2."""
    seconds: float = 0.0
    """Measured for each number; 0 for 3 with CUDA, else 4."""
    hold: float = 0.0
    """Measured for the last one; 0 for 60 with CUDA, else as --seconds."""
    arrivals: float = 0.0
    """Listeners that arrive per second; 0 spreads them over the time that a text takes, as those who come independently are."""
    burst: int = 0
    """After the last number, so many more listeners arrive at once; the others' gaps before and meanwhile are compared."""
    peers: tuple[str, ...] = ()
    """one_by_one (transformers' generate, then the codec), generate_batch (transformers' continuous batching) or none; both by
    default."""
    peer_tokens: int = 56
    """Tokens per text of a peer."""
    tick_steps: int = 7
    """See StreamPool."""
    cache: str = "same"
    """Or fp8. See StreamPool."""
    weights: str = "same"
    """Or int8, int4, fp8. See FastEngine."""
    seconds_budget: float = 200.0
    """After this no further number of streams and no peer begins, and a hold is cut."""
    out: str = ""
    """Where the JSON goes as well, anew after each row, and beside it the plot as PNG."""


class Listeners:
    """Keeps `count` streams going. poll: seconds between two looks at them"""

    def __init__(self, pool, tokens, options=None, poll=POLL):
        self.pool, self.tokens, self.options = pool, tokens, options or {}
        self.speeches, self.over, self.seed = [], [], 0
        self.poll = poll

    def plan(self, text=TEXT, **options):
        """A text for `start`. Planned before it is asked for: the server does so in processes of its own."""
        self.seed += 1
        chosen = {"seed": 10**6 * self.seed, "max_new_tokens": self.tokens, "temperature": 0.6} | self.options | options
        return plan_stream(self.pool.tts.model, text, self.pool.tts.default_voice, chosen)[:2]

    def ask(self, text=TEXT, **options):
        return self.start(self.plan(text, **options))

    def start(self, plan):
        return self.pool.start(*plan, listener=lambda item: None)  # who hears the audio, and forgets it

    def probe(self):
        return self.ask("Good morning.", max_new_tokens=PROBE_TOKENS)

    def arrive(self, count, rate):
        rate = rate or count / (self.tokens / TOKENS_PER_SECOND)
        for _ in range(count):
            self.speeches.append(self.ask())
            time.sleep(1 / rate)
        limit = time.perf_counter() + TO_BEGIN
        while not all(speech.arrivals for speech in self.speeches):
            self.look_after()
            if time.perf_counter() > limit:
                waiting = self.pool.backlog()
                raise OrpheusError(f"not all of {count} streams began within {TO_BEGIN} s, {waiting} wait for a slot")

    def look_after(self):
        """Asks again for those whose text is over; raises what broke one."""
        time.sleep(self.poll)
        for index, speech in enumerate(self.speeches):
            if speech.finish_reason:
                self.over.append(speech)
                self.speeches[index] = self.ask()
        if not self.pool.alive:
            self.ask()  # raises what stopped it
            raise OrpheusError("the pool has stopped")

    def leave(self, probes):
        """Closes all but the probes, and waits for these and for one more: what was begun before it has left by then."""
        for speech in self.speeches:
            speech.close()
        self.speeches, self.over = [], []
        rest, limit = [*probes, self.probe()], time.perf_counter() + TO_BEGIN
        while not all(probe.finish_reason for probe in rest):
            self.look_after()
            if time.perf_counter() > limit:
                raise OrpheusError(f"the probes did not end within {TO_BEGIN} s")


def decoder_seconds(decoder, streams):
    """Seconds that one step of an idle decoder takes for so many streams, with nothing beside it."""
    joined, times = [decoder.join(0) for _ in range(streams)], []
    for _ in range(8):
        for stream in joined:
            decoder.push(stream, np.zeros(7))
        began = time.perf_counter()
        decoder.step(joined).chunks()
        times.append(time.perf_counter() - began)
    for stream in joined:
        decoder.leave(stream)
    return statistics.median(times[2:])


def measure(pool, listeners, count, seconds, arguments, decoder, burst=0):
    """A row of the report. decoder: to be timed with nothing beside it, or None."""
    listeners.arrive(count, arguments.arrivals)
    first = [speech.arrivals[0][0] * 1e3 for speech in listeners.speeches]
    before, spent = dict(pool.counts), dict(pool.seconds)
    began, probes, next_probe = time.perf_counter(), [], 0.5
    while time.perf_counter() - began < seconds:
        listeners.look_after()
        if time.perf_counter() - began > next_probe and (not probes or probes[-1].finish_reason):
            probes.append(listeners.probe())
            next_probe += 1
    ended = time.perf_counter()
    made = {name: pool.counts[name] - before[name] for name in before}
    spent = {name: pool.seconds[name] - spent[name] for name in spent}
    figures = chunk_figures([*listeners.speeches, *listeners.over], began, ended)
    if burst:
        figures["burst"] = measure_burst(listeners, burst)
    listeners.leave(probes)
    wall = ended - began
    if decoder:
        figures["decoder_ms_per_step_alone"] = round(decoder_seconds(decoder, count) * 1e3, 3)
        share = figures["decoder_ms_per_step_alone"] / 1e3 * made["frames"] / count / wall
    else:
        share = spent["decoder"] / wall
    heard = [probe.arrivals[0][0] * 1e3 for probe in probes if probe.arrivals]
    return {
        "streams": count,
        "seconds": round(wall, 1),
        "tokens_per_second": round(made["tokens"] / wall, 1),
        "real_time_streams": round(made["tokens"] / wall / TOKENS_PER_SECOND, 1),
        "speed_of_each": round(made["tokens"] / wall / TOKENS_PER_SECOND / count, 3),
        "ms_of_device_per_second_of_speech": round(1e3 * wall * TOKENS_PER_SECOND / max(made["tokens"], 1), 3),
        "ms_per_step": round(1e3 * wall / max(made["steps"], 1), 3),
        "snac_share": round(share, 4),
        "loop_share": {name: round(value / wall, 4) for name, value in spent.items()},
        "first_chunk_ms_arriving_p50_p99": percentiles(first, 50, 99),
        "first_chunk_ms_under_load_p50_p99": percentiles(heard, 50, 99),
        "probes_heard": len(heard),
    } | figures


# --- what is shown ---


def show(row):
    print(
        f"{row['streams']:7} {row['tokens_per_second']:9.0f} {row['real_time_streams']:10.1f} {row['speed_of_each']:6.2f} "
        f"{row['ms_of_device_per_second_of_speech']:9.2f} {row['snac_share']:6.1%} {row['gap_ratio_p50_p99'][0] or 0:6.2f} "
        f"{row['gap_ratio_p50_p99'][1] or 0:6.2f} {row['start_buffer_ms_p50_p99_max'][1] or 0:8.0f} "
        f"{row['first_chunk_ms_under_load_p50_p99'][0] or 0:9.0f}",
        flush=True,
    )


def plot(report, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    streams = [row["streams"] for row in report["rows"]]
    costs = [row["ms_of_device_per_second_of_speech"] for row in report["rows"]]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    left.plot(streams, costs, "o-")
    left.set(title="cost of a stream", ylabel="ms of the device per second of speech")
    left.set_yscale("log" if max(costs) > 10 * min(costs) else "linear")
    right.plot(streams, [row["speed_of_each"] for row in report["rows"]], "o-", label="speed of each stream")
    right.axhline(1, color="gray", linewidth=1, label="real time")
    right.set(title="speed", ylabel="x real time", ylim=(0, None))
    right.legend()
    for axes in (left, right):
        axes.set(xscale="log", xlabel="streams")
        axes.set_xticks(streams, streams)
        axes.minorticks_off()
        axes.yaxis.set_major_formatter("{x:g}")
    figure.suptitle(f"{report['model']} on {report['hardware']}", fontsize=9)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def table_rows(report):
    """For docs/speed.md."""
    rate = max((peer.get("real_time_streams", 0) for peer in report["peers"]), default=0)
    name = next((peer["peer"] for peer in report["peers"] if peer.get("real_time_streams", 0) == rate), None)
    rows = []
    for row in report["rows"]:
        ratio, buffer = row["gap_ratio_p50_p99"], row["start_buffer_ms_p50_p99_max"]
        what = f"{row['streams']} streams held for {row['seconds']:.0f} s{report.get('precision', '')}: real-time streams served"
        made = {"what": what, "ours": f"{row['real_time_streams']:.0f}, SNAC {row['snac_share']:.0%} of the time"}
        if ratio[1] is not None:
            made["ours"] += f", p99 of gap to its audio {ratio[1]:.2f}, p99 of start buffer {buffer[1]:.0f} ms"
        if burst := row.get("burst"):
            before, meanwhile = burst["gap_ratio_p50_p99_before"][1], burst["gap_ratio_p50_p99_meanwhile"][1]
            made["ours"] += (
                f"; {burst['arrivals']} arrivals at once: p99 of the others' gaps {before:.2f} before, {meanwhile:.2f} meanwhile"
            )
        if heard := row.get("first_chunk_ms_under_load_p50_p99"):
            made["ours"] += f"; first sound of one more after {heard[1]:.0f} ms (p99)" if heard[1] else ""
        if rate and row is report["rows"][-1]:
            made |= {"peer": name, "theirs": f"{rate:.1f}", "ratio": row["real_time_streams"] / rate}
        rows.append(made)
    return rows


def load(model, cuda):
    """An OrpheusInference with transformers' engine: the peers' model is as it was loaded."""
    if model == "full" or (model == "auto" and cuda):
        return OrpheusInference(random_model("cuda" if cuda else "cpu"))
    return OrpheusInference(model, lora="none", engine="transformers")


def main(arguments):
    began = time.perf_counter()
    cuda = torch.cuda.is_available()
    report = start_report("streams")
    tts = load(arguments.model, cuda)
    counts = sorted(arguments.streams or ((1, 8, 32, 64, 128, 220) if cuda else (1, 2)))
    seconds = arguments.seconds or (3.0 if cuda else 4.0)
    if unknown := set(arguments.peers) - {*PEERS, "none"}:
        raise SystemExit(f"no such peers: {', '.join(sorted(unknown))}; there are {', '.join(PEERS)} and none")
    tokens = PIECE_TOKENS if cuda else 140
    precision = {"weights": arguments.weights, "cache": arguments.cache}
    report |= {
        "model": Path(tts.name).name,
        "codec_frames_per_second": round(FRAMES_PER_SECOND, 2),
        "sampling": {k: v for k, v in vars(replace(SamplingOptions(), max_new_tokens=tokens)).items() if k != "seed"},
        "load_seconds": round(time.perf_counter() - began, 1),
        "precision": "".join(f", {kind} {name}" for name, kind in precision.items() if kind != "same"),
        "rows": [],
    }
    report["peers"] = run_peers(
        tts,
        arguments,
        counts[-1],
        lambda: PEER_SHARE * arguments.seconds_budget - (time.perf_counter() - began),
    )
    write_report(report, arguments.out)
    slots = counts[-1] + SPARE + arguments.burst
    decoder = StreamDecoder(tts.codec, slots) if cuda else None  # with batches of the pool's sizes
    opening = time.perf_counter()
    random = arguments.model == "full" or (arguments.model == "auto" and cuda)
    options = {"piece_seconds": PIECE_SECONDS} if random else {}
    tts.engine = our_engine(tts.engine.model, tts.engine.layout, arguments.weights)
    report["engine"] = type(tts.engine).__name__
    with StreamPool(
        tts, slots, length=tokens + 336, waiting=512, tick_steps=arguments.tick_steps, cache=arguments.cache
    ) as pool:
        keep_what_lives()  # as in the server
        report["open_seconds"] = round(time.perf_counter() - opening, 1)
        print(
            f"{report['model']} on {report['hardware']}, {report['engine']}; {pool.slots} slots opened in {report['open_seconds']} s"
        )
        print(
            f"{'streams':>7} {'tokens/s':>9} {'real-time':>10} {'speed':>6} {'ms/s':>9} {'SNAC':>6} {'gap/au':>6} {'p99':>6} {'buffer99':>8} {'first p50':>9}"
        )
        for count in counts:
            left = arguments.seconds_budget - (time.perf_counter() - began)
            if left < 5 and report["rows"]:
                report["cut_short"] = True
                break
            hold = (arguments.hold or (60.0 if cuda else seconds)) if count == counts[-1] else seconds
            try:
                burst = arguments.burst if count == counts[-1] else 0
                listeners = Listeners(pool, tokens, options)
                row = measure(pool, listeners, count, min(hold, max(left - 3, 2)), arguments, decoder, burst)
            except OrpheusError as error:
                report["failed"] = {count: f"{error}: {error.__cause__!r}"[:1500]}
                print(f"{count:7} failed: {report['failed'][count]}", flush=True)
                break
            report["rows"].append(row)
            report["table"] = table_rows(report)
            write_report(report, arguments.out)
            show(row)
        if cuda:
            report["peak_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
    if arguments.out:
        plot(report, Path(arguments.out).with_suffix(".png"))
    finish_report(report, arguments.out)


if __name__ == "__main__":
    from orpheus.common.command import parse

    main(parse(Arguments, __doc__))
