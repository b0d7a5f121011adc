"""Speech as HTTP responses: a body that grows while it is spoken, server-sent events, or a whole file.

A client that hangs up is noticed at once, whatever is being waited for; one that takes nothing for too long is dropped; a text that
breaks off ends its body without the mark of the end, so that the client sees it.
"""

import asyncio
import base64
import json
import time
from collections import deque

from starlette.responses import Response

from orpheus.common.frame import SAMPLE_RATE
from orpheus.server.engine import EngineError
from orpheus.server.failures import Refusal
from orpheus.server.journal import tell
from orpheus.server.sound import SoundWriter, chunks_of
from orpheus.server.transport import abort

_LOOK = 0.5  # seconds between two looks at whether a client takes anything


class SpeechResponse(Response):
    """An ASGI application for one request. request: SpeechRequest; wanted: the Wanted for it; key: who asks"""

    def __init__(self, speaker, request, wanted, key):
        super().__init__()
        self._speaker, self._request, self._wanted, self._key = speaker, request, wanted, key
        self._sending, self._began = None, time.monotonic()  # since when it waits for the client; when it came
        self._speech, self._reason, self._started, self._status = None, "hang_up", False, 0
        self._words = deque()  # tasks that find the times of a piece's words

    async def __call__(self, scope, receive, send):
        self._send_on = send
        loop, options = asyncio.get_running_loop(), self._speaker.options
        gone, work = loop.create_task(_until_gone(receive)), loop.create_task(self._work())
        try:
            while not work.done() and not gone.done():
                await asyncio.wait({gone, work}, timeout=_LOOK, return_when=asyncio.FIRST_COMPLETED)
                now = time.monotonic()
                if self._sending is not None and now - self._sending > options.stall_seconds and not work.done():
                    self._reason = "stalled"
                    self._speaker.metrics.dropped.inc()
                    abort(scope)
                    break
                if now - self._began > options.request_seconds and not work.done():
                    self._reason = "time_limit"
                    break
            if work.done() and not work.cancelled() and work.exception():
                raise work.exception()
        finally:
            tasks = gone, work, *self._words
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._speech is not None:
                self._speech.close(self._reason)
            self._log()

    def _log(self):
        speech = self._speech
        made = (
            f", {speech.seconds:.2f} s of sound, the first after {speech.first_seconds:.3f} s"
            if speech and speech.first_seconds
            else ""
        )
        text = f": {self._wanted.text!r}" if self._speaker.options.log_text else ""
        end = self._reason if speech else f"refused with {self._status}" if self._status else self._reason
        tell(
            f"{self._key}: {len(self._wanted.text)} characters, {end} after {time.monotonic() - self._began:.2f} s{made}{text}"
        )

    async def _work(self):
        try:
            self._speech = await self._speaker.open(self._wanted, self._key)
            request = self._request
            whole = not request.stream
            writer = SoundWriter(request.response_format, request.speed, whole, self._speaker.threads)
            try:
                await (
                    self._events(writer)
                    if request.stream_format == "sse"
                    else self._whole(writer)
                    if whole
                    else self._audio(writer)
                )
            finally:
                writer.close()
        except Refusal as refusal:
            self._speaker.metrics.refusals.labels(str(refusal.status)).inc()
            self._status = refusal.status
            await self._start("application/json", refusal.status, refusal.headers, len(refusal.body))
            await self._send(refusal.body, last=True)
        except EngineError as error:
            self._reason = "engine_error"
            tell(f"{self._key}: cut off: {error}")
            if not self._started:  # of a whole file nothing is sent yet
                refusal = Refusal(500, f"this text could not be spoken: {error}", "server_error", code="internal_error")
                await self._start("application/json", 500, {}, len(refusal.body))
                await self._send(refusal.body, last=True)
            elif self._request.stream_format == "sse":
                await self._send(
                    _event(
                        "speech.audio.error",
                        error={
                            "message": f"the speech was cut off: {error}",
                            "type": "server_error",
                            "param": None,
                            "code": "internal_error",
                        },
                    )
                )
            # Else the body ends without its mark.

    def _over(self):
        """Gives the text's place back, before its client learns that it is over: the next one may come at once."""
        reason = self._speech.finish_reason
        self._reason = "done" if reason == "end_of_speech" else reason
        self._speech.close(self._reason)

    async def _audio(self, writer):
        await self._start(writer.media_type)
        async for items in self._speech:
            if made := await writer.write(chunks_of(items)):
                await self._send(made)
        rest = await writer.write([], last=True)
        self._over()
        await self._send(rest, last=True)

    async def _whole(self, writer):
        body = await writer.whole(self._speech)
        self._over()
        await self._start(writer.media_type, length=len(body))
        await self._send(body, last=True)

    async def _events(self, writer):
        await self._start("text/event-stream")
        times = self._speaker.word_times(self._speech.plan, self._request) if self._request.timestamps else None
        async for items in self._speech:
            if made := await writer.write(chunks_of(items)):
                await self._send(_event("speech.audio.delta", audio=base64.b64encode(made).decode()))
            for work in times.after(items) if times else ():
                self._words.append(asyncio.get_running_loop().create_task(work))
            await self._tell_words(lambda: self._words[0].done())  # the sound does not wait for them
        await self._tell_words(lambda: True)
        if made := await writer.write([], last=True):
            await self._send(_event("speech.audio.delta", audio=base64.b64encode(made).decode()))
        self._over()
        speech = self._speech
        usage = {
            "input_tokens": speech.tokens_in,
            "output_tokens": speech.tokens_out,
            "total_tokens": speech.tokens_in + speech.tokens_out,
        }
        done = _event(
            "speech.audio.done",
            usage=usage,
            finish_reason=speech.finish_reason,
            seconds=round(writer.samples / SAMPLE_RATE, 4),
        )
        await self._send(done, last=True)

    async def _tell_words(self, due):
        """Sends the times of the pieces' words, in their order, as long as the next ones are due."""
        while self._words and due():
            words, method = await self._words.popleft()
            await self._send(_event("speech.audio.words", words=words, method=method))

    async def _start(self, media_type, status=200, headers=None, length=None):
        self._started = True
        fields = {"content-type": media_type, "cache-control": "no-store", "x-accel-buffering": "no", **(headers or {})}
        if length is not None:
            fields["content-length"] = str(length)
        encoded = [(name.encode(), value.encode()) for name, value in fields.items()]
        await self._send_on({"type": "http.response.start", "status": status, "headers": encoded})

    async def _send(self, data, last=False):
        self._sending = time.monotonic()
        await self._send_on({"type": "http.response.body", "body": data, "more_body": not last})
        self._sending = None


def _event(kind, **fields):
    return f"data: {json.dumps({'type': kind, **fields})}\n\n".encode()


async def _until_gone(receive):
    while (await receive())["type"] != "http.disconnect":
        pass
