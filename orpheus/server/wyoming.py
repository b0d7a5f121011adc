"""Home Assistant's protocol, Wyoming: JSON lines over TCP. Text comes whole or in chunks; sound goes out as 16-bit PCM while it is made."""

import asyncio

from orpheus.common.audio import to_pcm16
from orpheus.common.errors import InputError
from orpheus.common.frame import SAMPLE_RATE
from orpheus.server.engine import EngineError
from orpheus.server.failures import Refusal
from orpheus.server.journal import tell
from orpheus.server.sentences import SentenceBuffer
from orpheus.server.speaking import Wanted

_LONGEST_LINE = 256 * 1024  # bytes of an event's header; asyncio's reader holds no more
_SILENT = 300.0  # seconds that a client may be, while nothing is spoken for it
_MOST_WAITING = 64  # events; then no more are read until some are answered
_NAME, _URL = "orpheus", "https://github.com/canopyai/Orpheus-TTS"


async def serve_wyoming(speaker, host, port):
    """An asyncio server. Raises InputError where the port cannot be had, or the package wyoming is missing."""
    try:
        import wyoming.tts  # noqa: F401
    except ImportError as error:
        raise InputError("--wyoming needs the package wyoming: pip install -r requirements-serve.txt") from error
    clients = set()

    async def serve(reader, writer):
        if len(clients) >= speaker.options.connections:
            return writer.close()
        client = _Client(speaker, reader, writer)
        clients.add(client)
        try:
            await client.run()
        finally:
            clients.discard(client)

    try:
        return await asyncio.start_server(serve, host, port, limit=_LONGEST_LINE)
    except OSError as error:
        raise InputError(f"--wyoming {port} cannot be listened at: {error.strerror or error}") from error


def info(speaker):
    """The wyoming.info.Info of what speaks."""
    from wyoming.info import Attribution, Info, TtsProgram, TtsVoice

    source = {"attribution": Attribution(_NAME, _URL), "installed": True, "version": None}
    rows = speaker.catalogue.listed_voices()["voices"] if speaker.catalogue else []
    voices = [
        TtsVoice(name=row["id"], description=row["name"], languages=[row["language"] or "en"], **source)
        for row in rows
        if "stands_for" not in row
    ]
    program = TtsProgram(name=_NAME, description="Orpheus", voices=voices, supports_synthesize_streaming=True, **source)
    return Info(tts=[program])


class _Client:
    """One connection."""

    def __init__(self, speaker, reader, writer):
        self._speaker, self._reader, self._writer = speaker, reader, writer
        self._key = (writer.get_extra_info("peername") or ("unknown",))[0]
        self._buffer, self._voice, self._begun = None, None, False  # of a text in chunks

    async def run(self):
        """Until the client has gone: what is being spoken for it then ends at once."""
        loop, events = asyncio.get_running_loop(), asyncio.Queue(_MOST_WAITING)
        tasks = [loop.create_task(self._read(events)), loop.create_task(self._work(events))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            self._writer.close()
        for error in ended:
            if isinstance(error, Exception) and not isinstance(error, (OSError, EOFError, asyncio.TimeoutError)):
                tell(
                    f"{self._key}: Wyoming: {type(error).__name__}: {error}"[:300]
                )  # of a client that speaks something else

    async def _read(self, events):
        from wyoming.event import async_read_event

        while (event := await async_read_event(self._reader)) is not None:
            await events.put(event)

    async def _work(self, events):
        while True:
            await self._answer(await asyncio.wait_for(events.get(), _SILENT))

    async def _answer(self, event):
        from wyoming.info import Describe
        from wyoming.ping import Ping, Pong
        from wyoming.tts import Synthesize, SynthesizeChunk, SynthesizeStart, SynthesizeStop, SynthesizeStopped

        if Describe.is_type(event.type):
            await self._send(info(self._speaker))
        elif Ping.is_type(event.type):
            await self._send(Pong(text=Ping.from_event(event).text))
        elif SynthesizeStart.is_type(event.type):
            self._voice = SynthesizeStart.from_event(event).voice
            language = self._speaker.language(None, self._voice_name())
            self._buffer, self._begun = SentenceBuffer("sentence", language), False
        elif SynthesizeChunk.is_type(event.type) and self._buffer is not None:
            await self._say(self._buffer.push(SynthesizeChunk.from_event(event).text))
        elif SynthesizeStop.is_type(event.type) and self._buffer is not None:
            await self._say(self._buffer.finish())
            await self._end()
            await self._send(SynthesizeStopped())
            self._buffer = None
        elif (
            Synthesize.is_type(event.type) and self._buffer is None
        ):  # within a text in chunks it is the same text again
            whole = Synthesize.from_event(event)
            self._voice, self._begun = whole.voice, False
            await self._say([whole.text])
            await self._end()

    def _voice_name(self):
        return self._voice.name if self._voice else None

    async def _say(self, texts):
        from wyoming.audio import AudioChunk, AudioStart
        from wyoming.error import Error

        for text in texts:
            try:
                speech = await self._speaker.open(Wanted(text, voice=self._voice_name()), self._key)
            except Refusal as refusal:
                await self._send(Error(text=refusal.message, code=refusal.code))
                continue
            reason = "hang_up"
            try:
                if not self._begun:
                    await self._send(AudioStart(rate=SAMPLE_RATE, width=2, channels=1))
                    self._begun = True
                async for items in speech:
                    for kind, value in items:
                        if kind == "chunk":
                            await self._send(AudioChunk(rate=SAMPLE_RATE, width=2, channels=1, audio=to_pcm16(value)))
                reason = "done" if speech.finish_reason == "end_of_speech" else speech.finish_reason
            except EngineError as error:
                reason = "engine_error"
                await self._send(Error(text=f"the speech was cut off: {error}", code="internal_error"))
            finally:
                speech.close(reason)

    async def _end(self):
        from wyoming.audio import AudioStop

        if self._begun:
            await self._send(AudioStop())
            self._begun = False

    async def _send(self, item):
        from wyoming.event import async_write_event

        stall = self._speaker.options.stall_seconds
        await asyncio.wait_for(async_write_event(item.event(), self._writer), stall)
