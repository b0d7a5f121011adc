"""Progress on stderr."""

import sys
import time

from orpheus.common.frame import FRAMES_PER_SECOND

_LINE_SECONDS, _BAR_SECONDS = 10, 0.5  # between updates, in a log and on a terminal


class Progress:
    """Progress over pieces of text: a bar on a terminal, an occasional line anywhere else."""

    def __init__(self, shown, total):
        self.bar, self.total, self.done, self.shown_at = None, total, 0, time.monotonic()
        self.lines = shown and not sys.stderr.isatty()
        if shown and not self.lines:
            from tqdm import tqdm

            self.bar = tqdm(total=total, desc="speaking", unit="piece", leave=False)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self.bar is not None:
            self.bar.close()

    def update(self, pieces):
        self.done += pieces
        if self.bar is not None:
            self.bar.update(pieces)

    def show(self, frames):
        """Shows, every so often, how much speech the current batch has so far."""
        if time.monotonic() - self.shown_at < (_LINE_SECONDS if self.lines else _BAR_SECONDS):
            return
        self.shown_at = time.monotonic()
        state = f"{frames / FRAMES_PER_SECOND:.1f} s of speech in this batch"
        if self.lines:
            print(f"speaking: {self.done} of {self.total} pieces, {state}", file=sys.stderr)
        elif self.bar is not None:
            self.bar.set_postfix_str(state)


def progress_bar(shown, total, what, unit):
    """A bar on stderr; an occasional line if that is not a terminal."""
    from tqdm import tqdm

    often, delay = (0.1, 0) if sys.stderr.isatty() else (30, 30)
    return tqdm(total=total, desc=what, unit=unit, leave=False, mininterval=often, delay=delay, disable=not shown)
