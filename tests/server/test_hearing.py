"""Word times: by piece to the sample, and as a recogniser hears them."""

import asyncio
import json
import os

import numpy as np
import pytest

from orpheus.common.errors import InputError
from orpheus.server.hearing import WordListener
from orpheus.server.words import WordTimes, share, voiced
from tests.fakes.server import serving, wait_for

SECOND = 24_000


class Listener:
    """Hears what it is told to; notes the samples of each piece."""

    def __init__(self, *heard):
        self.heard, self.asked = list(heard), []

    def hears(self, language):
        return language != "xx"

    async def words(self, sound, language):
        self.asked.append((len(sound), language))
        return self.heard.pop(0)

    def close(self):
        pass


def timed(pieces, sounds, **more):
    """[(method, [(word, start, end)])] of pieces with their sounds."""
    times = WordTimes(pieces, **more)

    async def main():
        made = []
        for sound in sounds:
            half = len(sound) // 2
            assert times.after([("chunk", sound[:half])]) == []
            made += [await work for work in times.after([("chunk", sound[half:]), ("piece", (7, "end_of_speech"))])]
        return made

    return [(method, [tuple(word.values()) for word in words]) for words, method in asyncio.run(main())]


def tone(seconds, before=0.0, after=0.0):
    parts = [np.zeros(round(before * SECOND)), np.full(round(seconds * SECOND), 0.5), np.zeros(round(after * SECOND))]
    return np.concatenate(parts).astype(np.float32)


def test_words_share_their_piece_by_their_letters():
    assert share("a bbb, <laugh> cc", 0, 1100) == [("a", 0, 200), ("bbb,", 200, 600), ("cc", 800, 1100)]
    assert voiced(tone(1, 0.5, 0.25)) == (SECOND // 2, SECOND + SECOND // 2)
    made = timed(["a a", "b"], [tone(1, 0.5, 0.5), tone(1)])
    assert made == [("piece", [("a", 0.5, 1.0), ("a", 1.0, 1.5)]), ("piece", [("b", 2.0, 3.0)])]


def test_words_that_are_heard_have_their_own_times():
    listener = Listener([("Good", 0.1, 0.3), ("more", 0.35, 0.4), ("you", 0.8, 0.95)], [("Yes.", 0.2, 0.4)])
    pieces, sounds = ["Good morning to you.", "Yes!"], [tone(1), tone(1)]
    (method, first), second = timed(pieces, sounds, listener=listener, language="en")
    assert method == "recogniser" and second == ("recogniser", [("Yes!", 1.2, 1.4)])
    assert first[0] == ("Good", 0.1, 0.3) and first[3] == ("you.", 0.8, 0.95)
    assert [first[1][1], first[2][2]] == [0.3, 0.8] and first[1][2] == first[2][1]  # between those that were heard
    assert listener.asked == [(SECOND, "en"), (SECOND, "en")]


def test_speed_moves_what_is_heard():
    made = timed(["Yes."], [tone(1)], listener=Listener([("yes", 0.2, 0.6)]), language="en", speed=2.0)
    assert made == [("recogniser", [("Yes.", 0.1, 0.3)])]


@pytest.mark.parametrize("heard, language", [(None, "en"), ((), "en"), ([("Yes", 0, 1)], "xx")])
def test_what_is_not_heard_is_shared(heard, language):
    made = timed(["Yes."], [tone(1, 0.5)], listener=Listener(heard), language=language)
    assert made == [("piece", [("Yes.", 0.5, 1.5)])]


class Slow(Listener):
    """Hears a piece only once it is let to."""

    async def words(self, sound, language):
        self.asked.append(len(sound))
        await self.free.wait()
        return [("yes", 0.0, 1.0)]


def test_beyond_eight_pieces_that_wait_words_share_theirs():
    async def main():
        listener = Slow()
        listener.free = asyncio.Event()
        times = WordTimes(["Yes."] * 10, listener=listener, language="en")
        tasks = []
        for _ in range(10):
            tasks += map(asyncio.ensure_future, times.after([("chunk", tone(1)), ("piece", (7, "end_of_speech"))]))
        await asyncio.sleep(0.05)
        assert [task.done() for task in tasks] == [False] * 8 + [True] * 2 and len(listener.asked) == 8
        listener.free.set()
        return [method for _, method in await asyncio.gather(*tasks)]

    assert asyncio.run(main()) == ["recogniser"] * 8 + ["piece"] * 2


# --- the recogniser's process ---


def begin(language, model):
    if model == "broken":
        raise InputError("no such model")


def hear(sound):
    if len(sound) == 13:
        os._exit(1)
    return [("yes", 0.25, len(sound) / SECOND)]


def listening(model, *sounds, language="en"):
    listener = WordListener(model, begin, hear)

    async def main():
        return [await listener.words(sound, language) for sound in sounds]

    try:
        return listener, asyncio.run(main())
    finally:
        listener.close()


@pytest.fixture
def installed(monkeypatch):
    monkeypatch.setattr("orpheus.server.hearing.find_spec", lambda name: name)


def test_it_listens_in_a_process_of_its_own(installed, capfd, monkeypatch):
    monkeypatch.setattr("orpheus.server.hearing._SECONDS", 100)  # to start the process may take long beside other tests
    sound, deadly = np.zeros(SECOND, np.float32), np.zeros(13, np.float32)
    listener, heard = listening("auto", sound, sound, deadly, sound)
    assert heard == [[("yes", 0.25, 1.0)], [("yes", 0.25, 1.0)], None, None]
    assert not listener.hears("en")
    assert capfd.readouterr().err.count("no recogniser for 'en'") == 1  # said once


def test_a_model_that_cannot_be_loaded_is_said_once(installed, capfd):
    listener, heard = listening("broken", *[np.zeros(10, np.float32)] * 2, language="de")
    assert heard == [None, None] and not listener.hears("de") and listener.hears("fr")
    assert capfd.readouterr().err.count("no recogniser for 'de'") == 1


def test_whom_it_hears(installed, monkeypatch):
    assert [WordListener().hears(language) for language in (None, "en", "de")] == [True, True, False]
    assert [WordListener("small").hears(language) for language in (None, "en", "de")] == [True, True, True]
    assert not WordListener("piece").hears("en")
    monkeypatch.setattr("orpheus.server.hearing.find_spec", lambda name: None)
    assert not WordListener().hears("en")
    with pytest.raises(InputError, match="--word-times small needs faster-whisper: pip install faster-whisper"):
        WordListener("small")


def test_events_say_how_the_times_were_found(talker):
    with serving({"small": talker[1]}, word_times="piece") as running:
        running.speaker.listener = Listener([("Good", 0.05, 0.2), ("morning", 0.2, 0.45)])
        import httpx

        fields = {"input": "Good morning.", "stream_format": "sse", "timestamps": True, "response_format": "pcm"}
        made = httpx.post(f"{running.address}/v1/audio/speech", json=fields, timeout=60).text
        events = [json.loads(line[6:]) for line in made.splitlines() if line]
        (words,) = (event for event in events if event["type"] == "speech.audio.words")
        assert words["method"] == "recogniser"
        assert [(word["start"], word["end"]) for word in words["words"]] == [(0.05, 0.2), (0.2, 0.45)]
        wait_for(lambda: running.speaker.admission.active == 0)
