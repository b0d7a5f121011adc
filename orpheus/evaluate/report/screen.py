"""The results as text for a terminal: a table where it fits, else a block for each figure."""

import shutil
from textwrap import wrap

from orpheus.evaluate.report.wording import AIMS, clip_count, detector_words, present, shown, summary, verdict

_LONGEST_NAME = 24  # longer ones are named once, and are A, B, C after that
_NARROWEST = 60


def table(report, width=None):
    """The results in plain English, then every figure, in lines of `width` characters: by default the terminal's."""
    width = max(width or shutil.get_terminal_size().columns, _NARROWEST)
    lines, alone = [], len(report["systems"]) == 1
    for name, sentences in summary(report):
        lines += _wrapped(sentences if alone else f"{name}: {sentences}", width)
    figures = _columns(report)
    lines += ["", *(figures if max(map(len, figures)) <= width else _blocks(report, width)), ""]
    for system in report["systems"]:
        if system["tags"]:
            counts = ", ".join(f"{tag} {c['realised']}/{c['count']}" for tag, c in system["tags"].items())
            lines += _wrapped(f"{'' if alone else system['name'] + ', '}tags audible: {counts}", width)
    lines += _wrapped(
        "In brackets: 95 % intervals, bootstrap over the clips. If all n clips agree, the interval has no width, "
        "but up to 3/n may still differ.",
        width,
    )
    if "tag_detector" in report and any(f.name == "tags_realised" for f in present(report)):
        lines += _wrapped(detector_words(report["tag_detector"]), width)
    return "\n".join(lines)


def _wrapped(text, width, indent="  "):
    return wrap(text, width, subsequent_indent=indent, break_on_hyphens=False)


def _title(figure):
    return figure.title + (" (1 to 5)" if figure.name.startswith("dnsmos") else "")


def _difference(figure, estimate):
    return f"{shown(figure, estimate, signed=True)} {verdict(figure, estimate)}".strip()


def _columns(report):
    """A line for each figure, a column for each system and each difference."""
    figures = present(report)
    columns = [["figure", *map(_title, figures)]]
    for system in report["systems"]:
        cells = [shown(f, system["figures"].get(f.name)) for f in figures]
        columns.append([f"{system['name']} ({clip_count(len(system['rows']))})", *cells])
    for name, found in report["differences"].items():
        columns.append([name, *(_difference(f, found.get(f.name)) for f in figures)])
    widths = [max(map(len, column)) for column in columns]
    return [
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in zip(*columns, strict=True)
    ]


def _blocks(report, width):
    """For each figure a line with its title, and a line for each system with its difference from the first."""
    systems, lines = report["systems"], []
    names = [system["name"] for system in systems]
    short = names
    if max(map(len, names)) > _LONGEST_NAME:
        short = [chr(ord("A") + n) if len(names) <= 26 else str(n + 1) for n in range(len(names))]
    for brief, system in zip(short, systems, strict=True):
        name = "" if brief == system["name"] else f"{system['name']}, "
        lines += _wrapped(f"{brief}: {name}{clip_count(len(system['rows']))}", width)
    if len(systems) > 1:
        lines += _wrapped(
            f"After a figure: its difference from {short[0]}, over the texts that both have spoken.", width
        )
    for f in present(report):
        lines.append(_title(f) + (f", {AIMS[f.better]}" if f.better else ""))
        values = [shown(f, system["figures"].get(f.name)) for system in systems]
        widest_name, widest_value = max(map(len, short)), max(map(len, values))
        for brief, name, value in zip(short, names, values, strict=True):
            found = report["differences"].get(f"{name} - {names[0]}", {})
            change = _difference(f, found[f.name]) if f.name in found else ""
            lines.append(f"  {brief.ljust(widest_name)}  {value.ljust(widest_value)}  {change}".rstrip())
    return lines
