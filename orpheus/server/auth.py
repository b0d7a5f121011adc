"""Who asks: keys, compared in constant time, and where a browser's request comes from."""

import hashlib
import hmac
from urllib.parse import urlsplit

from orpheus.server.failures import forbidden, no_key, wrong_key
from orpheus.server.options import LOOPBACK

# Lists and health say nothing of anyone: players read them without a key.
OPEN_PATHS = frozenset("/ /healthz /readyz /openapi.json /v1/models /v1/audio/models /v1/audio/voices".split())


class Keys:
    """keys: {key: its name}, from `read_keys`; none of them means that anyone may ask."""

    def __init__(self, keys):
        self._names = [(_digest(key), name) for key, name in keys.items()]

    def __bool__(self):
        return bool(self._names)

    def name_of(self, headers, client):
        """The name of who asks. headers: {lower-case name: value}; client: the address. Raises Refusal."""
        if not self._names:
            return client
        given = headers.get("authorization", "")
        scheme, _, key = given.partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            key = headers.get("x-api-key", "")
        if not key.strip():
            raise no_key()
        digest, found = _digest(key.strip()), None
        for known, name in self._names:  # all of them, whichever it is
            if hmac.compare_digest(known, digest):
                found = name
        if found is None:
            raise wrong_key()
        return found


def _digest(key):
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def is_open(path):
    """Whether a path may be read without a key."""
    return path in OPEN_PATHS or path.startswith("/v1/models/")


def check_origin(headers, local):
    """Refuses what a web page of another site sends, and names that lead a browser to this machine. Raises Refusal.

    headers: {lower-case name: value}; local: whether only this machine can ask, and no key is needed
    """
    host = headers.get("host", "")
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        raise forbidden(f"a page of {origin:.100} may not use this server: pages of other sites are not let in")
    if local and urlsplit(f"//{host}").hostname not in (*LOOPBACK, None):
        raise forbidden(f"this server is for this machine, not for {host:.100}: ask it as 127.0.0.1 or localhost")
