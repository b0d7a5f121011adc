"""The endpoint engine on fakes of every dialect: ids, ends, batches, slots, and what each server is sent."""

import time

import numpy as np
import pytest

from orpheus.common.errors import InputError, OrpheusWarning
from orpheus.engines import ENDED, WAITING
from orpheus.engines.options import SamplingOptions
from tests.engines.endpoint.conftest import FRAMES, LAYOUT, PROMPT, SPEECH, ids_of
from tests.fakes.endpoints import MODELS

KINDS = sorted(MODELS)
GREEDY = SamplingOptions(temperature=0, max_new_tokens=60)


@pytest.mark.parametrize("kind", KINDS)
def test_ids_arrive_whole_with_the_token_that_ends_them(kind, connect):
    engine, fake = connect(kind)
    assert ids_of(engine, [PROMPT], GREEDY) == [SPEECH]
    assert len(fake.requests) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_max_new_tokens_ends_a_sequence_without_an_end_token(kind, connect):
    engine, fake = connect(kind)
    assert ids_of(engine, [PROMPT], SamplingOptions(max_new_tokens=9)) == [FRAMES[:9]]


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_token_out_of_range_ends_it_and_hangs_up(kind, connect):
    wrong = FRAMES[3]  # the place of another position
    engine, fake = connect(kind, lambda asked: [*FRAMES[:14], wrong, *FRAMES * 200])
    fake.pause = 0.001
    assert ids_of(engine, [PROMPT], SamplingOptions(max_new_tokens=50_000)) == [[*FRAMES[:14], wrong]]
    until = time.monotonic() + 60
    while not fake.hung_up and time.monotonic() < until:
        time.sleep(0.01)
    assert fake.hung_up[0] < 5000


@pytest.mark.parametrize("kind", KINDS)
def test_a_connection_that_is_lost_goes_on_where_it_was(kind, connect):
    engine, fake = connect(kind)
    fake.faults = [5, 0, 12]  # events until the server hangs up
    assert ids_of(engine, [PROMPT], GREEDY) == [SPEECH]
    assert len(fake.requests) == 4
    if kind in ("llama.cpp", "vllm"):
        assert [body["prompt"][len(PROMPT) :] for _, body in fake.requests] == [[], FRAMES[:5], FRAMES[:5], FRAMES[:17]]
        key = "n_predict" if kind == "llama.cpp" else "max_tokens"
        assert [body[key] for _, body in fake.requests] == [60, 55, 55, 43]


@pytest.mark.parametrize("kind", ["llama.cpp", "sglang", "ollama"])
def test_a_batch_equals_its_prompts_alone_and_is_bounded(kind, connect):
    lengths = {}

    def script(asked):
        asked = tuple(asked)
        count = 7 * (1 + len(asked) % 4)
        lengths[asked] = count
        return [*FRAMES[:count], LAYOUT.end_of_speech]

    engine, fake = connect(kind, script, parallel=2)
    fake.pause = 0.002
    prompts = [[261, 256, *b"theo: " + b"x" * n, 257, 262, 263, 259] for n in range(6)]
    rows = ids_of(engine, prompts, GREEDY)
    assert rows == [ids_of(engine, [prompt], GREEDY)[0] for prompt in prompts]
    assert len({len(row) for row in rows}) == 4
    assert fake.most == 2


def test_closing_the_iterator_hangs_up(connect):
    engine, fake = connect("llama.cpp", lambda asked: FRAMES * 200)
    fake.pause = 0.001
    steps = engine.generate([PROMPT, PROMPT], SamplingOptions(max_new_tokens=50_000), [1, 2])
    assert np.array_equal(next(steps), [FRAMES[0]] * 2)
    steps.close()
    until = time.monotonic() + 60
    while len(fake.hung_up) < 2 and time.monotonic() < until:
        time.sleep(0.01)
    assert len(fake.hung_up) == 2 and max(fake.hung_up) < 5000


