"""Fused layers compute what the plain ones do, at any size of a pack; FP8 stays near them."""

import os
import subprocess
import sys

import pytest
import torch

from orpheus.common.options import ROOT
from orpheus.training import passes
from orpheus.training.eight import EightWeight, product
from orpheus.training.llama import LoraLlama
from orpheus.training.packing import make_pack
from orpheus.training.steps import Gradients, rounded_up
from tests.fakes.checkpoints import SMALL_LAYOUT
from tests.fakes.training import examples, peft_model


def learnt(llama, pack, first=0):
    """(loss, the adapter's gradient) of a pack."""
    llama.adapter.zero_grad()
    loss = Gradients(llama)(pack, first, 1.0)
    return loss.item(), llama.adapter.master.grad.clone()


def apart(one, other):
    return ((one - other).norm() / other.norm()).item()


@pytest.mark.parametrize("first", [0, SMALL_LAYOUT.base])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_fused_layers_give_the_plain_loss_and_gradients(first, checkpointing):
    plain, fused = LoraLlama(peft_model()), LoraLlama(peft_model(), compiled=True, checkpointing=checkpointing)
    plain.layers = None  # else a small model's on a CPU
    for count, seed in ((5, 0), (1, 1), (9, 2)):
        pack = make_pack(examples(count, seed), SMALL_LAYOUT, "cpu")
        (loss, gradient), (expected_loss, expected) = learnt(fused, pack, first), learnt(plain, pack, first)
        assert loss == pytest.approx(expected_loss, rel=1e-6)
        assert apart(gradient, expected) < 1e-6


@pytest.mark.parametrize("compiled", [False, True])
def test_packs_of_every_size_give_the_same_loss_and_gradients(compiled):
    """Exactly, in float32: what a pack is filled up with takes no part."""
    rows = examples(5)
    length, llama = sum(len(row.input_ids) for row in rows), LoraLlama(peft_model(), compiled)
    loss, gradient = learnt(llama, make_pack(rows, SMALL_LAYOUT, "cpu"))
    for multiple in (64, 128, 512, length):
        pack = make_pack(rows, SMALL_LAYOUT, "cpu", multiple=multiple)
        assert len(pack.ids) == -(-length // multiple) * multiple and pack.bounds[-1] == len(pack.ids)
        filled_loss, filled = learnt(llama, pack)
        assert filled_loss == loss and torch.equal(filled, gradient), multiple


def test_a_shape_that_comes_again_gives_the_same():
    """What a CUDA graph of a step reads: targets without weight and examples without tokens are behind it."""
    llama, rows = LoraLlama(peft_model(), compiled=True), examples(5)
    pack = make_pack(rows, SMALL_LAYOUT, "cpu", multiple=128)
    shaped = rounded_up(pack, SMALL_LAYOUT.base)
    assert len(shaped.where) % 256 == 0 and len(shaped.bounds) % 16 == 0 and shaped.longest % 1024 == 0
    assert shaped.weights.sum() == pack.weights.sum() and torch.equal(shaped.ids, pack.ids)
    (loss, gradient), (expected_loss, expected) = (learnt(llama, one, SMALL_LAYOUT.base) for one in (shaped, pack))
    assert loss == pytest.approx(expected_loss, rel=1e-6) and apart(gradient, expected) < 1e-6
    other = rounded_up(make_pack(rows[:4], SMALL_LAYOUT, "cpu", multiple=256), SMALL_LAYOUT.base)
    assert len(other.where) == len(shaped.where) and len(other.bounds) == len(shaped.bounds)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there it would be recorded")
def test_a_step_that_cannot_be_recorded_is_computed(monkeypatch):
    """As where a CUDA graph finds no memory; here there is no CUDA."""
    llama, pack = LoraLlama(peft_model(), compiled=True), make_pack(examples(5), SMALL_LAYOUT, "cpu", multiple=128)
    assert not llama.recordable
    expected_loss, expected = learnt(llama, pack)
    monkeypatch.setattr(LoraLlama, "recordable", True)
    gradients = Gradients(llama)
    for _ in range(3):
        llama.adapter.zero_grad()
        assert gradients(pack, 0, 0.5).item() == pytest.approx(expected_loss / 2, rel=1e-6)
        assert apart(llama.adapter.master.grad, expected / 2) < 1e-6
    assert list(gradients.recorded.values()) == [None]


def test_gradients_of_several_packs_add_up():
    llama, rows = LoraLlama(peft_model(), compiled=True), examples(6)
    _, whole = learnt(llama, make_pack(rows, SMALL_LAYOUT, "cpu"))
    llama.adapter.zero_grad()
    for part in (rows[:2], rows[2:3], rows[3:]):
        Gradients(llama)(make_pack(part, SMALL_LAYOUT, "cpu"), 0, 1.0)
    assert apart(llama.adapter.master.grad, whole) < 1e-6


def test_no_gradients_are_made_where_none_are_wanted():
    llama, plain = LoraLlama(peft_model(), compiled=True), LoraLlama(peft_model())
    pack = make_pack(examples(3), SMALL_LAYOUT, "cpu")
    with torch.no_grad():
        assert llama.loss(pack).item() == pytest.approx(plain.loss(pack).item(), rel=1e-6)
    assert not llama.adapter.master.grad.any()


# --- FP8 ---


def test_fp8_is_near_and_what_is_measured_without_gradients_is_exact():
    plain, eight = LoraLlama(peft_model()), LoraLlama(peft_model(), compiled=True, fp8=True)
    pack = make_pack(examples(6), SMALL_LAYOUT, "cpu", multiple=16)
    (loss, gradient), (expected_loss, expected) = learnt(eight, pack), learnt(plain, pack)
    assert loss != expected_loss and loss == pytest.approx(expected_loss, rel=0.01)
    assert 0.01 < apart(gradient, expected) < 0.1
    with torch.no_grad():
        assert eight.loss(pack).item() == pytest.approx(plain.loss(pack).item(), rel=1e-6)


@pytest.mark.parametrize("size", [0.0, 0.01, 50.0])
def test_fp8_weights_follow_the_adapter_whatever_its_size(size):
    """An adapter much larger than the weights gets its rows another scale instead of being cut off."""
    torch.manual_seed(0)
    fused = torch.zeros(40 + 8, 24 + 8)
    fused[:40, :24] = torch.randn(40, 24)
    weight = EightWeight(fused, 40, 24, passes)
    fused[:40, 24:], fused[40:, :24] = torch.randn(40, 8) * size, torch.randn(8, 24) * size
    weight.refresh()
    for eight, matrix in ((weight.forward, fused[:40]), (weight.backward, fused[:, :24].T)):
        assert apart(eight.wide(), matrix) < 0.04
    x = torch.randn(5, 32)
    found = product(passes.quantize(x), weight.forward, torch.float32)
    assert apart(found, x @ fused[:40].T) < 0.06


# --- kernels ---


def test_the_kernels_compute_the_plain_passes():
    """In Triton's interpreter, where Triton is installed; `tests/training/test_gpu.py` shows it on a GPU."""
    pytest.importorskip("triton")
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.interpret_kernels"],
        **{"cwd": ROOT, "capture_output": True, "text": True, "env": os.environ | {"TRITON_INTERPRET": "1"}},
    )
    assert done.returncode == 0, done.stderr[-3000:]
