"""The step in numpy against the same step in PyTorch: products, draws, sequences side by side, and where it is taken."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from orpheus.common.options import ROOT
from orpheus.engines.fast import rows, slots
from orpheus.engines.fast.engine import FastEngine
from orpheus.engines.fast.llama import Llama
from orpheus.engines.options import SamplingOptions
from orpheus.engines.sampling import draw_row, draw_rows, penalize, penalize_row, whole
from tests.engines.test_transformers import GREEDY, PROMPTS, SAMPLED, rows_of
from tests.fakes.checkpoints import SMALL_CONFIG, SMALL_LAYOUT, walking_model


@pytest.mark.parametrize("top_p", [1.0, 0.95, 0.5, 1e-6])
@pytest.mark.parametrize("kind", ["flat", "steep", "tied", "one alone"])
def test_a_row_is_drawn_as_among_many(kind, top_p):
    generator = torch.Generator().manual_seed(7)
    logits = torch.randn(40, 517, generator=generator)
    logits *= {"flat": 0.01, "steep": 12.0}.get(kind, 1.0)
    if kind == "tied":
        logits = logits.round()
    elif kind == "one alone":
        logits[:, 3] = 200.0
    uniform = (torch.rand(40, generator=generator) * 2**24).floor() / 2**24
    uniform[0], uniform[1] = 0.0, 1 - 2**-24
    for temperature in (0.01, 0.6, 1.7):
        expected = draw_rows(logits, uniform, temperature, whole(top_p)).tolist()
        drawn = [
            draw_row(row, place, np.float32(temperature), whole(top_p))
            for row, place in zip(logits.numpy(), uniform.numpy())
        ]
        assert drawn == expected
        assert all(type(token) is int for token in drawn)


def test_a_token_comes_of_logits_that_are_not_numbers_too():
    for logits in (np.full(50, np.nan, np.float32), np.array([0, np.nan, 1], np.float32)):
        with np.errstate(invalid="ignore"):  # as around a step
            assert 0 <= draw_row(logits, np.float32(0.5), np.float32(0.6), whole(0.95)) < len(logits)


@pytest.mark.parametrize("penalty", [1.0, 1.1, 2.5])
def test_a_row_is_penalized_as_among_many(penalty):
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(3, 50, generator=generator)
    seen = torch.tensor([[False], [True], [False]]) | (torch.arange(50) % 3 == torch.tensor([[0], [0], [5]]))
    expected = penalize(logits, seen, torch.tensor(penalty))
    for row, there in zip(logits.numpy(), seen.numpy()):
        penalize_row(row, there, np.float32(penalty))
    assert torch.equal(logits, expected)
    assert not seen[2].any()


@pytest.mark.parametrize("count", [1, 3, 4, 9])
def test_a_product_is_that_of_every_row(count):
    x = np.random.default_rng(count).standard_normal((count, 24), np.float32)
    for wide in (np.random.default_rng(0).standard_normal((24, 40), np.float32), np.ones((40, 24), np.float32).T):
        assert rows.product(x, wide) == pytest.approx((x.astype(np.float64) @ wide).astype(np.float32), abs=1e-5)


def in_pytorch(monkeypatch):
    monkeypatch.setattr(slots, "MOST", 0)


@pytest.mark.parametrize("head", ["position", "full"])
@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
@pytest.mark.parametrize("changes", [{}, {"num_key_value_heads": 1, "head_dim": 32}, {"tie_word_embeddings": False}])
def test_both_steps_draw_the_same_and_leave_the_same_behind(changes, sampling, head, monkeypatch):
    model = walking_model(SMALL_CONFIG | changes, SMALL_LAYOUT, frames=3 if sampling is SAMPLED else 10**6)
    if not changes.get("tie_word_embeddings", True):  # it walks then too, with a head other than the embeddings
        with torch.no_grad():
            model.lm_head.weight.copy_(model.model.embed_tokens.weight * 1.1)
    prompts, left = [*PROMPTS, [3, 4]], []
    sampling, found = replace(sampling, max_new_tokens=24), []
    for _ in range(2):
        engine = FastEngine(model, SMALL_LAYOUT, head)
        found.append(rows_of(engine, prompts, sampling, [5, 6, 7, 8, 9]))
        left.append(engine._idle)
        in_pytorch(monkeypatch)
    assert found[0] == found[1]
    assert max(map(len, found[0])) > 14
    ours, theirs = (vars(one.state) for one in left)
    for name in ("ids", "positions", "counts", "seen"):
        assert torch.equal(ours[name][:5], theirs[name][:5]), name
    for ours, theirs in zip(left[0].cache[:2], left[1].cache[:2]):
        torch.testing.assert_close(ours[:, :5], theirs[:, :5], atol=2e-5, rtol=1e-4)


def test_steps_of_both_kinds_can_alternate(monkeypatch):
    model = walking_model(SMALL_CONFIG, SMALL_LAYOUT, frames=10**6)
    engine, sampling = FastEngine(model, SMALL_LAYOUT), SamplingOptions(max_new_tokens=20, temperature=0.6)
    expected = rows_of(engine, PROMPTS[:2], sampling, [1, 2])
    opened, made = engine.open(2, 100), []
    places = [opened.join(prompt, sampling, seed) for prompt, seed in zip(PROMPTS[:2], [1, 2])]
    opened.admit_all()
    for step in range(20):
        monkeypatch.setattr(slots, "MOST", step % 2)  # every other step has room for one sequence only, and two run
        made.append(opened.step()[places])
    assert np.stack(made, 1).tolist() == [row[:20] for row in expected]


@pytest.mark.parametrize(("dtype", "kind"), [(torch.float32, "same"), (torch.bfloat16, "same"), (torch.float32, "fp8")])
def test_an_empty_cache_is_zeros_and_begins_on_a_cache_line(dtype, kind):
    model = walking_model(SMALL_CONFIG, SMALL_LAYOUT, frames=2).to(dtype)
    cache = Llama(model).cache(3, 50, kind)
    shape = SMALL_CONFIG["num_hidden_layers"], 3, SMALL_CONFIG["num_key_value_heads"], 50, SMALL_CONFIG["head_dim"]
    for side in cache[:2]:
        assert side.shape == shape and side.dtype == (torch.float8_e4m3fn if kind == "fp8" else dtype)
        assert side.is_contiguous() and side.data_ptr() % 64 == 0 and not side.float().any()
    side = cache.keys[1]
    side.fill_(1)
    assert cache.keys.float().sum() == side.numel() and not cache.values.float().any()


def test_which_models_steps_run_in_numpy(monkeypatch):
    model = walking_model(SMALL_CONFIG, SMALL_LAYOUT, frames=2)
    assert rows.fits(Llama(model))
    assert not rows.fits(Llama(model, "int8"))
    engine = FastEngine(model, SMALL_LAYOUT)
    assert engine.open(1, 64)._rows and not engine.open(1, 64, cache="fp8")._rows
    layers = Llama(model).layers
    size = sum(part.nbytes for layer in layers for part in (layer.qkv, layer.o, layer.gate_up, layer.down))
    for limit, fits in ((size, True), (size - 1, False)):
        monkeypatch.setattr(rows, "LARGEST", limit)
        assert rows.fits(Llama(model)) is fits
    assert not rows.fits(Llama(model.to(torch.bfloat16)))


@pytest.mark.parametrize("given", [None, "3"])
def test_numpys_products_take_one_thread_unless_the_user_says_otherwise(given):
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    environment |= {"OPENBLAS_NUM_THREADS": given} if given else {}
    code = "import orpheus.common.waiting, os, sys; print(os.environ['OPENBLAS_NUM_THREADS'], 'numpy' in sys.modules)"
    made = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert made.stdout.split() == [given or "1", "False"]
