"""What the benchmarks share: a voice of Orpheus-3B's shape made on the device, and where results go."""

import json
import os
import platform
import signal
import sys
import tempfile
from contextlib import contextmanager
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
ENDLESS = 10**6  # frames of speech on average: end-of-speech is as good as never drawn


def random_orpheus(device, dtype=None):
    """A language model of Orpheus-3B's shape with random weights, made on `device`, that walks from slot to slot without
    an end (tests/fakes/checkpoints.py), and its TokenLayout. bfloat16 by default: 6.6 GB."""
    import torch

    from tests.fakes.checkpoints import ORPHEUS_3B_CONFIG, ORPHEUS_LAYOUT, walking_model

    dtype = dtype or torch.bfloat16
    model = walking_model(ORPHEUS_3B_CONFIG, ORPHEUS_LAYOUT, ENDLESS, dtype=dtype, device=device, margin=11.0)
    return model, ORPHEUS_LAYOUT


def full_size_files(folder, model=None):
    """Files of Orpheus-3B's shape and its vocabulary, `model` or a new one of `random_orpheus`; kept where they are there."""
    from tests.fakes.checkpoints import ORPHEUS_LAYOUT, save_tokenizer

    folder = Path(folder)
    complete = folder / "complete"
    if not complete.exists():
        (model or random_orpheus("cuda")[0]).save_pretrained(folder, max_shard_size="2GB")
        save_tokenizer(folder, ORPHEUS_LAYOUT)
        complete.touch()
    return folder


def random_codec(device):
    """A Codec of the 24 kHz SNAC's shape with random weights."""
    import torch
    from snac import SNAC

    from orpheus.codec.snac import Codec
    from tests.fakes.checkpoints import snac_config

    torch.manual_seed(0)
    return Codec(SNAC(**snac_config(4096, encoder_dim=48, decoder_dim=1024)).to(device))


def our_engine(model, layout):
    """The engine that speaking takes for this model here."""
    from orpheus.engines.loading import choose_engine

    return choose_engine("auto", model, layout)


def random_voice(device):
    """A LoadedModel of the full shape without files: random weights, Orpheus' vocabulary over bytes, transformers' engine."""
    from orpheus.engines.loading import load_tokenizer
    from orpheus.engines.transformers import TransformersEngine
    from orpheus.speech.model import LoadedModel
    from orpheus.speech.options import PIECE_SECONDS
    from orpheus.text.prompt import PromptBuilder
    from tests.fakes.checkpoints import save_tokenizer

    model, layout = random_orpheus(device)
    with tempfile.TemporaryDirectory() as folder:
        save_tokenizer(folder, layout)
        prompts = PromptBuilder(load_tokenizer(folder), layout)
    name = "Orpheus-3B's shape, random weights"
    return LoadedModel(
        name, TransformersEngine(model, layout), prompts, random_codec(device), (), None, False, PIECE_SECONDS
    )


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
