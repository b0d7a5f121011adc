"""The server as it runs: uvicorn around the application, what is said at the start, and an end that lets the last texts be spoken."""

import asyncio
import contextlib
import json
import logging
import time

import uvicorn

from orpheus.common.errors import InputError, OrpheusError
from orpheus.server.app import make_app
from orpheus.server.engine import Engine
from orpheus.server.journal import tell
from orpheus.server.metrics import Metrics
from orpheus.server.preparing import Preparer
from orpheus.server.speaking import Speaker
from orpheus.server.transport import LARGEST_HEADERS, guarded
from orpheus.server.wyoming import serve_wyoming

_LARGEST_FRAME = 256 * 1024  # bytes of a WebSocket's message
_KEPT_ALIVE = 75  # seconds that an idle connection stays open


class Running(uvicorn.Server):
    """options: ServerOptions; keys: {key: name}; spec: EngineSpec; engine: another one than a process of `spec`'s models"""

    def __init__(self, options, keys, spec=None, engine=None, preparer=None, voice_models=(), listener=None):
        self.options, self.keys = options, keys
        metrics = Metrics()
        engine = engine or Engine(spec, options.ahead_seconds)
        self.speaker = Speaker(options, engine, preparer or Preparer(), metrics, voice_models, listener)
        self.application = make_app(self.speaker, keys, options)
        self.failed, self._deadline, self.wyoming = None, None, None
        super().__init__(
            uvicorn.Config(
                self.application,
                host=options.host,
                port=options.port,
                http=guarded(options.connections, options.receive_seconds, metrics.connections),
                ws="websockets-sansio",
                ws_max_size=_LARGEST_FRAME,
                ws_per_message_deflate=False,  # sound does not become smaller, and bombs do
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=_KEPT_ALIVE,
                timeout_graceful_shutdown=5,
                h11_max_incomplete_event_size=LARGEST_HEADERS,
            )
        )

    def run(self):
        """Serves until it is told to stop. Raises OrpheusError where the model cannot be loaded or the port not be had."""
        logging.getLogger("uvicorn.error").addFilter(_expected)
        try:
            super().run()
        except SystemExit as error:  # uvicorn's, after it has said why
            raise InputError(
                f"{self.options.host}:{self.options.port} cannot be listened at: see above; --port takes another one"
            ) from error
        finally:
            self.speaker.close()
        if self.failed:
            raise self.failed

    async def startup(self, sockets=None):
        await super().startup(sockets)
        if self.started:
            self._starting = asyncio.get_running_loop().create_task(self._begin())

    async def _begin(self):
        began = time.monotonic()
        try:
            await self.speaker.settled()
        except OrpheusError as error:
            self.failed, self.should_exit = error, True
            return
        if self.options.wyoming is not None:
            try:
                self.wyoming = await serve_wyoming(self.speaker, self.options.host, self.options.wyoming)
            except OrpheusError as error:
                self.failed, self.should_exit = error, True
                return
        for line in self.greeting(time.monotonic() - began):
            tell(line)

    async def shutdown(self, sockets=None):
        if self.wyoming is not None:
            self.wyoming.close()
        await super().shutdown(sockets)

    @property
    def address(self):
        """http://host:port"""
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def greeting(self, seconds):
        """What is said once it can speak."""
        catalogue, slots = self.speaker.catalogue, self.speaker.admission.slots
        model = catalogue.models[catalogue.default]
        voices = f" ({', '.join(model.voices)})" if model.voices else ""
        key = " -H 'Authorization: Bearer KEY'" if self.keys else ""
        if self.wyoming is not None:
            yield f"Wyoming, for Home Assistant: tcp://{self.options.host}:{self.wyoming.sockets[0].getsockname()[1]}"
        body = json.dumps({"input": "Hello there.", "voice": model.default_voice or "alloy"})
        yield f"{self.address} speaks with {model.id}{voices}, {slots} texts at once; loaded in {seconds:.1f} s"
        yield f"curl {self.address}/v1/audio/speech -H 'Content-Type: application/json'{key} -d '{body}' -o hello.mp3"

    # --- the end ---

    def handle_exit(self, sig, frame):
        """The first signal lets the texts end that are being spoken; a second one does not."""
        if self.speaker.admission.draining:
            self.should_exit = self.force_exit = True
            return
        self.speaker.admission.draining = True
        self._deadline = time.monotonic() + self.options.drain_seconds

    async def on_tick(self, counter):
        if self._deadline is not None and (not self.speaker.admission.active or time.monotonic() > self._deadline):
            left = self.speaker.admission.active
            if left:
                tell(f"{left} texts were not over after {self.options.drain_seconds:g} s, and are cut off")
            self.should_exit = True
        return await super().on_tick(counter)

    @contextlib.contextmanager
    def capture_signals(self):
        with super().capture_signals():
            yield
            self._captured_signals.clear()  # it ends by itself


def _expected(record):
    """Whether a line of uvicorn's is news: that a body ended early was said already."""
    return "without completing response" not in record.getMessage()
