"""Text in, speech out."""

import base64
import sys
import time
import warnings
from collections import Counter
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import numpy as np

from orpheus.common.audio import silence, wav_bytes, write_wav
from orpheus.common.errors import InputError, OrpheusWarning
from orpheus.common.frame import FRAMES_PER_SECOND, SAMPLE_RATE, TOKENS_PER_SECOND
from orpheus.common.options import ORPHEUS_3B, OUTPUT_DIR
from orpheus.common.progress import Progress
from orpheus.engines import ENDED
from orpheus.engines.options import SamplingOptions
from orpheus.speech.model import LoadedModel, load_model
from orpheus.speech.options import LongTextOptions, RetryOptions, StreamOptions, TextOptions
from orpheus.speech.retries import Retries
from orpheus.speech.streaming import FrameAssembler, stream_audio
from orpheus.text.cleaning import clean_text, is_speakable
from orpheus.text.pieces import split_text
from orpheus.text.tags import KNOWN_TAGS, unknown_tags

NOTHING_SAMPLES = 1_000  # silence that stands for speech without a single valid frame


@dataclass(frozen=True)
class Speech:
    """What was spoken."""

    audio: np.ndarray  # float32 (samples,) in -1..1
    text: str
    voice: str | None
    seed: int
    finish_reasons: tuple  # one per piece of text: "end_of_speech", "out_of_range" or "max_new_tokens"
    seconds_taken: float
    sample_rate: int = SAMPLE_RATE
    attempts: tuple = ()  # one per piece: how often it was spoken; 1 without retries
    retried_for: tuple = ()  # why, once per retry: "max_new_tokens", "out_of_range", "loop", "too_short" ..., "misheard"

    @property
    def seconds(self):
        return len(self.audio) / self.sample_rate

    @property
    def finish_reason(self):
        """Why it ended; of several pieces, the first that did not end by itself."""
        return _first_trouble(self.finish_reasons)

    @property
    def real_time_factor(self):
        """Seconds taken per second of speech; below 1 is faster than real time."""
        return self.seconds_taken / self.seconds

    def save(self, path):
        """Writes a 16-bit mono WAV, whole or not at all; returns the path as a string."""
        write_wav(path, self.audio)
        return str(path)

    def _repr_html_(self):
        data = base64.b64encode(wav_bytes(self.audio)).decode()
        return f'<audio controls src="data:audio/wav;base64,{data}"></audio>'


@dataclass
class _Row:
    """One piece of one text on its way."""

    text: str
    prompt: list
    seed: int
    pause: float  # seconds of silence after it
    assembler: FrameAssembler = field(repr=False)
    seconds_taken: float = 0.0  # its share of the time of its batch, over all attempts
    attempts: list = field(
        default_factory=list, repr=False
    )  # orpheus.speech.retries.Attempt, where there may be several
    audio: np.ndarray | None = field(default=None, repr=False)  # where it is decoded already


@dataclass
class _Request:
    """One text, checked and cut into rows."""

    text: str
    voice: str | None
    rows: list

    @property
    def finish_reasons(self):
        return tuple(row.assembler.finish_reason for row in self.rows)

    @property
    def attempts(self):
        return tuple(len(row.attempts) or 1 for row in self.rows)

    @property
    def retried_for(self):
        return tuple(attempt.reason for row in self.rows for attempt in row.attempts[: len(row.attempts) - 1])


def _first_trouble(reasons):
    """The first reason other than end_of_speech, where there is one."""
    return next((reason for reason in reasons if reason != "end_of_speech"), "end_of_speech")


def _split_options(options):
    """Keyword arguments to one object of each class of options; an unknown name is an error."""
    groups = (SamplingOptions, TextOptions, LongTextOptions, RetryOptions, StreamOptions)
    known = {f.name: group for group in groups for f in fields(group)}
    for name in options:
        if name not in known:
            raise InputError(f"unknown option {name!r}; known are {', '.join(known)}")
    return tuple(group(**{name: value for name, value in options.items() if known[name] is group}) for group in groups)


def _warn(message):
    warnings.warn(message, OrpheusWarning, stacklevel=2)


