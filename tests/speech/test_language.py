"""The language of a text, from the option or the model, reaches all that depends on it."""

import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

from orpheus.common.errors import CheckpointError, InputError
from orpheus.engines.options import SamplingOptions
from orpheus.evaluate.judges import load_judges, recognizer
from orpheus.evaluate.options import JudgeOptions
from orpheus.speech.examples import example_sentences, sample_sentences
from orpheus.speech.options import EXAMPLES, LongTextOptions, TextOptions
from orpheus.speech.request import plan_request
from orpheus.speech.retries import word_error_rate
from orpheus.text.identify import describe

GERMAN = "Sie kamen am 12. April nach Bonn, wo es regnete."


def pieces(model, text=GERMAN, **writing):
    request = plan_request(
        model, text, None, SamplingOptions(), TextOptions(**writing), LongTextOptions(piece_seconds=3.6)
    )
    return [utterance.text for utterance in request.utterances]


def test_the_option_comes_before_the_models_language(small_voice):
    german = replace(small_voice.model, description=replace(small_voice.model.description, language="de"))
    assert pieces(small_voice.model) == ["Sie kamen am 12.", "April nach Bonn, wo es regnete."]
    assert pieces(german) == ["Sie kamen am 12. April nach Bonn,", "wo es regnete."]
    assert pieces(small_voice.model, language="de-AT") == pieces(german)
    assert pieces(german, language="en") == pieces(small_voice.model)


def test_numbers_are_written_out_in_the_language(small_voice):
    assert pieces(small_voice.model, "Ich habe 21 Katzen.", language="de", normalize="on") == [
        "Ich habe einundzwanzig Katzen."
    ]
    assert pieces(small_voice.model, "Ich habe 21 Katzen.", language="de") == ["Ich habe 21 Katzen."]
    assert pieces(small_voice.model, "I have 21 cats.", normalize="on") == ["I have twenty-one cats."]


@pytest.mark.parametrize(
    "language, said", [("jp", "did you mean ja"), ("germn", "did you mean de"), ("", "such as en")]
)
def test_what_is_no_language(small_voice, language, said):
    with pytest.raises(InputError, match=said):
        small_voice.synthesize("Hello.", language=language)


def test_the_models_config_says_its_language(tmp_path):
    for value, language in ((None, "en"), ("hi", "hi"), ("zh-CN", "zh")):
        (tmp_path / "config.json").write_text(json.dumps({"language": value} if value else {}))
        assert describe(str(tmp_path)).language == language
    assert describe("unsloth/orpheus-3b-0.1-ft").language == "en"
    (tmp_path / "config.json").write_text('{"language": "jp"}')
    with pytest.raises(CheckpointError, match="did you mean ja"):
        describe(str(tmp_path))


def test_recognition_listens_for_the_language(small_voice, monkeypatch):
    asked = []

    class WhisperModel:
        def __init__(self, name, **_):
            self.name = name

        def transcribe(self, audio, **how):
            asked.append((self.name, how.get("language")))
            return [SimpleNamespace(text="guten Morgen")], None

    monkeypatch.setitem(sys.modules, "faster_whisper", SimpleNamespace(WhisperModel=WhisperModel))
    small_voice.synthesize("Guten Morgen.", language="de", retries=1, choose_by_asr="small")
    small_voice.synthesize("Good morning.", retries=1, choose_by_asr="tiny.en")
    assert set(asked) == {("small", "de"), ("tiny.en", None)}  # which hears nothing else
    with pytest.raises(InputError, match="--choose-by-asr: tiny.en hears only English, not 'de'; .* is tiny"):
        small_voice.synthesize("Guten Morgen.", language="de", retries=1, choose_by_asr="tiny.en")
    with pytest.raises(InputError, match="does not know the language 'bho'"):
        small_voice.synthesize("नमस्ते।", language="bho", retries=1, choose_by_asr="small")


def test_words_are_compared_in_the_language():
    assert word_error_rate("你好世界", "你好世间", "zh") == 0.25
    assert word_error_rate("Ich hab's", "ich hab s", "de") == 0
    assert word_error_rate("The colour", "the color") == 0


def test_the_evaluation_refuses_to_hear_german_with_an_english_model():
    with pytest.raises(
        InputError, match="tiny.en, hears only English, not 'de'; name one that hears it, such as small, with --asr"
    ):
        recognizer(language="de")
    with pytest.raises(InputError, match="does not know the language 'bho'"):
        load_judges(JudgeOptions(metrics=("wer",), asr="small"), language="bho")


def test_there_are_sentences_to_hear_every_language_of_the_family_with(capsys):
    assert example_sentences("en") == EXAMPLES and sample_sentences("en", []) == EXAMPLES[:3]
    for language in "de fr es it ko zh hi".split():
        assert len(sample_sentences(language, [])) == 3
    assert capsys.readouterr().err == ""


def test_other_languages_are_heard_with_texts_of_the_data(capsys):
    data = [SimpleNamespace(text=text) for text in ("สวัสดี", "x" * 300, "สวัสดี", "ขอบคุณ", "ลาก่อน", "ครับ")]
    assert sample_sentences("th", data) == ("สวัสดี", "ขอบคุณ", "ลาก่อน")
    assert "no sample sentences in thai here: the first texts of the data are spoken" in capsys.readouterr().err
    assert sample_sentences("th", data[1:2], say=False) == ("x" * 300,)
