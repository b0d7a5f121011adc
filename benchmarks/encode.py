"""Audio to SNAC codes: the notebook's loop and this project, seconds of audio per second and share of equal codes, in one run.

    python -m benchmarks.encode                      demo codec, a few clips (CPU); the 24 kHz SNAC's shape (CUDA)
    python -m benchmarks.encode --codec FOLDER       other weights, such as hubertsiuzdak/snac_24khz downloaded
    python -m benchmarks.encode --codec demo --clips 128 --mixed 400

"Equal codes" is against the plain `snac` package, one clip at a time, in float32 without TF32. With the fused kernels a
clip has the same codes alone and in any batch (checked here), and against the package those may differ where rounding
decides; "strict" encodes clips in doubt again, so that none does. Clips are cut from real speech at random places and
gains. The full shape has random weights, spread over the codes as trained ones are. The last line of standard output is
JSON with everything.
"""

import platform
import statistics
import time
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.common.models import full_shape_codec
from benchmarks.common.report import finish_report, write_report
from benchmarks.peers.snac_package import in_precision, notebook_loop, plain_encode
from orpheus.codec.encoder import BatchEncoder, quantize
from orpheus.codec.precision import full_precision
from orpheus.codec.snac import Codec
from orpheus.common.audio import read_audio
from orpheus.common.frame import FRAME_SAMPLES, SAMPLE_RATE
from orpheus.common.options import ROOT
from orpheus.speech.model import DEMO_VOICE

PEAK_FLOPS = {"H100": 67e12, "H200": 67e12}  # float32 without tensor cores, by the data sheets of the SXM cards


@dataclass(frozen=True)
class Arguments:
    codec: str = "auto"
    """auto, demo, full (random weights) or a folder."""
    clips: int = 0
    """Clips of 5 s; 0 for 128 with CUDA, else 6 of 2 s."""
    mixed: int = 0
    """Clips of 2 to 15 s, log-normal; 0 for 400 with CUDA, else 8 of 1 to 4 s."""
    repeats: int = 0
    """Timed runs of the faster rows after one that warms up, the median is shown; 0 for 3 with CUDA, else 1."""
    seconds_budget: float = 1e9
    """After this no further way is measured."""
    out: str = ""
    """Where the JSON goes as well, anew after each set of clips."""


def read_speech():
    """float32 (samples,): the demo speaker's recordings where they are, and the repository's example."""
    recordings = sorted((ROOT / "assets" / "demo_speaker").glob("**/*"))
    paths = [path for path in recordings if path.suffix in {".wav", ".flac", ".ogg", ".opus", ".mp3"}]
    return np.concatenate([read_audio(path) for path in (ROOT / "docs" / "hello.wav", *paths[:40])])


def cut_clips(speech, seconds, random):
    """A clip of each length, from a random place (the speech repeats) and at a random gain."""
    clips = []
    for length in (np.asarray(seconds) * SAMPLE_RATE).astype(int):
        clip = np.resize(np.roll(speech, -random.integers(len(speech))), length)
        clips.append((clip * np.exp(random.uniform(np.log(0.2), 0))).astype(np.float32))
    return clips


def equal_share(made, expected):
    pairs = [(a == b) for a, b in zip(made, expected, strict=True)]
    return float(np.concatenate(pairs).mean()), int(sum((~pair).sum() for pair in pairs))


