"""Several fronts: what they ask the one process that started them, and what becomes of it when a process dies."""

import asyncio
import pickle
from dataclasses import replace
from types import SimpleNamespace

import pytest

from orpheus.common.errors import InputError
from orpheus.server.engine import EngineError
from orpheus.server.engine_process import EngineSpec, facts_of, open_door
from orpheus.server.failures import Refusal
from orpheus.server.front import AskedAdmission
from orpheus.server.fronts import Fronts, options_of_front, shares
from orpheus.server.joined import Engines, JoinedEngine
from orpheus.server.metrics import Metrics, lasting, merge, page_of
from orpheus.server.options import ServerOptions
from orpheus.server.pool import StreamPool
from orpheus.server.preparing import Plan, plan_text
from tests.fakes.server import Talker

SPEC = EngineSpec(((None, {}),), 7, 1536, 8)


# --- what is split, and what is of all together ---


def test_slots_and_cores_are_split(tmp_path, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    parts = shares(SPEC, 3, tmp_path)
    assert [part.slots for part in parts] == [3, 2, 2] and [part.threads for part in parts] == [2, 2, 2]
    assert len({part.door for part in parts}) == 3
    (one,) = shares(SPEC, 1, tmp_path)
    assert one.slots == 7 and one.threads is None
    assert [part.slots for part in shares(replace(SPEC, slots=None), 2, tmp_path)] == [None, None]
    with pytest.raises(InputError, match="max_streams 7 is too few for 8 fronts"):
        shares(SPEC, 8, tmp_path)


@pytest.mark.parametrize("connections, fronts, each", [(2000, 2, 1000), (10, 3, 4), (1, 4, 1)])
def test_connections_are_split_and_the_first_front_speaks_wyoming(connections, fronts, each):
    options = ServerOptions(connections=connections, fronts=fronts, wyoming=10200)
    told = [options_of_front(options, number) for number in range(fronts)]
    assert [one.connections for one in told] == [each] * fronts
    assert [one.wyoming for one in told] == [10200] + [None] * (fronts - 1)


class Wire:
    """A Link that keeps what is sent."""

    def __init__(self):
        self.sent = []

    def send(self, *message):
        self.sent.append(message)

    def close(self, seconds=0.0):
        pass


@pytest.fixture
def started():
    """Fronts of two engines with 2 and 1 slots and two fronts, none of them a process."""
    fronts = Fronts(ServerOptions(fronts=2, queue=2, streams_per_key=3), {}, replace(SPEC, slots=3), 2)
    for engine in fronts.engines:
        engine.state, engine.facts = "ready", {"slots": engine.spec.slots}
    fronts._learn(None)
    fronts._end = SimpleNamespace(is_set=lambda: True)
    for number in range(2):
        fronts.fronts[number] = SimpleNamespace(link=Wire(), tickets={}, counted=[], ready=True)
    return fronts


def admit(fronts, front, number, key="a"):
    fronts._heard(front, fronts.fronts[front], "admit", number, key)
    return fronts.fronts[front].link.sent[-1]


def test_limits_are_those_of_all_fronts_together(started):
    assert started.admission.slots == 3
    assert [admit(started, 0, 0), admit(started, 1, 0), admit(started, 1, 1)] == [
        ("answer", 0, 0),
        ("answer", 0, 0),
        ("answer", 1, 1),
    ]  # each to the engine with the most room
    kind, number, parts = admit(started, 0, 1)
    assert kind == "refused" and Refusal(*parts).status == 429 and "3 texts of yours" in parts[1]
    assert admit(started, 0, 2, "b")[0] == admit(started, 0, 3, "c")[0] == "answer"
    kind, _, parts = admit(started, 1, 2, "d")
    assert kind == "refused" and parts[1].startswith("3 texts are being spoken and 2 are waiting")
    started._heard(1, started.fronts[1], "leave", 0)
    started._heard(1, started.fronts[1], "leave", 0)  # no second time
    assert started.admission.active == 4 and admit(started, 1, 3, "d")[0] == "answer"


def test_a_front_that_dies_gives_its_places_back(started):
    for number in range(3):
        admit(started, 0, number)
    admit(started, 1, 0, "b")
    started._died(0, started.fronts[0])
    assert started.admission.active == 1 and sum(started._speaking) == 1
    assert admit(started, 1, 1)[0] == "answer"


def test_an_engine_that_is_gone_is_given_nothing(started):
    started.engines[0].state = "loading"
    assert [admit(started, 0, number, f"{number}")[2] for number in range(3)] == [1, 1, 1]
    started.engines[1].state = "loading"
    assert admit(started, 0, 3, "x") == ("answer", 3, None)  # the front says that it is loading


def test_a_front_asks_for_places():
    async def main():
        asked, left = [], []

        async def ask(kind, *rest):
            asked.append((kind, *rest))
            if rest == ("greedy",):
                raise Refusal(429, "too many", wait=3)
            return len(asked), 1

        admission = AskedAdmission(ask, left.append)
        ticket = await admission.enter("a")
        assert ticket.engine == 1 and admission.active == 1
        with pytest.raises(Refusal, match="too many"):
            await admission.enter("greedy")
        assert admission.active == 1
        ticket.leave()
        ticket.leave()
        assert admission.active == 0 and left == [1] and asked == [("admit", "a"), ("admit", "greedy")]

    asyncio.run(main())


@pytest.mark.parametrize(
    "refusal", [Refusal(429, "no", "rate_limit_error", code="x", wait=2.5), Refusal(400, "b", param="voice")]
)
def test_a_refusal_travels(refusal):
    other = Refusal(*pickle.loads(pickle.dumps(refusal.parts)))
    assert (other.status, other.body, other.headers) == (refusal.status, refusal.body, refusal.headers)


# --- what was counted ---


def test_counts_are_added_up():
    one, other = Metrics(), Metrics()
    for metrics, texts in ((one, 2), (other, 3)):
        metrics.streams.set(texts)
        metrics.ready.set(metrics is other)
        for _ in range(texts):
            metrics.ends.labels("done").inc()
            metrics.first_audio.observe(0.12 * texts)
    other.refusals.labels("429").inc(7)
    page = page_of(merge([*one.families(), *pickle.loads(pickle.dumps(other.families()))])).decode().splitlines()
    for line in (
        'orpheus_requests_total{reason="done"} 5.0',
        'orpheus_refusals_total{status="429"} 7.0',
        "orpheus_streams 5.0",
        "orpheus_ready 0.0",
        'orpheus_first_audio_seconds_bucket{le="0.3"} 2.0',
        'orpheus_first_audio_seconds_bucket{le="+Inf"} 5.0',
        "orpheus_first_audio_seconds_count 5.0",
    ):
        assert line in page
    assert len(page) == len(set(page))
    kept = page_of(lasting(one.families())).decode()  # of one that has ended
    assert 'orpheus_requests_total{reason="done"} 2.0' in kept and "orpheus_streams" not in kept


def test_two_fronts_ask_at_once_and_one_does_not_answer(started, monkeypatch):
    monkeypatch.setattr("orpheus.server.fronts._TO_COUNT", 0.2)
    metrics = Metrics()
    metrics.ends.labels("done").inc(3)
    for front in started.fronts.values():
        front.gone, front.counted = False, metrics.families()

    async def main():
        started._loop = asyncio.get_running_loop()
        for number, front in started.fronts.items():
            started._heard(number, front, "page", 7)  # each has numbers of its own
        await asyncio.sleep(0.02)
        metrics.ends.labels("done").inc()
        for _, question in [message for message in started.fronts[0].link.sent if message[0] == "count"]:
            started._heard(0, started.fronts[0], "counted", question, metrics.families())
        await asyncio.sleep(0.4)

    asyncio.run(main())
    for front in started.fronts.values():
        kind, number, page = front.link.sent[-1]
        assert (kind, number) == ("answer", 7) and b'orpheus_requests_total{reason="done"} 7.0' in page
        assert b"orpheus_fronts 2.0" in page
    assert started._counts == {}


# --- engines that were started elsewhere ---


@pytest.fixture
def door(talker, tmp_path):
    """Opens a door to a pool of two slots; returns its path and the engine."""
    pools = []

    def open_one(name="engine", pause=0.0):
        engine = Talker(talker[1].engine.layout, pause=pause)
        pool = StreamPool(replace(talker[1], engine=engine), 2, 1536, 4)
        pools.append(pool)
        open_door(str(tmp_path / name), {"small": pool}, facts_of({"small": pool}), lambda: None)
        return str(tmp_path / name), engine

    yield open_one
    for pool in pools:
        pool.close()


def plan_of(model):
    return Plan("small", *plan_text(model, "Good morning.", None, {"max_new_tokens": 70}))


async def samples_of(stream):
    total, over = 0, False
    try:
        while not over:
            items = await stream.take()
            total += sum(len(value) for kind, value, _ in items if kind == "chunk")
            over = any(kind == "over" for kind, *_ in items)
    finally:
        stream.close()
    return total


def test_two_fronts_speak_through_one_engine(talker, door):
    path, _ = door()

    async def main():
        fronts = [Engines([JoinedEngine(path)]) for _ in range(2)]
        for front in fronts:
            front.on_ready, front.on_restart = lambda facts: None, lambda: None
            front.start()
        await asyncio.gather(*(front.settled() for front in fronts))
        made = await asyncio.gather(
            *(samples_of(front.speak(plan_of(talker[1]), 0)) for front in fronts for _ in range(3))
        )
        assert len(set(made)) == 1 and made[0] > 5 * 2048
        fronts[0].close()
        assert await samples_of(fronts[1].speak(plan_of(talker[1]))) == made[0]  # the other one goes on
        with pytest.raises(EngineError):
            fronts[0].speak(plan_of(talker[1]))
        fronts[1].close()

    asyncio.run(asyncio.wait_for(main(), 30))


def test_a_front_joins_an_engine_that_comes_later_and_loses_one_that_goes(talker, door, tmp_path):
    path, _ = door("a")
    log = []

    async def main():
        engines = Engines([JoinedEngine(path), JoinedEngine(str(tmp_path / "b"))])
        engines.on_ready, engines.on_restart = lambda facts: log.append(facts["slots"]), lambda: log.append("lost")
        assert engines.state == "loading"
        with pytest.raises(EngineError, match="being loaded"):
            engines.speak(plan_of(talker[1]))
        engines.start()
        await engines.settled()
        first, second = engines._engines
        assert (first.state, second.state) == ("ready", "loading")
        await samples_of(engines.speak(plan_of(talker[1]), 1))  # by the other one
        door("b", pause=0.05)
        await asyncio.wait_for(second.settled(), 20)
        stream = engines.speak(plan_of(talker[1]), 1)
        assert second.streams == 1 and first.streams == 0
        second._left()
        with pytest.raises(EngineError, match="stopped while this was spoken"):
            await samples_of(stream)
        assert engines.state == "ready" and log == [2]
        await asyncio.wait_for(second.settled(), 20)  # it has joined again
        engines.close()
        assert engines.state == "closed"

    asyncio.run(main())
