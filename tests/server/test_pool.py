"""A pool of streams on the small voice and on fakes: the audio of each text alone, whoever else speaks."""

import gc
import re
import threading
import warnings
import weakref
from dataclasses import replace

import numpy as np
import pytest

from orpheus.common.errors import BusyError, InputError, OrpheusError, OrpheusWarning
from orpheus.common.options import ROOT
from orpheus.engines import ENDED, WAITING
from orpheus.engines.options import SamplingOptions
from orpheus.engines.separate import SeparateSlots
from orpheus.engines.transformers import TransformersEngine
from orpheus.server.pool import StreamPool
from orpheus.speech.model import load_model
from orpheus.speech.synthesis import OrpheusInference
from orpheus.text.prompt import PromptBuilder

TEXTS = ["Good morning.", "How did you sleep?", "Come in. Sit down, please.\n\nThe kettle is on.", "Yes."]


@pytest.fixture(scope="module")
def loaded(small_voice_folder):
    return load_model(str(small_voice_folder), lora="none", device="cpu")[0]


class ScriptedEngine:
    """Plays each seed's tokens; keeps what it was asked. Slots come in reverse, to be told from the decoder's."""

    def __init__(self, layout, scripts, gate=None):
        self.layout, self.scripts, self.gate, self.opened, self.fail = layout, scripts, gate, [], None

    def open(self, slots, length):
        self.opened.append((slots, length))
        return ScriptedSlots(self, slots)

    def release(self):
        pass


class ScriptedSlots:
    def __init__(self, engine, slots):
        self.engine, self.rows = engine, [None] * slots

    @property
    def free(self):
        return self.rows.count(None)

    def join(self, prompt_ids, sampling, seed):
        tokens = self.engine.scripts[seed]
        if isinstance(tokens, Exception):
            raise tokens
        slot = max(index for index, row in enumerate(self.rows) if row is None)
        self.rows[slot] = iter([WAITING, *tokens])  # the prompt is read beside others' steps
        return slot

    def leave(self, slot):
        assert self.rows[slot] is not None
        self.rows[slot] = None

    def step(self):
        if self.engine.gate:
            assert self.engine.gate.acquire(timeout=30)
        if self.engine.fail:
            error, self.engine.fail = self.engine.fail, None
            raise error
        return np.array([ENDED if row is None else next(row, ENDED) for row in self.rows], dtype=np.int64)


def scripted(loaded, frames, gate=None, **changes):
    """A voice whose text with seed i has frames[i] frames of codes; and those codes."""
    layout = loaded.engine.layout
    codes = {seed: np.random.default_rng(seed).integers(0, 32, (count, 7)) for seed, count in frames.items()}
    scripts = {seed: [*layout.to_tokens(made).tolist(), layout.end_of_speech] for seed, made in codes.items()}
    engine = ScriptedEngine(layout, scripts | changes, gate)
    return replace(loaded, engine=engine), codes


def joined(speech):
    return np.concatenate([np.zeros(0, np.float32), *speech])


# --- the audio ---


def test_a_pool_speaks_as_each_text_alone(loaded):
    alone = OrpheusInference(loaded)
    options = [
        dict(seed=3),
        dict(seed=4, temperature=0.9),
        dict(seed=5, piece_seconds=1),
        dict(seed=6, max_new_tokens=40),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OrpheusWarning)  # speech is cut off at 40 tokens
        expected = [alone.stream(text, "bob", **chosen) for text, chosen in zip(TEXTS, options, strict=True)]
        samples = [joined(speech) for speech in expected]
        with StreamPool(loaded, slots=2) as pool:  # half of them wait
            pooled = [pool.submit(text, "bob", **chosen) for text, chosen in zip(TEXTS, options, strict=True)]
            for speech, audio, other in zip(pooled, samples, expected, strict=True):
                made = joined(speech)
                assert made.dtype == np.float32 and made.shape == audio.shape
                assert np.abs(made - audio).max() < 1e-5
                assert speech.finish_reason == other.finish_reason
                assert sum(count for _, count in speech.arrivals) == len(made)
    assert pool.counts["frames"] > 0 and pool.seconds["decoder"] > 0


