"""Entities, Markdown, SSML and HTML: exact texts, and what is named as lost."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orpheus.speech.request import plan_request, split_options
from orpheus.text.cleaning import clean_text
from orpheus.text.markup import advice
from orpheus.text.spoken import as_spoken


@pytest.mark.parametrize(
    "raw, clean",
    [
        ("Salt &amp; pepper", "Salt & pepper"),
        ("It&#39;s &quot;fine&quot;&nbsp;now", 'It\'s "fine" now'),
        ("5 &lt; 6, caf&eacute;, &#x2014;", "5 < 6, café, —"),
        ("&amp;lt; stays", "&lt; stays"),
        ("AT&T; R&D; &unknown; & co", "AT&T; R&D; &unknown; & co"),
    ],
)
def test_entities_are_decoded_once(raw, clean):
    assert clean_text(raw) == (clean, [])


@pytest.mark.parametrize(
    "raw, clean",
    [
        ("# The River\nIt **rises** in *May*.", "The River\n\nIt rises in May."),
        ("## Part 2 ##\n\nA __bold__ _word_, ***both***.", "Part 2\n\nA bold word, both."),
        ("Read [the guide](https://x.org/a_(b)) or ![a map](map.png).", "Read the guide or a map."),
        ("Get:\n- tea\n- milk\n* [x] bread", "Get: tea, milk, bread."),
        ("1. Boil it.\n2. Pour\n\nDone", "1. Boil it. 2. Pour.\n\nDone"),
        ("Run `make test` now\n```sh\nmake\n```", "Run make test now\n\nmake"),
        ("> She said\n> no.\n\n---\n\nThen", "She said no.\n\nThen"),
        ("| who | age |\n|---|:-:|\n| Ann | 9 |", "who, age.\n\nAnn, 9."),
        ("A ~~bad~~ note[^1] at <https://x.org>", "A bad note at https://x.org"),
    ],
)
def test_markdown_reads_as_text(raw, clean):
    text, found = clean_text(raw)
    assert text == clean
    assert found and all(name.startswith("Markdown") for name in found) or "Pour" in raw


@pytest.mark.parametrize(
    "text",
    [
        "*laughs* Oh no. *clears throat*",
        "2 * 3 * 4 = 24 and 5 > 3 < 9",
        "snake_case, _private, __init__ and a_b_c",
        "<laugh> no <laugh_harder> or <Dance>",
        "#5 is [sic] (really) * mine",
        "-5 degrees - or more - today",
        "The tag <p> starts a paragraph, a <b and c> does not",
        "<custom_token_12> and <|eot_id|>",
        "`` quoted '' and it's 'fine'",
    ],
)
def test_what_only_looks_like_markup_stays(text):
    assert clean_text(text) == (text, [])


def test_a_backslash_keeps_a_sign():
    assert clean_text(r"\*not\* bold, \_this\_, \# that") == ("*not* bold, _this_, # that", [])


@pytest.mark.parametrize(
    "raw, clean, lost",
    [
        ('<speak>Wait <break time="1s"/> here.</speak>', "Wait\n\nhere.", []),
        ("One <break strength='medium'/> two <break time=\"0ms\"/> three", "One, two three", []),
        ('<prosody rate="slow">So</prosody> <emphasis>very</emphasis> slow', "So very slow", ["<prosody>", "<emphasis>"]),
        ('<phoneme alphabet="ipa" ph="pɪˈkɑːn">pecan</phoneme> pie', "pecan pie", ["<phoneme>"]),
        ('<sub alias="World Wide Web">WWW</sub> and H<sub>2</sub>O', "World Wide Web and H2O", []),
        ('<say-as interpret-as="characters">SSML</say-as>', "S S M L", []),
        ('<say-as interpret-as="date">3/4</say-as>', "3/4", ["<say-as>"]),
        ('<amazon:effect name="whispered">hush</amazon:effect>', "hush", ["<amazon:effect>"]),
        ("<p>One <b>bold</b>.</p><p>Two<br/>lines &amp; more</p><!-- no -->", "One bold.\n\nTwo lines & more", []),
        ('<ul><li>tea</li><li><a href="x">milk</a></li></ul>', "tea\n\nmilk", []),
    ],
)  # fmt: skip
def test_tags_of_ssml_and_html(raw, clean, lost):
    assert clean_text(raw) == (clean, lost)


def test_what_is_not_followed_is_said_once_each_with_what_to_do(small_voice):
    text = '<prosody rate="x">A</prosody> <prosody rate="x">b</prosody> **c** and \U0001f600 d'
    with pytest.warns() as said:
        plan_request(small_voice.model, text, None, *split_options({})[:3])
    assert [str(warning.message) for warning in said] == [
        "1 characters that cannot be spoken were left out: '\U0001f600' x1",
        "<prosody> is not followed, only its text is spoken: pace and pitch are the voice's own, so choose another voice",
        "Markdown emphasis is read as plain text; a backslash before its sign keeps the sign",
    ]
    assert advice("<lang>").endswith("speak each language's text by itself")


def test_speech_and_training_read_the_same():
    raw = "## On 5 May\n\nHe paid **$5** &amp; left<break time='2s'/> *laughs*"
    assert as_spoken(raw, True)[0] == "On the fifth of May\n\nHe paid five dollars and left\n\n*laughs*"
    assert as_spoken(raw, False)[0] == "On 5 May\n\nHe paid $5 & left\n\n*laughs*"


def test_at_most_thirty_marks_on_a_letter():
    assert clean_text("e" + "\u0323\u0301" * 20 + "x") == clean_text("e" + "\u0323\u0301" * 15 + "x")[:1] + (
        ["\u0323", "\u0301"] * 5,
    )
    assert clean_text("q\u0323\u0301") == ("q\u0323\u0301", [])


@settings(deadline=None, max_examples=60)
@given(st.text(alphabet='a1 \n*_`#->[]()|~<>/&;.\\="', max_size=80))
def test_no_mixture_of_signs_raises(text):
    clean, _ = clean_text(text)
    assert not {"\ue000", "\ue001"} & set(clean)
