"""`--check-data`: the data as a run would take it, and what the run would do. No model is loaded, nothing is written."""

from orpheus.common.errors import InputError
from orpheus.data.held_out import split_held_out
from orpheus.data.overview import estimated_tokens, in_words, overview
from orpheus.data.recordings import read_recordings
from orpheus.speech.model import DEMO_VOICE, resolve
from orpheus.text.description import ModelDescription
from orpheus.text.identify import describe, is_known_here
from orpheus.text.spoken import wants_normalizing
from orpheus.training.forecast import forecast


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
    train, held_out = split_held_out(kept, data.held_out)
    lengths = [estimated_tokens(recording) for recording in train]
    demo = base.checkpoint == str(DEMO_VOICE)
    for name, words in forecast(lengths, len(held_out), options, demo, _gpu(base.device)):
        print(f"{name:13}{words}")
    if data.normalize == "auto" and not here:
        print(f"{'not known':13}whether {run.model} wants numbers written as words: its files are not here")


def _gpu(device):
    """(name, memory in GB) of the GPU that would train; None where none would."""
    if not device.startswith("cuda"):
        return None
    import torch

    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    return properties.name, properties.total_memory / 2**30
