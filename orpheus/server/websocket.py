"""Text that is still being written, over a WebSocket: it is spoken sentence by sentence, in vllm-omni's protocol.

    client                                            server
    {"type": "session.config", "voice": ..., ...}
    {"type": "input.text", "text": "Hello th"}
    {"type": "input.text", "text": "ere. How are"}    {"type": "audio.start", "utterance_index": 0, "sentence_index": 0,
                                                       "sentence_text": "Hello there.", "format": "pcm", "sample_rate": 24000, ...}
                                                      sound, in binary messages
                                                      {"type": "audio.done", "utterance_index": 0, "sentence_index": 0, ...}
    {"type": "input.done"}                            ... {"type": "session.done", "utterance_index": 0, "total_sentences": 2}
    {"type": "session.close"}

`input.done` ends an utterance, not the session. An error is {"type": "error", "message": ...}; after one the session goes on, but for a
first message that is no `session.config`.
"""

import asyncio
import contextlib
import json
from collections import deque

from starlette.websockets import WebSocketDisconnect

from orpheus.common.frame import SAMPLE_RATE
from orpheus.server.engine import EngineError
from orpheus.server.failures import Refusal
from orpheus.server.journal import tell
from orpheus.server.schemas import read_config
from orpheus.server.sentences import SentenceBuffer
from orpheus.server.sound import SoundWriter, chunks_of
from orpheus.server.speaking import Wanted

PATH = "/v1/audio/speech/stream"
_CONFIG_SECONDS, _IDLE_SECONDS = 10.0, 300.0  # that a client may be silent, before its first message and later
_MOST_WAITING = 256  # sentences; then no more text is read until some are spoken


