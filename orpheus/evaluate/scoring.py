"""From clips to scores, from scores to a system's figures with intervals, from systems to differences."""

from dataclasses import dataclass

import numpy as np

from orpheus.common.frame import SAMPLE_RATE
from orpheus.common.progress import progress_bar
from orpheus.data.measure import measure
from orpheus.evaluate.statistics import difference, estimate
from orpheus.evaluate.tag_detector import match_tags
from orpheus.text.comparison import compare, edits, normalise, normalise_with_tags, spoken_gap
from orpheus.text.languages import ENGLISH
from orpheus.text.tags import KNOWN_TAGS


@dataclass(frozen=True)
class Figure:
    """One figure of a system: the sum of `above` over the sum of `below` over its scores; None leaves a score out."""

    name: str
    title: str
    unit: str  # "%", "" or what is shown after the number
    better: str | None  # "lower", "higher", or None if neither is
    pair: object  # score -> (above, below) or None


def _mean_of(name):
    return lambda score: None if score.get(name) is None else (score[name], 1)


def _ratio(above, below):
    return lambda score: None if score.get(above) is None or not score.get(below) else (score[above], score[below])


def _ended(reason):
    return lambda score: None if score["finish_reason"] is None else (score["finish_reason"] == reason, 1)


def _tags(key):
    def pair(score):
        known = [tag for tag in score.get("tags") or () if tag["tag"] in KNOWN_TAGS]
        return (sum(tag[key] for tag in known), len(known)) if known else None

    return pair


FIGURES = (
    Figure("wer", "Word error rate", "%", "lower", _ratio("word_errors", "words")),
    Figure("cer", "Character error rate", "%", "lower", _ratio("character_errors", "characters")),
    Figure("clean_rows", "Clips without repeat or skip", "%", "higher", _mean_of("clean")),
    Figure("repeated", "Words repeated", "%", "lower", _ratio("words_repeated", "words")),
    Figure("skipped", "Words skipped", "%", "lower", _ratio("words_skipped", "words")),
    Figure("tags_realised", "Tags audible", "%", "higher", _tags("realised")),
    Figure("tags_named", "Tags heard as the right tag", "%", "higher", _tags("named")),
    Figure("false_tags", "Clips without a tag that sound like one", "%", "lower", _mean_of("false_tag")),
    Figure("dnsmos_ovrl", "DNSMOS overall", "", "higher", _mean_of("ovrl")),
    Figure("dnsmos_sig", "DNSMOS speech", "", "higher", _mean_of("sig")),
    Figure("dnsmos_bak", "DNSMOS background", "", "higher", _mean_of("bak")),
    Figure("likeness", "Likeness to the reference", "", "higher", _mean_of("likeness")),
    Figure("words_per_second", "Words per second", "", None, _ratio("words", "spoken_seconds")),
    Figure("characters_per_second", "Characters per second", "", None, _ratio("characters", "spoken_seconds")),
    Figure("leading_silence", "Silence before", "s", None, _mean_of("leading_silence")),
    Figure("trailing_silence", "Silence after", "s", None, _mean_of("trailing_silence")),
    Figure("end_of_speech", "Ended by end-of-speech", "%", "higher", _ended("end_of_speech")),
    Figure("out_of_range", "Ended out of range", "%", "lower", _ended("out_of_range")),
    Figure("max_new_tokens", "Ended by the cap", "%", "lower", _ended("max_new_tokens")),
)


@dataclass
class Judges:
    """The judges to use; None leaves a metric out. Their methods are those of orpheus.evaluate.judges."""

    recognizer: object = None
    naturalness: object = None
    likeness: object = None
    detector: object = None
    language: str = ENGLISH


# --- one clip --------------------------------------------------------------------------------------------------------


def silences(audio):
    """(seconds before the first sound, seconds after the last) of 24 kHz audio; its length and 0 if it is silent."""
    found = measure(np.asarray(audio, np.float32)[:, None], SAMPLE_RATE)
    seconds = len(audio) / SAMPLE_RATE
    if not found.heard or not len(audio):
        return seconds, 0.0
    return found.start, seconds - found.end


def hear_tags(text, audio, heard, detector, language=ENGLISH):
    """What became of a text's tags: ([{"tag", "realised", "named", "heard_as", "start", "end"}], list of Event).

    heard: judges.Heard, whose word times tell where each tag's gap is
    """
    said, tags = normalise_with_tags(text, language)
    words, times = [], []
    for word, start, end in heard.words:
        parts = normalise(word, language)
        words += parts
        times += [(start, end)] * len(parts)
    operations, seconds = edits(said, words), len(audio) / SAMPLE_RATE
    gaps = [(tag, *spoken_gap(operations, words, times, place, seconds)) for tag, place in tags]
    events = detector.events(audio)
    scores = []
    for (tag, start, end), event in zip(gaps, match_tags(gaps, events), strict=True):
        place = (start, end) if event is None else (event.start, event.end)
        scores.append(
            {
                "tag": tag,
                "realised": event is not None,
                "named": event is not None and event.tag == tag,
                "heard_as": event.tag if event else None,
                "start": round(place[0], 2),
                "end": round(place[1], 2),
            }
        )
    return scores, events


