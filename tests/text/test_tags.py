"""The one pattern of tags, and what people write in their place."""

import time

import pytest

from orpheus.text.comparison import normalise, normalise_with_tags
from orpheus.text.pieces import split_text
from orpheus.text.tags import KNOWN_TAGS, MARKUP, TAG, find_tags, spell_tags, unknown_tags

MAYA = ("laugh", "laugh_harder", "whisper", "happy")


@pytest.mark.parametrize(
    "text, tags",
    [
        ("Ha <laugh_harder> ha <half-sob2>.", ["laugh_harder", "half-sob2"]),
        ("정말<작은 웃음>그래요 {한숨}", ["작은 웃음", "한숨"]),
        ("<हँसी> जी <大笑>。", ["हँसी", "大笑"]),
        ("Well <clears his throat> now", ["clears his throat"]),
        ("<Sigh>", ["Sigh"]),
    ],
)
def test_tags_of_all_scripts(text, tags):
    assert find_tags(text) == tags


@pytest.mark.parametrize(
    "text",
    [
        "a < b and c > d",
        "x<y and z>0",
        "if n <m or k> 2",
        "I <3 you, 2<5>1",
        "<b>bold</b> <BR> <br/> <h2>",
        "<me@example.com> <https://example.com/a>",
        "<|eot_id|> <custom_token_5> <spk_kavya>",
        "{name} {0} {a b}",
        '<description="A calm voice"> Hi',
        "< laugh> <laugh > <> << >>",
        "<one two three four five>",
    ],
)
def test_what_is_no_tag(text):
    assert find_tags(text) == []


@pytest.mark.parametrize(
    "written, spelt, tag",
    [
        ("Ha [laugh] ha", "Ha <laugh> ha", "laugh"),
        ("Oh (coughs) no", "Oh <cough> no", "cough"),
        ("*laughs* Right.", "<laugh> Right.", "laugh"),
        ("Right *giggling* so", "Right <giggles> so", "giggles"),
        ("No. *yawn* I am up", "No. <yawn> I am up", "yawn"),
        ("Hm {gasp} hm", "Hm <gasp> hm", "gasp"),
        ("A <sniffle/> b", "A <sniffle> b", "sniffle"),
        ("A <Chuckles> b", "A <chuckle> b", "chuckle"),
        ("A <laughter> b", "A <laugh> b", "laugh"),
        ("[sighs deeply] Fine.", "<sigh> Fine.", "sigh"),
    ],
)
def test_other_spellings_of_a_known_tag(written, spelt, tag):
    found = spell_tags(written)
    assert found.text == spelt
    assert [(name, count) for (_, name), count in found.read.items()] == [(tag, 1)] and not found.unread


@pytest.mark.parametrize(
    "text, unread",
    [
        ("It made me *laugh* a lot.", ["*laugh*"]),  # emphasis
        ("He (whispers) so", ["(whispers)"]),
        ("Oh [happy] day <scream/>", ["[happy]", "<scream/>"]),
        ("[clears throat] Hello", ["[clears throat]"]),
        ("See [note] and (laugh track) and *really* and **laughs**", []),
    ],
)
def test_what_is_not_plain_is_left_and_named(text, unread):
    found = spell_tags(text)
    assert found.text == text and list(found.unread) == unread and not found.read


def test_what_a_model_knows_decides():
    assert (
        spell_tags("[happy] *whispers* [laugh harder] <Happy>", MAYA).text == "<happy> <whisper> <laugh_harder> <happy>"
    )
    assert spell_tags("<giggles> <giggle>", MAYA).text == "<giggles> <giggle>"
    assert unknown_tags("<happy> <Happy> <laguh_harder>", MAYA) == {"laguh_harder": "laugh_harder"}
    assert spell_tags("{한숨} <한숨> [한숨]", ("한숨",)).text == "{한숨} <한숨> [한숨]"  # as written


def test_spelling_is_stable():
    once = spell_tags("[laughs] <Sigh> *gasps* <dance> (cough)")
    assert spell_tags(once.text).text == once.text and not spell_tags(once.text).read


def test_markup_is_named_and_tags_are_not():
    assert [m[0] for m in MARKUP.finditer('<b>x</b> <a href="u">y</a> <br/> <laugh>')] == [
        "<b>",
        "</b>",
        '<a href="u">',
        "</a>",
        "<br/>",
    ]


@pytest.mark.parametrize("tag", ["<작은 웃음>", "<clears his throat>", "<laugh_harder>"])
@pytest.mark.parametrize("words", [3, 17, 40])
def test_no_tag_is_cut_in_two(tag, words):
    for filler in ("word ", "word", "말"):
        text = (filler * words + f" {tag} ") * 3
        pieces = [piece.text for piece in split_text(text.strip(), 2)]
        assert len(pieces) > 1 and [found for piece in pieces for found in TAG.finditer(piece)] != []
        assert sum(piece.count(tag) for piece in pieces) == 3, pieces


def test_comparison_takes_the_same_tags():
    assert normalise("정말 <작은 웃음> 그래요", "ko") == normalise("정말 그래요", "ko")
    assert normalise_with_tags("red <laugh_harder> blue") == (["red", "blue"], [("laugh_harder", 1)])


@pytest.mark.parametrize("pattern", ["<", "<laugh", "{말", "*laughs", "[laugh ", "<ab cd ef ", "(sigh"])
def test_long_runs_take_no_time(pattern):
    text, began = pattern * (50_000 // len(pattern)), time.process_time()
    assert find_tags(text) == []
    spell_tags(text, KNOWN_TAGS)
    assert time.process_time() - began < 1
