"""The fast engine against the plain one: heads, slots, rows that join and leave, fallbacks. Kernels: see the end."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from orpheus.common.errors import InputError, OrpheusError, OrpheusWarning
from orpheus.common.options import ROOT
from orpheus.common.tokens import CONTROL_TOKENS
from orpheus.engines import ENDED, WAITING
from orpheus.engines.fast.engine import FastEngine
from orpheus.engines.fast.head import Head
from orpheus.engines.fast.llama import Llama, unfit
from orpheus.engines.loading import choose_engine
from orpheus.engines.options import SamplingOptions
from orpheus.engines.sampling import draw, draw_rows, whole
from orpheus.engines.transformers import TransformersEngine
from tests.engines.test_transformers import GREEDY, PROMPTS, SAMPLED, rows_of
from tests.fakes.checkpoints import SMALL_CONFIG, SMALL_LAYOUT, walking_model

SEEDS = [3, 1, 4, 1]


@pytest.fixture(scope="module", params=[GREEDY, SAMPLED], ids=["greedy", "sampled"])
def sampling(request):
    return request.param


def small_model(sampling, **changes):
    return walking_model(SMALL_CONFIG | changes, SMALL_LAYOUT, frames=10**6 if sampling.temperature == 0 else 8)


@pytest.fixture(scope="module")
def model(sampling):
    return small_model(sampling)


@pytest.fixture(scope="module")
def expected(model, sampling):
    """What the plain engine gives PROMPTS with SEEDS."""
    return rows_of(TransformersEngine(model, SMALL_LAYOUT), PROMPTS, sampling, SEEDS)


# --- the same tokens ---


@pytest.mark.parametrize("head", ["position", "full"])
def test_a_batch_gives_the_ids_of_the_plain_engine(model, sampling, expected, head):
    assert rows_of(FastEngine(model, SMALL_LAYOUT, head), PROMPTS, sampling, SEEDS) == expected


@pytest.mark.parametrize("head", ["position", "full"])
def test_a_row_gets_alone_what_it_gets_in_a_batch_whatever_ran_before(model, sampling, expected, head):
    engine = FastEngine(model, SMALL_LAYOUT, head)
    for index in (2, 0, 3, 1):
        assert rows_of(engine, [PROMPTS[index]], sampling, [SEEDS[index]]) == [expected[index]]
    assert rows_of(engine, PROMPTS[::-1], sampling, SEEDS[::-1]) == expected[::-1]


@pytest.mark.parametrize(
    "changes",
    [
        {"tie_word_embeddings": False},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0}},
        {"num_key_value_heads": 4},
        {"num_key_value_heads": 1, "head_dim": 32},
    ],
    ids=["untied", "plain rope", "a key head per query head", "one key head"],
)
def test_other_llamas(changes):
    sampling = replace(SAMPLED, max_new_tokens=30)
    model = small_model(sampling, **changes)
    with torch.no_grad():  # an untied head walks too, but is another than the embeddings
        model.lm_head.weight.copy_(
            model.model.embed_tokens.weight * (1.0 if changes.get("tie_word_embeddings", True) else 1.1)
        )
    expected = rows_of(TransformersEngine(model, SMALL_LAYOUT), PROMPTS[:2], sampling, SEEDS[:2])
    assert rows_of(FastEngine(model, SMALL_LAYOUT), PROMPTS[:2], sampling, SEEDS[:2]) == expected


def test_the_demo_voice_says_the_same(demo_voice):
    engine = demo_voice.engine
    assert isinstance(engine, FastEngine)
    plain = TransformersEngine(engine.model, engine.layout)
    texts = ("Yes.", "I missed you <laugh> so much!", "Good morning, how did you sleep last night?")
    prompts = [demo_voice.prompts.prompt(text, "theo") for text in texts]
    for sampling in (SamplingOptions(temperature=0, max_new_tokens=56), SamplingOptions(max_new_tokens=56)):
        assert rows_of(engine, prompts, sampling, [1, 2, 3]) == rows_of(plain, prompts, sampling, [1, 2, 3])


def test_the_hidden_state_is_that_of_transformers():
    """llama3's rope scaling, grouped heads, a head_dim of its own; at positions beyond the unscaled range."""
    from orpheus.engines.fast.llama import Tokens

    model = small_model(GREEDY)
    llama, ids = Llama(model), torch.arange(200) % 250
    tokens = Tokens(ids, torch.zeros_like(ids), torch.arange(200), [(0, 200, 0, 0)])
    with torch.inference_mode():
        found = llama.hidden(tokens, llama.cache(1, 200), llama.rope(200))
        expected = model.model(ids[None], output_hidden_states=True).hidden_states[-1][0]
        found = model.model.norm(found)
    assert (found - expected).abs().max() < 1e-4


