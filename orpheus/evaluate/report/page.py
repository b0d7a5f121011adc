"""report.html: one file with players, spectrograms and plots, and no links to anything outside it."""

from html import escape

from orpheus.evaluate.report import pictures, plots
from orpheus.evaluate.report.plots import dot
from orpheus.evaluate.report.style import SCRIPT, STYLE
from orpheus.evaluate.report.wording import AIMS, MEANINGS, clip_count, detector_words, parts, present, summary, verdict

_PLOTTED = (
    "wer",
    "clean_rows",
    "tags_realised",
    "tags_named",
    "false_tags",
    "dnsmos_ovrl",
    "likeness",
    "end_of_speech",
)
_MOST_ROWS = 12  # of the table by kind that are shown unfolded


def _verdict(report):
    alone = len(report["systems"]) == 1
    lines = (
        f"<p>{'' if alone else f'<b><bdi>{escape(name)}</bdi></b>: '}{escape(sentences)}</p>"
        for name, sentences in summary(report)
    )
    return f'<section class="verdict" aria-label="Verdict">{"".join(lines)}</section>'


def _table(name, head, rows):
    columns = "".join(f"<th>{cell}</th>" for cell in head)
    return (
        '<p class="hint soft">This table is wider than the window: scroll it sideways →</p>'
        f'<div class="scroll {name.split()[-1].lower()}" tabindex="0" role="region" aria-label="{name}">'
        f"<table><thead><tr>{columns}</tr></thead>"
        f"<tbody>{''.join(f'<tr>{row}</tr>' for row in rows)}</tbody></table></div>"
    )


def _cell(f, estimate, column, signed=False):
    value, interval = map(escape, parts(f, estimate, signed))
    word = verdict(f, estimate) if signed else ""
    value = f'<span class="{word}">{value} {word}</span>' if word else value
    label = f' data-of="{escape(column)}"' if column else ""
    label += "" if interval else ' class="none"'
    return f"<td{label}>{value}{f'<small>{interval}</small>' if interval else ''}</td>"


def _figures_table(report):
    head = ["Figure"] + [
        f"{dot(n)}<bdi>{escape(s['name'])}</bdi><small>{escape(s['what'])}, {clip_count(len(s['rows']))}</small>"
        for n, s in enumerate(report["systems"])
    ]
    head += [f"<bdi>{escape(name)}</bdi><small>paired difference</small>" for name in report["differences"]]
    rows, alone = [], len(report["systems"]) == 1
    for f in present(report):
        aim = f" <small>{escape(MEANINGS[f.name])}{f'; {AIMS[f.better]}' if f.better else ''}</small>"
        cells = [_cell(f, s["figures"].get(f.name), "" if alone else s["name"]) for s in report["systems"]]
        cells += [_cell(f, found.get(f.name), name, signed=True) for name, found in report["differences"].items()]
        rows.append(f'<th scope="row">{escape(f.title)}{aim}</th>{"".join(cells)}')
    return _table("Figures", head, rows)


def _groups_table(report):
    names = list(dict.fromkeys(group for s in report["systems"] for group in s["groups"]))
    figures = [f for f in present(report) if any(f.name in g for s in report["systems"] for g in s["groups"].values())]
    rows = []
    for name in names:
        for n, system in enumerate(report["systems"]):
            if group := system["groups"].get(name):
                rows.append(
                    f'<th scope="row">{escape(name)}</th><td class="name">{dot(n)}<bdi>{escape(system["name"])}</bdi></td>'
                    f'<td data-of="Clips">{group["rows"]}</td>{"".join(_cell(f, group.get(f.name), f.title) for f in figures)}'
                )
    if not rows:
        return ""
    head = ["Group", "System", "Clips", *(escape(f.title) for f in figures)]
    return (
        f"<details{' open' if len(rows) <= _MOST_ROWS else ''}><summary><h2>By kind of text and voice</h2> "
        f"<small>{len(rows)} rows</small></summary>{_table('By kind', head, rows)}</details>"
    )


# --- scores ------------------------------------------------------------------------------------------------------------


def _words(score):
    """The words, with errors marked."""
    if "changes" not in score:
        return ""
    parts = []
    for operation, said, heard in score["changes"]:
        said, heard = escape(said), escape(heard)
        parts.append(
            {
                "equal": said,
                "delete": f'<del title="not heard">{said}</del>',
                "insert": f'<ins title="not in the text">{heard}</ins>',
                "substitute": f'<span class="sub" title="heard as"><del>{said}</del> <b>{heard}</b></span>',
            }[operation]
        )
    return " ".join(parts)


def _chips(score):
    chips = []
    for tag in score.get("tags") or ():
        state, note = ("", f"{tag['start']:.1f} s") if tag["realised"] else (" off", "not heard")
        if tag["realised"] and not tag["named"]:
            note = f"as {tag['heard_as']}, {note}"
        chips.append(f'<span class="chip{state}">{escape(tag["tag"])}: {escape(note)}</span>')
    return "".join(chips)


