"""Transcripts that tell times, too: subtitles, Audacity's labels, Praat's TextGrid. Their words are the text; the times are left out."""

import re

SUBTITLES = (".srt", ".vtt")
TEXT_GRID = ".textgrid"
_TIME = re.compile(r"(\d+:)?\d+:\d+[.,]\d+\s*-->\s*(\d+:)?\d+:\d+[.,]\d+.*")
# Marks of form and of speakers. Tags of a voice, such as <laugh>, are no such.
_MARKS = re.compile(r"</?(?:v|c|i|b|u|s|font|ruby|rt|lang|\d\d:[\d:.]+)(?:[ .][^<>]*)?>|\{\\[^{}]*\}", re.IGNORECASE)
_LABEL = re.compile(r"(\d+[.,]\d+)\s+(\d+[.,]\d+)(?:[\t ]+(.*))?\Z")
_PHONES = re.compile(r"(\d+)\s+(\d+)\s+\S+\Z")
_TIER = re.compile(r'\bname = "((?:[^"]|"")*)"')
_MARK = re.compile(r'\b(?:text|mark) = "((?:[^"]|"")*)"')
_PHONE_TIERS = re.compile(r"phone|phoneme|segment|syllable", re.IGNORECASE)
_LANGUAGE = re.compile(r"\.[a-z]{2,3}(?:[-_][a-z0-9]{2,4})?\Z", re.IGNORECASE)


def without_language(path):
    """The stem of a transcript's name: book.en.srt belongs to book.wav, too."""
    return _LANGUAGE.sub("", path.stem) if path.suffix.lower() in SUBTITLES else path.stem


def words_of(path, text):
    """(the words of a transcript, the kind of file whose times were left out or None). Raises ValueError where it holds no words."""
    suffix = path.suffix.lower()
    if suffix in SUBTITLES:
        return _subtitles(text), "subtitles"
    if suffix == TEXT_GRID:
        return _text_grid(text), "TextGrids"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > 1 and all(map(_PHONES.match, lines)):
        raise ValueError("it lists sounds with their times, not words")
    labels = [_LABEL.match(line) for line in lines]
    if lines and all(labels):
        return " ".join(label[3].strip() for label in labels if label[3]), "labels"
    return text, None


def _subtitles(text):
    """The lines of all blocks, without what stands above the times: a number or a name."""
    found = []
    for block in re.split(r"\n\s*\n", text.replace("\r\n", "\n").replace("\r", "\n")):
        lines = block.strip().split("\n")
        start = next((n for n, line in enumerate(lines) if _TIME.match(line.strip())), None)
        if start is not None:
            found += lines[start + 1 :]
    return " ".join(" ".join(_MARKS.sub("", line) for line in found).split())


def _text_grid(text):
    """The marks of the first tier that is not of sounds."""
    tiers = list(_TIER.finditer(text))
    ends = [tier.start() for tier in tiers[1:]] + [len(text)]
    for tier, end in zip(tiers, ends, strict=True):
        if not _PHONE_TIERS.search(tier[1]):
            marks = (mark[1].replace('""', '"').strip() for mark in _MARK.finditer(text, tier.end(), end))
            return " ".join(mark for mark in marks if mark)
    raise ValueError("no tier of it holds words; save it in Praat's long form")
