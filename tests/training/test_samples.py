"""Listening while training: the best adapter by words, clips kept for a resumed run, the report at the end."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from orpheus.common.errors import InputError
from orpheus.data.examples import Example
from orpheus.engines.fast.engine import FastEngine
from orpheus.engines.options import SamplingOptions
from orpheus.engines.transformers import TransformersEngine
from orpheus.evaluate.scoring import Judges
from orpheus.text.recognition import Heard
from orpheus.training import llama as llamas
from orpheus.training import samples
from orpheus.training.llama import LoraLlama
from orpheus.training.options import TrainingOptions
from orpheus.training.samples import MergedEngine, SpokenEvaluation
from orpheus.training.trainer import Trainer, TrainerState
from tests.fakes.checkpoints import SMALL_LAYOUT
from tests.fakes.training import peft_model


def best_steps(keep_best_by, *measured):
    """Steps after which the adapter was kept, for (loss, word error rate) at steps 1, 2 ..."""
    kept = []
    options = TrainingOptions(evaluate=True, keep_best_by=keep_best_by)
    trainer = SimpleNamespace(state=TrainerState(), options=options, on_best=kept.append)
    for step, (loss, wer) in enumerate(measured, 1):
        Trainer._note_best(trainer, step, loss, wer)
    return kept, trainer.state


def test_the_best_adapter_by_loss_or_by_words():
    measured = [(4.0, 0.5), (3.5, 0.6), (3.6, 0.2), (3.4, 0.2), (3.9, 0.1), (3.0, 0.1), (2.9, 0.3)]
    assert best_steps("loss", *measured)[0] == [1, 2, 4, 6, 7]
    kept, progress = best_steps("wer", *measured)
    assert kept == [1, 3, 4, 5, 6]  # between equals the loss decides
    assert (progress.best, progress.best_wer, progress.best_step) == (3.0, 0.1, 6)


def test_without_evaluation_the_loss_decides():
    assert best_steps("loss", (2.0, math.inf), (1.0, math.inf))[0] == [1, 2]


def test_words_need_to_be_listened_to():
    assert TrainingOptions(keep_best_by="wer").evaluate and not TrainingOptions().evaluate
    with pytest.raises(InputError, match="keep_best_by wer needs eval_steps above 0"):
        TrainingOptions(keep_best_by="wer", eval_steps=0)
    with pytest.raises(InputError, match="evaluate_sentences must be a whole number of at least 1, not 0"):
        TrainingOptions(evaluate_sentences=0)


class Recognizer:
    def __init__(self):
        self.calls = 0

    def listen(self, audio):
        self.calls += 1
        return Heard("good morning")


@pytest.fixture
def spoken(small_voice, tmp_path):
    """(SpokenEvaluation on the small voice with two held-out rows, the events it logged)"""
    layout, examples, logged = small_voice.engine.layout, [], []
    for number, text in enumerate(["Good morning.", "Good night."]):
        ids, labels = small_voice.prompts.training_example(text, np.full((3, 7), number))
        examples.append(
            Example(ids.astype(np.int32), int((labels < 0).sum()), f"{number:064x}", text, None, f"row {number}")
        )
    assert layout.to_codes(examples[1].input_ids[examples[1].prompt_tokens :].tolist()).tolist() == [[1] * 7] * 3
    log = SimpleNamespace(event=lambda step, message, **values: logged.append((step, message, values)))
    options = TrainingOptions(evaluate=True, evaluate_sentences=2)
    judges = Judges(recognizer=Recognizer())
    return SpokenEvaluation(small_voice, examples, options, tmp_path, log, judges=judges), logged


def test_words_are_counted_on_the_way(spoken):
    evaluation, logged = spoken
    assert evaluation.measure(0) == 0.25 == evaluation.measure(20)  # "good night" is heard as "good morning"
    assert [(step, values) for step, _, values in logged] == [(0, {"held_out_wer": 0.25}), (20, {"held_out_wer": 0.25})]
    assert logged[0][1].startswith("held-out word error rate 25.0 %".replace(" %", "%"))
    assert evaluation.facts() == {"held_out_word_error_rate": "25.0% at step 0, 25.0% at step 20 (2 sentences)"}


def test_other_ranks_do_not_speak(spoken):
    evaluation, logged = spoken
    evaluation.rank = 1
    assert evaluation.measure(0) == 0.0 and logged == []


def test_the_report_holds_base_tuned_and_original_side_by_side(spoken, tmp_path):
    evaluation, _ = spoken
    evaluation.measure(0)
    judges = Judges(recognizer=Recognizer())
    shown = evaluation.report(tmp_path / "lora_model" / "evaluation", (judges, {}, None))
    report = json.loads((tmp_path / "lora_model" / "evaluation" / "report.json").read_text())
    assert [system["name"] for system in report["systems"]] == ["base", "tuned", "original"]
    assert report["differences"]["tuned - base"]["wer"]["value"] == 0
    assert "tuned: The recogniser misheard" in shown and judges.recognizer.calls == 6
    assert [row["seconds"] for row in report["systems"][2]["rows"]] == [0.256, 0.256]  # three frames


def test_a_resumed_run_has_the_base_models_clips(spoken, tmp_path):
    evaluation, _ = spoken
    evaluation.measure(0)
    from orpheus.training.samples import _kept

    kept = _kept(evaluation.kept)
    again = evaluation._speak()
    assert [c.text for c in kept] == [c.text for c in again] == ["Good morning.", "Good night."]
    assert all(np.array_equal(a.audio, b.audio) for a, b in zip(kept, again, strict=True))  # same seed, same audio


def test_there_must_be_held_out_rows(small_voice, tmp_path):
    with pytest.raises(InputError, match="--evaluate needs held-out examples"):
        SpokenEvaluation(small_voice, [], TrainingOptions(evaluate=True), tmp_path, None)


# --- the engine of the samples ---


def adapted():
    """A LoraLlama whose adapter does something."""
    return LoraLlama(peft_model())


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.3])
def test_a_small_models_samples_are_those_of_the_model_that_peft_merges(temperature):
    merged = FastEngine(peft_model().merge_and_unload(), SMALL_LAYOUT)
    sampling = SamplingOptions(max_new_tokens=21, temperature=temperature)
    start = SMALL_LAYOUT.start_of_speech
    prompts, found = [[4, 5, 6, start], [7, start], [9, 10, 11, 12, start]], []
    for engine in (MergedEngine(adapted(), SMALL_LAYOUT), merged):
        found.append(np.stack(list(engine.generate(prompts, sampling, [1, 2, 3]))))
    assert np.array_equal(*found)
    assert found[0].shape[0] >= 14


def test_samples_are_spoken_with_the_adapter_as_it_is_now():
    llama = adapted()
    engine, merged = MergedEngine(llama, SMALL_LAYOUT), []
    for strength in (1.0, 0.0):
        llama.adapter.multiply(strength)
        next(engine.generate([[4, 5]], SamplingOptions(max_new_tokens=7), [0]))
        merged.append(engine._engine.llama.layers[0].qkv.values)
        engine.release()
        assert engine._engine is None
    base = llama.groups[0][0]
    assert torch.equal(merged[1], base.whole[: base.out, : base.width])
    tuned = adapted().groups[0][0].whole[: base.out, base.width :]
    assert torch.allclose(merged[0], base.whole[: base.out, : base.width] + tuned @ base.a)
    assert (merged[0] - merged[1]).abs().max() > 1e-4


def test_a_model_too_large_to_be_copied_speaks_as_it_is(monkeypatch, small_voice):
    voice, llama = small_voice, adapted()
    for limit, kind in ((llamas.LARGEST, MergedEngine), (1000, TransformersEngine)):
        monkeypatch.setattr(llamas, "LARGEST", limit)
        made = samples.Samples(llama, voice.prompts, voice.codec, voice.model.description, ["Hello."])
        assert type(made.tts.engine) is kind
