"""A text on its way to speech: checked, cleaned, normalised, and cut into utterances with their prompts and seeds.

OrpheusInference, its streams and the pool all plan with `plan_request`, and all warn about an utterance's end with
`warn_about_end`: what a text becomes does not depend on who asks.
"""

from dataclasses import dataclass, field

import numpy as np

from orpheus.common.command import options_from
from orpheus.common.errors import InputError
from orpheus.common.frame import FRAMES_PER_SECOND, TOKENS_PER_SECOND
from orpheus.engines.options import SamplingOptions
from orpheus.speech.options import LongTextOptions, RetryOptions, StreamOptions, TextOptions
from orpheus.speech.reading import default_voice, language_to_speak, read_reference, read_turns, warn
from orpheus.speech.reference import check_context, take_references
from orpheus.speech.streaming import FrameAssembler
from orpheus.text.cleaning import is_speakable
from orpheus.text.pieces import split_text

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
    voice: str | None  # of a dialogue, the names of all
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


# --- planning --------------------------------------------------------------------------------------------------------


def plan_request(model, text, voice, sampling, writing, long_text, references=()):
    """A Request for one text.

    model: LoadedModel; voice: a speaker's name, None for the model's default; sampling, writing, long_text: SamplingOptions,
    TextOptions, LongTextOptions; references: [Reference] whose voice is to be taken, from `take_references`. Raises InputError if the
    text cannot be spoken; an OrpheusWarning says what is odd.
    """
    turns = read_turns(model, text, voice, writing, default_voice(model, references))
    said = [(read_reference(model, reference.text, writing), reference.codes) for reference in references]
    seconds = model.piece_seconds if long_text.piece_seconds is None else long_text.piece_seconds
    pieces = [
        (piece, speaker)
        for speaker, clean in turns
        for piece in split_text(clean, seconds, language_to_speak(model, writing, speaker))
        if is_speakable(piece.text)
    ]
    utterances = [
        Utterance(
            text=piece.text,
            prompt=model.prompts.prompt(piece.text, speaker, said),
            seed=(int(sampling.seed) + index) % 2**63,
            pause=long_text.paragraph_pause if piece.ends_paragraph else long_text.sentence_pause,
            assembler=FrameAssembler(model.prompts.layout),
        )
        for index, (piece, speaker) in enumerate(pieces)
    ]
    if references:
        check_context(max((utterance.prompt for utterance in utterances), key=len), sampling)
    voices = [speaker for speaker in dict.fromkeys(speaker for speaker, _ in turns) if speaker is not None]
    return Request(text, ", ".join(voices) or None, utterances)


def plan_stream(model, text, voice, options):
    """(Request, SamplingOptions, StreamOptions) of a text that is sent while it is generated. Raises InputError."""
    references, options = take_references(model, options)
    sampling, writing, long_text, retry, stream_options = split_options(options)
    if retry.retries:
        raise InputError(
            f"a stream cannot take back what it has sent: leave out retries = {retry.retries}, or write to a file"
        )
    return plan_request(model, text, voice, sampling, writing, long_text, references), sampling, stream_options


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
