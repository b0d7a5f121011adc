"""The judges that are wanted, and their work on a system's clips."""

from pathlib import Path

from orpheus.evaluation.judges import Likeness, Naturalness, recognizer
from orpheus.evaluation.scoring import Judges, judge
from orpheus.evaluation.tag_detector import TagDetector

PROGRESS_EVERY = 10  # rows


def load_judges(options, reference=()):
    """(scoring.Judges, {judge: model's name}, card of the tag detector or None). Raises InputError for a missing extra.

    options: JudgeOptions; reference: [(24 kHz audio, speaker's name or None)]; without any, likeness is left out
    """
    judges, facts, card = Judges(language=options.language), {}, None
    if "dnsmos" in options.metrics:
        judges.naturalness = Naturalness()
        facts["naturalness"] = judges.naturalness.name
    if reference and "likeness" in options.metrics:
        judges.likeness = Likeness(reference)
        facts["likeness"] = f"{judges.likeness.name}, against {len(reference)} clips"
    if "wer" in options.metrics or "tags" in options.metrics:
        judges.recognizer = recognizer(options.asr, options.language)
        facts["words"] = f"faster-whisper, {Path(judges.recognizer.name).name}, greedy; Whisper's text normaliser"
    if "tags" in options.metrics:
        judges.detector = TagDetector.load()
        card = judges.detector.card
    return judges, facts, card


def judge_clips(name, clips, judges, say):
    """Rows of figures, a line of progress now and then."""
    rows = []
    for clip in clips:
        rows.append(judge(clip, judges))
        if len(rows) % PROGRESS_EVERY == 0:
            say(f"judging {name}: {len(rows)} of {len(clips)} rows")
    return rows
