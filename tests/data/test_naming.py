"""A transcript that begins with its speaker's name: recognised, taken off, said; never said twice."""

import pytest

from orpheus.common.errors import InputError
from orpheus.data.naming import without_names
from orpheus.data.options import DataOptions
from orpheus.data.recordings import read_recordings
from orpheus.data.sources.entries import Entry
from tests.fakes.recordings import folder_of


def named(texts, speakers=None, **options):
    speakers = speakers or [None] * len(texts)
    entries = [Entry(str(n), None, text, who) for n, (text, who) in enumerate(zip(texts, speakers, strict=True))]
    found, notes = without_names(entries, DataOptions(dataset="x", **options))
    return [(entry.text, entry.speaker) for entry in found], notes


def test_the_rows_own_speaker_is_taken_off():
    texts = ["anna: Good morning.", "ANNA : Well.", "No name here.", "ben:What?", "Ben\uff1a Yes."]
    found, notes = named(texts, ["anna", "anna", "anna", "ben", "ben"])
    assert found == [
        ("Good morning.", "anna"),
        ("Well.", "anna"),
        ("No name here.", "anna"),
        ("What?", "ben"),
        ("Yes.", "ben"),
    ]
    assert notes == (
        "4 transcripts begin with their speaker's name: it was taken off, for the prompt has it already; --name-prefix keep leaves it.",
    )
    assert named(texts, ["anna", "anna", "anna", "ben", "ben"], name_prefix="keep")[0][0] == (
        "anna: Good morning.",
        "anna",
    )


def test_anothers_name_stays_and_is_said():
    found, notes = named(["ben: he said.", "Fine.", "Note: this."], ["anna", "ben", "anna"])
    assert [text for text, _ in found] == ["ben: he said.", "Fine.", "Note: this."]
    assert notes == ("1 transcripts begin with the name of another speaker than their own: they stay as they are.",)


@pytest.mark.parametrize(
    "texts, names",
    [
        (["anna: One.", "anna: Two.", "anna: Three."], ["anna"] * 3),
        (["Dr. Smith: One.", "Dr. Smith: Two."], ["Dr. Smith"] * 2),
        (["anna: One.", "ben: Two.", "anna: Three.", "ben: Four."], ["anna", "ben", "anna", "ben"]),
        (["小明\uff1a你好。", "小明\uff1a很好。"], ["小明"] * 2),
    ],
)
def test_names_throughout_are_the_speakers(texts, names):
    found, notes = named(texts)
    rest = [text.replace("\uff1a", ":").split(":")[1].strip() for text in texts]
    assert found == list(zip(rest, names, strict=True))
    assert "they were taken for the speakers and off the texts; --name-prefix keep leaves them as they are" in notes[0]
    assert [name for _, name in named(texts, source_column="none")[0]] == [None] * len(texts)
    assert named(texts, name_prefix="keep") == ([(text, None) for text in texts], ())


@pytest.mark.parametrize(
    "texts",
    [
        ["anna: One.", "Two.", "Three."],
        ["One: a.", "Two: b.", "Three: c."],  # all different: titles
        ["10:30 it is.", "10:45 now."],
        ["anna: One."],
        ["http://a.com is it.", "http://b.com too."],
        ["anna:", "anna:"],
        ["This is what they said to me yesterday: go.", "This is what they said to me yesterday: stay."],
    ],
)
def test_what_is_no_name_throughout_stays(texts):
    assert named(texts)[0] == [(text, None) for text in texts]


def test_one_name_in_most_texts_is_mentioned():
    assert named(["anna: One.", "anna: Two.", "Three."])[1] == (
        "2 of 3 transcripts begin with 'anna:', which is learnt as text.",
    )


def test_the_name_of_the_one_speaker():
    assert named(["Anna: One.", "Two."], speaker="anna")[0] == [("One.", None), ("Two.", None)]
    with pytest.raises(
        InputError, match=r"begins with a name \(ben\), and --speaker says anna: leave --speaker out, or add"
    ):
        named(["ben: One.", "ben: Two."], speaker="anna")
    assert named(["ben: One.", "ben: Two."], speaker="anna", name_prefix="keep")[0][0] == ("ben: One.", None)


def test_in_a_run(tmp_path):
    folder = folder_of(tmp_path / "data", [f"anna: This is {n}." for n in range(3)])
    found = read_recordings(DataOptions(dataset=str(folder), code_cache=tmp_path / "cache"), progress=False)
    assert [(r.text, r.speaker) for r in found.kept] == [(f"This is {n}.", "anna") for n in range(3)]
    assert found.voices == ("anna",) and "Every transcript begins with a name (anna)" in found.report().table()
