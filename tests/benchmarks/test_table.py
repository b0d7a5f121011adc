"""The results in docs/speed.md are those in benchmarks/results, and the table says where they come from."""

import json

from benchmarks import table
from orpheus.common.options import ROOT

REPORT = {
    "benchmark": "decode",
    "hardware": "NVIDIA X",
    "versions": {"torch": "2.11.0", "python": "3.12.1"},
    "date": "2026-11-24",
    "table": [
        {"what": "200 streams", "peer": "windows", "theirs": "80 %", "ours": "10 %", "ratio": 8.0},
        {"what": "largest error", "ours": "4e-07"},
    ],
}


def test_the_page_of_speed_holds_the_table():
    text = (ROOT / "docs" / "speed.md").read_text()
    assert table.PAGE == ROOT / "docs" / "speed.md"
    assert table.put_into(text, table.render(ROOT / "benchmarks" / "results")) == text


def test_a_report_becomes_lines(tmp_path):
    (tmp_path / "decode.json").write_text(json.dumps(REPORT))
    (tmp_path / "streams.json").write_text(json.dumps(REPORT | {"benchmark": "streams", "table": REPORT["table"][:1]}))
    (tmp_path / "other.json").write_text(json.dumps({"benchmark": "train", "hardware": "NVIDIA Y"}))  # shows nothing
    (tmp_path / "plot.png").write_bytes(b"")
    assert table.render(tmp_path).splitlines() == [
        "NVIDIA X, torch 2.11.0, python 3.12.1, 2026-11-24:",
        "",
        "| benchmark | what | others | this project | ratio |",
        "| --- | --- | --- | --- | --- |",
        "| decode | 200 streams | 80 % (windows) | 10 % | 8.0 |",
        "| decode | largest error |  | 4e-07 |  |",
        "| streams | 200 streams | 80 % (windows) | 10 % | 8.0 |",
    ]


def test_what_generate_measures(tmp_path):
    names = {"fast": 420.0, "fast, int8 weights": 660.4, "transformers generate": 21.0, "TransformersEngine": 165.0}
    rows = [{"name": name, "batch": 1, "tokens_per_second": rate} for name, rate in names.items()]
    rows.append({"name": "fast", "batch": 128, "tokens_per_second": 25_000.0})
    (tmp_path / "a.json").write_text(json.dumps({"benchmark": "generate", "hardware": "NVIDIA X", "rows": rows}))
    others = "165 (TransformersEngine); 21 (transformers generate)"
    assert table.render(tmp_path).splitlines()[4:] == [
        f"| generate | tokens/s, batch 1, fast | {others} | 420 | 2.5 |",
        f"| generate | tokens/s, batch 1, fast, int8 weights | {others} | 660 | 4.0 |",
        "| generate | tokens/s, batch 128, fast |  | 25,000 |  |",
    ]


def test_reports_of_a_day_stand_together_under_all_their_versions(tmp_path):
    more = REPORT | {"benchmark": "train", "versions": {"torch": "2.11.0", "transformers": "5.17.0"}}
    for name, report in {"decode": REPORT, "train": more}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(report))
    lines = table.render(tmp_path).splitlines()
    assert lines[0] == "NVIDIA X, torch 2.11.0, python 3.12.1, transformers 5.17.0, 2026-11-24:"
    assert [line.split(" | ")[0] for line in lines[4:]] == ["| decode", "| decode", "| train", "| train"]


def test_no_results_are_said_to_be_none(tmp_path):
    assert table.render(tmp_path) == table.NONE


def test_only_what_is_between_the_markers_changes():
    text = f"a\n{table.BEGIN}\nold\n{table.END}\nb\n"
    assert table.put_into(text, "new") == f"a\n{table.BEGIN}\nnew\n{table.END}\nb\n"


class Heard:
    """A PooledSpeech as the benchmark sees it."""

    def __init__(self, submitted, *arrivals):
        self.submitted, self.arrivals = submitted, [(seconds, round(audio * 24_000)) for seconds, audio in arrivals]


def test_gaps_and_start_buffers():
    from benchmarks.streams import chunk_figures

    steady = Heard(10.0, (0.1, 0.1), (0.2, 0.1), (0.3, 0.2), (0.4, 0.1))
    stalls = Heard(10.0, (0.0, 0.1), (0.1, 0.1), (0.45, 0.1), (0.5, 0.1), (9.0, 0.1))  # the last after the end
    figures = chunk_figures([steady, stalls, Heard(10.0, (0.1, 0.1))], began=10.0, ended=11.0)
    assert figures["chunks"] == 6 and figures["gaps_longer_than_their_audio"] == round(1 / 6, 5)
    assert (
        figures["start_buffer_ms_p50_p99_max"][2] == 250.0
    )  # the third chunk came at 0.45 s, 0.2 s of speech before it
    assert figures["gap_ms_p50_p99"][0] == 100.0


def test_what_a_burst_does_to_the_others(monkeypatch):
    """Two listeners whose gaps are 0.9 of their audio, and 1.2 after three more have come."""
    from benchmarks.common import listening

    began = 95.0
    monkeypatch.setattr(listening.time, "perf_counter", lambda: began)
    monkeypatch.setattr(listening, "BURST_SECONDS", 5.0)

    class Listeners:
        asked, looks, over = [], 0, []
        speeches = [
            Heard(90.0, *((5 + 0.09 * n, 0.1) for n in range(56)), *((10 + 0.12 * n, 0.1) for n in range(40)))
        ] * 2

        def plan(self, **options):
            self.asked.append(options)
            return len(self.asked)

        def start(self, plan):
            speech = Heard(began, (0.2 + 0.1 * plan, 0.1))
            speech.close = lambda: None
            return speech

        def look_after(self):
            nonlocal began
            self.looks += 1
            began += 1

    listeners = Listeners()
    found = listening.measure_burst(listeners, 3)
    assert found["arrivals"] == 3 and found["first_chunk_ms_p50_p99"] == [400.0, 498.0] and listeners.looks == 10
    assert found["gap_ratio_p50_p99_before"] == [0.9, 0.9] and found["gap_ratio_p50_p99_meanwhile"] == [1.2, 1.2]
    assert [options["max_new_tokens"] for options in listeners.asked] == [listening.BURST_TOKENS] * 3
