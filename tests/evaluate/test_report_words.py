"""The report in plain English, on a terminal and in plots."""

import re

import pytest

from orpheus.evaluate.report import plots
from orpheus.evaluate.report.folder import make_report
from orpheus.evaluate.report.page import page
from orpheus.evaluate.report.screen import table
from orpheus.evaluate.report.wording import summary
from orpheus.evaluate.scoring import FIGURES, Judges, judge
from tests.fakes.judges import OPTIONS, FakeDetector, FakeLikeness, FakeNaturalness, FakeRecognizer, clip

LONG = "an_adapter_of_the_recordings_of_last_winter_with_rank_64_and_"


def _figure(name):
    return next(f for f in FIGURES if f.name == name)


def _system(name, *pairs, reason="end_of_speech", judges=None, voice="nora"):
    judges = judges or Judges(
        FakeRecognizer(*(heard for _, heard in pairs)),
        FakeNaturalness(),
        FakeLikeness(),
        FakeDetector(*[[] for _ in pairs]),
    )
    return name, "a model", [judge(clip(text, voice=voice, finish_reason=reason), judges) for text, _ in pairs]


def _report(*systems):
    return make_report(list(systems), OPTIONS, {"words": "fake"}, FakeDetector.card)


def _page(report):
    return page(report, {s["name"]: [clip("x").audio for _ in s["rows"]] for s in report["systems"]}, "wav")


def test_one_system_in_plain_english():
    report = _report(_system("speech", ("Red cat.", "red hat"), ("A <laugh> dog.", "a dog")))
    assert summary(report) == [
        (
            "speech",
            "The recogniser misheard 25.0 % of the words: hard to understand in places. "
            "It sounds excellent, 5.00 on DNSMOS' scale from 1 (bad) to 5 (excellent). "
            "The voice matches the reference recordings (likeness 0.90; about 0.85 and up is the same speaker). "
            "Its one tag was not heard. No clip broke off. Only 2 clips: small differences cannot be told.",
        )
    ]


def test_another_voice_and_broken_clips_are_said():
    words = dict(
        summary(_report(_system("b", ("Red cat.", "red cat"), ("A dog.", "a dog"), reason="out_of_range", voice="x")))
    )
    assert (
        "understood every word" in words["b"] and "differs from the reference recordings (likeness 0.50" in words["b"]
    )
    assert "2 of 2 clips broke off before the end." in words["b"]


def test_recordings_say_nothing_of_their_end_and_missing_judges_nothing_at_all():
    recordings = _report(_system("recordings", ("Red cat.", "red cat"), reason=None))
    assert "broke off" not in summary(recordings)[0][1]
    bare = _report(_system("speech", ("Red cat.", ""), judges=Judges()))
    assert summary(bare)[0][1].startswith("No clip broke off. No judge of words, sound or voice has listened")
    assert "Values and intervals" in _page(bare) and "Tags that are audible" not in _page(bare)


def test_differences_in_plain_english():
    good, bad = ("Red cat.", "red cat"), ("Red cat.", "blue dog")
    found = dict(summary(_report(_system("a", good, good), _system("b", bad, bad))))
    assert found["b - a"] == "Worse in word error rate and character error rate; no clear difference in 11 others."
    assert dict(summary(_report(_system("a", good), _system("b", good))))["b - a"].startswith("No difference that")


@pytest.mark.parametrize("names", [("speech",), ("base", "tuned", "original"), (LONG + "a", LONG + "b"), ("نظام", "b")])
@pytest.mark.parametrize("width", [60, 80])
def test_the_table_fits_the_terminal(names, width):
    report = _report(*(_system(name, ("Red cat.", "red hat"), ("A <laugh> dog.", "a dog")) for name in names))
    text = table(report, width)
    assert max(map(len, text.splitlines())) <= width
    assert "DNSMOS overall (1 to 5)" in text and "25.0 % (0 to 50.0)" in text and "laugh 0/1" in text
    assert all(name in text.replace("\n  ", "") for name in names)


def test_a_wide_terminal_has_a_column_for_each_system():
    text = table(_report(_system("a", ("Red cat.", "red cat")), _system("b", ("Red cat.", "red hat"))), 200)
    assert re.search(r"^figure +a \(1 clip\) +b \(1 clip\) +b - a$", text, re.M)


@pytest.mark.parametrize(
    "name, low, high, first, last",
    [
        ("wer", 0, 0, 0, 10),
        ("wer", 0.01, 0.03, 0, 10),
        ("wer", 0.9, 1.3, 90, 130),
        ("end_of_speech", 1, 1, 90, 100),
        ("clean_rows", 0, 1, 0, 100),
        ("dnsmos_ovrl", 3.1, 3.2, 1, 5),
        ("likeness", 0.97, 0.99, 0.8, 1),
        ("leading_silence", 0, 0, 0, 1),
    ],
)
def test_an_axis_holds_the_interval_and_nothing_that_cannot_be(name, low, high, first, last):
    ticks = plots.axis(_figure(name), [{"low": low, "high": high}])
    assert (ticks[0], ticks[-1]) == (first, last) and 2 <= len(ticks) <= 7


def test_one_tag_is_one_thin_bar_and_a_long_name_stands_once_in_its_panel():
    report = _report(_system(LONG, ("A <laugh> dog.", "a dog")))
    found = plots.tags(report)
    assert found.count('class="bar"') == 1 and "0 of 1" in found
    assert plots.intervals(report, [_figure("wer")]).count(LONG) == 1
    assert plots.tags(_report(_system("a", ("A dog.", "a dog")))) == ""


def test_every_cell_is_named_on_a_phone_where_there_are_several_systems():
    html = _page(_report(_system("a", ("مرحبا", "مرحبا")), _system("<b>", ("مرحبا", "x"))))
    assert 'data-of="a"' in html and 'data-of="&lt;b&gt;"' in html and 'data-of="&lt;b&gt; - a"' in html
    assert '<p dir="auto">مرحبا' in html and "<bdi>&lt;b&gt;</bdi>" in html