# --- heads and drawing ---


def test_the_slots_head_is_the_full_head_where_tokens_may_stand():
    llama = Llama(small_model(GREEDY))
    x, counts = torch.randn(9, 64), torch.arange(9) + 3
    slot, full = Head(llama, SMALL_LAYOUT), Head(llama, SMALL_LAYOUT, "full")
    everything = full.logits(x, counts)
    for row, count in enumerate(counts.tolist()):
        start = SMALL_LAYOUT.range_start(count)
        allowed = [*range(SMALL_LAYOUT.base, SMALL_LAYOUT.first_audio), *range(start, start + 32)]
        assert torch.allclose(slot.logits(x, counts)[row], everything[row, allowed], atol=1e-5)
        assert torch.allclose(slot.logits(x[row, None], counts[row, None])[0], everything[row, allowed], atol=1e-5)
    assert slot.width == CONTROL_TOKENS + 32 and len(slot.audio_rows()) % 16 == 0


def test_rows_with_options_of_their_own_are_drawn_as_alone():
    logits, uniform = torch.randn(3, 40) * 3, torch.tensor([0.1, 0.5, 0.9])
    options = [(0.6, 0.95), (1.5, 0.3), (0.2, 1.0)]
    temperature = torch.tensor([[t] for t, _ in options])
    mass = torch.tensor([[whole(p)] for _, p in options])
    alone = [draw(logits[i, None], uniform[i, None], *options[i]).item() for i in range(3)]
    assert draw_rows(logits, uniform, temperature, mass).tolist() == alone


# --- rows that join and leave ---


def collect(slots, rows, steps=10**6):
    """Steps until all rows are over; adds every row's tokens to rows[slot]."""
    while slots.running and steps:
        steps -= 1
        for slot, token in enumerate(slots.step().tolist()):
            if token not in (ENDED, WAITING):
                rows.setdefault(slot, []).append(token)
    return rows


def test_rows_that_join_and_leave_get_what_they_get_alone(model, sampling, expected):
    slots = FastEngine(model, SMALL_LAYOUT).open(3, 256)
    assert slots.free == 3 and slots.step().tolist() == [ENDED] * 3
    assert [slots.join(PROMPTS[0], sampling, SEEDS[0]), slots.join(PROMPTS[1], sampling, SEEDS[1])] == [0, 1]
    rows = collect(slots, {}, steps=9)
    slots.leave(0)  # in the middle
    assert rows[0] == expected[0][:9] and slots.free == 2
    assert slots.join(PROMPTS[2], sampling, SEEDS[2]) == 0  # in a slot that another has used
    assert slots.join(PROMPTS[3], sampling, SEEDS[3]) == 2
    again = collect(slots, {1: rows[1]})
    assert [again[slot] for slot in (1, 0, 2)] == expected[1:]
    assert slots.free == 0 and slots.running == 0 and slots.step().tolist() == [ENDED] * 3
    slots.clear()
    assert slots.free == 3


def test_rows_with_different_options_side_by_side(model, sampling):
    others = [
        sampling,
        replace(sampling, temperature=1.2, top_p=0.5, max_new_tokens=30),
        replace(sampling, temperature=0, repetition_penalty=1.4, max_new_tokens=21),
    ]
    engine = FastEngine(model, SMALL_LAYOUT)
    slots = engine.open(3, 256)
    for prompt, options, seed in zip(PROMPTS, others, SEEDS):
        slots.join(prompt, options, seed)
    rows = collect(slots, {})
    for index, options in enumerate(others):
        assert rows[index] == rows_of(engine, [PROMPTS[index]], options, [SEEDS[index]])[0]


