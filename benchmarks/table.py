"""Writes the results table of docs/speed.md from benchmarks/results/*.json.

    python -m benchmarks.table             rewrites docs/speed.md between its markers
    python -m benchmarks.table --check     only says whether it is up to date (status 1 where not)

A report shows what it lists under "table": {"what", "ours", "peer" (who), "theirs", "ratio"}, the last three optional. That of
generate.py is read from its rows: tokens per second of ours ("fast ...") and of all others of the same batch size, the best
one first, to which the ratio is.
"""

import json
import sys
from itertools import groupby
from pathlib import Path

from orpheus.common.options import ROOT

PAGE = ROOT / "docs" / "speed.md"
BEGIN, END = "<!-- results -->", "<!-- /results -->"
NONE = "No results are recorded yet; `make bench` prints those of your machine."


def origin(report):
    return report["hardware"], report.get("date", "")


def heading(reports):
    """Where reports of one origin come from: hardware, every version in them, date."""
    versions = {}
    for report in reports:
        for name, version in report.get("versions", {}).items():
            versions.setdefault(name, {})[version] = None
    named = [f"{name} {' and '.join(found)}" for name, found in versions.items()]
    hardware, date = origin(reports[0])
    return ", ".join(part for part in (hardware, *named, date) if part)


def generate_rows(report):
    rates = {(row["name"], row["batch"]): row["tokens_per_second"] for row in report["rows"] if "name" in row}
    for (name, batch), rate in rates.items():
        others = {other: r for (other, size), r in rates.items() if size == batch and not other.startswith("fast")}
        if name.startswith("fast") and rate:
            row = {"what": f"tokens/s, batch {batch}, {name}", "ours": f"{rate:,.0f}"}
            if others := sorted(((r, other) for other, r in others.items() if r), reverse=True):
                (best, peer), rest = others[0], [f"{r:,.0f} ({other})" for r, other in others[1:]]
                row |= {"peer": peer, "theirs": f"{best:,.0f}", "ratio": rate / best, "others": rest}
            yield row


def rows_of(report):
    if "table" not in report and report["benchmark"] == "generate":
        return list(generate_rows(report))
    return report.get("table", [])


def lines_of(report):
    """Table lines of one report."""
    for row in rows_of(report):
        ratio = f"{row['ratio']:.1f}" if row.get("ratio") else ""
        theirs = f"{row['theirs']} ({row['peer']})" if row.get("peer") else ""
        theirs = "; ".join([theirs, *row.get("others", [])])
        yield f"| {report['benchmark']} | {row['what']} | {theirs} | {row.get('ours', '')} | {ratio} |"


def render(folder):
    """What stands between the markers, for the reports in a folder."""
    reports = [json.loads(path.read_text()) for path in sorted(Path(folder).glob("*.json"))]
    reports = sorted((report for report in reports if rows_of(report)), key=origin)
    if not reports:
        return NONE
    parts = []
    for _, group in groupby(reports, key=origin):
        group = list(group)
        parts.append(
            f"{heading(group)}:\n\n| benchmark | what | others | this project | ratio |\n| --- | --- | --- | --- | --- |"
        )
        parts[-1] += "".join(f"\n{line}" for report in group for line in lines_of(report))
    return "\n\n".join(parts)


def put_into(text, table, begin=BEGIN, end=END):
    """The text of docs/speed.md with the table between its markers."""
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise SystemExit(f"{PAGE.name} lacks the lines {begin} and {end}")
    return f"{before}{begin}\n{table}\n{end}{after}"


def main(check):
    text = PAGE.read_text()
    made = put_into(text, render(ROOT / "benchmarks" / "results"))
    if check:
        raise SystemExit(
            0 if made == text else f"{PAGE.relative_to(ROOT)} is not up to date: python -m benchmarks.table"
        )
    PAGE.write_text(made)


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["--check"]):
        raise SystemExit(__doc__)
    main("--check" in sys.argv)