@torch.inference_mode()
def largest_shift(encoder, clips):
    """How much a batch moves a latent towards or from the nearest border, at most; to be below the encoder's tolerance."""
    clips = [np.resize(clip, -(-len(clip) // FRAME_SAMPLES) * FRAME_SAMPLES) for clip in clips]
    bounds = np.cumsum([0, *(len(clip) // FRAME_SAMPLES for clip in clips)])
    with full_precision():
        audio = torch.from_numpy(np.concatenate(clips)).to(encoder.device)
        together = quantize(encoder.model.quantizer, encoder.features(audio, bounds))
        alone = []
        for clip in clips:
            features = encoder.model.encoder(torch.from_numpy(clip).to(encoder.device)[None, None])[0]
            alone.append(quantize(encoder.model.quantizer, features))
        largest = 0.0
        for level in range(3):
            codes, borders = (torch.cat([one[part][level] for one in alone]) for part in (0, 1))
            shift = (together[1][level] - borders)[together[0][level] == codes].abs()
            largest = max(largest, float(shift.max()))
    return largest


def encoder_flops(model, device):
    """Floating-point operations per second of audio, multiplications and additions counted apart: products only."""
    total = 0

    def count(convolution, _, output):
        nonlocal total
        total += 2 * output.shape[-1] * convolution.weight.numel()

    hooks = [part.register_forward_hook(count) for part in model.encoder.modules() if isinstance(part, torch.nn.Conv1d)]
    with torch.inference_mode():
        model.encoder(torch.zeros(1, 1, 10 * FRAME_SAMPLES, device=device))
    for hook in hooks:
        hook.remove()
    return total * SAMPLE_RATE / (10 * FRAME_SAMPLES)


class Bench:
    def __init__(self, codec, repeats, ends):
        self.ends = ends  # by time.perf_counter
        self.pace = 0.0  # seconds that a second of audio took last time, in all ways but the extra ones
        self.codec, self.model, self.device, self.repeats = codec, codec.model, codec.device, repeats
        self.cuda = codec.device.type == "cuda"

    def one_by_one(self, clips):
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            return plain_encode(self.model, clips, self.device)

    def time(self, work, clips):
        if self.cuda:
            torch.cuda.synchronize()
        began = time.perf_counter()
        made = work(clips)
        if self.cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - began, made

    def rows(self, name, clips, ours, notebook, extra=()):
        """Prints and returns a row per variant: (name, what encodes clips, timed runs at most); the notebook is ratio 1.

        Ours come first, and so meet every shape first: their first run says what a new data set costs. None, and a line, where
        the time left would not do.
        """
        audio_seconds, began = sum(map(len, clips)) / SAMPLE_RATE, time.perf_counter()
        print(f"{name}: {len(clips)} clips, {audio_seconds:.0f} s of audio")
        if began + self.pace * audio_seconds > self.ends:
            print(f"  left out, no time: some {self.pace * audio_seconds:.0f} s", flush=True)
            return None
        columns = f"{'audio s/s':>9} {'ratio':>6} {'first run':>9} {'equal codes':>12} {'differ':>7} {'alone':>6}"
        print(f"  {'':58} {columns}", flush=True)
        self.one_by_one(clips[:3])  # TorchScript compiles Snake in the first calls
        yardstick = ("plain snac, one by one, float32 (the yardstick)", self.one_by_one, 1)
        measured = [self.measure(clips, variant) for variant in (*ours, notebook, yardstick)]
        *_, slow, (_, _, _, expected) = measured
        self.pace = (time.perf_counter() - began) / audio_seconds
        rows = []

        def show(title, first, seconds, result):
            codes, redone = (result.codes, len(result.redone)) if hasattr(result, "redone") else (result, None)
            share, differ = equal_share(codes, expected)
            row = {
                "way": title,
                "audio_seconds_per_second": round(audio_seconds / seconds, 1),
                "ratio": round(slow[2] / seconds, 2),
                "first_run": round(audio_seconds / first, 1),
                "equal_codes": share,
                "codes_that_differ": differ,
                "clips_encoded_again_alone": redone,
            }
            rows.append(row)
            alone = "" if redone is None else f"{redone / len(clips):.0%}"
            print(
                f"  {title:58} {row['audio_seconds_per_second']:9.1f} {row['ratio']:6.2f} {row['first_run']:9.1f} {share:12.5%} {differ:7} {alone:>6}",
                flush=True,
            )

        for each in reversed(measured):
            show(*each)
        for variant in extra:
            if time.perf_counter() > self.ends:
                print(f"  left out, no time: {variant[0]}")
                continue
            show(*self.measure(clips, variant))
        return {"clips": name, "audio_seconds": round(audio_seconds, 1), "rows": rows}

    def measure(self, clips, variant):
        """(title, seconds of the first run, of the median run, what it gave)"""
        title, work, repeats = variant
        first, _ = self.time(work, clips)
        runs = [self.time(work, clips) for _ in range(min(repeats, self.repeats))]
        return title, first, statistics.median(seconds for seconds, _ in runs), runs[-1][1]


def one_at_a_time(encoder, clips):
    return [encoder.encode([clip]).codes[0] for clip in clips]


def table_rows(report):
    """For docs/speed.md."""
    made = []
    for clips in report["sets"]:
        rates = {row["way"]: row["audio_seconds_per_second"] for row in clips["rows"]}
        theirs = next(rate for way, rate in rates.items() if way.startswith("the notebook"))
        own = [row for row in clips["rows"] if row["way"].startswith("this project")]
        ours = max(own, key=lambda row: row["audio_seconds_per_second"])
        rate = ours["audio_seconds_per_second"]
        made.append(
            {
                "what": f"SNAC encoding, {clips['clips']}, seconds of audio per second",
                "peer": "the notebook's loop",
                "theirs": f"{theirs:.0f}",
                "ours": f"{rate:.0f}, {ours['equal_codes']:.3%} of the codes equal",
                "ratio": rate / theirs,
            }
        )
    return made


def main(arguments):
    began, cuda = time.perf_counter(), torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    random, speech = np.random.default_rng(0), read_speech()
    kind = {"auto": "full" if cuda else "demo"}.get(arguments.codec, arguments.codec)
    if kind == "full":
        codec = full_shape_codec(device, speech[: 10 * SAMPLE_RATE])
    else:
        codec = Codec.from_folder(DEMO_VOICE / "codec" if kind == "demo" else kind, device)
    model, bench = codec.model, Bench(codec, arguments.repeats or (3 if cuda else 1), began + arguments.seconds_budget)
    counts = (arguments.clips or (128 if cuda else 6), arguments.mixed or (400 if cuda else 8))
    equal = cut_clips(speech, [5 if cuda else 2] * counts[0], random)
    lengths = np.exp(random.normal(np.log(5.5), 0.5, counts[1])).clip(2, 15)
    mixed = cut_clips(speech, lengths if cuda else lengths.clip(2, 8) / 2, random)

    codec.encode(equal[:2])  # builds the kernels
    fused = codec.encoder.fused
    plain, strict = BatchEncoder(model, fused=False), BatchEncoder(model, fused=fused, strict=True)
    report = {
        "benchmark": "encode",
        "codec": kind if kind in ("full", "demo") else Path(kind).name,
        "hardware": torch.cuda.get_device_name() if cuda else f"CPU, {torch.get_num_threads()} threads",
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "date": date.today().isoformat(),
        "fused": fused,
        "tolerance": codec.encoder.tolerance,
        "encoder_gflop_per_audio_second": round(encoder_flops(model, device) / 1e9, 2),
    }
    print(f"codec {report['codec']} on {report['hardware']}, {'with' if fused else 'without'} the fused kernels")
    # (name, what encodes clips, timed runs at most)
    notebook = ("the notebook's loop, cuDNN's defaults (TF32)", partial(notebook_loop, model, device=device), 1)
    ours = [("this project, fused kernels" if fused else "this project", codec.encoder.encode, 9)]
    extra = []
    if fused:
        ours.append(("this project, fused kernels, strict", strict.encode, 9))
        ours.append(("this project, the package's layers", plain.encode, 9))
        extra.append(("fused kernels, one by one", partial(one_at_a_time, codec.encoder), 9))
        for seconds in (20, 80, 320):
            sized = BatchEncoder(model, fused=True, seconds_per_batch=seconds)
            extra.append((f"fused kernels, {seconds} s per batch", sized.encode, 9))
    for title, options in (("float32", {}), ("TF32", {"tf32": True}), ("bfloat16", {"bf16": True})):
        if cuda or title != "TF32":
            work = partial(in_precision, model, device=device, **options)
            extra.append((f"package's layers, batches of 64, {title}, not checked", work, 9))

    if cuda:
        torch.cuda.reset_peak_memory_stats()
    for name, clips, more in (("equal lengths", equal, extra), ("mixed lengths", mixed, ())):
        found = bench.rows(name, clips, ours, notebook, more)
        report.setdefault("sets" if found else "left_out", []).append(found or name)
        report["table"] = table_rows(report)
        write_report(report, arguments.out)
    chosen = [*equal[:16], *mixed[:16]]
    alone, together = one_at_a_time(codec.encoder, chosen), codec.encode(chosen)
    report["batch_equals_one_by_one"] = all(map(np.array_equal, alone, together))
    print(f"a batch of {len(chosen)} clips has the codes of one by one: {report['batch_equals_one_by_one']}")
    report["largest_shift"] = largest_shift(codec.encoder, equal[:64])
    report["distinct_codes"] = [
        len(np.unique(np.concatenate([codes[:, positions] for codes in codec.encode(equal)])))
        for positions in ([0], [1, 4], [2, 3, 5, 6])
    ]
    print(
        f"largest shift of a latent's distance to a border: {report['largest_shift']:.1e} (tolerance {codec.encoder.tolerance:.0e})"
    )
    print(f"distinct codes by level: {report['distinct_codes']}")
    if cuda:
        report["peak_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
        print(f"peak memory {report['peak_gib']} GiB")
        peak = next((value for name, value in PEAK_FLOPS.items() if name in report["hardware"]), None)
        for row in report["sets"][0]["rows"] if peak else ():
            row["share_of_fp32_peak"] = round(
                row["audio_seconds_per_second"] * report["encoder_gflop_per_audio_second"] * 1e9 / peak, 3
            )
            print(f"{row['share_of_fp32_peak']:7.1%} of {peak / 1e12:.0f} TFLOP/s in float32: {row['way']}")
    finish_report(report, arguments.out)


if __name__ == "__main__":
    from orpheus.common.command import parse

    main(parse(Arguments, __doc__))
