"""Plots of report.html as HTML: they follow the width of the window and the scheme, and their letters keep their size."""

import math
from html import escape

from orpheus.evaluate.report.wording import AIMS, MEANINGS, number, parts

_COLOURS = 6  # of style.STYLE
_WIDEST = {"%": (0, None), "likeness": (-1, 1)}
_SMALLEST_SPAN = {"%": 10, "likeness": 0.2}
_OPINION = (1, 5)  # the scale of DNSMOS


def colour(number):
    """The style of an element in the colour of system `number`."""
    return f"--c:var(--{number % _COLOURS})"


def dot(number):
    return f'<span class="dot" style="{colour(number)}"></span>'


def scale(low, high, count=4):
    """Round numbers, at most `count` + 2 of them, evenly spaced from at most `low` to at least `high`."""
    span = max(high - low, 1e-9)
    step = 10 ** math.floor(math.log10(span / count))
    step *= next((factor for factor in (1, 2, 5) if factor * step * count >= span * (1 - 1e-9)), 10)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]


def axis(figure, estimates):
    """The ticks of a figure's axis, in its unit: they hold every interval, and nothing that the figure cannot be."""
    if figure.name.startswith("dnsmos"):
        return scale(*_OPINION)
    kind = figure.name if figure.name in _SMALLEST_SPAN else figure.unit
    factor = 100 if figure.unit == "%" else 1
    low, high = factor * min(e["low"] for e in estimates), factor * max(e["high"] for e in estimates)
    missing = max(0, _SMALLEST_SPAN.get(kind, 0.2 * abs(high) or 1) - (high - low))
    low, high = low - missing / 2, high + missing / 2
    least, most = _WIDEST.get(kind, (0, None))
    if figure.unit == "%" and max(e["high"] for e in estimates) <= 1:
        most = 100
    if low < least:
        low, high = least, high + (least - low)
    if most is not None and high > most:
        low, high = max(least, low - (high - most)), most
    return scale(low, high)


def _place(value, ticks):
    return 100 * (min(max(value, ticks[0]), ticks[-1]) - ticks[0]) / ((ticks[-1] - ticks[0]) or 1)


def _ticks(ticks, unit=""):
    spans = (f'<span style="left:{_place(t, ticks):.1f}%">{t:g}{" " + unit if unit else ""}</span>' for t in ticks)
    return f'<div class="ticks" aria-hidden="true">{"".join(spans)}</div>'


def intervals(report, figures):
    """A panel for each figure, with each system's value and interval on one axis."""
    return f'<div class="panels">{"".join(_interval_panel(report["systems"], f) for f in figures)}</div>'


def _interval_panel(systems, f):
    factor, lines = (100 if f.unit == "%" else 1), []
    found = [(n, s, s["figures"][f.name]) for n, s in enumerate(systems) if f.name in s["figures"]]
    ticks = axis(f, [e for _, _, e in found])
    for n, system, e in found:
        value, low, high = (_place(factor * e[key], ticks) for key in ("value", "low", "high"))
        lines.append(
            f'<div class="line"><span>{dot(n)}<bdi>{escape(system["name"])}</bdi></span><span>{parts(f, e)[0]}</span></div>'
            f'<div class="track" style="{colour(n)}" title="{" (".join(filter(None, parts(f, e)))})">'
            f'<i style="left:{low:.1f}%;width:{high - low:.1f}%"></i><b style="left:{value:.1f}%"></b></div>'
        )
    aim = f" <small>{AIMS[f.better]}</small>" if f.better else ""
    return f'<div class="panel"><h3>{escape(f.title)}{aim}</h3>{"".join(lines)}{_ticks(ticks, f.unit)}</div>'


def pace(report, anchors):
    """Length of the text against length of the speech, a point for each clip, linked to it; "" where nothing was spoken.

    anchors: {text: id of its clips on the page}
    """
    points = [
        (n, len(score["text"]), score["spoken_seconds"], score["text"])
        for n, system in enumerate(report["systems"])
        for score in system["rows"]
    ]
    if not points:
        return ""
    across, up = scale(0, max(1, *(p[1] for p in points))), scale(0, max(1, *(p[2] for p in points)))
    dots = "".join(
        f'<a href="#{anchors[text]}" style="{colour(n)};left:{_place(x, across):.1f}%;bottom:{_place(y, up):.1f}%" '
        f'title="{number(y)} s: {escape(text)}" aria-label="{number(y)} s: {escape(text)}"></a>'
        for n, x, y, text in points
    )
    lines = "".join(
        f'<hr style="bottom:{_place(t, up):.1f}%"><span style="bottom:{_place(t, up):.1f}%">{t:g} s</span>' for t in up
    )
    names = " ".join(
        f"<span>{dot(n)}<bdi>{escape(s['name'])}</bdi></span>" for n, s in enumerate(report["systems"]) if s["rows"]
    )
    return (
        f'<div class="panel wide"><h3>Pace <small>seconds of speech by characters of text, a point for each clip: what repeats itself '
        f"stands above the others, what skips stands below; a point leads to its clip</small></h3><small>{names}</small>"
        f'<div class="cloud">{lines}{dots}</div>{_ticks(across)}<small>characters of text</small></div>'
    )


def tags(report):
    """The share of each tag that is audible, a bar for each system; "" if no text has a tag."""
    systems = [(n, system) for n, system in enumerate(report["systems"]) if system["tags"]]
    rows = []
    for tag in dict.fromkeys(tag for _, system in systems for tag in system["tags"]):
        for n, system in systems:
            if count := system["tags"].get(tag):
                name = f" {dot(n)}<bdi>{escape(system['name'])}</bdi>" if len(report["systems"]) > 1 else ""
                rows.append(
                    f'<div class="line"><span>{escape(tag)}{name}</span><span>{count["realised"]} of {count["count"]}</span></div>'
                    f'<div class="bar" style="{colour(n)}"><i style="width:{100 * count["realised"] / count["count"]:.1f}%"></i></div>'
                )
    if not rows:
        return ""
    meaning = escape(MEANINGS["tags_realised"])
    return f'<div class="panel wide"><h3>Tags that are audible <small>{meaning}</small></h3>{"".join(rows)}</div>'
