"""The report: its words, its folder, its page."""

import json
import re

import pytest

from orpheus.evaluate.report.folder import make_report, write_report
from orpheus.evaluate.report.wording import MEANINGS, number, shown, verdict
from orpheus.evaluate.scoring import FIGURES, Judges, judge
from orpheus.evaluate.systems import read_clips
from tests.fakes.judges import OPTIONS, FakeDetector, FakeLikeness, FakeNaturalness, FakeRecognizer, clip

WER = next(f for f in FIGURES if f.name == "wer")


def test_figures_as_text():
    e = {"value": 0.0456, "low": 0.03, "high": 0.061}
    assert shown(WER, e) == "4.6 % (3.0 to 6.1)"
    assert shown(WER, e, signed=True) == "+4.6 points (+3.0 to +6.1)"
    assert shown(WER, None) == "-"


@pytest.mark.parametrize(
    "value, unit, signed, text",
    [
        (1, "%", False, "100"),
        (0.9999, "%", False, "100"),
        (1.354, "%", False, "135"),
        (0.0004, "%", False, "0"),
        (-0.0004, "%", True, "0"),
        (-0.029, "%", True, "-2.9"),
        (8.155468981412914, "", False, "8.16"),
        (17.34, "", False, "17.3"),
        (9.996, "", False, "10.0"),
        (0.13, "", True, "+0.13"),
    ],
)
def test_a_figure_has_two_or_three_digits(value, unit, signed, text):
    assert number(value, unit, signed) == text


def test_a_single_clip_has_no_interval():
    assert shown(WER, {"value": 0.05, "low": 0.05, "high": 0.05, "rows": 1}) == "5.0 % (1 clip)"


def test_every_figure_says_what_it_means():
    assert set(MEANINGS) == {f.name for f in FIGURES} and all(MEANINGS.values())


@pytest.mark.parametrize("low, high, word", [(-0.2, -0.1, "better"), (0.1, 0.2, "worse"), (-0.1, 0.1, "")])
def test_a_difference_counts_where_its_interval_leaves_out_0(low, high, word):
    assert verdict(WER, {"value": (low + high) / 2 or 0.05, "low": low, "high": high}) == word


@pytest.fixture(scope="module")
def two_systems():
    texts = ["Red cat.", "Blue <laugh> dog."]

    def judges():
        recogniser = FakeRecognizer("red hat", "blue dog")
        return Judges(recogniser, FakeNaturalness(), FakeLikeness(), FakeDetector([], []))

    clips = {
        name: [clip(t, voice="nora", kind=k, finish_reason="end_of_speech") for t, k in zip(texts, "ab")]
        for name in ("base", "tuned")
    }
    systems = [(name, "a model", [judge(c, j) for c in clips[name]]) for name in clips for j in [judges()]]
    report = make_report(systems, OPTIONS, {"words": "fake & <b>"}, FakeDetector.card)
    return report, {name: [c.audio for c in clips[name]] for name in clips}


@pytest.fixture(scope="module")
def folders(two_systems, tmp_path_factory):
    """The report in a folder, by the sound format of its page."""
    return {
        form: write_report(tmp_path_factory.mktemp(form) / "evaluation", *two_systems, form) for form in ("opus", "wav")
    }


def test_the_report_folder(two_systems, folders):
    report, folder = two_systems[0], folders["opus"]
    assert sorted(p.name for p in folder.glob("[!.]*")) == ["0_base", "1_tuned", "report.html", "report.json"]
    assert json.loads((folder / "report.json").read_text()) == json.loads(json.dumps(report))
    again = read_clips(folder / "0_base")
    assert [(c.text, c.voice, len(c.audio)) for c in again] == [
        ("Red cat.", "nora", 48_000),
        ("Blue <laugh> dog.", "nora", 48_000),
    ]
    assert report["systems"][0]["figures"]["wer"] | {"low": 0, "high": 0} == {
        "value": 0.25,
        "low": 0,
        "high": 0,
        "rows": 2,
    }
    assert report["differences"]["tuned - base"]["wer"]["value"] == 0
    assert report["systems"][0]["tags"] == {"laugh": {"count": 1, "realised": 0, "named": 0}}


@pytest.mark.parametrize("form, kind", [("opus", "audio/ogg"), ("wav", "audio/wav")])
def test_the_html_stands_alone(folders, form, kind):
    html = (folders[form] / "report.html").read_text()
    assert html.startswith("<!doctype html>") and html.rstrip().endswith("</html>")
    sources = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert [s for s in sources if not s.startswith("data:")] == ["#clip-0", "#clip-1"] * 2 and len(sources) == 2 * 4 + 4
    assert 'id="clip-0"' in html and 'id="clip-1"' in html
    assert html.count(f'src="data:{kind};base64,') == 4
    without_data = re.sub(r'"data:[^"]*"', '""', html)
    assert not re.search(r"https?:|//[a-z]|url\(|@import", without_data)
    assert "fake &amp; &lt;b&gt;" in html and "Blue &lt;laugh&gt; dog." in html
    assert without_data.count("<article ") == 2 and without_data.count('class="take"') == 4
    assert '<span class="sub" title="heard as"><del>cat</del> <b>hat</b></span>' in html
    assert "color-scheme:light dark" in html and "<th></th>" not in html
    for tag in ("div", "article", "table", "tr", "td", "th", "ul", "li", "p", "span", "select"):
        assert len(re.findall(rf"<{tag}[ >]", html)) == html.count(f"</{tag}>"), tag


def test_the_same_report_gives_the_same_page(two_systems, folders, tmp_path):
    again = write_report(tmp_path / "again", *two_systems, "wav")
    assert (again / "report.html").read_bytes() == (folders["wav"] / "report.html").read_bytes()
