"""`--check-data`: the data as a run would take it, and what the run would do. No model is loaded, nothing is written."""

from textwrap import fill

from orpheus.common.errors import InputError
from orpheus.data.held_out import split_held_out
from orpheus.data.overview import estimated_tokens, in_words, overview
from orpheus.data.recordings import read_recordings
from orpheus.speech.model import DEMO_VOICE, resolve
from orpheus.text.description import ModelDescription
from orpheus.text.identify import describe, is_known_here
from orpheus.text.spoken import wants_normalizing
from orpheus.training.forecast import duration, forecast, plan_of

_COLUMNS = 79  # of a terminal, less one


def check_data(run, data, options):
    """Prints the report. Raises InputError where the data would be refused.

    run: with `model` and `device`; data: DataOptions; options: TrainingOptions
    """
    if data.transcribe:
        raise InputError("--check-data loads no model, so it cannot --transcribe: leave one of them out")
    base = resolve(run.model, "none", run.device)
    here = bool(run.like) or is_known_here(base.checkpoint)
    description = describe(base.checkpoint, as_like=run.like) if here else ModelDescription()
    data = data.in_language_of(description)
    try:
        recordings = read_recordings(data, keep=False, tags=description.taught, model=base.checkpoint)
        if wants_normalizing(data.normalize, description):
            recordings = recordings.normalized(data.spoken)
        report, kept = overview(recordings, data)
    except InputError as error:
        if hasattr(error, "report"):
            print(in_words(error.report))
        raise
    print(in_words(report), end="\n\n")
    for name, words in forecast(*_lengths(kept, data), options, *_where(base)):
        print(f"{name:13}{words}")
    if data.normalize == "auto" and not here:
        print(f"{'not known':13}whether {run.model} wants numbers written as words: its files are not here")


def expected_time(recordings, base, data, options):
    """Said before anything is loaded: how long a run over these Recordings takes."""
    lengths, held_out = _lengths(recordings.kept, data)
    _, tokens, _ = plan_of(lengths, options, bool(held_out and options.eval_steps))
    words = f"time: {duration(tokens, options, *_where(base))}. The bar corrects it."
    return fill(words, _COLUMNS)


def _lengths(recordings, data):
    """(estimated tokens of the examples to train on, how many are held out)"""
    train, held_out = split_held_out(recordings, data.held_out)
    return [estimated_tokens(recording) for recording in train], len(held_out)


def _where(base):
    """(whether the base is the demo voice, the GPU)"""
    return base.checkpoint == str(DEMO_VOICE), _gpu(base.device)


def _gpu(device):
    """(name, memory in GB) of the GPU that would train; None where none would."""
    if not device.startswith("cuda"):
        return None
    import torch

    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    return properties.name, properties.total_memory / 2**30