def test_waiting_prompts_are_read_within_a_budget_and_nobody_is_stalled(model, sampling, expected, monkeypatch):
    monkeypatch.setattr("orpheus.engines.fast.slots.PREFILL_TOKENS", 40)
    slots = FastEngine(model, SMALL_LAYOUT).open(4, 256)
    for prompt, seed in zip(PROMPTS, SEEDS):  # of 9, 46, 17 and 31 tokens
        slots.join(prompt, sampling, seed)
    steps = [slots.step() for _ in range(4)]
    assert [(step >= 0).tolist() for step in steps] == [
        [True, False, False, False],
        [True, True, False, False],  # longer than the budget, so alone
        [True, True, True, False],
        [True, True, True, True],
    ]
    assert [step[3] for step in steps] == [WAITING] * 3 + [expected[3][0]]
    assert [step[0] for step in steps] == expected[0][:4]


def test_a_row_that_waits_can_leave(model, sampling):
    slots = FastEngine(model, SMALL_LAYOUT).open(2, 256)
    slots.join(PROMPTS[0], sampling, 0)
    slots.leave(0)
    assert slots.free == 2 and slots.step().tolist() == [ENDED, ENDED]


def test_what_slots_refuse(model, sampling):
    engine = FastEngine(model, SMALL_LAYOUT)
    slots = engine.open(1, 100)
    with pytest.raises(InputError, match="prompt of 9 tokens and max_new_tokens 95 exceed the model's 100 positions"):
        slots.join(PROMPTS[0], replace(sampling, max_new_tokens=95), 0)
    slots.join(PROMPTS[0], replace(sampling, max_new_tokens=91), 0)
    with pytest.raises(OrpheusError, match="all 1 slots are taken"):
        slots.join(PROMPTS[0], replace(sampling, max_new_tokens=7), 0)
    with pytest.raises(InputError, match="slots must be a whole number of at least 1, not 0"):
        engine.open(0, 100)
    with pytest.raises(InputError, match="length must be between 2 and 16384, the model's positions, not 20000"):
        engine.open(1, 20_000)


# --- ends ---


def test_the_cap_and_a_prompt_of_one_token(model, sampling):
    engine, plain = FastEngine(model, SMALL_LAYOUT), TransformersEngine(model, SMALL_LAYOUT)
    short = replace(sampling, max_new_tokens=20)
    assert len(rows_of(engine, PROMPTS[:1], short, [5])[0]) <= 20
    one = [[SMALL_LAYOUT.start_of_speech]]
    assert rows_of(engine, one, short, [5]) == rows_of(plain, one, short, [5])


def test_two_generations_at_once_do_not_share_buffers(model, sampling, expected):
    engine = FastEngine(model, SMALL_LAYOUT)
    first, second = (engine.generate(PROMPTS[:1], sampling, SEEDS[:1]) for _ in range(2))
    assert [(int(a[0]), int(b[0])) for a, b in zip(first, second)] == [(token, token) for token in expected[0]]


def test_closing_the_iterator_frees_the_slots(model, sampling, expected):
    engine = FastEngine(model, SMALL_LAYOUT)
    steps = engine.generate(PROMPTS[:2], sampling, SEEDS[:2])
    next(steps)
    steps.close()
    assert engine._idle.free == 2
    assert rows_of(engine, PROMPTS[:2], sampling, SEEDS[:2]) == expected[:2]


def test_more_tokens_than_positions_are_refused_before_work(model):
    with pytest.raises(InputError, match="16384 positions"):
        next(FastEngine(model, SMALL_LAYOUT).generate(PROMPTS[:1], SamplingOptions(max_new_tokens=17_000), [0]))


# --- where it cannot serve ---


def test_out_of_memory_says_what_to_lower(model, sampling, monkeypatch):
    engine = FastEngine(model, SMALL_LAYOUT)

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(engine.llama, "cache", full)
    with pytest.raises(OrpheusError, match="out of GPU memory with 2 pieces side by side"):
        next(engine.generate(PROMPTS[:2], sampling, [0, 0]))
    with pytest.raises(OrpheusError, match="out of GPU memory with 64 pieces"):
        engine.open(64, 256)