@pytest.mark.parametrize("tick_steps", [1, 7, 30])
def test_when_steps_are_decoded_changes_nothing(loaded, tick_steps):
    frames = {0: 0, 1: 1, 2: 2, 3: 9, 4: 5, 5: 3}
    voice, codes = scripted(loaded, frames)
    with StreamPool(voice, slots=3, tick_steps=tick_steps) as pool:
        for seed, speech in {seed: pool.submit("Yes.", seed=seed) for seed in frames}.items():
            if not frames[seed]:
                with pytest.warns(OrpheusWarning, match="no valid audio"):
                    assert not joined(speech).any()
                continue
            made, whole = joined(speech), loaded.codec.decode(codes[seed], seed)
            assert made.shape == whole.shape and np.abs(made - whole).max() < 1e-5
            assert speech.finish_reason == "end_of_speech"
    assert voice.engine.opened == [(3, 1536)]


def test_the_first_samples_come_with_the_third_frame(loaded):
    gate = threading.Semaphore(0)
    voice, _ = scripted(loaded, {0: 30, 1: 30}, gate)
    with StreamPool(voice, slots=2, tick_steps=10**6) as pool:
        first = pool.submit("Yes.", seed=0)
        gate.release(22)  # one reads the prompt
        assert len(next(first)) == 1387 and pool.counts["steps"] == 22
        second = pool.submit("Yes.", seed=1)  # joins before step 23, or 24 where that one has begun
        gate.release(23)
        assert len(next(second)) == 1387
        gate.release(10**4)


def test_pieces_follow_each_other_with_their_pauses(loaded):
    voice, codes = scripted(loaded, {7: 4, 8: 3, 9: 5})
    text = "Come in now.\n\nSit down now. Go on now."
    with StreamPool(voice, slots=4) as pool:
        made = joined(pool.submit(text, seed=7, piece_seconds=1, sentence_pause=0.1, paragraph_pause=0.5))
    parts = [loaded.codec.decode(codes[seed], seed) for seed in (7, 8, 9)]
    expected = np.concatenate([parts[0], np.zeros(12_000), parts[1], np.zeros(2_400), parts[2]])
    assert made.shape == expected.shape and np.abs(made - expected).max() < 1e-5


# --- queue, cancelling, errors ---


def test_a_full_queue_refuses(loaded):
    gate = threading.Semaphore(0)
    voice, _ = scripted(loaded, dict.fromkeys(range(4), 1), gate)
    with StreamPool(voice, slots=1, waiting=1) as pool:
        first = pool.submit("Yes.", seed=0)
        gate.release(1)
        while not pool.counts["steps"]:  # until it has the slot
            pass
        second = pool.submit("Yes.", seed=1)
        with pytest.raises(BusyError, match="all 1 slots are in use and 1 texts are waiting"):
            pool.submit("Yes.", seed=2)
        assert pool.backlog() == 1
        second.close()
        assert pool.backlog() == 0
        third = pool.submit("Yes.", seed=3)
        gate.release(10**4)
        assert len(joined(first)) == len(joined(third)) == 2048
        assert list(second) == []


def test_closing_a_stream_frees_its_slot(loaded):
    voice, codes = scripted(loaded, {0: 10**4, 1: 6})
    with StreamPool(voice, slots=1) as pool:
        endless, after = pool.submit("Yes.", seed=0, max_new_tokens=1400), pool.submit("Yes.", seed=1)
        next(endless)
        endless.close()
        assert list(endless) == []
        assert np.abs(joined(after) - loaded.codec.decode(codes[1], 1)).max() < 1e-5


def test_errors_go_to_whom_they_concern(loaded):
    voice, codes = scripted(loaded, {0: 6, 2: 4}, **{})
    voice.engine.scripts[1] = OrpheusError("this prompt cannot be read")
    with StreamPool(voice, slots=3) as pool:
        good, bad = pool.submit("Yes.", seed=0), pool.submit("Yes.", seed=1)
        for _ in range(2):  # it stays told
            with pytest.raises(OrpheusError, match="this prompt cannot be read"):
                next(bad)
        assert np.abs(joined(good) - loaded.codec.decode(codes[0], 0)).max() < 1e-5
        voice.engine.fail = OrpheusError("out of GPU memory")
        with pytest.raises(OrpheusError, match="out of GPU memory"):
            joined(pool.submit("Yes.", seed=0))
        assert len(joined(pool.submit("Yes.", seed=2))) == 4 * 2048  # with new slots
        assert pool.alive
    assert voice.engine.opened == [(3, 1536), (2, 1536)]  # what did not fit is not tried again


def test_an_engine_that_cannot_open_again_closes_the_pool(loaded, monkeypatch):
    voice, _ = scripted(loaded, {0: 6})
    with StreamPool(voice, slots=1) as pool:
        monkeypatch.setattr(voice.engine, "open", lambda *_: 1 / 0)
        voice.engine.fail = OrpheusError("lost the device")
        with pytest.raises(OrpheusError, match="lost the device"):
            joined(pool.submit("Yes.", seed=0))
        pool._thread.join(60)
        assert not pool.alive
        with pytest.raises(OrpheusError, match="the pool is closed") as raised:
            pool.submit("Yes.", seed=0)
        assert isinstance(raised.value.__cause__, ZeroDivisionError)


