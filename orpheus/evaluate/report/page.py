"""report.html: one file with players, spectrograms and plots, and no links to anything outside it."""

from html import escape

from orpheus.evaluate.report import pictures
from orpheus.evaluate.report.pictures import COLOURS
from orpheus.evaluate.report.wording import detector_words, present, shown, verdict

_STYLE = """
:root { --ink:#1f2937; --soft:#6b7280; --line:#e5e7eb; --card:#fff; --page:#f8fafc; --good:#047857; --bad:#b91c1c; --warn:#b45309 }
* { box-sizing:border-box }
body { font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif; color:var(--ink); background:var(--page); margin:0 }
main { max-width:1180px; margin:0 auto; padding:28px 20px 80px }
h1 { font-size:26px; margin:0 0 4px } h2 { font-size:19px; margin:36px 0 10px }
p, li { max-width:85ch } .soft { color:var(--soft) } small { color:var(--soft) }
.scroll { overflow-x:auto }
table { border-collapse:collapse; width:100%; background:var(--card); border:1px solid var(--line); border-radius:8px; overflow:hidden }
th, td { text-align:left; padding:6px 12px; border-bottom:1px solid var(--line); white-space:nowrap; font-variant-numeric:tabular-nums }
th { background:#f1f5f9; font-weight:600 } tr:last-child td { border-bottom:0 } td.range small { margin-left:6px }
.better { color:var(--good); font-weight:600 } .worse { color:var(--bad); font-weight:600 }
.plots { display:flex; flex-wrap:wrap; gap:16px } .plots img, .plot img { background:var(--card); border:1px solid var(--line); border-radius:8px; max-width:100%; height:auto }
.dot { display:inline-block; width:10px; height:10px; border-radius:50%; margin-right:7px }
.tools { display:flex; gap:10px; flex-wrap:wrap; margin:12px 0; position:sticky; top:0; background:var(--page); padding:8px 0; z-index:1 }
.tools input, .tools select { font:inherit; padding:6px 10px; border:1px solid var(--line); border-radius:6px; background:var(--card); color:inherit }
.tools input { flex:1; min-width:200px }
article { background:var(--card); border:1px solid var(--line); border-radius:8px; padding:12px 16px; margin:0 0 12px }
article > p { margin:0 0 8px; font-weight:600 } article > p small { font-weight:400; margin-left:8px }
.take { display:grid; grid-template-columns:300px minmax(0,1fr); gap:6px 18px; padding:8px 0; border-top:1px solid var(--line) }
.take audio { width:300px; height:36px; display:block } .take img { width:300px; height:72px; display:block; border-radius:4px; margin-top:6px; background:#000 }
.facts { color:var(--soft); font-size:13px; font-variant-numeric:tabular-nums }
del { color:var(--bad) } ins { color:var(--warn); text-decoration:none; font-weight:600 } .sub { color:var(--bad) } .sub b { color:var(--warn); font-weight:600 }
.chip { display:inline-block; border-radius:99px; padding:0 9px; font-size:13px; margin-right:6px; background:#d1fae5; color:#065f46 } .chip.off { background:#fee2e2; color:#991b1b }
@media (max-width:760px) { .take { grid-template-columns:1fr } .take audio, .take img { width:100% } }
@media (prefers-color-scheme:dark) {
 :root { --ink:#e5e7eb; --soft:#9ca3af; --line:#374151; --card:#1f2937; --page:#111827; --good:#34d399; --bad:#f87171; --warn:#fbbf24 }
 th { background:#111827 } .plots img, .plot img { filter:invert(.9) hue-rotate(180deg) } .chip { background:#064e3b; color:#d1fae5 } .chip.off { background:#7f1d1d; color:#fee2e2 }
}
"""

_SCRIPT = """
const list = document.querySelector('#rows'), all = [...list.children];
const find = document.querySelector('#find'), order = document.querySelector('#order'), kind = document.querySelector('#kind');
function show() {
  const words = find.value.toLowerCase();
  const key = order.value;
  all.sort((a, b) => key === 'index' ? a.dataset.index - b.dataset.index : b.dataset[key] - a.dataset[key] || a.dataset.index - b.dataset.index);
  for (const row of all) {
    row.hidden = !(row.dataset.text.includes(words) && (!kind.value || row.dataset.kind === kind.value));
    list.append(row);
  }
}
for (const control of [find, order, kind]) control.addEventListener('input', show);
document.addEventListener('play', event => {
  for (const other of document.querySelectorAll('audio')) if (other !== event.target) other.pause();
}, true);
"""