class Session:
    """One WebSocket. speaker: Speaker; socket: Starlette's WebSocket; key: who it is"""

    def __init__(self, speaker, socket, key):
        self._speaker, self._socket, self._key = speaker, socket, key
        self._config, self._buffer = None, None
        self._work, self._changed = deque(), asyncio.Condition()  # what to speak, and ends of utterances, in order
        self._utterance, self._sentence, self._characters = 0, 0, 0

    async def run(self):
        """Until the client has gone or closes the session."""
        await self._socket.accept()
        loop = asyncio.get_running_loop()
        reading, speaking = loop.create_task(self._read()), loop.create_task(self._speak())
        try:
            await asyncio.wait({reading, speaking}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (reading, speaking):
                task.cancel()
            ended = await asyncio.gather(reading, speaking, return_exceptions=True)
        for error in ended:
            if isinstance(error, Exception) and not isinstance(error, (WebSocketDisconnect, RuntimeError, OSError)):
                tell(f"{self._key}: a WebSocket failed: {type(error).__name__}: {error}")
        with contextlib.suppress(RuntimeError, OSError, WebSocketDisconnect):  # it may be closed already
            await self._socket.close()

    # --- what comes ---

    async def _read(self):
        while True:
            seconds = _CONFIG_SECONDS if self._config is None else _IDLE_SECONDS
            try:
                message = await asyncio.wait_for(self._socket.receive(), seconds)
            except asyncio.TimeoutError:
                return await self._complain(f"no message came for {seconds:g} s")
            if message["type"] == "websocket.disconnect":
                return None
            try:
                if not await self._heard(_parsed(message)):
                    return None
            except Refusal as refusal:
                await self._complain(refusal.message)
                if self._config is None:
                    return None

    async def _heard(self, message):
        """Whether the session goes on after a message. Raises Refusal for one that makes no sense."""
        kind = message.get("type")
        if kind == "session.close":
            await self._drained()
            return False
        if kind == "session.config":
            if self._characters:
                raise _unfit("session.config cannot come within an utterance: send input.done first")
            config = read_config(message)
            self._speaker.check_names(config.model, config.voice_name)
            language = self._speaker.language(config.model, config.voice_name)
            self._config, self._buffer = config, SentenceBuffer(config.split_granularity, language)
        elif self._config is None:
            raise _unfit(f"the first message must be session.config, not {kind!r:.60}")
        elif kind == "input.text":
            text = message.get("text")
            if not isinstance(text, str):
                raise _unfit("input.text needs a text that is a string")
            self._characters += len(text)
            if self._characters > self._speaker.options.longest_text:
                raise _unfit(
                    f"an utterance has at most {self._speaker.options.longest_text:,} characters: send input.done, and go on after it"
                )
            await self._add(self._buffer.push(text))
        elif kind == "input.done":
            await self._add([*self._buffer.finish(), None])
            self._characters = 0
        else:
            raise _unfit(
                f"there is no message of type {kind!r:.60}: session.config, input.text, input.done and session.close are known"
            )
        return True

    async def _add(self, work):
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._work) < _MOST_WAITING)
            self._work.extend((self._config, part) for part in work)
            self._changed.notify_all()

    async def _drained(self):
        async with self._changed:
            await self._changed.wait_for(lambda: not self._work)

    # --- what goes ---

    async def _speak(self):
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._work)
                config, text = self._work[0]
            if text is None:
                await self._tell("session.done", total_sentences=self._sentence)
                self._utterance, self._sentence = self._utterance + 1, 0
            else:
                await self._say(config, text)
                self._sentence += 1
            async with self._changed:  # it stays first until it is over, so that `_drained` means said
                self._work.popleft()
                self._changed.notify_all()

    async def _say(self, config, text):
        sent, failed = 0, False
        rate = {"sample_rate": SAMPLE_RATE, "channels": 1} if config.response_format == "pcm" else {}
        try:
            speech = await self._speaker.open(self._wanted(config, text), self._key)
        except Refusal as refusal:
            return await self._complain(
                refusal.message, utterance_index=self._utterance, sentence_index=self._sentence, code=refusal.code
            )
        reason = "hang_up"
        writer = SoundWriter(config.response_format, config.speed, not config.stream_audio, self._speaker.threads)
        try:
            start = {"sentence_index": self._sentence, "sentence_text": text, "format": config.response_format, **rate}
            await self._tell("audio.start", **start)
            async for items in speech:
                sent += await self._sound(await writer.write(chunks_of(items)))
            sent += await self._sound(await writer.write([], last=True))
            reason = "done" if speech.finish_reason == "end_of_speech" else speech.finish_reason
        except EngineError as error:
            failed, reason = True, "engine_error"
            await self._complain(f"the speech was cut off: {error}", partial_audio=sent > 0)
        finally:
            writer.close()
            speech.close(reason)
        await self._tell("audio.done", sentence_index=self._sentence, total_bytes=sent, error=failed)

    def _wanted(self, config, text):
        choices = dict(config.choices)
        choices["seed"] = (choices.get("seed", 0) + self._sentence) % 2**63  # as the pieces of one text have
        return Wanted(text, config.model, config.voice_name, choices)

    async def _sound(self, data):
        if data:
            await asyncio.wait_for(self._socket.send_bytes(data), self._speaker.options.stall_seconds)
        return len(data)

    async def _tell(self, kind, **fields):
        await self._socket.send_text(json.dumps({"type": kind, "utterance_index": self._utterance, **fields}))

    async def _complain(self, message, **fields):
        with contextlib.suppress(RuntimeError, OSError):
            await self._socket.send_text(json.dumps({"type": "error", "message": message, **fields}))


def _parsed(message):
    """{field: value} of a WebSocket's message. Raises Refusal."""
    text = message.get("text")
    if text is None:
        raise _unfit("messages are JSON texts, not bytes")
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _unfit("the message is no JSON") from error
    if not isinstance(parsed, dict):
        raise _unfit("a message is a JSON object with a type")
    return parsed


def _unfit(message):
    return Refusal(400, message)
