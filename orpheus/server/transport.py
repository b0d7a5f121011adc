"""Connections with limits: how many there are, how long their headers may take, how large they may be; and how to cut one off."""

import asyncio
import json
import socket

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

LARGEST_HEADERS = 16 * 1024  # bytes
_KERNEL_BYTES = 256 * 1024  # that wait for a client in the kernel: 5 s of PCM; Linux would take megabytes
_TRANSPORT = "orpheus.transport"  # its place in an ASGI scope


def abort(scope):
    """Cuts a connection off at once: what its client has not taken is thrown away."""
    transport = scope.get(_TRANSPORT)
    if transport is not None:
        transport.abort()


def guarded(most, seconds, gauge=None):
    """A uvicorn HTTP protocol that keeps `most` connections and waits for headers for `seconds`. gauge: of open connections"""

    class Guarded(H11Protocol):
        def __init__(self, *arguments, **named):
            super().__init__(*arguments, **named)
            inner = self.app
            self._patience = None

            async def app(scope, receive, send):
                scope[_TRANSPORT] = self.transport
                await inner(scope, receive, send)

            self.app = app

        def connection_made(self, transport):
            super().connection_made(transport)
            plain = transport.get_extra_info("socket")
            if plain is not None and plain.family in (socket.AF_INET, socket.AF_INET6):
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BYTES)
            if gauge is not None:
                gauge.set(len(self.connections))
            if len(self.connections) > most:
                self._refuse(503, f"{most} connections are open, the most that are kept: try again later")
                return
            self._wait_for_headers()

        def connection_lost(self, exc):
            super().connection_lost(exc)
            self._stop_waiting()
            if gauge is not None:
                gauge.set(len(self.connections))

        def data_received(self, data):
            if self.transport.is_closing():
                return
            super().data_received(data)
            busy = self.cycle is not None and not self.cycle.response_complete
            if busy or self.conn.our_state is not h11.IDLE:
                self._stop_waiting()
            elif self._patience is None:
                self._wait_for_headers()

        def on_response_complete(self):
            super().on_response_complete()
            if self.cycle is not None and self.cycle.response_complete and self.conn.trailing_data[0]:
                self._wait_for_headers()  # of the next request, a part of which is here

        def _wait_for_headers(self):
            self._stop_waiting()
            loop = asyncio.get_running_loop()
            self._patience = loop.call_later(seconds, self._refuse, 408, f"no complete headers within {seconds:g} s")

        def _stop_waiting(self):
            if self._patience is not None:
                self._patience.cancel()
                self._patience = None

        def _refuse(self, status, message):
            """Says why, below HTTP's machinery, and closes."""
            self._patience = None
            if self.transport.is_closing():
                return
            kind = "server_error" if status >= 500 else "invalid_request_error"
            body = json.dumps({"error": {"message": message, "type": kind, "param": None, "code": None}}).encode()
            phrase = {503: "Service Unavailable", 408: "Request Timeout"}[status]
            wait = "retry-after: 5\r\n" if status == 503 else ""
            head = f"HTTP/1.1 {status} {phrase}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n{wait}connection: close\r\n\r\n"
            self.transport.write(head.encode() + body)
            self.transport.close()

    return Guarded
