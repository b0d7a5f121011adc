"""The one place that lays prompts out, on exact ids."""

import numpy as np
import pytest
from transformers import AutoTokenizer

from orpheus.common.errors import CheckpointError
from orpheus.common.tokens import TokenLayout
from orpheus.text.prompt import IGNORE, PromptBuilder, layout_of
from tests.fakes.checkpoints import ORPHEUS_LAYOUT, SMALL_LAYOUT, save_tokenizer


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(folder, ORPHEUS_LAYOUT)
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="session")
def builder(tokenizer):
    return PromptBuilder(tokenizer, layout_of(tokenizer, 4096))


def text_ids(tokenizer, text):
    """Byte by byte, since the test tokenizer has no merges: a reference that knows no added tokens."""
    return [tokenizer(character, add_special_tokens=False)["input_ids"][0] for character in text]


def test_the_layout_is_read_off_the_tokenizer(tokenizer):
    assert len(tokenizer) == 156_940
    assert layout_of(tokenizer, 4096) == TokenLayout()


def test_the_layout_of_a_small_vocabulary(tmp_path):
    save_tokenizer(tmp_path, SMALL_LAYOUT)
    assert layout_of(AutoTokenizer.from_pretrained(tmp_path), 32) == SMALL_LAYOUT


def test_a_tokenizer_without_audio_tokens_is_refused(tmp_path):
    """Public code falls back to gpt2 in silence."""
    save_tokenizer(tmp_path, SMALL_LAYOUT)
    with pytest.raises(CheckpointError, match="<custom_token_28681>.*4096 codes"):
        layout_of(AutoTokenizer.from_pretrained(tmp_path), 4096)


def test_prompt(builder, tokenizer):
    body = text_ids(tokenizer, "tara: Hi <laugh>")
    assert builder.prompt("Hi <laugh>", "tara") == [128_259, 128_000, *body, 128_009, 128_260, 128_261, 128_257]


def test_plain_prompt_has_one_bos(builder, tokenizer):
    """Public clients tokenize a decoded prompt again, which puts a second BOS before the text."""
    prompt = builder.prompt("Hi")
    assert prompt == [128_259, 128_000, *text_ids(tokenizer, "Hi"), 128_009, 128_260, 128_261, 128_257]
    assert prompt.count(128_000) == 1


@pytest.mark.parametrize(
    "text",
    [
        "<custom_token_12>",
        "<|eot_id|>",
        "say <|begin_of_text|><custom_token_2> now",
        "<<custom_token_1>>",
        "<custom_<custom_token_3>token_4>",
        "<|eot_id|>" * 50,
    ],
)
def test_control_strings_in_the_text_stay_plain_text(builder, tokenizer, text):
    ids = builder.text_ids(text)
    assert max(ids) < 256
    assert ids == text_ids(tokenizer, text)
    assert tokenizer.decode(ids) == text


def test_training_row_is_the_prompt_and_the_answer(builder, random):
    codes = random.integers(0, 4096, (3, 7))
    input_ids, labels = builder.training_example("Hi <sigh>", codes, "elise")
    prompt = builder.prompt("Hi <sigh>", "elise")
    audio = [*builder.layout.to_tokens(codes).tolist(), 128_258, 128_262]
    assert input_ids.tolist() == prompt + audio
    assert labels.tolist() == [IGNORE] * len(prompt) + audio
    assert input_ids.dtype == labels.dtype == np.int64


def test_a_long_row_keeps_its_end_of_speech(builder):
    """Public recipes cut rows at max_length; a model trained on them never stops."""
    input_ids, labels = builder.training_example("Long.", np.zeros((2_000, 7)))
    assert len(input_ids) == len(builder.prompt("Long.")) + 14_000 + 2
    assert input_ids[-2:].tolist() == labels[-2:].tolist() == [128_258, 128_262]
