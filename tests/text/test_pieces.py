import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orpheus.text.cleaning import clean_text, is_speakable
from orpheus.text.pieces import estimate_seconds, split_sentences, split_text
from orpheus.text.tags import KNOWN_TAGS, find_tags, unknown_tags

NINE = {"laugh", "chuckle", "giggles", "sigh", "cough", "sniffle", "groan", "yawn", "gasp"}


def test_the_nine_tags():
    assert set(KNOWN_TAGS) == NINE


def test_unknown_tags_come_with_the_nearest_known_one():
    assert find_tags("<laugh> a <Sigh> b <dance>") == ["laugh", "Sigh", "dance"]
    assert unknown_tags("<laugh> a <Sigh> b <laughs> c <dance>") == {"laughs": "laugh", "dance": None}


@pytest.mark.parametrize(
    "raw, clean, removed",
    [
        ("  Hello \t there\nfriend  ", "Hello there friend", []),
        ("One.\n\n \nTwo.\r\n\r\nThree.", "One.\n\nTwo.\n\nThree.", []),
        ("“It’s” …", '"It\'s" ...', []),
        ("Ho <LAUGH> ho <Dance>", "Ho <laugh> ho <Dance>", []),
        ("Hi 😀👍🏽!", "Hi !", ["😀", "👍", "🏽"]),
        ("a\u200bb\x00c", "abc", ["\u200b", "\x00"]),
        ("نمی\u200cدانم", "نمی\u200cدانم", []),
        ("അവന്\u200d വന്നു", "അവന്\u200d വന്നു", []),
        ("ශ්\u200dරී", "ශ්\u200dරී", []),
        ("a\u200cb \u200dم", "ab م", ["\u200c", "\u200d"]),
        ("20 °C, naïve, 5 €, ¿qué?", "20 °C, naïve, 5 €, ¿qué?", []),
        ("<custom_token_12> and <|eot_id|>", "<custom_token_12> and <|eot_id|>", []),
    ],
)
def test_cleaning(raw, clean, removed):
    assert clean_text(raw) == (clean, removed)


@given(st.text(max_size=200))
def test_cleaning_is_stable(text):
    clean, _ = clean_text(text)
    assert clean_text(clean) == (clean, [])


def test_what_can_be_spoken():
    assert is_speakable("a") and is_speakable("7") and is_speakable("<laugh>")
    assert not is_speakable("") and not is_speakable("... ! -")


@pytest.mark.parametrize(
    "sentences",
    [
        ["It is late.", "Let's go!", "Why?", "Because."],
        ["Mr. Smith met Dr. Jones at St. Mary's.", "They talked."],
        ["Pi is 3.14 or so.", "Take 2.5 of them."],
        ["The U.S. Army came.", "J. R. R. Tolkien wrote it."],
        ["See No. 5 on pp. 3 to 9, e.g. The Times.", "Good."],
        ['"Stop!" he said.', '"Why?" she asked.'],
        ["Well...", "I don't know.", "Hm... maybe?"],
        ["<sigh> That was funny! <laugh>", "Let's go on."],
        ["I missed you <laugh> so much!", "Come in. <sigh> <yawn>", "Sit down."],
        ["1. Open the door.", "2. Go in."],
        ["It was I.", "It was 7.", "That is all."],
        ["Mail me at joe@example.com today.", "See www.example.org/a.b for more."],
        ["no capital letters here. none at all"],
        ["你好。", "你吃了吗？", "再见！"],
    ],
)
def test_sentence_ends(sentences):
    assert split_sentences(" ".join(sentences)) == sentences


def test_estimated_length():
    assert estimate_seconds("a" * 150) == 10
    assert estimate_seconds("1234567890") > estimate_seconds("abcdefghij")
    assert estimate_seconds("<laugh>") == 1


def test_short_text_stays_whole():
    pieces = split_text("Hello there. How are you?", 10)
    assert [piece.text for piece in pieces] == ["Hello there. How are you?"]
    assert pieces[0].ends_paragraph


def test_long_text_is_cut_into_even_pieces_at_sentence_ends():
    text = " ".join(
        f"This is sentence number {word}." for word in "one two three four five six seven eight nine".split()
    )
    pieces = [piece.text for piece in split_text(text, 10)]
    assert len(pieces) == 2
    assert all(piece.endswith(".") for piece in pieces)
    assert abs(len(pieces[0]) - len(pieces[1])) < 35
    assert " ".join(pieces) == text


def test_paragraphs_are_never_joined():
    pieces = split_text("One.\n\nTwo. Three.", 10)
    assert [(piece.text, piece.ends_paragraph) for piece in pieces] == [("One.", True), ("Two. Three.", True)]


