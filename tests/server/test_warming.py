"""What is done before the first client comes."""

import threading
from dataclasses import replace

import pytest

from orpheus.common.encoders import STREAMED, AudioEncoder
from orpheus.common.errors import OrpheusError
from orpheus.server import warming
from orpheus.server.options import ServerOptions
from orpheus.server.pool import StreamPool
from orpheus.server.running import Running
from orpheus.server.warming import warm_encoders, warm_pools
from tests.fakes.server import Reader, Talker, ThreadEngine, wait_for


@pytest.mark.parametrize("length, texts", [(1536, 3), (512, 3), (511, 2), (256, 2)])
def test_each_pool_speaks_for_nobody(talker, length, texts):
    engine, model = talker
    with (
        StreamPool(model, 2, length, 0) as one,
        StreamPool(replace(model, engine=Talker(engine.layout)), 2, length, 0) as other,
    ):
        warm_pools({"one": one, "other": other})
        assert len(engine.spoken) == len(other.tts.engine.spoken) == texts
        assert len(set(map(len, engine.spoken))) == texts - 1  # prompts of two sizes
        wait_for(lambda: not one._jobs and one.backlog() == 0)
        assert len(list(one.submit("Good morning.", max_new_tokens=70))) > 0  # it goes on from there


def test_one_slot_is_enough(talker):
    engine, model = talker
    with StreamPool(model, 1, 1536, 0) as pool:
        warm_pools({"one": pool})
        assert len(engine.spoken) == 2


def test_a_pool_that_does_not_speak_says_so(talker):
    engine, model = talker
    engine.fail = RuntimeError("the kernel cannot be compiled")
    with (
        StreamPool(model, 2, 1536, 0) as pool,
        pytest.raises(OrpheusError, match="small was loaded, but does not speak: the kernel cannot be compiled"),
    ):
        warm_pools({"small": pool})


def test_every_format_is_made_once(monkeypatch):
    made = []
    monkeypatch.setattr(warming, "AudioEncoder", lambda format: made.append(format) or AudioEncoder(format))
    warm_encoders()
    assert tuple(made) == STREAMED


class Illiterate(Reader):
    """Cannot be taught."""

    async def teach(self, models):
        raise OrpheusError("a process that reads texts ended")


def test_what_cannot_be_made_ready_ends_the_server(talker, capsys):
    options = ServerOptions(port=0)
    engine = ThreadEngine({"small": talker[1]}, 2, 8)
    server = Running(options, {}, engine=engine, preparer=Illiterate())
    found = []

    def run():
        try:
            server.run()
        except OrpheusError as error:
            found.append(str(error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(60)
    assert found == ["a process that reads texts ended"] and not server.speaker.ready
    assert "nothing can be spoken: a process that reads texts ended" in capsys.readouterr().err
