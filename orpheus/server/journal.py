"""What the server says, line by line, on standard error. It says nothing rather than stop where that cannot be written: a full disk, a closed pipe."""

import contextlib

from orpheus.common.command import say


def tell(message):
    """One line."""
    with contextlib.suppress(OSError, ValueError):
        say(message)
