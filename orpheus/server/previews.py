"""How each voice sounds: one sentence, spoken by the server itself when it is first asked for, and kept in memory."""

import asyncio

from orpheus.server.engine import EngineError
from orpheus.server.failures import Refusal, broken, unavailable
from orpheus.server.sound import SoundWriter
from orpheus.server.speaking import Wanted

MEDIA_TYPE = "audio/mpeg"
SENTENCES = {
    "en": "Hello! This is how I sound.",
    "de": "Hallo! So klinge ich.",
    "es": "¡Hola! Así sueno yo.",
    "fr": "Bonjour ! Voici comment je parle.",
    "hi": "नमस्ते! मेरी आवाज़ ऐसी है।",
    "it": "Ciao! Ecco come parlo.",
    "ko": "안녕하세요! 제 목소리는 이렇습니다.",
    "pt": "Olá! É assim que eu falo.",
    "zh": "你好！这是我的声音。",
}
_SEED = 1  # the same sound after a restart
_MOST_KEPT = 64  # some 20 kB each


class Previews:
    """speaker: Speaker. For one event loop."""

    def __init__(self, speaker):
        self._speaker, self._kept, self._coming = speaker, {}, {}

    async def sound(self, name, key):
        """The MP3 of a voice of the list. key: who asks, whose turn it takes where it is not made yet. Raises Refusal."""
        if self._speaker.catalogue is None:
            raise unavailable("the model is being loaded: ask again in some seconds", 5)
        rows = self._speaker.catalogue.listed_voices()["voices"]
        row = next((row for row in rows if row["id"] == name), None)
        if row is None:
            raise Refusal(404, f"there is no voice {name!r:.100}; /v1/audio/voices lists them", code="voice_not_found")
        if name in self._kept:
            return self._kept[name]
        if name not in self._coming:  # one time for all who wait; it goes on where the first of them hangs up
            task = self._coming[name] = asyncio.get_running_loop().create_task(self._make(row, key))
            task.add_done_callback(lambda _: self._coming.pop(name))
        return await asyncio.shield(self._coming[name])

    async def _make(self, row, key):
        sentence = SENTENCES.get((row["language"] or "en").partition("-")[0], SENTENCES["en"])
        wanted = Wanted(sentence, row["model"], row["id"], {"seed": _SEED}, whole=True)
        speech, reason = await self._speaker.open(wanted, key), "hang_up"
        writer, made = SoundWriter("mp3", whole=True, threads=self._speaker.threads), []
        try:
            async for items in speech:
                made.append(await writer.write([value for kind, value in items if kind == "chunk"]))
            made.append(await writer.write([], last=True))
            reason = "done" if speech.finish_reason == "end_of_speech" else speech.finish_reason
        except EngineError as error:
            reason = "engine_error"
            raise broken(f"this voice could not be heard: {error}") from error
        finally:
            writer.close()
            speech.close(reason)
        sound = b"".join(made)
        if reason == "done":
            while len(self._kept) >= _MOST_KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[row["id"]] = sound
        return sound
