"""When each word of a speech is said: as a recogniser hears it, or by its piece.

A piece's beginning and end are known to the sample. Its words share the time between its first sound and its last, by how many letters
they have; where a recogniser listens, words that it hears as they were written have its times, and the others lie between them.
"""

import re

import numpy as np

from orpheus.common.frame import SAMPLE_RATE
from orpheus.server.hearing import BY_PIECE, BY_RECOGNISER
from orpheus.speech.subtitles import word_times

_TAG = re.compile(r"<[^<>\s]+>")
_WORD = re.compile(r"\S*\w\S*")
_BLOCK = 240  # samples: 10 ms
_QUIET = 0.03  # of a piece's loudest 10 ms: below is silence
_MOST_WAITING = 8  # pieces that wait to be heard: beyond, a recogniser is too slow for this speech
_STOP = 2  # letters that a pause after , ; : . ! ? is as long as


class WordTimes:
    """pieces: what is spoken, one text each; speed: of what is sent; listener: WordListener; language: of the voice"""

    def __init__(self, pieces, speed=1.0, listener=None, language=None):
        self._pieces, self._speed, self._listener, self._language = list(pieces), speed, listener, language
        self._sound, self._before, self._next = [], 0, 0  # of this piece; samples before it; its number
        self._waiting = 0  # pieces that are being heard

    def after(self, items):
        """Work for each piece that ends among these items: coroutines that return (words, method), [{"word", "start", "end"}] in seconds of
        the sound that is sent, and how they were found, BY_PIECE or BY_RECOGNISER."""
        ended = []
        for kind, value in items:
            if kind == "chunk":
                self._sound.append(value)
            elif kind == "piece":
                ended.append(self._end_piece())
        return ended

    def _end_piece(self):
        sound = np.concatenate(self._sound) if self._sound else np.zeros(0, np.float32)
        text, before = self._pieces[self._next], self._before
        self._sound, self._next = [], self._next + 1
        self._before += len(sound)
        return self._timed(text, sound, before)

    async def _timed(self, text, sound, before):
        heard = None
        if self._listener and self._waiting < _MOST_WAITING and self._listener.hears(self._language):
            self._waiting += 1
            try:
                heard = await self._listener.words(sound, self._language)
            finally:
                self._waiting -= 1
        shared = share(text, *voiced(sound))
        if heard:
            words = [word for word, *_ in shared]
            times = word_times(words, heard, len(sound) / SAMPLE_RATE)
            shared = [(word, *(time * SAMPLE_RATE for time in pair)) for word, pair in zip(words, times)]
        timed = [
            {
                "word": word,
                "start": round((before + start) / SAMPLE_RATE / self._speed, 3),
                "end": round((before + end) / SAMPLE_RATE / self._speed, 3),
            }
            for word, start, end in shared
        ]
        return timed, BY_RECOGNISER if heard else BY_PIECE


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
    words = _WORD.findall(_TAG.sub(" ", text))
    letters = [1 + sum(map(str.isalnum, word)) for word in words]
    pauses = [_STOP if word[-1] in ",;:.!?…" else 0 for word in words[:-1]] + [0] * bool(words)
    whole = sum(letters) + sum(pauses)
    place, shared = 0, []
    for word, length, pause in zip(words, letters, pauses):
        start, end = (first + (last - first) * count / whole for count in (place, place + length))
        shared.append((word, start, end))
        place += length + pause
    return shared
