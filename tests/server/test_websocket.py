"""Text that is still being written, over a WebSocket."""

import json

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from orpheus.server.sentences import SentenceBuffer
from tests.fakes.server import serving, wait_for

FRAME_BYTES = 4096


@pytest.fixture
def socket(server):
    with connect(f"ws{server.address[4:]}/v1/audio/speech/stream", compression=None, proxy=None) as socket:
        yield socket


def tell(socket, kind, **fields):
    socket.send(json.dumps({"type": kind, **fields}))


def hear(socket, until="session.done"):
    """[message or bytes] up to one of this type."""
    heard = []
    while not heard or heard[-1] == "" or isinstance(heard[-1], bytes) or heard[-1]["type"] != until:
        message = socket.recv(timeout=60)
        heard.append(message if isinstance(message, bytes) else json.loads(message))
    return heard


def test_sentences_are_spoken_as_they_are_complete(socket):
    tell(socket, "session.config", voice="bob", response_format="pcm", stream_audio=True)
    for text in ("Hello th", "ere, Bob. How", " are you?"):
        tell(socket, "input.text", text=text)
    first = hear(socket, "audio.done")  # before the text is over
    assert first[0] == {
        "type": "audio.start",
        "utterance_index": 0,
        "sentence_index": 0,
        "sentence_text": "Hello there, Bob.",
        "format": "pcm",
        "sample_rate": 24_000,
        "channels": 1,
    }
    sound = [part for part in first if isinstance(part, bytes)]
    assert len(sound) > 2 and len(b"".join(sound)) == 6 * FRAME_BYTES
    assert first[-1] == {
        "type": "audio.done",
        "utterance_index": 0,
        "sentence_index": 0,
        "total_bytes": 6 * FRAME_BYTES,
        "error": False,
    }
    tell(socket, "input.done")
    second = hear(socket)
    assert second[0]["sentence_text"] == "How are you?" and second[0]["sentence_index"] == 1
    assert second[-1] == {"type": "session.done", "utterance_index": 0, "total_sentences": 2}


def test_a_session_has_many_utterances(socket):
    tell(socket, "session.config", response_format="wav")
    for utterance in range(3):
        tell(socket, "input.text", text="Yes. No.")
        tell(socket, "input.done")
        heard = hear(socket)
        files = [part for part in heard if isinstance(part, bytes)]
        assert [file[:4] for file in files] == [b"RIFF"] * 2 and len(files[0]) == 44 + 6 * FRAME_BYTES
        assert heard[-1] == {"type": "session.done", "utterance_index": utterance, "total_sentences": 2}
    tell(socket, "session.config", response_format="flac", speed=2)
    tell(socket, "input.done")
    assert hear(socket) == [{"type": "session.done", "utterance_index": 3, "total_sentences": 0}]
    tell(socket, "session.close")
    with pytest.raises(ConnectionClosed):
        socket.recv(timeout=60)


@pytest.mark.parametrize(
    "message, said",
    [
        ("{", "the message is no JSON"),
        ("[1]", "a JSON object"),
        (b"\x00\xff", "JSON texts, not bytes"),
        ('{"type": "input.text"}', "needs a text"),
        ('{"type": "input.text", "text": 5}', "needs a text"),
        ('{"type": "dance"}', "there is no message of type 'dance'"),
        ("{}", "there is no message of type None"),
        ("[" * 50_000, "the message is no JSON"),
        ('{"type": "session.config", "voice": "eve"}', "unknown voice 'eve'"),
        ('{"type": "session.config", "speed": 9}', "less than or equal to 4"),
        ('{"type": "session.config", "ref_audio": "/etc/passwd"}', "ref_audio is not known here"),
        ('{"type": "session.config", "1": 2}', "not known here"),
        ('{"type": "input.text", "text": "%s"}' % ("a" * 100_001), "at most 100,000 characters"),
    ],
)  # fmt: skip
def test_messages_that_make_no_sense_are_told_and_the_session_goes_on(socket, message, said):
    tell(socket, "session.config", response_format="pcm")
    socket.send(message)
    assert said in hear(socket, "error")[0]["message"]
    tell(socket, "input.text", text="Yes.") if "aaaa" not in str(message) else None
    tell(socket, "input.done")
    assert hear(socket)[-1]["type"] == "session.done"


