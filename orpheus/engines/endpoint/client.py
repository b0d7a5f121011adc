"""HTTP with a server that generates: questions, streams of JSON events, and every way they fail in words.

What another try may mend is raised as Lost; all else as EndpointError, with the address and the cure.
"""

import json
import os
import socket
import time
from contextlib import suppress
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from urllib.parse import urlsplit

import httpx

from orpheus.common.errors import EndpointError, InputError
from orpheus.common.hub import brief
from orpheus.engines.options import API_KEY, EndpointOptions, Patience

_LONGEST_LINE = 4_000_000  # bytes of one event
_SHOWN = 65_536  # bytes that are read of an answer that is an error
_OVERLOADED = (429, 503)
_PASSING = (408, 425, 500, 502, 504)  # statuses of a server that is being restarted, or of a proxy in front of it


class Lost(Exception):
    """A connection that was lost or refused, or a server that is overloaded: another try may do.

    wait: seconds that the server asks for, or None; overloaded: whether it said that it is
    """

    def __init__(self, reason, wait=None, overloaded=False):
        super().__init__(reason)
        self.wait, self.overloaded = wait, overloaded


def key_from_environment():
    """The key for a server, or None. Raises InputError for one that no header can hold; it is never shown."""
    key = os.environ.get(API_KEY, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise InputError(f"the key in {API_KEY} holds characters that no key has: set it again")
    return key or None


def _is_here(host):
    """Whether a host is this machine: no proxy is asked for it."""
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"


def retry_after(value):
    """Seconds of a Retry-After header, which holds seconds or a date; None where it says nothing."""
    if not value:
        return None
    with suppress(ValueError):
        return max(0.0, float(value))
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(timezone.utc)).total_seconds())
    except (TypeError, ValueError):
        return None


class Client:
    """One server. `url`: its address, with or without the /v1 that clients of OpenAI's write. For many threads."""

    def __init__(self, url, key=None, patience=None):
        url = EndpointOptions(url=url).url.rstrip("/")
        self.url, self.patience, self._key = url.removesuffix("/v1"), patience or Patience(), key
        self._http = httpx.Client(
            headers={"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {key}"} if key else {}),
            timeout=httpx.Timeout(self.patience.token, connect=self.patience.connect),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            trust_env=not _is_here(urlsplit(url).hostname),
        )

    def ask(self, path):
        """The JSON object at a path; None where the server has no such thing. Raises EndpointError."""
        try:
            response = self._http.get(
                f"{self.url}/{path}", timeout=httpx.Timeout(self.patience.ask, connect=self.patience.connect)
            )
        except httpx.HTTPError as error:
            raise EndpointError(f"{self._unreached(error)}. Is it running, and is the address right?") from error
        if response.status_code in (401, 403, *_OVERLOADED):
            try:
                self._check(response, path)
            except Lost as lost:
                raise EndpointError(f"{lost}: try again later") from lost
        try:
            value = response.json() if response.status_code == 200 else None
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None

    def stream(self, path, body):
        """A Stream of the events that a POST answers. Raises Lost, EndpointError."""
        request = self._http.build_request("POST", f"{self.url}/{path}", json=body)
        try:
            response = self._http.send(request, stream=True)
        except httpx.HTTPError as error:
            raise Lost(self._unreached(error)) from error
        try:
            self._check(response, path)
        except BaseException:
            response.close()
            raise
        return Stream(self, response)

    def garbled(self, what, cure="is it a server of the kind that --dialect names?"):
        return EndpointError(f"{self.url} {self.clean(what)}: {cure}")

    def clean(self, text):
        """A server's words on one short line, without the key."""
        text = brief(text)
        return text.replace(self._key, "(the key)") if self._key else text

    # --- failures in words ---

    def _unreached(self, error):
        if isinstance(error, httpx.ConnectTimeout):
            return f"{self.url} did not answer within {self.patience.connect:g} s"
        if isinstance(error, httpx.TimeoutException):
            return f"{self.url} was silent for too long ({self.patience.token:g} s for a token, {self.patience.ask:g} s for a question)"
        return f"{self.url} cannot be reached ({self.clean(error) or type(error).__name__})"

    def _check(self, response, path):
        """Raises what a status means; nothing for 200 with events."""
        status = response.status_code
        if status == 200:
            if "html" in response.headers.get("content-type", ""):
                raise self.garbled(
                    f"answers /{path} with a web page", "give the address of the model's server, not of its web pages"
                )
            return
        said = self._said(response)
        if status in (401, 403):
            cure = f"the key in {API_KEY} is not the right one" if self._key else f"set {API_KEY} to its key"
            raise EndpointError(f"{self.url} refuses access ({status}{said}): {cure}")
        if status in _OVERLOADED:
            wait = retry_after(response.headers.get("retry-after"))
            raise Lost(f"{self.url} is overloaded ({status}{said})", wait, overloaded=True)
        if status in _PASSING:
            raise Lost(f"{self.url} failed ({status}{said})")
        if 300 <= status < 400:
            raise EndpointError(
                f"{self.url} sends on to {response.headers.get('location', 'another address')} ({status}): give that as --url"
            )
        if status == 404:
            raise EndpointError(
                f"{self.url} has no /{path}, or not the model (404{said}): is --url right? --dialect names another kind of "
                "server, --served-model another model on it"
            )
        raise EndpointError(
            f"{self.url} refuses the request ({status}{said}): change what it names, or the server's settings"
        )

    def _said(self, response):
        """ ": what it said", of an answer that is an error."""
        read, until = b"", time.monotonic() + self.patience.ask
        with suppress(httpx.HTTPError):
            for chunk in response.iter_bytes():
                read += chunk
                if len(read) > _SHOWN or time.monotonic() > until:
                    break
        text = read.decode(errors="replace")
        with suppress(ValueError, RecursionError):
            text = error_in(json.loads(text)) or text
        return "" if not text.strip() or text.lstrip().startswith("<") else f": {self.clean(text)}"


