"""An evaluation's results: a dictionary for report.json, and the folder with the HTML and the clips."""

import json
from pathlib import Path

from orpheus.common.files import whole_folder
from orpheus.evaluate.report.page import page
from orpheus.evaluate.scoring import compare_systems, groups, summarise, tag_counts

_GROUP_FIGURES = ("wer", "clean_rows", "tags_realised", "dnsmos_ovrl", "likeness", "end_of_speech")


def make_report(systems, options, facts, detector_card=None):
    """All figures as a dictionary that JSON can write.

    systems: [(name, what it is, scores of scoring.judge)]; the others are compared with the first
    options: JudgeOptions; facts: what the reader should know (models of the judges, list, seed)
    """
    described = [
        {
            "name": name,
            "what": what,
            "rows": scores,
            "figures": {figure: e.as_dict() for figure, e in summarise(scores, options).items() if e.rows},
            "groups": {group: _group(members, options) for group, members in groups(scores).items()},
            "tags": {
                tag: {"count": n, "realised": realised, "named": named}
                for tag, (n, realised, named) in tag_counts(scores).items()
            },
        }
        for name, what, scores in systems
    ]
    base = described[0]
    differences = {}
    for other in described[1:]:
        found = compare_systems(base["rows"], other["rows"], options)
        if found is not None:
            differences[f"{other['name']} - {base['name']}"] = {
                figure: e.as_dict() for figure, e in found.items() if e.rows
            }
    report = {"version": 1, "facts": facts, "systems": described, "differences": differences}
    return report | ({"tag_detector": detector_card} if detector_card else {})


def _group(scores, options):
    found = summarise(scores, options)
    return {"rows": len(scores)} | {name: found[name].as_dict() for name in _GROUP_FIGURES if found[name].rows}


def write_report(folder, report, clips, html_audio="opus"):
    """Writes report.json, report.html and the clips as WAV into `folder`, atomically. Raises OutputError.

    clips: {system's name: list of audio (samples,), float32 at 24 kHz, in the order of its scores}
    """
    from orpheus.common.audio import wav_bytes

    folder = Path(folder)
    with whole_folder(folder, "evaluation") as new:
        (new / "report.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        (new / "report.html").write_text(page(report, clips, html_audio), encoding="utf-8")
        for number, system in enumerate(report["systems"]):
            if system["what"].startswith("recordings"):
                continue
            place = new / f"{number}_{''.join(c if c.isalnum() else '_' for c in system['name'])}"
            place.mkdir()
            lines = []
            for index, (score, audio) in enumerate(zip(system["rows"], clips[system["name"]], strict=True)):
                (place / f"{index:03d}.wav").write_bytes(wav_bytes(audio))
                line = {"file_name": f"{index:03d}.wav", "text": score["text"]}
                lines.append(
                    json.dumps(line | ({"source": score["voice"]} if score["voice"] else {}), ensure_ascii=False)
                )
            (place / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
