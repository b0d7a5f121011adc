"""Written text to spoken text: exact words, and nothing changed where nothing is to be spelt out."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orpheus.common.errors import InputError
from orpheus.common.options import ROOT
from orpheus.speech.options import EXAMPLES
from orpheus.speech.request import plan_request, split_options
from orpheus.text.cleaning import clean_text
from orpheus.text.normalization import normalize
from orpheus.text.pieces import split_sentences
from orpheus.text.tags import find_tags

HARD_TEXT = [json.loads(line) for line in (ROOT / "assets/evaluation/hard_text.jsonl").read_text("utf-8").splitlines()]


@pytest.mark.parametrize(
    "written, spoken",
    [
        ("3.5", "Three point five"),
        ("1,000", "One thousand"),
        ("1,234,567", "One million two hundred thirty-four thousand five hundred sixty-seven"),
        ("$5.20", "Five dollars and twenty cents"),
        ("it costs $1, -$5 or $1,000.00", "it costs one dollar, minus five dollars or one thousand dollars"),
        ("for $10-20 each", "for ten to twenty dollars each"),
        ("10:30", "Ten thirty"),
        ("at 9:05, 7:00 and 7:00 a.m. today", "at nine oh five, seven o'clock and seven a m today"),
        ("Come at 5 p.m. Bring cake.", "Come at five p m. Bring cake."),
        ("2026", "Twenty twenty-six"),
        ("in 1905, 2000 and 2005", "in nineteen oh five, two thousand and two thousand five"),
        ("1st", "First"),
        ("Dr. Lee lives on Ocean Dr. for now.", "Doctor Lee lives on Ocean Drive for now."),
        ("with St. Nick of Main St.", "with Saint Nick of Main Street."),
        ("fruit, e.g. apples, etc. We sell it.", "fruit, for example apples, et cetera. We sell it."),
        ("a@b.co", "A at b dot co"),
        ("See www.example.org/a-b. Or not!", "See w w w dot example dot org slash a dash b. Or not!"),
        ("Or example.com!", "Or example dot com!"),
        ("Try example.org/a?x=1. Now!", "Try example dot org slash a question mark x equals one. Now!"),
        ("50%", "Fifty percent"),
        ("-3", "Minus three"),
        ("1/2", "One half"),
        ("½ and 2¾", "One half and two and three quarters"),
        ("COVID-19", "Covid nineteen"),
        ("A4", "A four"),
        ("v2.0", "Version two point zero"),
        ("Boeing 747s and MP3", "Boeing seven forty-sevens and M P three"),
        ("STOP SHOUTING AT ME", "Stop shouting at me"),
        ("It is MY turn. WAIT!", "It is my turn. Wait!"),
        ("The USA and the GPUs of AT&T", "The U S A and the G P U's of A T and T"),
        ("The US and us", "The U S and us"),
        ("OK, NASA", "Okay, Nasa"),
        ("Henry VIII, Rocky II, Malcolm X, the IV", "Henry the eighth, Rocky two, Malcolm X, the I V"),
        ("3:2", "Three to two"),
        ("007", "Zero zero seven"),
        ("he/she and/or it", "he or she and or it"),
    ],
)  # fmt: skip
def test_spoken_form(written, spoken):
    assert normalize(written) == spoken


@pytest.mark.parametrize("row", HARD_TEXT, ids=lambda row: f"{row['kind']}: {row['text'][:20]}")
def test_the_bundled_hard_text_becomes_its_spoken_form(row):
    assert normalize(clean_text(row["text"])[0]) == row["spoken"]


def test_the_hard_text_has_every_kind():
    kinds = {row["kind"] for row in HARD_TEXT}
    assert kinds == {
        "numbers", "ordinals", "dates", "times", "currency", "units", "phone", "email", "url", "abbreviations",
        "initialisms", "letters and digits", "capitals", "Roman numerals", "emoji", "tags", "one word", "plain",
        "long sentence", "page of prose",
    }  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        *EXAMPLES,
        "I think that I am right, and so is Anna.",
        "No. It may be so... Well-known? (Yes!)",
        "\"Stop!\" he said.\n\nThey're here; it's all right.",
        "I said so. <laugh> In part I agree.",
        "naïve café, ¿qué? 你好。",
        "",
    ],
)
def test_plain_text_stays_as_it_is(text):
    assert normalize(text) == text


def test_tags_and_control_strings_stay_whole():
    text = "Take 2 <laugh> or <custom_token_12> and <|eot_id|>. <sigh> 3 cats."
    assert normalize(text) == "Take two <laugh> or <custom_token_12> and <|eot_id|>. <sigh> Three cats."


def test_sentences_are_still_told_apart():
    sentences = split_sentences(normalize("I have it. 3 dogs bark. WAIT HERE! <sigh> 5 cats sleep."))
    assert sentences == ["I have it.", "Three dogs bark.", "Wait here! <sigh>", "Five cats sleep."]


@settings(deadline=None)
@given(st.text(alphabet="aB1I 0.,:/-$%@&<laugh>'\"s\n°½#~+=x", max_size=60) | st.text(max_size=40))
def test_anything_can_be_normalized_and_keeps_its_tags(text):
    clean, _ = clean_text(text)
    assert find_tags(normalize(clean)) == find_tags(clean)


# --- the option ---


def prompts_of(speaker, text, **options):
    """Texts of the pieces that `speaker` would speak."""
    sampling, writing, long_text, _, _ = split_options(options)
    return [u.text for u in plan_request(speaker.model, text, None, sampling, writing, long_text).utterances]


def test_auto_is_off_unless_the_model_asks_for_it(small_voice, demo_voice, monkeypatch):
    assert prompts_of(small_voice, "Take 2.") == ["Take 2."]
    assert prompts_of(small_voice, "Take 2.", normalize="on") == ["Take two."]
    assert prompts_of(demo_voice, "Take 2.") == ["Take two."]
    assert prompts_of(demo_voice, "Take 2.", normalize="off") == ["Take 2."]


def test_a_speech_keeps_the_text_as_it_was_given(small_voice):
    assert small_voice.synthesize("Take 2.", normalize="on").text == "Take 2."


def test_another_value_is_an_error():
    with pytest.raises(InputError, match="normalize must be auto, on or off, not 'yes'"):
        split_options({"normalize": "yes"})
