"""What Home Assistant sends, with the package it sends it with."""

import asyncio

import pytest
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong
from wyoming.tts import Synthesize, SynthesizeChunk, SynthesizeStart, SynthesizeStop, SynthesizeStopped, SynthesizeVoice

from tests.fakes.server import serving, wait_for


@pytest.fixture
def home(talker):
    with serving({"small": talker[1]}, wyoming=0) as running:
        wait_for(lambda: running.wyoming, "Wyoming")
        running.port = running.wyoming.sockets[0].getsockname()[1]
        yield running


def talk(running, *events, until=None):
    """Events that come after these were sent, up to one of the class `until`."""

    async def main():
        async with AsyncTcpClient("127.0.0.1", running.port) as client:
            for event in events:
                await client.write_event(event.event())
            heard = []
            while not heard or not until.is_type(heard[-1].type):
                heard.append(await asyncio.wait_for(client.read_event(), 20))
            return heard

    return asyncio.run(main())


def sound(events):
    return b"".join(AudioChunk.from_event(event).audio for event in events if AudioChunk.is_type(event.type))


def test_it_says_what_it_is(home):
    (event,) = talk(home, Describe(), until=Info)
    (program,) = Info.from_event(event).tts
    assert program.supports_synthesize_streaming and program.installed
    assert [(voice.name, voice.languages) for voice in program.voices] == [("ann", ["en"]), ("bob", ["en"])]


def test_a_whole_text(home):
    heard = talk(home, Synthesize("Yes. No.", voice=SynthesizeVoice(name="bob")), until=AudioStop)
    start = AudioStart.from_event(heard[0])
    assert (start.rate, start.width, start.channels) == (24_000, 2, 1)
    assert len(sound(heard)) >= 6 * 4096 and sum(AudioStart.is_type(event.type) for event in heard) == 1


def test_a_text_in_chunks_that_are_not_cut_at_words(home):
    chunks = [SynthesizeChunk(text) for text in ("Hel", "lo there. How ar", "e you?")]
    heard = talk(
        home,
        SynthesizeStart(),
        *chunks,
        Synthesize("Hello there. How are you?"),
        SynthesizeStop(),
        until=SynthesizeStopped,
    )
    kinds = [event.type for event in heard]
    assert kinds[0] == "audio-start" and kinds[-2:] == ["audio-stop", "synthesize-stopped"]
    assert len(sound(heard)) == 2 * 6 * 4096  # two sentences, once


def test_pings_and_faults(home):
    (event,) = talk(home, Ping(text="a"), until=Pong)
    assert Pong.from_event(event).text == "a"
    (event,) = talk(home, Synthesize("Yes.", voice=SynthesizeVoice(name="eve")), until=Error)
    assert "unknown voice 'eve'" in Error.from_event(event).text
    (event,) = talk(home, Synthesize("..."), until=Error)
    assert "nothing to speak" in Error.from_event(event).text


def test_a_client_that_hangs_up_frees_its_row_at_once(home, talker):
    talker[0].frames, talker[0].pause = 500, 0.2  # a second and a half for a frame

    async def main():
        client = AsyncTcpClient("127.0.0.1", home.port)
        await client.connect()
        await client.write_event(Synthesize("Yes.").event())
        while not home.speaker.engine.streams:
            await asyncio.sleep(0.01)
        await client.disconnect()

    asyncio.run(main())
    wait_for(lambda: home.speaker.engine.streams == home.speaker.admission.active == 0, "the row", 1)


@pytest.mark.parametrize("more", [[], [Ping(text="a")], [SynthesizeChunk("x" * 1000)] * 50], ids=["", "ping", "chunks"])
def test_a_client_that_hangs_up_between_two_chunks_frees_its_row(home, talker, more):
    """Its text has 190 frames; a chunk is 7 steps, and nothing is read of them."""
    talker[0].frames, talker[0].pause = 190, 0.02
    pool = home.speaker.engine.pools["small"]

    async def main():
        async with AsyncTcpClient("127.0.0.1", home.port) as client:
            for event in [Synthesize("Yes."), *more]:
                await client.write_event(event.event())
            heard = await asyncio.wait_for(client.read_event(), 20)
            assert AudioStart.is_type(heard.type) and len(pool._jobs) == 1
            return pool.counts["steps"]

    steps = asyncio.run(main())
    wait_for(lambda: not pool._jobs, "a free row")
    assert pool.counts["steps"] - steps <= 5  # the next chunk comes 7 steps after the last
    wait_for(lambda: home.speaker.admission.active == 0, "its place")
    assert b'reason="hang_up"} 1.0' in home.speaker.metrics.page()
    assert talk(home, Ping(), until=Pong)


def test_events_that_come_while_a_text_is_spoken_are_answered_after_it(home):
    heard = talk(home, Synthesize("Yes."), Ping(text="b"), Synthesize("No."), Ping(text="c"), until=AudioStop)
    assert [event.type for event in heard][-1] == "audio-stop"
    heard = talk(home, Synthesize("Yes."), Ping(text="b"), until=Pong)
    assert [event.type for event in heard][-2:] == ["audio-stop", "pong"]


@pytest.mark.parametrize(
    "data",
    [
        b"{\n",
        b"\xff\xfe\n",
        b"[]\n",
        b'{"type": "synthesize"}\n',
        b'{"type": "synthesize", "data_length": -5}\n',
        b"a" * 300_000,
    ],
)
def test_malformed_lines_end_their_connection_only(home, data):
    async def main():
        reader, writer = await asyncio.open_connection("127.0.0.1", home.port)
        writer.write(data)
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()

    asyncio.run(main())
    assert talk(home, Ping(), until=Pong)