def judge(clip, judges):
    """A Clip's score: a dictionary that JSON can write."""
    before, after = silences(clip.audio)
    seconds = len(clip.audio) / SAMPLE_RATE
    score = {
        "text": clip.text,
        "voice": clip.voice,
        "kind": clip.kind,
        "take": clip.take,
        "seconds": round(seconds, 3),
        "finish_reason": clip.finish_reason,
        "leading_silence": round(before, 3),
        "trailing_silence": round(after, 3),
        "spoken_seconds": round(max(seconds - before - after, 0), 3),
    }
    if judges.recognizer:
        score |= _judge_words(clip, judges)
    if judges.naturalness and len(clip.audio):
        score |= {name: round(value, 4) for name, value in judges.naturalness.score(clip.audio).items()}
    if judges.likeness and len(clip.audio):
        value = judges.likeness.score(clip.audio, clip.voice)
        score["likeness"] = None if value is None else round(value, 4)
    return score


def _judge_words(clip, judges):
    heard = judges.recognizer.listen(clip.audio)
    found = compare(normalise(clip.words, judges.language), normalise(heard.text, judges.language))
    score = {
        "heard": heard.text,
        "words": len(found.said),
        "word_errors": found.word_errors,
        "characters": found.characters,
        "character_errors": found.character_errors,
        "repeated": found.repeated,
        "skipped": found.skipped,
        "words_repeated": len(found.repeated),
        "words_skipped": len(found.skipped),
        "clean": int(not found.repeated and not found.skipped),
        "changes": [[o, found.said[i] if o != "insert" else "", found.heard[j] if o != "delete" else ""]
                    for o, i, j in found.operations],
    }  # fmt: skip
    if judges.detector:
        score["tags"], events = hear_tags(clip.words, clip.audio, heard, judges.detector, judges.language)
        score["events"] = [[e.tag, round(e.start, 2), round(e.end, 2), round(e.score, 3)] for e in events]
        score["false_tag"] = None if score["tags"] else int(bool(events))
    return score


# --- a system --------------------------------------------------------------------------------------------------------


def summarise(scores, options):
    """{figure's name: Estimate} of a system's scores."""
    return {
        f.name: estimate([f.pair(score) for score in scores], options.bootstrap, options.bootstrap_seed)
        for f in FIGURES
    }


def groups(scores):
    """{"kind: question": scores, "voice: nora": scores, "tag: laugh": ...} if there is more than one of a kind."""
    found = {}
    for name in ("kind", "voice"):
        values = sorted({score[name] for score in scores if score[name]})
        if len(values) > 1:
            found |= {f"{name}: {value}": [score for score in scores if score[name] == value] for value in values}
    return found


def tag_counts(scores):
    """{tag: (in the texts, audible, named correctly)} in the order of the known tags."""
    counts = {}
    for score in scores:
        for tag in score.get("tags") or ():
            n, realised, named = counts.get(tag["tag"], (0, 0, 0))
            counts[tag["tag"]] = n + 1, realised + tag["realised"], named + tag["named"]
    return dict(sorted(counts.items(), key=lambda item: (*KNOWN_TAGS, item[0]).index(item[0])))


def _key(score, count):
    return score["text"], score["take"], count


def _keyed(scores):
    """{(text, take, how often seen before): score}"""
    seen, keyed = {}, {}
    for score in scores:
        count = seen[score["text"], score["take"]] = seen.get((score["text"], score["take"]), -1) + 1
        keyed[_key(score, count)] = score
    return keyed


def compare_systems(base, other, options):
    """{figure's name: Estimate of other minus base} over the texts that both have spoken; None if they share none."""
    first, second = _keyed(base), _keyed(other)
    common = [key for key in first if key in second]
    if not common:
        return None
    return {
        f.name: difference(
            [f.pair(first[key]) for key in common],
            [f.pair(second[key]) for key in common],
            options.bootstrap,
            options.bootstrap_seed,
        )
        for f in FIGURES
        if f.better
    }


def judge_clips(name, clips, judges, shown=False):
    """The clips' scores. shown: whether a bar says how far it is"""
    scores = []
    with progress_bar(shown, len(clips), f"judging {name}", "clip") as bar:
        for clip in clips:
            scores.append(judge(clip, judges))
            bar.update()
    return scores
