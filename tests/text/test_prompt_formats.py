"""Prompts of Orpheus' relatives, references and added tokens, on exact ids."""

import numpy as np
import pytest
from transformers import AutoTokenizer

from orpheus.common.errors import CheckpointError, InputError
from orpheus.text.prompt import FORMATS, IGNORE, PromptBuilder, layout_of
from tests.fakes.checkpoints import SMALL_LAYOUT, save_tokenizer

# Ids of the 3B vocabulary, written out: BOS, EOT, and SOS EOS SOH EOH SOA EOA.
BOS, EOT = 128_000, 128_009
SOS, EOS, SOH, EOH, SOA, EOA = range(128_257, 128_263)
AUDIO, LAUGH, KAVYA, AGASTYA = range(156_940, 156_944)  # after the 28,684 of Orpheus-3B


@pytest.fixture(scope="module")
def tokenizer(relatives_tokenizer):
    return relatives_tokenizer


@pytest.fixture(scope="module")
def build(tokenizer):
    layout = layout_of(tokenizer, 4096)
    return {name: PromptBuilder(tokenizer, layout, name) for name in FORMATS}


@pytest.fixture(scope="module")
def plain(tokenizer):
    """Ids of a text character by character: the fake tokenizer has no merges, so no added token can be met."""
    return lambda text: [i for c in text for i in tokenizer(c, add_special_tokens=False)["input_ids"]]


def test_the_fake_has_the_ids(tokenizer):
    tokens = ("<|audio|>", "<laugh>", "<spk_kavya>", "<spk_agastya>")
    assert [tokenizer.convert_tokens_to_ids(token) for token in tokens] == [AUDIO, LAUGH, KAVYA, AGASTYA]


def test_orpheus_says_a_name_and_a_colon(build, plain):
    assert build["orpheus"].prompt("Hi", "tara") == [SOH, BOS, *plain("tara: Hi"), EOT, EOH, SOA, SOS]


def test_svara_has_its_marker_and_ends_the_turn_last(build, plain):
    found = build["svara"].prompt("नमस्ते", "Hindi (Female)")
    assert found == [BOS, SOH, AUDIO, *plain("Hindi (Female): नमस्ते"), EOH, EOT, SOA, SOS]


def test_maya_describes_the_voice(build, plain):
    found = build["description"].prompt("Oh <laugh> no", 'A "calm"\nvoice')
    before, after = plain("<description=\"A 'calm' voice\"> Oh "), plain(" no")
    assert found == [SOH, BOS, *before, LAUGH, *after, EOT, EOH, SOA, SOS]
    assert build["description"].prompt("Hi") == [SOH, BOS, *plain("Hi"), EOT, EOH, SOA, SOS]


def test_veena_names_a_token(build, plain):
    assert build["speaker_token"].prompt("Hi", "agastya") == [SOH, AGASTYA, *plain(" Hi"), EOH, SOA, SOS]
    assert build["speaker_token"].voice_tokens() == ("kavya", "agastya") and build["orpheus"].voice_tokens() == ()
    with pytest.raises(InputError, match="voice 'tara' has no token .* it has kavya, agastya"):
        build["speaker_token"].prompt("Hi", "tara")


@pytest.mark.parametrize("name", FORMATS)
def test_a_typed_control_string_stays_text_and_a_tag_is_its_token(build, plain, name):
    text = "a <custom_token_2> <|eot_id|> <|audio|> <spk_kavya> <laugh>"
    ids = build[name].text_ids(text)
    assert ids == [*plain(text.removesuffix("<laugh>")), LAUGH]


def test_a_control_string_in_the_voice_stays_text(build, plain):
    ids = build["orpheus"].text_ids("Hi", "<|eot_id|>")
    assert ids == plain("<|eot_id|>: Hi")


def test_a_tokenizer_without_the_marker_is_refused(tmp_path):
    save_tokenizer(tmp_path, SMALL_LAYOUT)
    bare = AutoTokenizer.from_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"has no <\|audio\|>, which this model's prompts need.*--like"):
        PromptBuilder(bare, SMALL_LAYOUT, "svara")


# --- references ---


def test_references_are_examples_before_the_prompt(build, plain):
    one, two = np.arange(14).reshape(2, 7), np.full((1, 7), 4095)
    found = build["orpheus"].prompt("Go on.", None, [("It is late.", one), ("Good night.", two)])
    codes = [128_266 + 4096 * (n % 7) + n for n in range(14)]
    assert found == [
        *(SOH, BOS, *plain("It is late."), EOT, EOH, SOA, SOS, *codes, EOS, EOA),
        *(
            SOH,
            BOS,
            *plain("Good night."),
            EOT,
            EOH,
            SOA,
            SOS,
            *(128_266 + 4096 * n + 4095 for n in range(7)),
            EOS,
            EOA,
        ),
        *(SOH, BOS, *plain("Go on."), EOT, EOH, SOA, SOS),
    ]


def test_svara_begins_once_whatever_comes_before(build, plain):
    found = build["svara"].prompt("b", None, [("a", np.zeros((1, 7)))])
    codes = [128_266 + 4096 * n for n in range(7)]
    first = [SOH, AUDIO, *plain("a"), EOH, EOT, SOA, SOS, *codes, EOS, EOA, EOT]
    assert found == [BOS, *first, SOH, AUDIO, *plain("b"), EOH, EOT, SOA, SOS]


@pytest.mark.parametrize(
    "name, ending", [("orpheus", [EOS, EOA]), ("svara", [EOS, EOA, EOT]), ("speaker_token", [EOS, EOA])]
)
def test_examples_end_as_the_model_learnt(build, name, ending):
    voice = "kavya" if name == "speaker_token" else None
    ids, labels = build[name].training_example("Oh <laugh>", np.zeros((2, 7)), voice)
    prompt = build[name].prompt("Oh <laugh>", voice)
    assert ids[: len(prompt)].tolist() == prompt and LAUGH in prompt and ids[len(prompt) + 14 :].tolist() == ending
    assert set(labels[: len(prompt)]) == {IGNORE} and labels[len(prompt) :].tolist() == ids[len(prompt) :].tolist()