def error_in(event):
    """What the error in a server's JSON says; None where there is none. Servers nest it in different depths."""
    if not isinstance(event, dict):
        return None
    error = event.get("error") or (event.get("object") == "error" and event)
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or json.dumps(error)
    return str(error) if error else None


class Stream:
    """The events of one answer: iterate over it. `hang_up` may be called from another thread."""

    def __init__(self, client, response):
        self._client, self._response = client, response
        self._moved = time.monotonic()

    def moved(self):
        """To be called for every token: without one for too long the stream counts as lost, whatever else it sends."""
        self._moved = time.monotonic()

    def __iter__(self):
        """Events as dictionaries. Raises Lost, EndpointError."""
        client = self._client
        for line in self._lines():
            field, _, value = line.partition(b":")
            if line.startswith(b"{"):  # lines of JSON, as Ollama's
                value = line
            elif field == b"error":  # as llama.cpp's servers of old
                raise Lost(f"{client.url} failed: {client.clean(value.decode(errors='replace'))}")
            elif field in (
                b"",
                b"event",
                b"id",
                b"retry",
            ):  # comments that keep a connection open, and what needs no answer
                continue
            elif field != b"data":
                raise client.garbled(f"answers {line[:80]!r}, which is no event")
            value = value.strip()
            if value == b"[DONE]":
                return
            try:
                event = json.loads(value)
            except (ValueError, RecursionError) as error:
                raise client.garbled(f"answers {value[:80]!r}, which is no JSON") from error
            if not isinstance(event, dict):
                raise client.garbled(f"answers {value[:80]!r}, where an object is expected")
            if said := error_in(event):
                raise Lost(f"{client.url} failed: {client.clean(said)}")
            yield event

    def _lines(self):
        rest = b""
        try:
            for chunk in self._response.iter_bytes():
                if time.monotonic() - self._moved > self._client.patience.token:
                    raise Lost(f"{self._client.url} sent no token for {self._client.patience.token:g} s")
                *lines, rest = (rest + chunk).split(b"\n")
                yield from (stripped for line in lines if (stripped := line.strip()))
                if len(rest) > _LONGEST_LINE:
                    raise self._client.garbled(f"sends a line of more than {_LONGEST_LINE:,} bytes")
        except httpx.HTTPError as error:
            raise Lost(self._client._unreached(error)) from error
        except (OSError, RuntimeError, httpx.StreamError) as error:  # hung up from another thread
            raise Lost(f"{self._client.url}: the connection was closed") from error
        if rest.strip():
            try:
                json.loads(rest.strip().removeprefix(b"data:"))
            except (ValueError, RecursionError) as error:
                raise Lost(f"{self._client.url} broke off in the middle of an event") from error
            yield rest.strip()

    def hang_up(self):
        """Ends the connection: the server stops generating."""
        stream = self._response.extensions.get("network_stream")
        with suppress(OSError, AttributeError):
            stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)  # wakes a thread that waits in it

    def close(self):
        self.hang_up()
        with suppress(httpx.HTTPError, OSError, RuntimeError):
            self._response.close()
