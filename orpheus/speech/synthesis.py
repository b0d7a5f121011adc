"""Text in, speech out."""

import base64
import os
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from orpheus.common.audio import silence, wav_bytes
from orpheus.common.errors import InputError
from orpheus.common.frame import FRAME_SAMPLES, FRAMES_PER_SECOND, SAMPLE_RATE
from orpheus.common.options import ORPHEUS_3B, OUTPUT_DIR, check_path, shown
from orpheus.common.progress import Speaking
from orpheus.common.sounds import write_sound
from orpheus.engines import ENDED
from orpheus.speech.model import LoadedModel, load_model
from orpheus.speech.reading import language_to_speak
from orpheus.speech.reference import take_references
from orpheus.speech.request import (
    NOTHING_SAMPLES,
    first_trouble,
    plan_request,
    plan_stream,
    split_options,
    warn_about_end,
)
from orpheus.speech.retries import Retries
from orpheus.speech.streaming import stream_audio
from orpheus.text.pace import estimate_seconds


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
    pieces: tuple = ()  # (text, start, end) of each piece as it was spoken, in seconds

    @property
    def seconds(self):
        return len(self.audio) / self.sample_rate

    @property
    def finish_reason(self):
        """Why it ended; with several pieces, the first reason that is not a normal end."""
        return first_trouble(self.finish_reasons)

    @property
    def real_time_factor(self):
        """Seconds taken per second of speech; below 1 is faster than real time."""
        return self.seconds_taken / self.seconds

    def save(self, path):
        """Writes a file atomically, in the format that its name ends in, by default 16-bit mono WAV; returns the path as a string."""
        write_sound(path, self.audio)
        return str(path)

    def _repr_html_(self):
        data = base64.b64encode(wav_bytes(self.audio)).decode()
        return f'<audio controls src="data:audio/wav;base64,{data}"></audio>'


class OrpheusInference:
    """Speaks tagged text with Orpheus-3B, a fine-tuned adapter of it, or the demo voice.

    model: "auto" (an adapter's own base; else Orpheus-3B with CUDA, the demo voice without), "demo", a folder, or a hub id;
        or a LoadedModel
    lora: "auto" (lora_model/ if it exists), "none", a folder or a hub id
    codec: a folder or hub id of a SNAC to use instead of the model's own
    device: "auto", "cuda", "mps" or "cpu"
    engine: "fast" (a hand-written Llama step), "fast-int8", "fast-int4" and "fast-fp8" (the same with smaller
        weights), "transformers" (any model), or "auto" (fast if it supports the model)
    like: a known model that this one is like, such as "orpheus-3b-ft", where its files don't say (docs/models.md)
    lora_anyway: takes an adapter of the right shapes for a model that it was not made for

    Raises CheckpointError if something cannot be loaded and InputError for a name that means nothing. One object serves
    one thread at a time. Every method's options are the fields of SamplingOptions, TextOptions, LongTextOptions,
    ReferenceOptions, RetryOptions and (for `stream`) StreamOptions: see orpheus/speech/options.py and orpheus/engines/options.py.
    """

    def __init__(
        self,
        model="auto",
        lora="auto",
        codec=None,
        device="auto",
        engine="auto",
        like=None,
        lora_anyway=False,
        url=None,
        dialect="auto",
        served_model=None,
    ):
        given = isinstance(model, LoadedModel)
        names = (model, lora, codec, device, engine, like, lora_anyway, url, dialect, served_model)
        self.model, fell_back = (model, False) if given else load_model(*names)
        loaded = self.model
        self.name, self.engine, self.prompts, self.codec = loaded.name, loaded.engine, loaded.prompts, loaded.codec
        self.voices, self.default_voice = loaded.voices, loaded.default_voice
        if fell_back:
            full = f"For the full model use a GPU, or --model {ORPHEUS_3B} (slow on a CPU)."
            print(f"No CUDA here: speaking with the bundled demo voice. {full}", file=sys.stderr)

    # --- the ways to speak ---

    def generate(self, prompts, voice=None, output_dir=OUTPUT_DIR, progress=False, **options):
        """Speaks texts into `output_dir`/output_0.wav, output_1.wav ...; returns the paths.

        prompts: one text or several, generated in batches
        """
        check_path("output_dir", output_dir)
        output_dir, prompts = Path(output_dir).expanduser(), _listed(prompts)
        speeches = self.synthesize_all(prompts, voice, progress, **options)
        return [speech.save(Path(output_dir) / f"output_{index}.wav") for index, speech in enumerate(speeches)]

    def synthesize(self, text, voice=None, progress=False, **options):
        """Speaks one text of any length; returns a Speech."""
        return next(self.synthesize_all([text], voice, progress, **options))

    def synthesize_all(self, texts, voice=None, progress=False, **options):
        """Speaks several texts side by side: an iterator of Speech, in their order, as each finishes.

        Each sounds as it would alone. All texts are checked before the first is spoken.
        """
        texts = _listed(texts)
        references, options = take_references(self.model, options)
        sampling, writing, long_text, retry, _ = split_options(options)
        requests = [plan_request(self.model, text, voice, sampling, writing, long_text, references) for text in texts]
        retries = Retries(retry, self._decode, language_to_speak(self.model, writing, voice))
        return self._speak(requests, sampling, long_text.batch_size, retries, progress)

    def _speak(self, requests, sampling, batch_size, retries, progress):
        utterances = [utterance for request in requests for utterance in request.utterances]
        waiting, done = iter(requests), 0
        request = next(waiting, None)
        with Speaking(progress, [expected_seconds(utterance) for utterance in utterances]) as bar:
            for start in range(0, len(utterances), batch_size):
                batch = utterances[start : start + batch_size]
                self._generate_codes(batch, sampling, bar)
                retries.speak_again(batch, lambda suspect: self._generate_again(suspect, sampling, bar))
                done += len(batch)
                while request and len(request.utterances) <= done:
                    done -= len(request.utterances)
                    yield self._finish(request, sampling, bar)
                    request = next(waiting, None)

    def stream(self, text, voice=None, **options):
        """Speaks one text while it is being generated: an iterator of float32 chunks at 24 kHz.

        Joined, the chunks are what `synthesize` returns. The iterator's `finish_reason` is known after the last chunk.
        Input is checked right away, before the first chunk is asked for. Retries raise InputError: audio that has been
        sent cannot be taken back.
        """
        return SpeechStream(self.engine, self.codec, *plan_stream(self.model, text, voice, options))

    # --- parts ---

    def _generate_codes(self, utterances, sampling, bar):
        """Generates the utterances' codes side by side."""
        began = time.perf_counter()
        running, expected = set(range(len(utterances))), [expected_seconds(utterance) for utterance in utterances]
        before = bar.seconds
        prompts, seeds = [u.prompt for u in utterances], [u.seed for u in utterances]
        for tokens in self.engine.generate(prompts, sampling, seeds):
            for index in list(running):
                if tokens[index] == ENDED or not utterances[index].assembler.push(tokens[index]):
                    running.discard(index)
                    bar.generated(expected[index])
            if bar.due():
                seconds = [utterance.assembler.frames / FRAMES_PER_SECOND for utterance in utterances]
                bar.under_way([(expected[index], seconds[index]) for index in running], before + sum(seconds))
        for index in running:  # cut off
            bar.generated(expected[index])
        bar.under_way([], before + sum(utterance.assembler.frames for utterance in utterances) / FRAMES_PER_SECOND)
        taken = time.perf_counter() - began
        tokens = sum(utterance.assembler.position + 1 for utterance in utterances)
        for utterance in utterances:
            utterance.seconds_taken += taken * (utterance.assembler.position + 1) / tokens

    def _generate_again(self, utterances, sampling, bar):
        with bar.again(len(utterances)):
            self._generate_codes(utterances, sampling, bar)

    def _finish(self, request, sampling, bar):
        """Decodes a request whose codes are complete."""
        began = time.perf_counter()
        audio, pieces, place = [], [], 0
        for utterance in request.utterances:
            sound, pause = self._sound(utterance), silence(utterance.pause)
            pieces.append((utterance.text, place / SAMPLE_RATE, (place + len(sound)) / SAMPLE_RATE))
            audio += [sound, pause]
            place += len(sound) + len(pause)
            bar.decoded(expected_seconds(utterance))
        audio.pop()  # no pause after the last
        taken = time.perf_counter() - began + sum(utterance.seconds_taken for utterance in request.utterances)
        return Speech(
            np.concatenate(audio),
            request.text,
            request.voice,
            sampling.seed,
            request.finish_reasons,
            taken,
            attempts=request.attempts,
            retried_for=request.retried_for,
            pieces=tuple(pieces),
        )

    def _sound(self, utterance):
        """float32 samples of an utterance; silence and a warning if it has none."""
        warn_about_end(utterance)
        if not utterance.assembler.frames:
            return np.zeros(NOTHING_SAMPLES, np.float32)
        return self._decode(utterance) if utterance.audio is None else utterance.audio

    def _decode(self, utterance):
        return self.codec.decode(utterance.assembler.window(0, utterance.assembler.frames), utterance.seed)