def _figures_table(report):
    head = "<th></th>" + "".join(
        f'<th><span class="dot" style="background:{COLOURS[n % len(COLOURS)]}"></span>{escape(s["name"])}<br><small>{escape(s["what"])}, {len(s["rows"])} clips</small></th>'
        for n, s in enumerate(report["systems"])
    )
    head += "".join(f"<th>{escape(name)}<br><small>paired difference</small></th>" for name in report["differences"])
    lines = []
    for f in present(report):
        cells = [_range(shown(f, s["figures"].get(f.name))) for s in report["systems"]]
        for found in report["differences"].values():
            e = found.get(f.name)
            word = verdict(f, e)
            cells.append(f'<span class="{word}">{_range(shown(f, e, signed=True))} {word}</span>')
        aim = {"lower": "↓", "higher": "↑", None: ""}[f.better]
        lines.append(
            f"<tr><td>{escape(f.title)} <small>{aim}</small></td>"
            + "".join(f'<td class="range">{c}</td>' for c in cells)
            + "</tr>"
        )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def _range(text):
    value, bracket, rest = text.partition(" (")
    return f"{escape(value)}<small>{escape(rest.rstrip(')'))}</small>" if bracket else escape(text)


def _groups_table(report):
    names = list(dict.fromkeys(group for s in report["systems"] for group in s["groups"]))
    if not names:
        return ""
    figures = [f for f in present(report) if any(f.name in g for s in report["systems"] for g in s["groups"].values())]
    lines = []
    for name in names:
        for n, system in enumerate(report["systems"]):
            group = system["groups"].get(name)
            if group:
                dot = (
                    f'<span class="dot" style="background:{COLOURS[n % len(COLOURS)]}"></span>{escape(system["name"])}'
                )
                cells = "".join(f'<td class="range">{_range(shown(f, group.get(f.name)))}</td>' for f in figures)
                lines.append(f"<tr><td>{escape(name)}</td><td>{dot}</td><td>{group['rows']}</td>{cells}</tr>")
    head = "<th>Group</th><th>System</th><th>Clips</th>" + "".join(f"<th>{escape(f.title)}</th>" for f in figures)
    return f'<h2>By kind of text and voice</h2><div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


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
    name = f'<span class="dot" style="background:{COLOURS[number % len(COLOURS)]}"></span>{escape(system)}'
    media = '<small class="soft">no sound</small>'
    if len(audio):
        media = (
            f'<audio controls preload="none" src="{pictures.sound(audio, form)}"></audio>'
            f'<img alt="spectrogram, 0 to 8 kHz" src="{pictures.spectrogram(audio)}">'
        )
    body = (
        f"<div>{name}</div><div>{_words(score)}</div><div>{_chips(score)}</div><div class=facts>{_facts(score)}</div>"
    )
    return f'<div class="take"><div>{media}</div><div>{body}</div></div>'


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
            f'<article data-index="{index}" data-trouble="{trouble}" data-noise="{-worst:.3f}" data-kind="{escape(kind)}" '
            f'data-text="{escape(text.lower())}"><p>{escape(text)}<small>{escape(kind)}</small></p>{shown}</article>'
        )


def page(report, clips, html_audio="opus"):
    """The whole page as a string. clips: {system's name: list of audio in the order of its scores}"""
    main = [
        f
        for f in present(report)
        if f.better
        and f.name not in ("repeated", "skipped", "cer", "dnsmos_sig", "dnsmos_bak", "out_of_range", "max_new_tokens")
    ]
    plots = [pictures.pace_plot(report)] + (
        [pictures.tags_plot(report)] if any(s["tags"] for s in report["systems"]) else []
    )
    kinds = sorted({score["kind"] for s in report["systems"] for score in s["rows"] if score.get("kind")})
    facts = "".join(f"<li>{escape(name)}: {escape(str(value))}</li>" for name, value in report["facts"].items())
    detector = f"<li>{escape(detector_words(report.get('tag_detector')))}</li>" if report.get("tag_detector") else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Speech evaluation: {escape(", ".join(s["name"] for s in report["systems"]))}</title><style>{_STYLE}</style></head><body><main>
<h1>Speech evaluation</h1>
<p class="soft">Small figures are 95 % intervals, bootstrap over the clips; a difference is called better or worse if its interval excludes 0.
If all n clips agree, the interval has no width, but up to 3/n may still differ.</p>
{_figures_table(report)}
<h2>Figures with intervals</h2><div class="plot"><img alt="figures with intervals" src="{pictures.intervals_plot(report, main)}"></div>
<h2>Pace{" and tags" if len(plots) > 1 else ""}</h2><div class="plots">{"".join(f'<img alt="plot" src="{plot}">' for plot in plots)}</div>
{_groups_table(report)}
<h2>How it was judged</h2><ul>{facts}{detector}</ul>
<h2>Clips</h2>
<div class="tools"><input id="find" placeholder="find words"><select id="kind"><option value="">all kinds</option>{"".join(f"<option>{escape(kind)}</option>" for kind in kinds)}</select>
<select id="order"><option value="index">in list order</option><option value="trouble">most errors first</option><option value="noise">lowest DNSMOS first</option></select></div>
<div id="rows">{"".join(_articles(report, clips, html_audio))}</div>
</main><script>{_SCRIPT}</script></body></html>
"""
