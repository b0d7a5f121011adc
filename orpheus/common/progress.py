"""Progress on stderr: a bar on a terminal, an occasional line anywhere else.

What else is printed meanwhile goes through `apart`, so that no bar shares a line with it.
"""

import shutil
import sys
import time
from contextlib import ExitStack, contextmanager

_LINE_SECONDS, _BAR_SECONDS = 10, 0.1  # between updates, in a log and on a terminal
_WIDEST = 100  # columns
_SHORTEST_BAR = 8
_GENERATED = (
    0.7  # of the time until a piece can be heard goes into its tokens, the rest into decoding them (2 CPU cores)
)

_shown = []  # bars and states on the terminal, the last one in front


@contextmanager
def apart():
    """Clears what is shown for as long as something else is printed, and shows it again."""
    with ExitStack() as stack:
        if "tqdm" in sys.modules:  # bars of libraries
            stack.enter_context(sys.modules["tqdm"].tqdm.external_write_mode(file=sys.stderr))
        front = _shown[-1] if _shown else None
        if front:
            front.clear()
        try:
            yield
        finally:
            if front and front in _shown:
                front.draw()


class _Line:
    """A line of a terminal that is written over and over."""

    def __init__(self, shown=True):
        self.on_terminal = shown and on_terminal()
        self._length = 0

    def open(self):
        if self.on_terminal:
            _shown.append(self)
            self.draw()

    def write(self, text):
        if self.on_terminal:
            sys.stderr.write(f"\r{text.ljust(self._length)}")
            sys.stderr.flush()
            self._length = len(text)

    def clear(self):
        if self.on_terminal and self._length:
            sys.stderr.write(f"\r{' ' * self._length}\r")
            sys.stderr.flush()
            self._length = 0

    def close(self):
        self.clear()
        if self in _shown:
            _shown.remove(self)
            if _shown:  # what was shown before is in front again
                _shown[-1].draw()


class State(_Line):
    """What is being done where nobody knows how long it takes, as "loading": a line that goes away. In a log it stays."""

    def __init__(self, text, shown=True):
        super().__init__(shown)
        self.text, self._said = text, shown and not self.on_terminal

    def __enter__(self):
        if self._said:
            print(self.text, file=sys.stderr, flush=True)
        self.open()
        return self

    def __exit__(self, *_):
        self.close()

    def draw(self):
        self.write(self.text[: _columns()])


class Bar(_Line):
    """Progress over things that are counted.

    total: how many; what: what is done to them, as "encoding"; unit: one of them, as "clip"
    """

    def __init__(self, shown, total, what, unit):
        super().__init__(shown)
        self.total, self.what, self.unit, self.done = total, what, unit, 0
        self.began = self.drawn = time.monotonic()
        self._in_log = shown and not self.on_terminal

    def __enter__(self):
        self.open()
        return self

    def __exit__(self, *_):
        self.close()

    def update(self, count=1):
        self.done += count
        self.show()

    def show(self, now=False):
        """Draws it, if the last time is long enough ago."""
        wait = _LINE_SECONDS if self._in_log else _BAR_SECONDS
        if not now and time.monotonic() - self.drawn < wait and self.share < 1:
            return
        if self._in_log:
            if time.monotonic() - self.drawn >= wait:
                print(f"{self.what}: {self._percent()}, {self.words()}{self.left()}", file=sys.stderr, flush=True)
                self.drawn = time.monotonic()
        elif self.on_terminal and _shown and _shown[-1] is self:
            self.drawn = time.monotonic()
            self.draw()

    @property
    def share(self):
        """Of the work, 0 to 1."""
        return min(1.0, self.done / self.total) if self.total else 1.0

    def words(self):
        """How far it is, in units."""
        return f"{self.done:,} of {self.total:,} {self.unit}s"

    def draw(self):
        before, after = f"{self.what} {self._percent():>5} ", f" {self.words()}{self.left()}"
        width = _columns()
        room = width - len(before) - len(after) - 2
        if room < _SHORTEST_BAR:
            self.write(f"{before.rstrip()},{after}"[:width])
        else:
            self.write(f"{before}[{('#' * round(room * self.share)).ljust(room, '.')}]{after}")

    def _percent(self):
        return f"{100 * self.share:.0f} %"

    def left(self):
        """ ", 12 s left", once that can be told."""
        taken, share = time.monotonic() - self.began, self.share
        if taken < 1 or not 0.02 < share < 1:
            return ""
        return f", {in_time(taken / share - taken)} left"


class Speaking(Bar):
    """Progress over pieces of text: their tokens, then their sound.

    expected: how many seconds of speech each piece will probably have
    """

    def __init__(self, shown, expected):
        super().__init__(shown, len(expected), "speaking", "piece")
        self._expected = sum(expected) or 1.0
        self._generated = self._decoded = self._partly = self.seconds = (
            0.0  # seconds of speech; expected ones but for the last
        )
        self._again, self._reached = 0, 0.0

    @property
    def share(self):
        generated = min(self._generated + self._partly, self._expected)
        share = (_GENERATED * generated + (1 - _GENERATED) * self._decoded) / self._expected
        self._reached = max(self._reached, min(share, 1.0))  # a piece that is shorter than expected takes nothing back
        return self._reached

    def words(self):
        if self._again:
            return f"{self._again} of {self.total:,} again"
        return f"{self.done:,} of {self.total:,} {self.unit}{'s' if self.total > 1 else ''}, {self.seconds:.0f} s of speech"

    def due(self):
        """Whether `under_way` would be shown."""
        return time.monotonic() - self.drawn >= (_LINE_SECONDS if self._in_log else _BAR_SECONDS)

    def under_way(self, pieces, seconds):
        """pieces: [(expected seconds, seconds so far)] of those that are not complete; seconds: of speech so far, in all"""
        if not self._again:
            self._partly = sum(min(so_far, 0.95 * expected) for expected, so_far in pieces)
        self.seconds = seconds
        self.show()

    @contextmanager
    def again(self, count):
        """So many pieces, which were counted already, are spoken again meanwhile."""
        seconds, self._again = self.seconds, count
        try:
            self.show(now=True)
            yield
        finally:
            self.seconds, self._again = seconds, 0

    def generated(self, expected):
        """A piece's tokens are complete."""
        if not self._again:
            self.done += 1
            self._generated += expected
            self._partly = max(0.0, self._partly - 0.95 * expected)  # most of it was counted as under way
        self.show()

    def decoded(self, expected):
        """A piece's sound is there."""
        self._decoded += expected
        self.show()


def progress_bar(shown, total, what, unit):
    """A Bar, to be used in a `with` statement."""
    return Bar(shown, total, what, unit)


def in_time(seconds):
    """9 s, 1:05 min, 2:10 h"""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60}:{seconds % 60:02d} min"
    return f"{seconds // 3600}:{seconds % 3600 // 60:02d} h"


def on_terminal():
    """Whether somebody looks on."""
    return sys.stderr is not None and sys.stderr.isatty()


def _columns():
    """Of the terminal, less one: in the last one some terminals begin a new line."""
    return min(_WIDEST, shutil.get_terminal_size().columns) - 1