def test_closing_the_pool_ends_everyone(loaded):
    voice, _ = scripted(loaded, {0: 10**4, 1: 6})
    pool = StreamPool(voice, slots=1)
    speaks, waits = pool.submit("Yes.", seed=0, max_new_tokens=1400), pool.submit("Yes.", seed=1)
    next(speaks)
    pool.close()
    for speech in (speaks, waits):
        with pytest.raises(OrpheusError, match="the pool was closed"):
            joined(speech)
    with pytest.raises(OrpheusError, match="the pool is closed"):
        pool.submit("Yes.")


def test_input_is_refused_at_once(loaded):
    with StreamPool(loaded, slots=1, length=100) as pool:
        for text, options, message in (
            ("...", {}, "nothing to speak"),
            ("Yes.", {"voice": "eve"}, "unknown voice"),
            ("Yes.", {"lookahead": 1}, "lookahead is not a pool option"),
            ("Yes.", {"max_new_tokens": 99}, "exceed the pool's length 100"),
        ):
            with pytest.raises(InputError, match=message):
                pool.submit(text, **options)


def test_threads_may_ask_at_the_same_time(loaded):
    frames = dict.fromkeys(range(12), 4)
    voice, codes = scripted(loaded, frames)
    made = {}
    with StreamPool(voice, slots=4) as pool:

        def ask(seed):
            made[seed] = joined(pool.submit("Yes.", seed=seed))

        threads = [threading.Thread(target=ask, args=(seed,)) for seed in frames]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    for seed in frames:
        assert np.abs(made[seed] - loaded.codec.decode(codes[seed], seed)).max() < 1e-5


def test_the_documentations_example_runs(small_voice_folder, capsys):
    code = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "serving.md").read_text(), flags=re.S)[1]
    exec(code.replace('"demo"', repr(str(small_voice_folder))), {})
    assert capsys.readouterr().out.splitlines()[0] == "1387"


# --- slots over any engine ---


def test_separate_slots_give_what_the_engine_gives(loaded):
    sampling, prompts = SamplingOptions(max_new_tokens=30), PromptBuilder.prompt
    ids = [prompts(loaded.prompts, text, "ann") for text in ("Yes.", "No, never.")]
    alone = [
        [int(tokens[0]) for tokens in loaded.engine.generate([row], sampling, [seed])] for seed, row in enumerate(ids)
    ]
    slots = SeparateSlots(loaded.engine, 2, 100)
    assert slots.free == 2
    assert slots.step().tolist() == [ENDED, ENDED]
    assert slots.join(ids[0], sampling, 0) == 0
    made = [[], []]
    for step in range(36):
        if step == 5:
            assert slots.join(ids[1], sampling, 1) == 1 and slots.free == 0
        tokens = slots.step()
        assert tokens.shape == (2,) and tokens.dtype == np.int64
        for row in range(2):
            made[row].append(int(tokens[row]))
    assert made[0] == alone[0] + [ENDED] * (36 - len(alone[0]))
    assert made[1] == [ENDED] * 5 + alone[1] + [ENDED] * (31 - len(alone[1]))
    slots.leave(0)
    assert slots.free == 1


def test_an_engine_without_slots_of_its_own_is_given_some(loaded):
    engine = TransformersEngine(loaded.engine.model, loaded.engine.layout)
    assert isinstance(engine.open(2, 100), SeparateSlots)
    assert not isinstance(loaded.engine.open(2, 100), SeparateSlots)


def test_a_text_leaves_nothing_for_the_garbage_collector(loaded):
    """A server collects seldom: what a text held is free as soon as it has ended."""
    with StreamPool(loaded, slots=2, length=300) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore", OrpheusWarning)
        gc.collect()
        gc.disable()
        try:
            for text in TEXTS:
                speech = pool.submit(text, max_new_tokens=28)
                assert len(list(speech))
            closed = pool.submit(TEXTS[0], max_new_tokens=200)
            next(closed)
            closed.close()
            assert len(list(pool.submit(TEXTS[1], max_new_tokens=28)))
            left = [weakref.ref(one) for one in (speech, closed, speech.first, closed.first)]
            del speech, closed
            assert [one() for one in left] == [None] * 4
        finally:
            gc.enable()
