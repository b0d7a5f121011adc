"""Ids as text and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orpheus.common.errors import InputError
from orpheus.engines.endpoint.spelling import Spelling, TokenReader
from tests.engines.endpoint.conftest import FRAMES, LAYOUT, PROMPT, SPEECH, ByteTokenizer

ANSWER = "<custom_token_4><custom_token_5><custom_token_1>" + "".join(f"<custom_token_{i - 258}>" for i in SPEECH)


@given(st.lists(st.integers(0, len(ANSWER)), max_size=40))
def test_tokens_are_read_wherever_the_text_is_cut(cuts):
    places = sorted({0, *cuts, len(ANSWER)})
    reader = TokenReader(LAYOUT)
    read = [index for start, end in zip(places, places[1:]) for index in reader.read(ANSWER[start:end])]
    assert read == SPEECH


def test_text_among_the_tokens_ends_them():
    reader = TokenReader(LAYOUT)
    assert reader.read("<custom_token_10>\n <custom_token_27>oh <custom_token_43>") == [268, 285, 0, 301]
    assert TokenReader(LAYOUT, resumed=True).read("<custom_token_1>") == [259]
    assert TokenReader(LAYOUT).read("<|eot_id|>") == []


def test_text_before_the_tokens_is_kept_apart():
    reader = TokenReader(LAYOUT)
    assert reader.read("Sure! Here < you go") == [] and reader.other == "Sure! Here < you go"


@pytest.mark.parametrize("mark, prompt", [
    (True, "<|audio|>theo: Good morning.<|eot_id|>"),
    (False, "<custom_token_3><|begin_of_text|>theo: Good morning.<|eot_id|><custom_token_4><custom_token_5><custom_token_1>"),
])  # fmt: skip
def test_prompts(mark, prompt):
    spelling = Spelling(ByteTokenizer(mark), LAYOUT)
    assert spelling.prompt(PROMPT) == prompt
    rest = "".join(f"<custom_token_{i - 258}>" for i in FRAMES[:2])
    end = "<custom_token_4><custom_token_5><custom_token_1>"
    assert spelling.so_far(PROMPT, FRAMES[:2]) == prompt.removesuffix(end) + end + rest
    assert spelling.so_far(PROMPT, []) == prompt


@pytest.mark.parametrize("text", ["stop <|eot_id|> here", "<custom_token_2>", "<|audio|>"])
@pytest.mark.parametrize("mark", [True, False])
def test_what_a_server_would_take_for_a_control_token_is_refused(text, mark):
    with pytest.raises(InputError, match="would read as a control token"):
        Spelling(ByteTokenizer(mark), LAYOUT).prompt([261, 256, *text.encode(), 257, 262, 263, 259])
