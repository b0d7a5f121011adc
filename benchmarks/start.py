"""From the command to sound: `inference.py` to its first 20 kB, beside `import torch`, both in new processes, in turns.

    python -m benchmarks.start                          the demo voice
    python -m benchmarks.start --model FOLDER           another model
    python -m benchmarks.start --model full             files of Orpheus-3B's shape with random weights, made here (CUDA)

On CUDA it also measures what loading the model's weights takes at most, in 16 bits and in 8: with `--engine fast-int8` every
layer is quantised before the next one is read. The first round fills the file cache and is not counted. The last line of
standard output is JSON with everything.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common.report import finish_report, start_report
from orpheus.common.options import ROOT

TEXT = "Good morning."
ENOUGH = 20_000  # bytes of WAV, 0.4 s: a player begins
TOO_LONG = 600  # seconds


@dataclass(frozen=True)
class Arguments:
    model: str = "demo"
    """demo, full (random weights, CUDA), or what inference.py takes."""
    engine: str = "auto"
    """As inference.py takes it."""
    runs: int = 5
    """Counted rounds; medians are shown."""
    out: str = ""
    """Where the JSON goes as well."""


def seconds_to_import():
    """Seconds of a process that imports PyTorch and ends."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import torch"], check=True, timeout=TOO_LONG)
    return time.perf_counter() - began


def seconds_to_sound(model, engine):
    """Seconds until inference.py has written ENOUGH bytes. Raises SystemExit where it ends before."""
    words = ["inference.py", TEXT, "--stream", "wav", "--model", model, "--lora", "none", "--engine", engine]
    began = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen([sys.executable, *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=said)
        try:
            got = len(process.stdout.read(ENOUGH))
            taken = time.perf_counter() - began
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
        if got < ENOUGH:
            said.seek(0)
            raise SystemExit(f"{' '.join(words)} ended after {got} bytes: {said.read().decode()[-2000:]}")
    return taken


def loading_peak(model, weights):
    """{"kept_gib", "peak_gib", "layer_gib"} of a process that loads a model's weights onto the GPU."""
    words = [sys.executable, "-m", "benchmarks.common.loading", model, weights]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=TOO_LONG)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(model, engine, runs):
    """{"import_torch": [seconds], "to_sound": [seconds]} of rounds in turns, without the first."""
    found = {"import_torch": [], "to_sound": []}
    for count in range(runs + 1):
        taken = seconds_to_import(), seconds_to_sound(model, engine)
        if count:
            for times, seconds in zip(found.values(), taken, strict=True):
                times.append(round(seconds, 3))
            print(f"{count:5} {taken[0]:14.2f} {taken[1]:22.2f} {taken[1] / taken[0]:8.2f}", flush=True)
    return found


def main(arguments):
    import torch

    report = start_report("start")
    with tempfile.TemporaryDirectory() as folder:
        model, name = (
            arguments.model,
            {"demo": "demo voice", "full": "Orpheus-3B's shape"}.get(arguments.model, "a folder"),
        )
        if model == "full":
            from tests.fakes.checkpoints import save_full_size_voice

            model = str(save_full_size_voice(folder))
            torch.cuda.empty_cache()
        elif Path(model).expanduser().is_dir():
            model = str(Path(model).expanduser().resolve())
        print(f"{name}, engine {arguments.engine}, on {report['hardware']}: seconds")
        print(f"round {'import torch':>14} {'to the first 20 kB':>22} {'ratio':>8}")
        report |= {"model": name, "engine": arguments.engine, "bytes": ENOUGH}
        report["seconds"] = measure(model, arguments.engine, arguments.runs)
        if torch.cuda.is_available():
            report["loading"] = {weights: loading_peak(model, weights) for weights in ("same", "int8")}
    beside, ours = (statistics.median(times) for times in report["seconds"].values())
    report["ratio"] = round(ours / beside, 2)
    print(f"median {beside:13.2f} {ours:22.2f} {report['ratio']:8.2f}")
    report["table"] = [
        {
            "what": f"start, {name}: seconds to the first 20 kB of sound",
            "peer": "import torch alone",
            "theirs": f"{beside:.2f}",
            "ours": f"{ours:.2f}, {report['ratio']:.2f} x as long",
        }
    ]
    for weights, peak in report.get("loading", {}).items():
        print(f"loading, {weights}: {peak}")
        kept, most = f"{peak['kept_gib']:.2f}", f"{peak['peak_gib']:.2f}"
        report["table"].append(
            {
                "what": f"start, {name}, weights {weights}: GiB of GPU memory",
                "ours": f"{kept} kept, {most} while loading",
            }
        )
    finish_report(report, arguments.out)


if __name__ == "__main__":
    from orpheus.common.command import parse

    main(parse(Arguments, __doc__))
