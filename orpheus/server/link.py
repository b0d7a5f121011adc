"""A connection between two of the server's processes, as an event loop sees it."""

import asyncio
import queue
import threading


class Link:
    """One end. For the event loop that it was made in.

    connection: of multiprocessing; heard: called with the parts of each message, in their order; ended: called once, when the other side
    has gone; wait: called before that, in a thread, for what takes a moment
    """

    def __init__(self, connection, heard, ended, wait=lambda: None):
        self._connection, self._loop, self._outbox = connection, asyncio.get_running_loop(), queue.SimpleQueue()
        self._heard, self._ended, self._wait = heard, ended, wait
        self._writer = threading.Thread(target=self._write, name="orpheus-writer", daemon=True)
        self._writer.start()
        threading.Thread(target=self._read, name="orpheus-reader", daemon=True).start()

    def send(self, *message):
        """From any thread; returns at once."""
        self._outbox.put(message)

    def close(self, seconds=0.0):
        """Takes nothing more. seconds: that it waits for what is on its way"""
        self._outbox.put(None)
        self._writer.join(seconds)

    def _write(self):
        """In a thread: a text of 100,000 characters is more than a pipe holds."""
        while (message := self._outbox.get()) is not None:
            try:
                self._connection.send(message)
            except (OSError, ValueError):
                return

    def _read(self):
        """In a thread: one call into the loop for each message."""
        try:
            while True:
                self._loop.call_soon_threadsafe(self._heard, *self._connection.recv())
        except (EOFError, OSError):
            self._wait()
        except RuntimeError:  # the loop is closed
            return
        try:
            self._loop.call_soon_threadsafe(self._ended)
        except RuntimeError:
            return
