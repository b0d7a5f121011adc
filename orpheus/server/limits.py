"""Who is let in: a bounded number of texts, for each key too, and none while the server is on its way out."""

import time
from collections import Counter, deque

from orpheus.server.failures import busy, unavailable

_MINUTE = 60.0


class Admission:
    """options: ServerOptions; slots: texts that are spoken at the same time. Used by the event loop alone."""

    def __init__(self, options, slots, metrics, clock=time.monotonic):
        self.options, self.slots, self.metrics, self._clock = options, slots, metrics, clock
        self.draining = False
        self.active = 0  # texts let in and not over
        self._by_key, self._recent = Counter(), {}
        self._seconds = 5.0  # that a text takes, about; for Retry-After

    def admit(self, key):
        """A Ticket for one text of `key`. Raises Refusal."""
        if self.draining:
            raise unavailable("the server is about to stop: ask another one", 5)
        most = self.slots + self.options.queue
        if self.active >= most:
            raise busy(
                f"{self.slots} texts are being spoken and {self.active - self.slots} are waiting, the most that do: try again later",
                self._wait(),
            )
        limit = self.options.streams_per_key
        if limit is not None and self._by_key[key] >= limit:
            raise busy(
                f"{limit} texts of yours are being spoken or waiting, the most that do for one: try again when one has ended",
                self._seconds,
            )
        self._check_rate(key)
        self.active += 1
        self._by_key[key] += 1
        return Ticket(self, key)

    async def enter(self, key):
        """The same, as it is where others must be asked."""
        return self.admit(key)

    def _wait(self):
        """Seconds until a text has ended, about."""
        return min(60.0, self._seconds / max(1, self.slots))

    def _check_rate(self, key):
        limit = self.options.requests_per_minute
        if limit is None:
            return
        now = self._clock()
        for other in [other for other, times in self._recent.items() if now - times[-1] >= _MINUTE]:
            del self._recent[other]
        times = self._recent.setdefault(key, deque())
        while times and now - times[0] >= _MINUTE:
            times.popleft()
        if len(times) >= limit:
            raise busy(f"{limit} texts a minute are taken of one: try again later", _MINUTE - (now - times[0]))
        times.append(now)

    def leave(self, key, seconds):
        self.active -= 1
        self._by_key[key] -= 1
        if not self._by_key[key]:
            del self._by_key[key]
        self._seconds += 0.1 * (seconds - self._seconds)


class Ticket:
    """A text's place; give it back once."""

    engine = None  # the number of the engine that is to speak it, where there are several

    def __init__(self, admission, key):
        self._admission, self.key, self._began = admission, key, admission._clock()
        self._left = False

    def leave(self):
        if not self._left:
            self._left = True
            self._admission.leave(self.key, self._admission._clock() - self._began)
