"""The server's paths, and what every request goes through before it reaches one."""

import asyncio
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse, Response
from starlette.exceptions import HTTPException

from orpheus.common.encoders import MEDIA_TYPES
from orpheus.server import websocket
from orpheus.server.auth import Keys, check_origin, is_open
from orpheus.server.failures import Refusal, broken, too_large, too_slow, unavailable
from orpheus.server.page import page
from orpheus.server.previews import FORMAT, Previews
from orpheus.server.responses import SpeechResponse
from orpheus.server.schemas import SpeechRequest, refusal_of
from orpheus.server.speaking import Wanted
from orpheus.server.transport import LARGEST_HEADERS
from orpheus.server.voices import PREVIEW_PATH

_ERROR = {"description": "Why not, in OpenAI's shape", "content": {"application/json": {"schema": {"type": "object"}}}}
_ERRORS = {status: _ERROR for status in (400, 401, 403, 404, 408, 413, 429, 500, 503, 504)}
_PREVIEW = {200: {"description": "The sound", "content": {MEDIA_TYPES[FORMAT]: {}}}}
_SPEECH = {200: {"description": "The sound, while it is made", "content": {"audio/*": {}, "text/event-stream": {}}}}


def make_app(speaker, keys, options):
    """The ASGI application. speaker: Speaker; keys: {key: name}, see read_keys; options: ServerOptions"""

    @asynccontextmanager
    async def lifespan(_):
        speaker.start()
        yield
        await asyncio.get_running_loop().run_in_executor(None, speaker.close)

    app = FastAPI(title="Orpheus", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.speaker, app.state.keys = speaker, Keys(keys)
    _add_lists(app, speaker)
    _add_health(app, speaker, page(needs_key=bool(keys)))

    @app.post("/v1/audio/speech", responses=_SPEECH | _ERRORS, response_class=Response)
    async def speech(wanted: SpeechRequest, request: Request):
        """Speaks a text."""
        return SpeechResponse(speaker, wanted, read_request(wanted), request.scope["orpheus.key"])

    @app.websocket(websocket.PATH)
    async def session(socket: WebSocket):
        await websocket.Session(speaker, socket, socket.scope["orpheus.key"]).run()

    @app.exception_handler(RequestValidationError)
    async def not_valid(_, error):
        return _answer(refusal_of(error), speaker)

    @app.exception_handler(HTTPException)
    async def no_path(_, error):
        known = "no such path; POST /v1/audio/speech speaks, /openapi.json lists the others"
        message = known if error.status_code == 404 else str(error.detail)
        return _answer(Refusal(error.status_code, message), speaker, error.headers)

    @app.exception_handler(Refusal)
    async def refused(_, error):
        return _answer(error, speaker)

    @app.exception_handler(Exception)
    async def failed(_, error):
        return _answer(broken("the server failed at this; its log says more"), speaker)

    app.add_middleware(Gate, keys=app.state.keys, options=options, speaker=speaker)
    return app


def settle_first(app, speaker):
    """Has an application begin only once it can speak: nobody is sent to it before."""
    starts = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app):
        async with starts(app):
            await speaker.settled()
            yield

    app.router.lifespan_context = lifespan


def read_request(request):
    """The Wanted for a SpeechRequest. Raises Refusal for fields that don't go together."""
    if request.timestamps and request.stream_format != "sse":
        raise Refusal(400, 'timestamps come as events: ask for "stream_format": "sse"', param="timestamps")
    if not request.stream and request.stream_format == "sse":
        raise Refusal(400, "events are a stream: leave out stream, or stream_format", param="stream")
    return Wanted(request.input, request.model, request.voice_name, request.choices, whole=not request.stream)


def _answer(refusal, speaker, headers=None):
    speaker.metrics.refusals.labels(str(refusal.status)).inc()
    return Response(refusal.body, refusal.status, {**(headers or {}), **refusal.headers}, "application/json")