def test_slots_come_and_go_each_at_its_own_pace(connect):
    engine, fake = connect(
        "llama.cpp", lambda asked: [*FRAMES[:7], LAYOUT.end_of_speech] if len(asked) == len(PROMPT) else FRAMES
    )
    slots = engine.open(2, 100)
    first = slots.join(PROMPT, GREEDY, 0)
    assert (slots.free, first) == (1, 0)
    second = slots.join([261, 256, 65, *PROMPT[2:]], SamplingOptions(max_new_tokens=20), 0)
    got = {first: [], second: []}
    until = time.monotonic() + 60
    while time.monotonic() < until:
        tokens = slots.step()
        for slot, token in enumerate(tokens):
            got[slot] += [int(token)] if token not in (ENDED, WAITING) else []
        if (tokens == ENDED).all():
            break
    assert got == {0: [*FRAMES[:7], LAYOUT.end_of_speech], 1: FRAMES[:20]}
    slots.leave(first)
    slots.leave(second)
    assert slots.free == 2 and (slots.step() == ENDED).all()


def test_what_each_server_is_sent(connect):
    """Their defaults of top_k and min_p are off, and the penalty sees the whole context."""
    sampling = SamplingOptions(temperature=0.6, top_p=0.9, repetition_penalty=1.3, max_new_tokens=60)
    bodies = {}
    for kind in KINDS:
        engine, fake = connect(kind)
        ids_of(engine, [PROMPT], sampling, [2**40 + 5])
        path, bodies[kind] = fake.requests[0]
    flat = {kind: body | body.get("options", {}) | body.get("sampling_params", {}) for kind, body in bodies.items()}
    for kind, body in flat.items():
        assert (body["temperature"], body["top_p"], body["min_p"]) == (0.6, 0.9, 0.0), kind
        assert body["top_k"] == (-1 if kind in ("vllm", "sglang") else 0)
        assert body.get("repeat_penalty", body.get("repetition_penalty")) == 1.3
        assert body["stream"] is True
        assert body["presence_penalty"] == body["frequency_penalty"] == 0
    assert flat["llama.cpp"]["repeat_last_n"] == len(PROMPT) + 60
    assert flat["ollama"]["repeat_last_n"] == -1 and flat["ollama"]["raw"] is True
    assert flat["vllm"]["stop_token_ids"] == flat["sglang"]["stop_token_ids"] == [LAYOUT.end_of_speech]
    assert flat["vllm"]["seed"] == 2**40 + 5 and 0 <= flat["llama.cpp"]["seed"] < 2**32 - 1
    assert "seed" not in flat["sglang"]
    assert flat["vllm"]["model"] == "voice" and flat["ollama"]["model"] == "orpheus:latest"
    assert bodies["sglang"]["input_ids"] == PROMPT == bodies["vllm"]["prompt"]


def test_text_servers_are_asked_as_published_models_expect(connect):
    engine, fake = connect("lm-studio", mark=True)
    fake.faults = [5]
    assert ids_of(engine, [PROMPT], GREEDY) == [SPEECH]
    prompt = "<|audio|>theo: Good morning.<|eot_id|>"
    so_far = "".join(f"<custom_token_{i - 258}>" for i in [262, 263, 259, *FRAMES[:5]])
    assert [body["prompt"] for _, body in fake.requests] == [prompt, prompt + so_far]


def test_a_server_that_ends_at_a_limit_of_its_own_is_named(connect):
    engine, fake = connect("llama.cpp", lambda asked: FRAMES[:14])
    with pytest.warns(OrpheusWarning, match=rf"{fake.url} ended after 14 of 60 tokens, at a limit of its own"):
        assert ids_of(engine, [PROMPT], GREEDY) == [FRAMES[:14]]


def test_sglang_may_send_new_ids_alone(connect):
    engine, fake = connect("sglang")

    def only_new(count, event, handler):
        return event | {"output_ids": event["output_ids"][-1:]}

    fake.faults = [only_new]
    assert ids_of(engine, [PROMPT], GREEDY) == [SPEECH]


def test_an_option_that_a_server_does_not_take_is_refused_before_it_is_asked(connect):
    engine, fake = connect("sglang")
    with pytest.raises(InputError, match="repetition_penalty 3 is more than SGLang takes, 2"):
        ids_of(engine, [PROMPT], SamplingOptions(repetition_penalty=3))
    with pytest.raises(InputError, match="more than SGLang takes"):
        engine.open(1, 100).join(PROMPT, SamplingOptions(repetition_penalty=3), 0)
    assert fake.requests == []
