"""Words and figures of the evaluation: exact values for normalising, aligning, counting and resampling."""

import json
from pathlib import Path

import numpy as np
import pytest

from orpheus.evaluate.statistics import Estimate, difference, estimate
from orpheus.text import comparison
from orpheus.text.comparison import compare, distance, edits, normalise, normalise_with_tags, spoken_gap

# --- normalising -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, words",
    [
        ("Hello there!", "hello there"),
        ("I've got twenty-one cats, Mr. Jones.", "i have got 21 cats mister jones"),
        ("It won't rain; that's fine...", "it will not rain that is fine"),
        ("I missed you <laugh> so much!", "i missed you so much"),
        ("<sigh>", ""),
        ("She won $20 in 1,000 games.", "she won $20 in 1000 games"),
        ("Um, hmm, café.", "cafe"),
    ],
)
def test_english_is_normalised_as_whisper_does(text, words):
    assert normalise(text) == words.split()


@pytest.mark.parametrize(
    "british, american",
    [
        ("The colour of the harbour centre", "The color of the harbor center"),
        ("She organised a catalogue of jewellery.", "She organized a catalog of jewelry."),
        ("Grey tyres lay on the kerb;", "Gray tires lay on the curb;"),
        ("He travelled by aeroplane to the theatre", "he traveled by airplane to the theater"),
        ("a skilful manoeuvre, learnt at the plough", "A skillful maneuver, learned at the plow!"),
    ],
)
def test_british_and_american_spellings_are_equal(british, american):
    assert normalise(british) == normalise(american)
    assert compare(normalise(british), normalise(american)).word_errors == 0


def test_a_wrong_word_is_still_wrong():
    assert normalise("The colour") != normalise("The collar")
    assert compare(normalise("a grey tyre"), normalise("a great tire")).word_errors == 1


def test_the_table_of_spellings_comes_with_its_licence():
    folder = Path(comparison.__file__).parent / "data"
    assert len(json.loads((folder / "english_spellings.json").read_text(encoding="utf-8"))) == 1739
    assert "Copyright (c) 2022 OpenAI" in (folder / "LICENSE.whisper").read_text()


@pytest.mark.parametrize(
    "text, language, words",
    [
        ("Wie geht's, Müller? <laugh>", "de", "wie geht s müller"),
        ("नमस्ते, आप कैसे हैं?", "hi", "नमस्ते आप कैसे हैं"),
        ("السَّلَامُ عليكم!", "ar", "السلام عليكم"),
        ("می\u200cخواهم", "fa", "میخواهم"),
        ("你好，世界。", "zh", "你 好 世 界"),
        ("ガラスの靴", "ja", "ガ ラ ス の 靴"),
        ("The colour", "de", "the colour"),
    ],
)
def test_another_language_keeps_its_letters(text, language, words):
    assert normalise(text, language) == words.split()


def test_tags_are_found_between_the_words():
    assert normalise_with_tags("<gasp> It's you! <laugh> Come in. <Sigh>") == (
        ["it", "is", "you", "come", "in"],
        [("gasp", 0), ("laugh", 3), ("sigh", 5)],
    )


# --- aligning --------------------------------------------------------------------------------------------------------


def test_edits_are_minimal_and_in_order():
    assert edits("a b c d".split(), "a x c d e".split()) == [
        ("equal", 0, 0),
        ("substitute", 1, 1),
        ("equal", 2, 2),
        ("equal", 3, 3),
        ("insert", 4, 4),
    ]
    assert edits([], []) == []
    assert edits(["a"], []) == [("delete", 0, 0)]
    assert edits([], ["a"]) == [("insert", 0, 0)]


def test_edits_and_distance_agree(random):
    for _ in range(50):
        said, heard = (random.integers(0, 4, random.integers(0, 9)).tolist() for _ in range(2))
        operations = edits(said, heard)
        assert sum(operation != "equal" for operation, _, _ in operations) == distance(said, heard)
        assert [said[i] for o, i, _ in operations if o != "insert"] == said
        assert [heard[j] for o, _, j in operations if o != "delete"] == heard


def counted(said, heard):
    found = compare(said.split(), heard.split())
    return found.word_errors, found.repeated, found.skipped