def expected_seconds(utterance):
    """How long an utterance will probably be."""
    return max(estimate_seconds(utterance.text), 0.1)


def _listed(texts):
    """The texts as a list; one alone is one of them. Raises InputError."""
    if isinstance(texts, str):
        return [texts]
    if not isinstance(texts, Iterable) or isinstance(texts, (bytes, os.PathLike)):
        raise InputError(f"the texts must be a list of strings, not {type(texts).__name__}: {shown(texts)}")
    return list(texts)


class SpeechStream:
    """Iterator of float32 chunks of one text, piece after piece."""

    def __init__(self, engine, codec, request, sampling, options):
        self.sample_rate, self.finish_reason = SAMPLE_RATE, None
        self.pieces = []  # as of Speech, those that are over
        self._engine, self._codec, self._request = engine, codec, request
        self._chunks = self._generate(sampling, options)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self._chunks)

    def close(self):
        """Stops generating."""
        self._chunks.close()

    def _generate(self, sampling, options):
        utterances, place = self._request.utterances, 0.0
        for index, utterance in enumerate(utterances):
            steps = self._engine.generate([utterance.prompt], sampling, [utterance.seed])
            yield from stream_audio(
                (int(tokens[0]) for tokens in steps),
                lambda codes, first, seed=utterance.seed: self._codec.decode_window(codes, seed, first),
                utterance.assembler,
                **asdict(options),
                early=self._codec.device.type == "cuda",
            )
            warn_about_end(utterance)
            if not utterance.assembler.frames:
                yield np.zeros(NOTHING_SAMPLES, np.float32)
            seconds = (utterance.assembler.frames * FRAME_SAMPLES or NOTHING_SAMPLES) / SAMPLE_RATE
            self.pieces.append((utterance.text, place, place + seconds))
            if index < len(utterances) - 1:
                yield silence(utterance.pause)
            place += seconds + len(silence(utterance.pause)) / SAMPLE_RATE
        self.finish_reason = first_trouble(self._request.finish_reasons)
