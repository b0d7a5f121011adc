"""Sound through the loudspeakers while it is made: by sounddevice where it is installed, else by a player that is there.

A thread hands the sound on, so that generating never waits for what is heard, and hearing only for what is not yet made.
"""

import os
import queue
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from orpheus.common.audio import to_pcm16, wav_bytes
from orpheus.common.errors import InputError
from orpheus.common.frame import SAMPLE_RATE

_RATE = str(SAMPLE_RATE)
# Players that take samples as they come, and those that take a file at a time.
_PIPES = {
    "ffplay": ["-nodisp", "-autoexit", "-loglevel", "error", "-f", "s16le", "-ar", _RATE, "-i", "-"],
    "aplay": ["-q", "-t", "raw", "-f", "S16_LE", "-r", _RATE, "-c", "1", "-"],
}
_FILES = {
    "afplay": ["{file}"],
    "powershell": ["-NoProfile", "-Command", "(New-Object Media.SoundPlayer '{file}').PlaySync()"],
}
_CURE = (
    "pip install sounddevice (on Linux it needs libportaudio2), or install FFmpeg, which brings ffplay, or ALSA's aplay. "
    "--out speech.wav writes a file instead"
)
_PATIENCE = 0.05  # seconds between looks at what a player does


def find_player():
    """What opens the player that will be used: a function without arguments. Raises InputError where there is none."""
    reasons = []
    if _has_device(reasons):
        return Loudspeakers
    for name, arguments in _PIPES.items():
        if shutil.which(name):
            return lambda: PipePlayer([name, *arguments])
    for name, arguments in _FILES.items():
        if shutil.which(name) and (name != "powershell" or os.name == "nt"):
            return lambda: FilePlayer([name, *arguments])
    said = f" ({'; '.join(reasons)})" if reasons else ""
    raise InputError(f"--play finds nothing to play with here{said}: {_CURE}")


def _has_device(reasons):
    try:
        import sounddevice
    except ImportError:
        return False
    except OSError as error:  # PortAudio is a library of the system's
        reasons.append(f"sounddevice: {error}")
        return False
    try:
        sounddevice.check_output_settings(channels=1, dtype="float32", samplerate=SAMPLE_RATE)
    except (sounddevice.PortAudioError, ValueError) as error:
        reasons.append(f"sounddevice: {' '.join(str(error).split())}")
        return False
    return True


class Player:
    """Plays what it is given, in its order; to be used in a `with` statement, whose end waits until all of it was heard.

    An exception inside, Ctrl-C included, stops it at once.
    """

    def __init__(self):
        self._waiting, self._failed, self._stopped = queue.Queue(), None, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.start()
        self._thread.start()
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self._waiting.put(None)
                while self._thread.is_alive():  # short waits: a Ctrl-C must come through
                    self._thread.join(_PATIENCE)
                self._check()
            else:
                self._give_up()
        except BaseException:
            self._give_up()
            raise
        finally:
            self._thread.join(1)
            self.close()

    def write(self, audio):
        """Takes float32 (samples,) at 24 kHz; returns at once. Raises InputError where the player has failed."""
        self._check()
        self._waiting.put(audio)

    def _check(self):
        if self._failed is not None:
            raise InputError(f"--play: {self._failed}. {_CURE}")

    def _give_up(self):
        self._stopped.set()
        self._waiting.put(None)
        self.stop()

    def _next(self, most=1):
        """What waits, up to so many chunks as one; None at the end."""
        parts = [self._waiting.get()]
        while parts[-1] is not None and len(parts) < most and not self._waiting.empty():
            parts.append(self._waiting.get())
        if parts[-1] is None:
            self._waiting.put(None)  # for the next call
            parts.pop()
        return np.concatenate(parts) if parts and not self._stopped.is_set() else None

    def _run(self):
        try:
            self.play()
        except Exception as error:
            self._failed = f"the sound could not be played ({' '.join(str(error).split())})"

    def start(self):
        """Opens what plays."""

    def play(self):
        """Plays all that `_next` gives. Runs in the thread."""
        raise NotImplementedError

    def stop(self):
        """Falls silent at once."""

    def close(self):
        """Lets go of what plays."""


class Loudspeakers(Player):
    """Through PortAudio."""

    def start(self):
        import sounddevice

        self._stream = sounddevice.OutputStream(samplerate=SAMPLE_RATE, channels=1, dtype="float32", latency="high")
        self._stream.start()

    def play(self):
        while (audio := self._next()) is not None:
            self._stream.write(np.ascontiguousarray(audio, np.float32)[:, None])
        if not self._stopped.is_set():
            self._stream.stop()  # once all of it was heard

    def stop(self):
        self._stream.abort()

    def close(self):
        self._stream.close()


class PipePlayer(Player):
    """Through the standard input of a program."""

    def __init__(self, command):
        super().__init__()
        self._command, self._process = command, None

    def start(self):
        options = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        self._process = subprocess.Popen(self._command, **options)

    def play(self):
        pipe = self._process.stdin
        try:
            while (audio := self._next()) is not None:
                pipe.write(to_pcm16(audio))
                pipe.flush()
            pipe.close()
        except (BrokenPipeError, ValueError):  # it ended, or was stopped
            pass
        said = self._process.stderr.read()  # until it ends
        self._process.wait()
        if self._process.returncode and not self._stopped.is_set():
            self._failed = _why(self._command[0], self._process.returncode, said)

    def stop(self):
        _end(self._process)

    def close(self):
        for pipe in (self._process.stdin, self._process.stderr):
            try:
                pipe.close()
            except OSError:  # what was left in it goes nowhere
                continue


class FilePlayer(Player):
    """Through a program that plays a file: all that is ready by then, file after file, with short gaps between them."""

    def __init__(self, command):
        super().__init__()
        self._command, self._process = command, None

    def start(self):
        self._folder = tempfile.TemporaryDirectory(prefix="orpheus-", ignore_cleanup_errors=True)

    def play(self):
        number = 0
        while (audio := self._next(most=1_000_000)) is not None:
            file = Path(self._folder.name) / f"{number}.wav"
            file.write_bytes(wav_bytes(audio))
            command = [word.replace("{file}", str(file)) for word in self._command]
            self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            if self._stopped.is_set():  # in between
                _end(self._process)
            _, said = self._process.communicate()
            file.unlink(missing_ok=True)
            number += 1
            if self._process.returncode and not self._stopped.is_set():
                self._failed = _why(self._command[0], self._process.returncode, said)
                return

    def stop(self):
        if self._process is not None:
            _end(self._process)

    def close(self):
        self._folder.cleanup()


def _why(name, status, said):
    words = " ".join((said or b"").decode(errors="replace").split())[-200:]
    return f"{name} ended with status {status}{f': {words}' if words else ''}"


def _end(process):
    """Ends a player of ours, gently at first."""
    process.terminate()
    until = time.monotonic() + 1
    while process.poll() is None and time.monotonic() < until:
        time.sleep(_PATIENCE)
    if process.poll() is None:
        process.kill()


def play_stream(player, chunks):
    """Plays chunks as they come; returns all of them as one sound, float32 (samples,)."""
    heard = []
    for chunk in chunks:
        player.write(chunk)
        heard.append(chunk)
    return np.concatenate(heard) if heard else np.zeros(0, np.float32)
