"""How each voice sounds: a short sentence in MP3, spoken when it is first asked for and kept."""

import asyncio
from collections import OrderedDict

from orpheus.server.engine import EngineError
from orpheus.server.failures import Refusal, broken
from orpheus.server.sound import SoundWriter
from orpheus.server.speaking import Wanted

FORMAT = "mp3"
_KEPT = 64  # some 20 kB each
_TEXTS = {
    "en": "Hello there. This is how I sound.",
    "de": "Hallo. So klinge ich.",
    "es": "Hola. Así es como sueno.",
    "fr": "Bonjour. Voici ma voix.",
    "hi": "नमस्ते। यह मेरी आवाज़ है।",
    "it": "Ciao. Questa è la mia voce.",
    "ko": "안녕하세요. 이것이 제 목소리입니다.",
    "zh": "你好，这是我的声音。",
}


class Previews:
    """speaker: Speaker"""

    def __init__(self, speaker):
        self._speaker, self._kept, self._tasks = speaker, OrderedDict(), {}

    async def of(self, voice, key):
        """MP3 of a voice; key: who asks, for the first time. Raises Refusal, with 404 where there is no such voice."""
        self._speaker.check_loaded()
        try:
            place = self._speaker.catalogue.find(None, voice)
        except Refusal as refusal:
            raise Refusal(404, refusal.message, param="voice", code="voice_not_found") from refusal
        if place in self._kept:
            self._kept.move_to_end(place)
            return self._kept[place]
        if place not in self._tasks:
            self._tasks[place] = asyncio.get_running_loop().create_task(self._speak(place, voice, key))
            self._tasks[place].add_done_callback(lambda _: self._tasks.pop(place))
        return await asyncio.shield(self._tasks[place])  # who hangs up does not take it from the others

    async def _speak(self, place, voice, key):
        text = _TEXTS.get(self._speaker.language(None, voice) or "en", _TEXTS["en"])
        speech = await self._speaker.open(Wanted(text, voice=voice, choices={"seed": 0}), key)
        writer, reason = SoundWriter(FORMAT, whole=True, threads=self._speaker.threads), "hang_up"
        try:
            self._kept[place] = await writer.whole(speech)
            reason = "done"
        except EngineError as error:
            reason = "engine_error"
            raise broken(f"the preview could not be spoken: {error}") from error
        finally:
            writer.close()
            speech.close(reason)
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return self._kept[place]