class OrpheusInference:
    """Speaks tagged text with Orpheus-3B, a fine-tuned adapter of it, or the demo voice.

    model: "auto" (Orpheus-3B where there is CUDA, else the demo voice), "demo", a folder, or a hub id; or a LoadedModel
    lora: "auto" takes lora_model/ where it is; "none"; a folder or a hub id
    codec: a folder or hub id of a SNAC, where the model's own is not wanted
    device: "auto", "cuda", "mps" or "cpu"
    engine: "fast" (a step of its own), "fast-int8" (the same with weights in 8 bits), "transformers" (any model), or "auto"
        (fast where it can compute the model)

    Raises CheckpointError where something cannot be loaded and InputError for a name that is none. One object serves one
    thread at a time. The options of every method are the fields of
    SamplingOptions, TextOptions, LongTextOptions, RetryOptions and (for `stream`) StreamOptions in orpheus/common/options.py.
    """

    def __init__(self, model="auto", lora="auto", codec=None, device="auto", engine="auto"):
        given = isinstance(model, LoadedModel)
        loaded, fell_back = (model, False) if given else load_model(model, lora, codec, device, engine)
        self.name, self.engine, self.prompts, self.codec = loaded.name, loaded.engine, loaded.prompts, loaded.codec
        self.voices, self.default_voice, self._voices_closed = loaded.voices, loaded.default_voice, loaded.voices_closed
        self._piece_seconds, self._normalize_text = loaded.piece_seconds, loaded.normalize_text
        if fell_back:
            full = f"For the full model use a GPU, or --model {ORPHEUS_3B} (slow on a CPU)."
            print(f"No CUDA here: speaking with the bundled demo voice. {full}", file=sys.stderr)

    # --- the ways to speak ---

    def generate(self, prompts, voice=None, output_dir=OUTPUT_DIR, progress=False, **options):
        """Speaks texts into `output_dir`/output_0.wav, output_1.wav ...; returns the paths.

        prompts: a text or several; they are generated as batches
        """
        prompts = [prompts] if isinstance(prompts, str) else list(prompts)
        speeches = self.synthesize_all(prompts, voice, progress, **options)
        return [speech.save(Path(output_dir) / f"output_{index}.wav") for index, speech in enumerate(speeches)]

    def synthesize(self, text, voice=None, progress=False, **options):
        """Speaks one text of any length; returns a Speech."""
        return next(self.synthesize_all([text], voice, progress, **options))

    def synthesize_all(self, texts, voice=None, progress=False, **options):
        """Speaks several texts side by side: an iterator of Speech in their order, each as soon as it is done.

        Each is what it would be alone. All texts are checked at once, before the first is spoken.
        """
        sampling, writing, long_text, retry, _ = _split_options(options)
        requests = [self._request(text, voice, sampling, writing, long_text) for text in texts]
        return self._speak(requests, sampling, long_text.batch_size, Retries(retry, self._decode), progress)

    def _speak(self, requests, sampling, batch_size, retries, progress):
        rows = [row for request in requests for row in request.rows]
        waiting, done = iter(requests), 0
        request = next(waiting, None)
        with Progress(progress, len(rows)) as bar:
            for start in range(0, len(rows), batch_size):
                batch = rows[start : start + batch_size]
                self._generate_codes(batch, sampling, bar)
                retries.speak_again(batch, lambda suspect: self._generate_codes(suspect, sampling, bar))
                bar.update(len(batch))
                done += len(batch)
                while request and len(request.rows) <= done:
                    done -= len(request.rows)
                    yield self._finish(request, sampling)
                    request = next(waiting, None)

    def stream(self, text, voice=None, **options):
        """Speaks one text while it is being generated: an iterator of float32 chunks at 24 kHz.

        Joined, the chunks are what `synthesize` returns. The iterator's `finish_reason` is known after the last chunk.
        Input is checked at once, before the first chunk is asked for. With retries it raises InputError: sound that was
        sent cannot be taken back.
        """
        return SpeechStream(self, *self._stream_request(text, voice, options))

    # --- parts ---

    def _stream_request(self, text, voice, options):
        """(request, SamplingOptions, StreamOptions) of a text whose sound is let out while it is made."""
        sampling, writing, long_text, retry, stream_options = _split_options(options)
        if retry.retries:
            raise InputError(
                f"a stream cannot take back what was sent: leave retries = {retry.retries} out, or speak into a file"
            )
        return self._request(text, voice, sampling, writing, long_text), sampling, stream_options

    def _request(self, text, voice, sampling, writing, long_text):
        if not isinstance(text, str):
            raise InputError(f"the text must be a string, not {type(text).__name__}: {text!r:.80}")
        clean, removed = clean_text(text)
        if not is_speakable(clean):
            raise InputError(f"nothing to speak in {text!r:.80}: a text needs a letter, a digit or a tag")
        if removed:
            counts = ", ".join(f"{character!r} x{count}" for character, count in Counter(removed).most_common(5))
            _warn(f"{len(removed)} characters that cannot be spoken were left out: {counts}")
        for tag, near in unknown_tags(clean).items():
            hint = f"did you mean <{near}>? " if near else ""
            _warn(
                f"unknown tag <{tag}> is read as text: {hint}Known tags: {' '.join(f'<{known}>' for known in KNOWN_TAGS)}"
            )
        if writing.normalize == "on" or (writing.normalize == "auto" and self._normalize_text):
            from orpheus.text.normalization import normalize

            clean = normalize(clean)
        voice = self._check_voice(voice)
        seconds = self._piece_seconds if long_text.piece_seconds is None else long_text.piece_seconds
        pieces = [piece for piece in split_text(clean, seconds) if is_speakable(piece.text)]
        rows = [
            _Row(
                text=piece.text,
                prompt=self.prompts.prompt(piece.text, voice),
                seed=(int(sampling.seed) + index) % 2**63,
                pause=long_text.paragraph_pause if piece.ends_paragraph else long_text.sentence_pause,
                assembler=FrameAssembler(self.engine.layout),
            )
            for index, piece in enumerate(pieces)
        ]
        return _Request(text, voice, rows)

    def _check_voice(self, voice):
        if voice is None:
            return self.default_voice
        if voice not in self.voices:
            known = (
                f"{self.name} knows {', '.join(self.voices)}"
                if self.voices
                else f"{self.name} does not say which it knows"
            )
            if self._voices_closed:
                raise InputError(f"unknown voice {voice!r}; {known}")
            _warn(f"voice {voice!r} is none of the known ones; {known}. Fine if the model was trained with it")
        return voice

    def _generate_codes(self, rows, sampling, bar):
        """Generates the rows' codes side by side."""
        began = time.perf_counter()
        running = set(range(len(rows)))
        for tokens in self.engine.generate([row.prompt for row in rows], sampling, [row.seed for row in rows]):
            for index in list(running):
                if tokens[index] == ENDED or not rows[index].assembler.push(tokens[index]):
                    running.discard(index)
            bar.show(rows)
        taken = time.perf_counter() - began
        tokens = sum(row.assembler.position + 1 for row in rows)
        for row in rows:
            row.seconds_taken += taken * (row.assembler.position + 1) / tokens

    def _finish(self, request, sampling):
        """Decodes a request whose codes are there."""
        began = time.perf_counter()
        audio = [part for row in request.rows for part in (self._sound(row), silence(row.pause))]
        audio.pop()  # no pause after the last
        taken = time.perf_counter() - began + sum(row.seconds_taken for row in request.rows)
        return Speech(
            np.concatenate(audio),
            request.text,
            request.voice,
            sampling.seed,
            request.finish_reasons,
            taken,
            attempts=request.attempts,
            retried_for=request.retried_for,
        )

    def _sound(self, row):
        """float32 samples of a row; silence and a warning where it has none."""
        self._warn_about_end(row)
        if not row.assembler.frames:
            return np.zeros(NOTHING_SAMPLES, np.float32)
        return self._decode(row) if row.audio is None else row.audio

    def _decode(self, row):
        return self.codec.decode(row.assembler.window(0, row.assembler.frames), row.seed)

    def _warn_about_end(self, row):
        made = row.assembler
        seconds = made.frames / FRAMES_PER_SECOND
        if not made.frames:
            _warn(
                f"no valid audio for {row.text!r:.60}: token {made.layout.describe(made.ended_by)} at position {made.position} "
                f"came instead; {NOTHING_SAMPLES} samples of silence stand for it. Try another --seed"
            )
        elif made.finish_reason == "max_new_tokens":
            _warn(
                f"speech was cut off after {seconds:.1f} s by max_new_tokens = {made.position}: {row.text!r:.60}. "
                f"Raise --max-new-tokens ({TOKENS_PER_SECOND:.0f} a second) or lower --piece-seconds"
            )


class SpeechStream:
    """Iterator of float32 chunks of one text, piece after piece."""

    def __init__(self, speaker, request, sampling, options):
        self.sample_rate, self.finish_reason = SAMPLE_RATE, None
        self._speaker, self._request = speaker, request
        self._chunks = self._generate(sampling, options)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self._chunks)

    def close(self):
        """Stops generating."""
        self._chunks.close()

    def _generate(self, sampling, options):
        speaker, rows = self._speaker, self._request.rows
        for index, row in enumerate(rows):
            steps = speaker.engine.generate([row.prompt], sampling, [row.seed])
            yield from stream_audio(
                (int(tokens[0]) for tokens in steps),
                lambda codes, first, seed=row.seed: speaker.codec.decode_window(codes, seed, first),
                row.assembler,
                **asdict(options),
            )
            speaker._warn_about_end(row)
            if not row.assembler.frames:
                yield np.zeros(NOTHING_SAMPLES, np.float32)
            if index < len(rows) - 1:
                yield silence(row.pause)
        self.finish_reason = _first_trouble(self._request.finish_reasons)
