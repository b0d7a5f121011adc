"""How a benchmark ends: what ran where and when, within which time, and where its JSON goes."""

import json
import os
import platform
import signal
from contextlib import contextmanager
from datetime import date
from pathlib import Path


def start_report(benchmark):
    """The report's beginning: what ran where, on which day."""
    import torch
    import transformers

    cuda = torch.cuda.is_available()
    return {
        "benchmark": benchmark,
        "date": date.today().isoformat(),
        "hardware": torch.cuda.get_device_name() if cuda else f"CPU, {torch.get_num_threads()} threads",
        "versions": {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "python": platform.python_version(),
        },
    }


@contextmanager
def time_limit(seconds):
    """Raises TimeoutError in what runs in the main thread for longer; without signals (Windows) there is no limit."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def stop(*_):
        raise TimeoutError(f"not done within {seconds:.0f} s")

    handler = signal.signal(signal.SIGALRM, stop)
    others, _ = signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, others)
        signal.signal(signal.SIGALRM, handler)


def write_report(report, out):
    """The report as JSON in the file `out`, where one is given: whole at any time."""
    if out:
        path = Path(out)
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_text(json.dumps(report, indent=1) + "\n")
        os.replace(new, path)


def finish_report(report, out):
    """Writes the report as JSON to `out`, where one is given, and as the last line of standard output."""
    write_report(report, out)
    print(json.dumps(report))