def _add_lists(app, speaker):
    def catalogue():
        speaker.check_loaded()
        return speaker.catalogue

    previews = Previews(speaker)

    @app.get("/v1/models")
    async def models():
        return catalogue().listed_models()

    @app.get("/v1/models/{id:path}", responses={404: _ERROR})
    async def model(id: str):
        return catalogue().described(id)

    @app.get("/v1/audio/models")
    async def audio_models():
        return catalogue().audio_models()

    @app.get("/v1/audio/voices")
    async def voices():
        return catalogue().listed_voices()

    @app.get(PREVIEW_PATH, responses=_PREVIEW | _ERRORS, response_class=Response)
    async def preview(voice: str, request: Request):
        """How a voice sounds: spoken when it is first asked for."""
        sound = await previews.of(voice, request.scope["orpheus.key"])
        return Response(sound, media_type=MEDIA_TYPES[FORMAT], headers={"cache-control": "private, max-age=3600"})


def _add_health(app, speaker, shown):
    @app.get("/", response_class=Response)
    async def root():
        """A page to speak with, and a warm connection for clients that ask here first."""
        return Response(shown.html, headers=shown.headers, media_type="text/html")

    @app.get("/healthz")
    async def alive():
        """Whether the process answers."""
        return PlainTextResponse("ok")

    @app.get("/readyz", responses={503: _ERROR})
    async def ready():
        """Whether it would speak now."""
        if speaker.admission.draining:
            raise unavailable("the server is about to stop", 5)
        if not speaker.ready:
            raise unavailable("the model is being loaded", 5)
        return PlainTextResponse("ready")

    @app.get("/metrics")
    async def metrics():
        return Response(await speaker.metrics.whole_page(), media_type=speaker.metrics.content_type)


class Gate:
    """What every request goes through: where it comes from, whose it is, and how large it is."""

    def __init__(self, app, keys, options, speaker):
        self.app, self.keys, self.options, self.speaker = app, keys, options, speaker

    async def __call__(self, scope, receive, send):
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        try:
            if sum(len(name) + len(value) for name, value in scope["headers"]) > LARGEST_HEADERS:
                raise Refusal(431, f"the headers have more than {LARGEST_HEADERS:,} bytes, the most that are taken")
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            check_origin(headers, local=self.options.local and not self.keys)
            scope["orpheus.key"] = client = (scope.get("client") or ("unknown",))[0]
            if not is_open(scope["path"]):
                scope["orpheus.key"] = self.keys.name_of(headers, client)
            if scope["type"] == "http" and scope["method"] in ("POST", "PUT", "PATCH", "DELETE"):
                receive = await self._with_body(headers, receive)
        except Refusal as refusal:
            if scope["type"] == "websocket":
                return await send({"type": "websocket.close", "code": 1008, "reason": refusal.message[:100]})
            # What was not read of a body is not the next request.
            return await _answer(refusal, self.speaker, {"connection": "close"})(scope, receive, send)
        except _Gone:
            return None
        await self.app(scope, receive, send)

    async def _with_body(self, headers, receive):
        """A `receive` that has the whole body already."""
        most = self.options.longest_body
        said = headers.get("content-length", "0")
        if said.isdecimal() and int(said) > most:
            raise too_large(f"the body has {int(said):,} bytes, and {most:,} are the most")
        try:
            body = await asyncio.wait_for(_read(receive, most), self.options.receive_seconds)
        except asyncio.TimeoutError as error:
            raise too_slow(f"the body did not arrive within {self.options.receive_seconds:g} s") from error
        first = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay():
            return first.pop() if first else await receive()

        return replay


class _Gone(Exception):
    """The client hung up."""


async def _read(receive, most):
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        body += message.get("body", b"")
        if len(body) > most:
            raise too_large(f"the body has more than {most:,} bytes, the most that are taken")
        if not message.get("more_body"):
            return bytes(body)
