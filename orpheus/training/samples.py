"""Evaluation while training: held-out sentences are spoken and heard, before, on the way and at the end."""

import io
import json
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from orpheus.common.errors import InputError, OrpheusError, OutputError
from orpheus.common.files import atomic_file
from orpheus.engines.fast.engine import FastEngine
from orpheus.engines.transformers import TransformersEngine
from orpheus.evaluate.judges import load_judges
from orpheus.evaluate.options import JudgeOptions
from orpheus.evaluate.report.folder import make_report, write_report
from orpheus.evaluate.report.screen import table
from orpheus.evaluate.scoring import judge_clips, summarise
from orpheus.evaluate.systems import Clip, Sentence, speak, spread
from orpheus.speech.model import LoadedModel
from orpheus.speech.synthesis import OrpheusInference
from orpheus.text.languages import ENGLISH

_QUICK = ("wer",)  # on the way; the report at the end has all that is installed


def check_evaluation(options, language=ENGLISH):
    """Refuses --evaluate before anything is loaded where its recogniser is not installed, or hears another language. Raises InputError."""
    load_judges(JudgeOptions(metrics=_QUICK, asr=options.evaluate_asr), language=language)


def _installed_metrics():
    found = {"dnsmos": "speechmos", "likeness": "resemblyzer"}
    return ("wer", *(metric for metric, package in found.items() if find_spec(package)), "tags")


class SpokenEvaluation:
    """Speaks held-out sentences with the model as it is, and counts the words that are heard.

    tts: OrpheusInference on the model in training; examples: held-out orpheus.data.examples.Example; run_dir: where the base model's
    clips are kept for a resumed run; rank: others than 0 only learn the result
    """

    def __init__(self, tts, examples, options, run_dir, log, rank=0, judges=None):
        if not examples:
            raise InputError("--evaluate needs held-out examples: raise --held-out, or leave --evaluate out")
        self.tts, self.options, self.log, self.rank = tts, options, log, rank
        self.language = tts.model.description.language or ENGLISH
        self.examples = spread(sorted(examples, key=lambda e: e.key), options.evaluate_sentences)
        self.kept, self.judges, self.measured = Path(run_dir) / "evaluation_base.npz", judges, {}

    @property
    def sentences(self):
        return [Sentence(example.text, example.speaker) for example in self.examples]

    def _speak(self):
        try:
            return list(speak(self.tts, self.sentences, seed=self.options.seed, progress=True))
        finally:
            self.tts.engine.release()  # a captured step's cache is memory that training needs

    def measure(self, step):
        """Word error rate of the adapter as it is, in 0..; the same number on every rank."""
        rate = self._measure(step) if self.rank == 0 else 0.0
        if dist.is_initialized():
            shared = torch.tensor(rate, dtype=torch.float64, device="cuda" if dist.get_backend() == "nccl" else "cpu")
            dist.broadcast(shared, 0)
            rate = shared.item()
        return rate

    def _measure(self, step):
        clips = self._speak()
        if self.judges is None:
            self.judges, _, _ = load_judges(
                JudgeOptions(metrics=_QUICK, asr=self.options.evaluate_asr), language=self.language
            )
        scores = judge_clips("held-out sentences", clips, self.judges, shown=True)
        found = summarise(scores, JudgeOptions(metrics=_QUICK))["wer"]
        rate = found.value if found.rows else 1.0
        if step == 0:
            try:
                _keep(self.kept, clips)
            except OutputError as error:  # training goes on, and the report at the end is without them
                self.log.say(f"the base model's clips are not kept: {error}")
        self.measured[step] = rate
        words = (
            f"held-out word error rate {rate:.1%} ({found.low:.1%} to {found.high:.1%})" if found.rows else "no words"
        )
        self.log.event(step, words, held_out_wer=rate)
        return rate

    # --- the end ---

    def facts(self):
        """For the adapter's card."""
        if not self.measured:
            return {}
        rates = ", ".join(f"{rate:.1%} at step {step}" for step, rate in self.measured.items())
        return {"held_out_word_error_rate": f"{rates} ({len(self.examples)} sentences)"}

    def _originals(self):
        """The held-out recordings as the codec gives them back: the best that any adapter could do."""
        layout, clips = self.tts.prompts.layout, []
        for example in self.examples:
            codes = layout.to_codes(example.input_ids[example.prompt_tokens :].tolist())
            clips.append(Clip(example.text, self.tts.codec.decode(codes), example.speaker))
        return clips

    def report(self, folder, judges=None):
        """Writes base, tuned and original side by side into `folder`; returns the table. Raises OutputError."""
        originals = self._originals()
        systems = [("base", "before training", _kept(self.kept))] if self.kept.exists() else []
        systems += [("tuned", "with the adapter", self._speak()), ("original", "held-out recordings, codec", originals)]
        options = JudgeOptions(metrics=_installed_metrics(), asr=self.options.evaluate_asr)
        reference = [(clip.audio, clip.voice) for clip in originals]
        judges, facts, card = judges or load_judges(options, reference, self.language)
        facts["sentences"] = f"{len(self.examples)} held-out examples"
        judged = [(name, what, judge_clips(name, clips, judges, shown=True)) for name, what, clips in systems]
        report = make_report(judged, options, facts, card)
        write_report(folder, report, {name: [clip.audio for clip in clips] for name, _, clips in systems})
        return table(report)


def _keep(path, clips):
    """Clips to one file, whole or not at all."""
    facts = [[c.text, c.voice, c.take, c.finish_reason] for c in clips]
    content = io.BytesIO()
    np.savez(content, facts=json.dumps(facts), **{f"audio{n}": c.audio for n, c in enumerate(clips)})
    with atomic_file(path) as file:
        file.write(content.getvalue())


def _kept(path):
    try:
        with np.load(path) as stored:
            facts = json.loads(str(stored["facts"]))
            return [
                Clip(text, stored[f"audio{n}"], voice, None, take, reason)
                for n, (text, voice, take, reason) in enumerate(facts)
            ]
    except (OSError, ValueError, KeyError) as error:
        raise OrpheusError(f"{path} cannot be read ({error}): start again without --resume") from error


class MergedEngine:
    """See orpheus.engines.Engine: the fast engine with the adapter as it is when something is asked for, on a CPU.

    It copies the layers, and speaks three times as fast as over transformers' cache.
    """

    def __init__(self, llama, layout):
        self.model, self.layout, self._engine = llama, layout, None

    def _fresh(self):
        self._engine = FastEngine(self.model, self.layout)
        return self._engine

    def generate(self, prompts, sampling, seeds):
        yield from self._fresh().generate(prompts, sampling, seeds)

    def open(self, slots, length):
        return self._fresh().open(slots, length)

    def release(self):
        self._engine = None


class Samples:
    """Speaks sample sentences with the adapter as it is now, while training."""

    def __init__(self, llama, prompts, codec, description, sentences):
        engine = (MergedEngine if llama.small else TransformersEngine)(llama, prompts.layout)
        loaded = LoadedModel("the model in training", engine, prompts, codec, description)
        self.tts, self.sentences = OrpheusInference(loaded), sentences

    def speak(self, folder):
        """Writes output_0.wav ... into `folder`; returns the paths. What is odd about the speech is a warning."""
        try:
            return self.tts.generate(self.sentences, output_dir=folder, progress=True)
        except OrpheusError as error:  # training goes on without this sample
            warnings.warn(f"no samples into {folder}: {error}", stacklevel=2)
            return []
        finally:
            self.tts.engine.release()  # a captured step's cache is memory that training needs