@pytest.mark.parametrize(
    "message", ["{", '{"type": "input.text", "text": "Yes."}', '{"type": "session.config", "model": "gpt-5"}', b"x"]
)
def test_a_session_begins_with_its_config(socket, message):
    socket.send(message)
    assert hear(socket, "error")[0]["message"]
    with pytest.raises(ConnectionClosed):
        socket.recv(timeout=60)


def test_the_config_stays_within_an_utterance(socket):
    tell(socket, "session.config")
    tell(socket, "input.text", text="Well")
    tell(socket, "session.config")
    assert "send input.done first" in hear(socket, "error")[0]["message"]


def test_a_frame_that_is_too_large_ends_the_connection(server, socket):
    tell(socket, "session.config")
    with pytest.raises(ConnectionClosed):
        socket.send("x" * 300_000)
        socket.recv(timeout=60)
    assert server.http.get("/healthz").status_code == 200


def test_one_that_hangs_up_leaves_nothing(server):
    server.talker.frames, server.talker.pause = 190, 0.0015
    with connect(f"ws{server.address[4:]}/v1/audio/speech/stream", compression=None, proxy=None) as socket:
        tell(socket, "session.config", response_format="pcm", stream_audio=True)
        tell(socket, "input.text", text="Yes. No. Perhaps.")
        hear(socket, "audio.start")
        socket.socket.close()
    wait_for(lambda: server.speaker.admission.active == 0)
    wait_for(lambda: not server.speaker.engine.pools["small"]._jobs)


def test_who_may_open_one(talker):
    with serving({"small": talker[1]}, keys={"abcdefgh": "anna"}) as running:
        address = f"ws{running.address[4:]}/v1/audio/speech/stream"
        for headers in (
            {},
            {"Authorization": "Bearer wrong-key"},
            {"Authorization": "Bearer abcdefgh", "Origin": "http://evil.example"},
        ):
            with pytest.raises(InvalidStatus), connect(address, additional_headers=headers, proxy=None):
                pass
        with connect(address, additional_headers={"Authorization": "Bearer abcdefgh"}, proxy=None) as socket:
            tell(socket, "session.config")


# --- sentences ---


def sentences(*chunks, granularity="sentence"):
    buffer = SentenceBuffer(granularity)
    return [*(part for chunk in chunks for part in buffer.push(chunk)), *buffer.finish()]


def test_chunks_change_nothing():
    text = 'Hello there, Dr. Who. It costs 3.50 today! "Really?" she said... Yes.\n\nA title\n\nThe end'
    whole = sentences(text)
    assert whole[0] == "Hello there, Dr. Who." and whole[-2:] == ["A title", "The end"] and len(whole) > 5
    for size in (1, 2, 3, 7, 20):
        assert sentences(*(text[start : start + size] for start in range(0, len(text), size))) == whole
    assert "".join(whole).replace(" ", "") == "".join(text.split())  # nothing is lost


def test_granularity():
    text = "When I was younger, I went there; and then, of course, home. Yes."
    assert sentences(text, granularity="none") == [text]
    assert sentences(text, granularity="sentence") == [text[:-5], "Yes."]
    clauses = sentences(text[:40], text[40:], granularity="clause")
    assert clauses[0] == "When I was younger, I went there;" or clauses[0] == "When I was younger,"
    assert " ".join(clauses) == text


def test_what_cannot_be_said_is_left_out():
    assert sentences("Yes. ... ", "!!! No.") == ["Yes. ...", "!!! No."] or sentences("Yes. ... ", "!!! No.")[
        0
    ].startswith("Yes.")
    assert sentences(" ", "\n", "...") == []


def test_a_sentence_without_end_is_cut():
    parts = sentences(*(["word "] * 1000))
    assert len(parts) > 1 and " ".join(parts).split() == ["word"] * 1000


def test_a_session_may_be_quiet_for_longer_than_headers_may_take(talker):
    with (
        serving({"small": talker[1]}, receive_seconds=0.3) as running,
        connect(f"ws{running.address[4:]}/v1/audio/speech/stream", compression=None, proxy=None) as socket,
    ):
        tell(socket, "session.config", response_format="pcm")
        with pytest.raises(TimeoutError):
            socket.recv(timeout=0.8)
        tell(socket, "input.done")
        assert hear(socket)[-1]["type"] == "session.done"
