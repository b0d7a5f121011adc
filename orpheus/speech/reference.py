"""A voice from clips: each clip with its text is an example in the prompt, before the text that is to be spoken.

Meant for the pretrained models (README of canopyai/Orpheus-TTS, Prompting: "conditioned on one or more existing text-speech pairs in
the prompt"; the more pairs, the surer the voice). Not measured here with their weights.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from orpheus.common.audio import read_audio
from orpheus.common.command import options_from
from orpheus.common.errors import InputError
from orpheus.common.frame import SAMPLE_RATE
from orpheus.speech.options import ReferenceOptions

SHORTEST_SECONDS = 1.0  # less holds hardly a word
LONGEST_SECONDS = 30.0  # 2,464 tokens; three of these and a piece of text fill CONTEXT_TOKENS
CONTEXT_TOKENS = (
    8192  # the sequences that the pretrained models were trained on (README of canopyai/Orpheus-TTS, Pretrain Model)
)
_SILENT = 0.001  # peak of a clip without a voice
_KEPT_CLIPS = 32  # encoded clips in memory: a server is given the same few again and again


@dataclass(frozen=True)
class Reference:
    """A clip as the prompt has it."""

    name: str  # for messages
    text: str  # as it was given
    codes: np.ndarray  # int64 (frames, 7)


def take_references(model, options):
    """([Reference], the other options) of a request's keyword options. Raises InputError: clips and texts that don't pair, or can't be used.

    model: LoadedModel; `reference` is a path or several, `reference_text` as many texts
    """
    given = {name: options[name] for name in ("reference", "reference_text") if name in options}
    rest = {name: value for name, value in options.items() if name not in given}
    as_list = {
        name: (value,) if isinstance(value, str) or hasattr(value, "__fspath__") else value
        for name, value in given.items()
    }
    (pairs,) = options_from((ReferenceOptions,), as_list)
    return [_encoded(model, path, text) for path, text in zip(pairs.reference, pairs.reference_text, strict=True)], rest


def read_clip(path):
    """float32 (samples,) at 24 kHz of a reference clip. Raises InputError for one that can't be used."""
    path = path.expanduser()
    if path.is_dir():
        raise InputError(f"--reference {path} is a folder: name a recording")
    if not path.exists():
        raise InputError(f"--reference {path} is not there: name a recording of the voice")
    audio = read_audio(path)
    seconds = len(audio) / SAMPLE_RATE
    if not SHORTEST_SECONDS <= seconds <= LONGEST_SECONDS:
        raise InputError(
            f"--reference {path} has {seconds:.1f} s; {SHORTEST_SECONDS:g} to {LONGEST_SECONDS:g} s are taken: less holds hardly a word, and "
            f"more leaves no room in the {CONTEXT_TOKENS:,} tokens that the models were trained on. 5 to 15 s are usual"
        )
    if not np.isfinite(audio).all() or np.abs(audio).max() < _SILENT:
        raise InputError(f"--reference {path} is silent or broken: name a recording in which the voice is heard")
    return audio


def _encoded(model, path, text):
    audio = read_clip(path)
    key = hashlib.sha256(audio.tobytes()).hexdigest()
    codes = model.clips.get(key)
    if codes is None:
        codes = model.codec.encode([audio])[0]
        if len(model.clips) >= _KEPT_CLIPS:
            model.clips.pop(next(iter(model.clips)), None)
        model.clips[key] = codes
    return Reference(str(path), text, codes)


def check_context(prompt, sampling):
    """Refuses a prompt with references that leaves no room for speech. Raises InputError."""
    if len(prompt) + sampling.max_new_tokens > CONTEXT_TOKENS:
        raise InputError(
            f"the references and the text take {len(prompt):,} tokens and max_new_tokens is {sampling.max_new_tokens:,}: more than the "
            f"{CONTEXT_TOKENS:,} that the models were trained on. Give fewer or shorter clips, or lower --max-new-tokens"
        )
