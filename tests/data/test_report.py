import json
from collections import Counter
from types import SimpleNamespace

import pytest

from orpheus.data.report import DataReport, Training


def row(n, text="Some text.", source=None, seconds=2.0, transcribed=False):
    return SimpleNamespace(
        where=f"metadata.csv:{n}", text=text, speaker=source, seconds=seconds, transcribed=transcribed
    )


@pytest.fixture
def report():
    kept = [
        row(2, "Ha <laugh> ha <laugh> ha <sigh>.", "ann", 3600.0),
        row(3, "<laughs> <laughs> <Xyzzy> Hm.", "bob", 1800.0),
        row(4, "Hm <laugh>.", "bob", 900.0, transcribed=True),
        row(5, "Hm.", None, 900.0),
    ]
    rejected = [("metadata.csv:6", "too short: 0.1 s"), ("a|b.wav", "silent: no"), ("c.wav", "too short: 0.2 s")]
    columns = {"audio": "file_name", "text": "text", "source": None}
    return DataReport("my/data", "CSV file", columns, 7, kept, rejected, Counter({"\U0001f600": 3}), ["A note."])


def test_the_summary_is_json(report):
    report.training = Training(
        recordings=3, held_out=["metadata.csv:5"], tokens=900, longest=400, frames=200, dropped=7, parts=0
    )
    summary = report.summary()
    assert json.loads(json.dumps(summary)) == summary
    assert summary == {
        "dataset": "my/data",
        "kind": "CSV file",
        "rows_read": 7,
        "rows": 4,
        "rejected": {"too short": 2, "silent": 1},
        "hours": 2.0,
        "speakers": {
            "bob": {"rows": 2, "hours": 0.75},
            "(no name)": {"rows": 1, "hours": 0.25},
            "ann": {"rows": 1, "hours": 1.0},
        },
        "tags": {"laugh": 3, "sigh": 1},
        "unknown_tags": {"laughs": 2, "Xyzzy": 1},
        "transcribed": 1,
        "rewritten": 0,
        "train_rows": 3,
        "held_out_rows": 1,
        "tokens": 900,
        "longest_row_tokens": 400,
        "repeated_frames_dropped": 0.035,
        "parts_of_split_rows": 0,
    }


def test_the_markdown_names_every_row_that_was_left_out(report):
    report.training = Training(
        recordings=3, held_out=["metadata.csv:5"], tokens=900, longest=400, frames=200, dropped=7, parts=2
    )
    text = report.markdown()
    for line in (
        "| rows | 7 read, 4 used, 3 left out (2 too short, 1 silent) |",
        "| columns | audio = file_name, text = text |",
        "| speech | 2.00 h; 900.0 to 3600.0 s a recording, 1800.0 s on average |",
        "| tokens | 900, 400 in the longest recording; 3.5% of the frames dropped as repeats |",
        "| training | 3 recordings to train on, 1 held out |",
        "- bob 2 (0.75 h)",
        "- laugh 3",
        "- laughs 2 (laugh?)",
        "- Xyzzy 1",
        "- A note.",
        "- Characters that are never spoken were taken out of the text: '\U0001f600' 3.",
        "- `metadata.csv:6`: too short: 0.1 s",
        "- `a|b.wav`: silent: no",
        "- `c.wav`: too short: 0.2 s",
    ):
        assert line in text.splitlines(), line
    assert text.split("## Written by faster-whisper")[1].splitlines()[2] == "- `metadata.csv:4`"
    assert text.split("## Held out")[1].splitlines()[2] == "- `metadata.csv:5`"


def test_little_speech_is_told_in_minutes(report):
    report.kept = [row(2, source="ann", seconds=90)]
    assert "speech       1.5 min; 90.0 to" in report.table() and "- ann 1 (1.5 min)" in report.markdown()


def test_the_table_is_short(report):
    report.kept += [row(n, source=f"speaker {n}") for n in range(10, 40)]
    table = report.table()
    assert "speakers     bob 2 (0.75 h), (no name) 1 (0.25 h), ann 1 (1.00 h), " in table and " and 27 more" in table
    assert "tags         laugh 3, sigh 1" in table and "unknown tags laughs 2 (laugh?), Xyzzy 1" in table
    assert len(table.splitlines()) < 80 and "metadata.csv:6" not in table


def test_the_histogram_has_equal_bins_with_bars_in_proportion(report):
    report.kept = [row(n, seconds=seconds) for n, seconds in enumerate([1.0, 1.9, 1.5, 1.2, 2.0, 4.5])]
    assert report.histogram() == [
        (1.0, 1.5, 2),
        (1.5, 2.0, 2),
        (2.0, 2.5, 1),
        (2.5, 3.0, 0),
        (3.0, 3.5, 0),
        (3.5, 4.0, 0),
        (4.0, 4.5, 0),
        (4.5, 5.0, 1),
    ]
    bars = [line for line in report.markdown().splitlines() if " s " in line and "to" in line and "|" not in line]
    assert [bar.count("#") for bar in bars] == [40, 40, 20, 0, 0, 0, 0, 20]


def test_an_empty_report_can_be_written(tmp_path):
    report = DataReport("x", "CSV file", {}, 1, [], [("a", "silent: no")])
    report.write(tmp_path / "new" / "data_report.md")
    assert (tmp_path / "new" / "data_report.md").read_text() == report.markdown()
    assert report.summary()["hours"] == 0 and "1 read, 0 used, 1 left out" in report.table()


def test_what_is_said_when_too_much_was_left_out(report):
    assert report.complaint(0.5) is None
    complaint = report.complaint(0.2)
    assert complaint.splitlines() == [
        "my/data: 3 of 7 recordings (43%) cannot be used, more than max_rejected 20%:",
        "  2 x too short, as in metadata.csv:6: too short: 0.1 s",
        "  1 x silent, as in a|b.wav: silent: no",
        "Repair them, or go on without them: --max-rejected 0.44",
    ]