@pytest.mark.parametrize(
    "said, heard, errors, repeated, skipped",
    [
        ("the cat sat", "the cat sat", 0, "", ""),
        ("the cat sat", "the the cat sat", 1, "the", ""),
        ("i missed you so much", "i missed you so much so much", 2, "so much", ""),
        ("go home now", "go go go go home now", 3, "go go go", ""),
        ("go home now", "go home now please", 1, "", ""),
        ("the cat sat down", "the sat down", 1, "", "cat"),
        ("one two three four", "four", 3, "", "one two three"),
        ("i want any more", "i want anymore", 2, "", ""),  # a spelling, not a skip
        ("the cat sat", "", 3, "", "the cat sat"),
        ("the ferry leaves", "the very leaves", 1, "", ""),
    ],
)
def test_repeats_and_skips(said, heard, errors, repeated, skipped):
    assert counted(said, heard) == (errors, repeated.split(), skipped.split())


def test_character_errors():
    found = compare("the ferry".split(), "the very".split())
    assert (found.character_errors, found.characters) == (2, 9)


# --- places ----------------------------------------------------------------------------------------------------------

SAID = "we hid the cake so much".split()
HEARD = ["we", "hid", "the", "cake", "so", "much"]
TIMES = [(0.0, 0.2), (0.2, 0.5), (0.5, 0.6), (0.6, 1.9), (1.9, 2.2), (2.2, 2.5)]  # the laugh is in "cake"


@pytest.mark.parametrize("place, gap", [(4, (0.98, 1.96)), (0, (0.0, 0.0)), (6, (2.5, 3.0))])
def test_the_gap_where_a_tag_stands(place, gap):
    assert spoken_gap(edits(SAID, HEARD), HEARD, TIMES, place, 3.0) == pytest.approx(gap)


def test_words_that_were_not_heard_widen_the_gap():
    heard, times = [HEARD[0], HEARD[5]], [TIMES[0], TIMES[5]]
    assert spoken_gap(edits(SAID, heard), heard, times, 4, 3.0) == pytest.approx((0.2, 2.2))
    assert spoken_gap(edits(SAID, []), [], [], 4, 3.0) == (0.0, 3.0)


# --- figures ---------------------------------------------------------------------------------------------------------


def test_an_estimate_is_the_ratio_of_sums():
    found = estimate([(1, 10), (0, 30), None, (3, 10)])
    assert found.value == 0.08 and found.rows == 3
    assert 0 <= found.low <= found.value <= found.high <= 0.3


def test_rows_that_agree_have_no_interval():
    assert estimate([(1, 4)] * 9) == Estimate(0.25, 0.25, 0.25, 9)
    assert estimate([None, None]) == estimate([]) == Estimate(None, None, None, 0)


def test_the_interval_is_that_of_the_normal_distribution(random):
    values = random.normal(3, 1, 400)
    found = estimate([(value, 1) for value in values])
    half = 1.96 * values.std() / 20
    assert found.low == pytest.approx(values.mean() - half, abs=0.02)
    assert found.high == pytest.approx(values.mean() + half, abs=0.02)
    assert found == estimate([(value, 1) for value in values])  # seeded
    assert found != estimate([(value, 1) for value in values], seed=1)


def test_a_paired_difference_is_narrower_than_an_unpaired_one(random):
    rows = random.normal(0, 5, 200)
    shift = random.normal(0.5, 0.1, 200)
    found = difference([(x, 1) for x in rows], [(x + s, 1) for x, s in zip(rows, shift, strict=True)])
    assert found.value == pytest.approx(shift.mean())
    assert found.high - found.low < 0.03  # the rows' own spread of 5 is gone


def test_a_difference_leaves_out_what_one_side_lacks():
    assert difference([(1, 1), None, (5, 1)], [(2, 1), (9, 1), None]) == Estimate(1.0, 1.0, 1.0, 1)
    assert difference([None], [(1, 1)]) == Estimate(None, None, None, 0)


def test_an_estimate_of_many_rows_is_quick():
    pairs = list(zip(np.ones(2000), np.ones(2000), strict=True))
    assert estimate(pairs).value == 1.0
