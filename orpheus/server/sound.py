"""Chunks of speech to a response's bytes: at another speed, and in its format."""

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from orpheus.common.encoders import MEDIA_TYPES, AudioEncoder
from orpheus.common.tempo import Tempo

_LIGHT = ("pcm", "wav")  # cheaper than asking a thread


def chunks_of(items):
    """The sound among what a Speech gives."""
    return [value for kind, value in items if kind == "chunk"]


class SoundWriter:
    """float32 chunks at 24 kHz to bytes. For one task.

    format: one of orpheus.common.encoders.FORMATS; whole: see AudioEncoder; threads: for what would hold up the event loop
    """

    def __init__(self, format, speed=1.0, whole=False, threads=None):
        self._encoder = AudioEncoder(format, whole=whole)
        self._tempo = None if speed == 1 else Tempo(speed)
        self._lock, self._closed = threading.Lock(), False
        self._threads = None if format in _LIGHT and self._tempo is None else threads
        self.media_type, self.samples = MEDIA_TYPES[format], 0  # that were written

    async def write(self, chunks, last=False):
        """The bytes that are ready. chunks: [float32 (samples,)]; last: whether no more come"""
        if self._threads is None:
            return self._write(chunks, last)
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._write, chunks, last)

    async def whole(self, speech):
        """The bytes of all that a Speech says."""
        made = [await self.write(chunks_of(items)) async for items in speech]
        return b"".join([*made, await self.write([], last=True)])

    def _write(self, chunks, last):
        with self._lock:
            if self._closed:
                return b""
            sound = np.concatenate(chunks) if chunks else np.zeros(0, np.float32)
            if self._tempo is not None:
                sound = self._tempo.push(sound)
                if last:
                    sound = np.concatenate([sound, self._tempo.finish()])
            self.samples += len(sound)
            made = self._encoder.encode(sound)
            return made + self._encoder.finish() if last else made

    def close(self):
        """Gives up; a thread may still be at work, and is waited for: some milliseconds."""
        with self._lock:
            self._closed = True
            self._encoder.close()


def encoding_threads():
    """Threads for encoders: they leave Python while they work."""
    return ThreadPoolExecutor(min(16, 2 * (os.cpu_count() or 1)), "orpheus-encoder")