def _facts(score):
    facts = [f"{score['seconds']:.2f} s"]
    if score.get("voice"):
        facts.append(str(score["voice"]))
    if score.get("finish_reason"):
        facts.append(score["finish_reason"])
    if score.get("ovrl") is not None:
        facts.append(f"DNSMOS {score['ovrl']:.2f}")
    if score.get("likeness") is not None:
        facts.append(f"likeness {score['likeness']:.2f}")
    for name in ("repeated", "skipped"):
        if score.get(name):
            facts.append(f"{name}: {' '.join(score[name])}")
    if score.get("false_tag"):
        facts.append("sounds like a tag: " + ", ".join(event[0] for event in score["events"]))
    return " · ".join(map(escape, facts))


def _trouble(score):
    missing = sum(not tag["realised"] for tag in score.get("tags") or ())
    ended = score["finish_reason"] not in (None, "end_of_speech")
    return score.get("word_errors", 0) + 2 * missing + 3 * ended


def _take(number, system, score, audio, form):
    name = f"{dot(number)}<bdi>{escape(system)}</bdi>"
    media = '<small class="soft">no sound</small>'
    if len(audio):
        media = (
            f'<audio controls preload="none" src="{pictures.sound(audio, form)}"></audio>'
            f'<img alt="spectrogram, 0 to 8 kHz" src="{pictures.spectrogram(audio)}">'
        )
    body = f'<div>{name}</div><div dir="auto">{_words(score)}</div><div>{_chips(score)}</div><div class="facts">{_facts(score)}</div>'
    return f'<div class="take"><div>{media}</div><div>{body}</div></div>'


def _anchor(index):
    return f"clip-{index}"


def _articles(report, clips, form):
    texts = {}  # text -> [(number of the system, score, audio)]
    for number, system in enumerate(report["systems"]):
        for score, audio in zip(system["rows"], clips[system["name"]], strict=True):
            texts.setdefault(score["text"], []).append((number, score, audio))
    for index, (text, takes) in enumerate(texts.items()):
        trouble = max(_trouble(score) for _, score, _ in takes)
        worst = min((score["ovrl"] for _, score, _ in takes if score.get("ovrl") is not None), default=0)
        kind = next((score["kind"] for _, score, _ in takes if score.get("kind")), "") or ""
        shown = "".join(_take(n, report["systems"][n]["name"], score, audio, form) for n, score, audio in takes)
        yield (
            f'<article id="{_anchor(index)}" data-index="{index}" data-trouble="{trouble}" data-noise="{-worst:.3f}" data-kind="{escape(kind)}" '
            f'data-text="{escape(text.lower())}"><p dir="auto">{escape(text)}<small>{escape(kind)}</small></p>{shown}</article>'
        )


def page(report, clips, html_audio="opus"):
    """The whole page as a string. clips: {system's name: list of audio in the order of its scores}"""
    plotted = [f for f in present(report) if f.name in _PLOTTED]
    texts = dict.fromkeys(score["text"] for system in report["systems"] for score in system["rows"])
    clouds = plots.pace(report, {text: _anchor(n) for n, text in enumerate(texts)}), plots.tags(report)
    kinds = sorted({score["kind"] for s in report["systems"] for score in s["rows"] if score.get("kind")})
    facts = "".join(f"<li>{escape(name)}: {escape(str(value))}</li>" for name, value in report["facts"].items())
    detector = f"<li>{escape(detector_words(report.get('tag_detector')))}</li>" if report.get("tag_detector") else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Speech evaluation: {escape(", ".join(s["name"] for s in report["systems"]))}</title><style>{STYLE}</style></head><body><main>
<h1>Speech evaluation</h1>
{_verdict(report)}
<p class="soft">Small figures are 95 % intervals, bootstrap over the clips; a difference is called better or worse if its interval excludes 0.
If all n clips agree, the interval has no width, but up to 3/n may still differ.</p>
{_figures_table(report)}
{f"<h2>Values and intervals</h2>{plots.intervals(report, plotted)}" if plotted else ""}
<h2>Pace{" and tags" if clouds[1] else ""}</h2><div class="clouds">{"".join(clouds)}</div>
{_groups_table(report)}
<h2>How it was judged</h2><ul>{facts}{detector}</ul>
<h2>Clips</h2>
<div class="tools"><input id="find" placeholder="find words" aria-label="find words"><select id="kind" aria-label="kind"><option value="">all kinds</option>{"".join(f"<option>{escape(kind)}</option>" for kind in kinds)}</select>
<select id="order" aria-label="order"><option value="index">in list order</option><option value="trouble">most errors first</option><option value="noise">lowest DNSMOS first</option></select></div>
<div id="rows">{"".join(_articles(report, clips, html_audio))}</div>
</main><script>{SCRIPT}</script></body></html>
"""
