"""Writes the results table of README from benchmarks/results/*.json.

    python benchmarks/table.py             rewrites README.md between its markers
    python benchmarks/table.py --check     only says whether it is up to date (status 1 where not)

A report shows what it lists under "table": {"what", "ours", "peer" (who), "theirs", "ratio"}, the last three optional. That of
generate.py is read from its rows: tokens per second of ours ("fast ...") and of others, by batch size.
"""

import json
import sys
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- results -->", "<!-- /results -->"
NONE = "No results are recorded yet; `make bench` prints those of your machine."


def origin(report):
    versions = ", ".join(f"{name} {version}" for name, version in report.get("versions", {}).items())
    return ", ".join(part for part in (report["hardware"], versions, report.get("date")) if part)


def generate_rows(report):
    rates = {(row["name"], row["batch"]): row["tokens_per_second"] for row in report["rows"] if "name" in row}
    for (name, batch), rate in rates.items():
        others = {other: r for (other, size), r in rates.items() if size == batch and not other.startswith("fast")}
        if name.startswith("fast") and rate:
            row = {"what": f"tokens/s, batch {batch}, {name}", "ours": f"{rate:,.0f}"}
            if others := {other: r for other, r in others.items() if r}:
                best = max(others, key=others.get)
                row |= {"peer": best, "theirs": f"{others[best]:,.0f}", "ratio": rate / others[best]}
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
        yield f"| {report['benchmark']} | {row['what']} | {theirs} | {row.get('ours', '')} | {ratio} |"


def render(folder):
    """What stands between the markers, for the reports in a folder."""
    reports = [json.loads(path.read_text()) for path in sorted(Path(folder).glob("*.json"))]
    reports = sorted((report for report in reports if rows_of(report)), key=origin)
    if not reports:
        return NONE
    parts = []
    for where, group in groupby(reports, key=origin):
        parts.append(
            f"{where}:\n\n| benchmark | what | others | this project | ratio |\n| --- | --- | --- | --- | --- |"
        )
        parts[-1] += "".join(f"\n{line}" for report in group for line in lines_of(report))
    return "\n\n".join(parts)


def put_into(text, table):
    """The README's text with the table between its markers."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"README.md lacks the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def main(check):
    path = ROOT / "README.md"
    text = path.read_text()
    made = put_into(text, render(ROOT / "benchmarks" / "results"))
    if check:
        raise SystemExit(0 if made == text else "README.md is not up to date: python benchmarks/table.py")
    path.write_text(made)


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["--check"]):
        raise SystemExit(__doc__)
    main("--check" in sys.argv)
