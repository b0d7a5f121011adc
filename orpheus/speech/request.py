"""A text on its way to speech: checked, cleaned, normalised, and cut into utterances with their prompts and seeds.

OrpheusInference, its streams and the pool all plan with `plan_request`, and all warn about an utterance's end with
`warn_about_end`: what a text becomes does not depend on who asks.
"""

import warnings
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from orpheus.common.command import options_from
from orpheus.common.errors import InputError, OrpheusWarning
from orpheus.common.frame import FRAMES_PER_SECOND, TOKENS_PER_SECOND
from orpheus.engines.options import SamplingOptions
from orpheus.speech.options import LongTextOptions, RetryOptions, StreamOptions, TextOptions
from orpheus.speech.streaming import FrameAssembler
from orpheus.text.cleaning import is_speakable
from orpheus.text.markup import advice
from orpheus.text.pieces import split_text
from orpheus.text.spoken import as_spoken
from orpheus.text.tags import KNOWN_TAGS, unknown_tags

NOTHING_SAMPLES = 1_000  # silence, in place of speech without a single valid frame


@dataclass
class Utterance:
    """One piece of a text on its way."""

    text: str
    prompt: list  # token ids
    seed: int
    pause: float  # seconds of silence after it
    assembler: FrameAssembler = field(repr=False)
    seconds_taken: float = 0.0  # its share of the time of its batch, over all attempts
    attempts: list = field(default_factory=list, repr=False)  # orpheus.speech.retries.Attempt, if there can be several
    audio: np.ndarray | None = field(default=None, repr=False)  # if it is already decoded


@dataclass
class Request:
    """One requested text."""

    text: str
    voice: str | None
    utterances: list

    @property
    def finish_reasons(self):
        """One per utterance: "end_of_speech", "out_of_range" or "max_new_tokens"."""
        return tuple(utterance.assembler.finish_reason for utterance in self.utterances)

    @property
    def attempts(self):
        """How often each utterance was spoken."""
        return tuple(len(utterance.attempts) or 1 for utterance in self.utterances)

    @property
    def retried_for(self):
        """The reason for each retry."""
        return tuple(
            a.reason for utterance in self.utterances for a in utterance.attempts[: len(utterance.attempts) - 1]
        )


def first_trouble(reasons):
    """The first finish reason other than end_of_speech, if there is one."""
    return next((reason for reason in reasons if reason != "end_of_speech"), "end_of_speech")


def split_options(options):
    """Keyword arguments to [SamplingOptions, TextOptions, LongTextOptions, RetryOptions, StreamOptions]. Raises InputError."""
    return options_from((SamplingOptions, TextOptions, LongTextOptions, RetryOptions, StreamOptions), options)


def warn(message):
    warnings.warn(message, OrpheusWarning, stacklevel=2)


# --- planning --------------------------------------------------------------------------------------------------------


def plan_request(model, text, voice, sampling, writing, long_text):
    """A Request for one text.

    model: LoadedModel; voice: a speaker's name, None for the model's default; sampling, writing, long_text: SamplingOptions,
    TextOptions, LongTextOptions. Raises InputError if the text cannot be spoken; an OrpheusWarning says what is odd.
    """
    clean = _checked(text, writing.normalize == "on" or (writing.normalize == "auto" and model.normalize_text))
    voice = _check_voice(model, voice)
    seconds = model.piece_seconds if long_text.piece_seconds is None else long_text.piece_seconds
    pieces = [piece for piece in split_text(clean, seconds) if is_speakable(piece.text)]
    utterances = [
        Utterance(
            text=piece.text,
            prompt=model.prompts.prompt(piece.text, voice),
            seed=(int(sampling.seed) + index) % 2**63,
            pause=long_text.paragraph_pause if piece.ends_paragraph else long_text.sentence_pause,
            assembler=FrameAssembler(model.prompts.layout),
        )
        for index, piece in enumerate(pieces)
    ]
    return Request(text, voice, utterances)


def plan_stream(model, text, voice, options):
    """(Request, SamplingOptions, StreamOptions) of a text that is sent while it is generated. Raises InputError."""
    sampling, writing, long_text, retry, stream_options = split_options(options)
    if retry.retries:
        raise InputError(
            f"a stream cannot take back what it has sent: leave out retries = {retry.retries}, or write to a file"
        )
    return plan_request(model, text, voice, sampling, writing, long_text), sampling, stream_options


def _checked(text, normalize):
    """The text as a model reads it."""
    if not isinstance(text, str):
        raise InputError(f"the text must be a string, not {type(text).__name__}: {text!r:.80}")
    clean, removed = as_spoken(text, normalize)
    if not is_speakable(clean):
        raise InputError(f"nothing to speak in {text!r:.80}: a text needs a letter, a digit or a tag")
    characters = Counter(name for name in removed if len(name) == 1)
    if characters:
        counts = ", ".join(f"{character!r} x{count}" for character, count in characters.most_common(5))
        warn(f"{characters.total()} characters that cannot be spoken were left out: {counts}")
    for name in dict.fromkeys(name for name in removed if len(name) > 1):
        warn(advice(name))
    for tag, near in unknown_tags(clean).items():
        hint = f"did you mean <{near}>? " if near else ""
        warn(f"unknown tag <{tag}> is read as text: {hint}Known tags: {' '.join(f'<{known}>' for known in KNOWN_TAGS)}")
    return clean


def _check_voice(model, voice):
    if voice is None:
        return model.default_voice
    if voice not in model.voices:
        known = f"{model.name} knows {', '.join(model.voices)}" if model.voices else f"{model.name} names no voices"
        if model.voices_closed:
            raise InputError(f"unknown voice {voice!r}; {known}")
        warn(f"voice {voice!r} is not among the known ones; {known}. That is fine if the model was trained with it")
    return voice


# --- the end ---------------------------------------------------------------------------------------------------------


def warn_about_end(utterance):
    """Warns if an utterance has no speech or was cut off."""
    made = utterance.assembler
    seconds = made.frames / FRAMES_PER_SECOND
    if not made.frames:
        warn(
            f"no valid audio for {utterance.text!r:.60}: the model gave token {made.layout.describe(made.ended_by)} at "
            f"position {made.position}; {NOTHING_SAMPLES} samples of silence take its place. Try another --seed"
        )
    elif made.finish_reason == "max_new_tokens":
        warn(
            f"speech was cut off after {seconds:.1f} s by max_new_tokens = {made.position}: {utterance.text!r:.60}. "
            f"Raise --max-new-tokens ({TOKENS_PER_SECOND:.0f} per second) or lower --piece-seconds"
        )
