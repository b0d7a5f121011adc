"""Lines that begin with the names of voices."""

import pytest

from orpheus.text.turns import other_names, split_turns

VOICES = ("anna", "theo", "Hindi (Female)")


@pytest.mark.parametrize(
    "text, turns",
    [
        ("theo: Good morning.", [("theo", "Good morning.")]),
        ("Theo : Good\nmorning.\nANNA:Hello.", [("theo", "Good\nmorning."), ("anna", "Hello.")]),
        ("One night.\n\nanna: Who is there?", [(None, "One night."), ("anna", "Who is there?")]),
        ("Hindi (Female)： नमस्ते", [("Hindi (Female)", "नमस्ते")]),
        ("<spk_anna> Hello", [("anna", "Hello")]),
        ("anna:\nHello\n\ntheo: ", [("anna", "Hello"), ("theo", "")]),
    ],
)
def test_turns(text, turns):
    assert split_turns(text, VOICES) == turns


@pytest.mark.parametrize("text", ["Good morning, theo: hello.", "theodore: Hello.", "bob: Hi.", "anna Hello", ""])
def test_a_text_without_turns_is_left_as_it_is(text):
    assert split_turns(text, VOICES) == [(None, text)]
    assert split_turns("anna: Hi.", ()) == [(None, "anna: Hi.")]


def test_names_that_are_no_voices():
    assert other_names("Carol: Hi.\nDr. Who: Yes.\nAt 10:30 we left.\nCarol: Bye.") == ["Carol", "Dr. Who"]