def test_what_fails_while_setting_up_falls_back_with_one_line(model, sampling, expected, monkeypatch):
    engine = FastEngine(model, SMALL_LAYOUT)
    engine.captured = True  # as on CUDA, which is not here: capturing fails

    def failing(*_):
        raise RuntimeError("no compiler\nand much more")

    monkeypatch.setattr(engine, "_open", failing)
    with pytest.warns(OrpheusWarning) as warned:
        assert rows_of(engine, PROMPTS, sampling, SEEDS) == expected
    assert [str(warning.message) for warning in warned] == [
        "the fast engine cannot run here (RuntimeError: no compiler); using transformers instead"
    ]
    assert rows_of(engine, PROMPTS[:1], sampling, SEEDS[:1]) == expected[:1]  # and says so once
    monkeypatch.undo()
    slots = engine.open(2, 256)  # joins and leaves still work, without kernels
    slots.join(PROMPTS[0], sampling, SEEDS[0])
    assert collect(slots, {}) == {0: expected[0]}


def test_which_engine_is_chosen(model):
    from transformers import GPT2Config, GPT2LMHeadModel

    assert isinstance(choose_engine("auto", model, SMALL_LAYOUT), FastEngine)
    assert isinstance(choose_engine("transformers", model, SMALL_LAYOUT), TransformersEngine)
    for name, dtype in (
        ("fast", torch.float32),
        ("fast-int8", torch.int8),
        ("fast-int4", torch.int32),
        ("fast-fp8", torch.float8_e4m3fn),
    ):
        assert choose_engine(name, model, SMALL_LAYOUT).llama.layers[0].o.values.dtype == dtype
    other = GPT2LMHeadModel(GPT2Config(vocab_size=500, n_embd=16, n_layer=1, n_head=2))
    assert unfit(other) == "a gpt2 model, not a llama"
    assert isinstance(choose_engine("auto", other, SMALL_LAYOUT), TransformersEngine)
    with pytest.warns(OrpheusWarning, match=r"cannot run this model \(a gpt2 model, not a llama\)"):
        assert isinstance(choose_engine("fast", other, SMALL_LAYOUT), TransformersEngine)


def test_the_models_own_layers_keep_working_and_share_memory():
    model, ids = small_model(GREEDY), torch.tensor([PROMPTS[1]])
    with torch.inference_mode():
        before = model(ids).logits
        first, second = (FastEngine(model, SMALL_LAYOUT).llama for _ in range(2))
        assert torch.allclose(model(ids).logits, before, atol=1e-5)
    for index, layer in enumerate(model.model.layers):
        for name, module in (("qkv", layer.self_attn.q_proj), ("gate_up", layer.mlp.gate_proj)):
            places = {getattr(llama.layers[index], name).values.data_ptr() for llama in (first, second)}
            assert places == {module.weight.data_ptr()}


# --- kernels ---


@pytest.mark.kernels
def test_the_kernels_compute_the_plain_operations():
    """In Triton's interpreter, where Triton is installed; `tests/engines/test_gpu.py` shows it on a GPU."""
    pytest.importorskip("triton", reason="Triton is not installed: make test-kernels installs it")
    done = subprocess.run(
        [sys.executable, "-m", "tests.engines.interpret_kernels"],
        **{"cwd": ROOT, "capture_output": True, "text": True, "env": os.environ | {"TRITON_INTERPRET": "1"}},
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_steps_are_int64_arrays(model, sampling):
    step = next(FastEngine(model, SMALL_LAYOUT).generate(PROMPTS[:2], sampling, [0, 1]))
    assert step.dtype == np.int64 and step.shape == (2,)


def test_released_memory_is_asked_for_again(small_voice):
    engine, sampling = small_voice.engine, SamplingOptions(max_new_tokens=20)
    first = rows_of(engine, [[1, 2, 3]], sampling, [1])
    assert isinstance(engine, FastEngine) and engine._idle is not None
    engine.release()
    assert engine._idle is None and rows_of(engine, [[1, 2, 3]], sampling, [1]) == first