def test_a_long_sentence_is_cut_at_a_clause():
    sentence = (
        "When the rain had stopped and the sun was out again, "
        "we walked down to the harbour to look at the ships that came in"
    )
    assert [piece.text for piece in split_text(sentence, 5)] == [
        "When the rain had stopped and the sun was out again,",
        "we walked down to the harbour to look at the ships that came in",
    ]


@given(
    st.lists(
        st.sampled_from(
            ["word", "Mr.", "3.5", "end.", "<laugh>", "so,", "What?", "supercalifragilistic" * 9, "<sigh>"]
        ),
        min_size=1,
        max_size=80,
    ),
    st.sampled_from([1, 3, 10]),
)
def test_pieces_give_the_text_back_and_keep_tags_whole(words, seconds):
    text = " ".join(words)
    pieces = [piece.text for piece in split_text(text, seconds)]
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert [tag for piece in pieces for tag in find_tags(piece)] == find_tags(text)
    assert all(estimate_seconds(piece) <= seconds or len(piece.split()) == 1 for piece in pieces)


@pytest.mark.parametrize(
    "text, seconds, pieces",
    [
        ("今天天气很好。我们去公园吧！好吗？", 3, ["今天天气很好。", "我们去公园吧！好吗？"]),
        ("雨停了以后，我们一直走到了港口，看见很多船。", 3, ["雨停了以后，", "我们一直走到了港口，", "看见很多船。"]),
        ("はい。そうです。", 10, ["はい。そうです。"]),  # nothing is put between
        ("昨日は友達と一緒に東京駅まで歩きました", 3, ["昨日は友達と一緒に", "東京駅まで歩きました"]),
        ("a " + "b" * 40, 2, ["a " + "b" * 20, "b" * 20]),
        ("وصل القطار متأخرا، لكننا انتظرنا", 3, ["وصل القطار متأخرا،", "لكننا انتظرنا"]),
        ("x" * 14 + "<laugh>" + "y" * 14, 1.5, ["x" * 14, "<laugh>", "y" * 14]),
    ],
)
def test_pieces_are_the_texts_own_characters(text, seconds, pieces):
    found = [piece.text for piece in split_text(text, seconds)]
    assert found == pieces


CLUSTERS = [
    "नि",
    "क्ष",
    "เก้า",
    "กำ",
    "각",
    "\u1100\u1161\u11a8",
    "e\u0301",
    "👨\u200d👩\u200d👧",
    "🇩🇪",
    "👍🏽",
    "ന്\u200d",
    "می\u200cخ",
    "か",
]


@given(st.lists(st.sampled_from(CLUSTERS), min_size=1, max_size=60), st.sampled_from([0.3, 1, 4]))
def test_no_grapheme_cluster_is_cut(clusters, seconds):
    import regex

    text = "".join(clusters)
    pieces = [piece.text for piece in split_text(text, seconds)]
    assert "".join(pieces) == text
    assert [c for piece in pieces for c in regex.findall(r"\X", piece)] == regex.findall(r"\X", text)


@given(st.text(max_size=300), st.sampled_from(["en", "de", "el", "hi"]), st.sampled_from([0.5, 3]))
def test_any_text_comes_back(text, language, seconds):
    paragraphs = clean_text(text)[0].split("\n\n")
    for paragraph in paragraphs:
        pieces = [piece.text for piece in split_text(paragraph, seconds, language)]
        assert "".join("".join(pieces).split()) == "".join(paragraph.split())
        place = 0
        for piece in pieces:
            place = paragraph.index(piece, place) + len(piece)


KINDS = [
    "你好。",
    "的",
    '。"',
    "「。」",
    "カ",
    "ก",
    "क्",
    "\u0301",
    "🇩🇪",
    ". ",
    "A. ",
    "z. B. ",
    "die 3. ",
    "«. »",
    ",,",
    "、",
    "؟",
    "각",
]


@pytest.mark.parametrize("kind", KINDS)
def test_time_grows_with_the_length(kind):
    """100 kB in half a second on an idle machine; twice the text in about twice the time, not four times."""

    def seconds(size):
        text, began = (kind * (size // len(kind.encode()) + 1)).strip(), time.process_time()
        split_text(text, 10, "de")
        return time.process_time() - began

    half, whole = seconds(50_000), seconds(100_000)
    assert whole < max(3.2 * half, 0.5)


def test_a_hundred_thousand_characters():
    """Each kind in a second or two: nothing here may take time with the square of the length."""
    began = time.process_time()
    kinds = ("x", "word ", "<laugh>", "A. ", "1. ", "a.b ", "no! ", "“")
    for text in (*(kind * (100_000 // len(kind)) for kind in kinds), "." * 100_000 + "a"):
        text = clean_text(text)[0]
        pieces = [piece.text for piece in split_text(text, 10)]
        assert max(map(estimate_seconds, pieces)) <= 10 or not is_speakable(text)
        assert "".join("".join(pieces).split()) == "".join(text.split())
    assert time.process_time() - began < 20  # of this process: others may be busy
