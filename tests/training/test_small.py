"""A small model's layers on a CPU compute what the plain ones do, and its training loss is over what may follow."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from orpheus.training import small
from orpheus.training.llama import LoraLlama, one_by_one_attention
from orpheus.training.packing import make_pack
from orpheus.training.steps import Gradients
from tests.fakes.checkpoints import SMALL_LAYOUT
from tests.fakes.training import OPTIONS, examples, peft_model, trainer, weights


def plain_llama(size=0.05):
    """Its layers are computed as a large model's are."""
    llama = LoraLlama(peft_model(size))
    llama.layers = None
    return llama


def learnt(llama, pack, first=0):
    """(loss, the adapter's gradient) of a pack."""
    llama.adapter.zero_grad()
    loss = Gradients(llama)(pack, first, 0.5)
    return loss.item(), llama.adapter.master.grad.clone()


@pytest.mark.parametrize("first", [0, SMALL_LAYOUT.base])
@pytest.mark.parametrize(("count", "seed"), [(1, 0), (5, 1), (12, 2)])
def test_small_layers_give_the_plain_loss_and_gradients(count, seed, first):
    llama, pack = LoraLlama(peft_model()), make_pack(examples(count, seed), SMALL_LAYOUT, "cpu")
    assert isinstance(llama.layers[0], small.SmallLayer)
    (loss, gradient), (expected_loss, expected) = learnt(llama, pack, first), learnt(plain_llama(), pack, first)
    assert loss == pytest.approx(expected_loss, rel=1e-6)
    assert (gradient - expected).norm() < 2e-6 * expected.norm()
    with torch.no_grad():
        assert llama.loss(pack, first).item() == pytest.approx(2 * expected_loss, rel=1e-6)


def test_checkpointing_gives_the_same_gradients():
    pack = make_pack(examples(4, 3), SMALL_LAYOUT, "cpu")
    kept, again = LoraLlama(peft_model()), LoraLlama(peft_model(), checkpointing=True)
    (loss, gradient), (loss_again, gradient_again) = learnt(kept, pack), learnt(again, pack)
    assert loss_again == loss and torch.equal(gradient_again, gradient)


def test_small_layers_follow_the_adapter():
    llama, plain, pack = LoraLlama(peft_model()), plain_llama(), make_pack(examples(3), SMALL_LAYOUT, "cpu")
    for one in (llama, plain):
        one.adapter.master.data.mul_(1.5)
        one.adapter.refresh()
        one.adapter.multiply(0.7)
    assert learnt(llama, pack)[0] == pytest.approx(learnt(plain, pack)[0], rel=1e-6)
    assert abs(learnt(llama, pack)[0] - learnt(plain_llama(), pack)[0]) > 1e-3


def test_gradients_of_several_packs_add_up():
    llama, gradients = LoraLlama(peft_model()), []
    packs = [make_pack(examples(count, 7), SMALL_LAYOUT, "cpu") for count in (2, 5)]
    for pack in packs:
        gradients.append(learnt(llama, pack)[1])
    llama.adapter.zero_grad()
    for pack in packs:
        Gradients(llama)(pack, 0, 0.5)
    torch.testing.assert_close(llama.adapter.master.grad, sum(gradients), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("threads", [2, 4])
def test_passes_at_once_give_the_gradients_of_one_after_the_other(threads):
    llama, before = LoraLlama(peft_model()), torch.get_num_threads()
    lists = [
        [make_pack(examples(count, seed), SMALL_LAYOUT, "cpu") for seed in range(seed)]
        for count, seed in ((2, 1), (3, 2))
    ]
    lists += [[]] * (threads - 2)  # a step of few examples
    loss, gradients = 0.0, []
    for pack in (pack for packs in lists for pack in packs):
        one, gradient = learnt(llama, pack)
        loss += one
        gradients.append(gradient)
    at_once = small.AtOnce(llama, threads)
    for _ in range(2):
        llama.adapter.zero_grad()
        assert at_once(lists, 0, 0.5).item() == pytest.approx(loss, rel=1e-5)
        torch.testing.assert_close(llama.adapter.master.grad, sum(gradients), rtol=1e-5, atol=1e-6)
    assert torch.get_num_threads() == before


def test_what_fails_in_a_pass_is_raised_when_the_others_have_ended(monkeypatch):
    llama, packs = LoraLlama(peft_model()), [make_pack(examples(2, seed), SMALL_LAYOUT, "cpu") for seed in (1, 2)]
    at_once, loss, ended = small.AtOnce(llama, 2), llama.loss, []

    def failing(pack, first):
        if pack is packs[0]:
            raise MemoryError("no room")
        found = loss(pack, first)
        ended.append(pack)
        return found

    monkeypatch.setattr(llama, "loss", failing)
    with pytest.raises(MemoryError, match="no room"):
        at_once([packs[:1], packs[1:]], 0, 1.0)
    assert ended == packs[1:]


@pytest.mark.parametrize(("heads", "kv_heads"), [(3, 3), (4, 2), (6, 1)])
@pytest.mark.parametrize("lengths", [(1, 2), (128, 5), (40, 129, 300)])
def test_attention_in_blocks_is_pytorchs(heads, kv_heads, lengths):
    draw = torch.Generator().manual_seed(3)
    ends, dim = [0, *np.cumsum(lengths).tolist()], 8
    qkv = torch.randn(ends[-1], (heads + 2 * kv_heads) * dim, generator=draw)
    d = torch.randn(ends[-1], heads * dim, generator=draw)
    out, shares = small.attend(qkv, heads, kv_heads, dim, ends, kept=True)
    gradient = small.attend_backward(d, out, qkv, shares, heads, kv_heads, dim, ends)
    leaf = qkv.clone().requires_grad_(True)
    q, k, v = leaf.unflatten(1, (-1, dim)).split([heads, kv_heads, kv_heads], dim=1)
    wanted = one_by_one_attention(q, k, v, torch.tensor(ends), max(lengths)).flatten(1)
    wanted.backward(d)
    torch.testing.assert_close(out, wanted.detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradient, leaf.grad, rtol=1e-4, atol=1e-5)
    alone, none = small.attend(qkv, heads, kv_heads, dim, ends, kept=False)
    assert torch.equal(alone, out) and none == []


def test_a_large_model_keeps_the_plain_layers(monkeypatch):
    monkeypatch.setattr("orpheus.training.llama.LARGEST", 1000)
    llama = LoraLlama(peft_model())
    assert not llama.small and llama.layers is None
    assert all(group.one is None for group in llama.adapter.groups)


# --- the loss over what may follow -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "seed"), [(1, 4), (3, 5), (9, 6)])
def test_the_loss_over_a_positions_own_codes(count, seed):
    rows, llama, plain = examples(count, seed), LoraLlama(peft_model()), plain_llama()
    llama.narrow(SMALL_LAYOUT)
    loss, gradient = learnt(llama, make_pack(rows, SMALL_LAYOUT, "cpu"), SMALL_LAYOUT.base)
    expected = 0.0
    for row in rows:
        pack = make_pack([row], SMALL_LAYOUT, "cpu")
        hidden = plain.decoder.norm(plain.hidden(pack)[pack.where])
        logits = hidden @ plain.head.T
        for place, (target, of_all) in enumerate(zip(row.input_ids[row.prompt_tokens :].tolist(), logits)):
            start = SMALL_LAYOUT.range_start(place if target >= SMALL_LAYOUT.first_audio else 0)
            allowed = [*range(SMALL_LAYOUT.base, SMALL_LAYOUT.first_audio), *range(start, start + 32)]
            expected = expected + F.cross_entropy(of_all[allowed][None], torch.tensor([allowed.index(target)]))
    (expected * 0.5).backward()
    assert loss == pytest.approx(expected.item() * 0.5, rel=1e-5)
    torch.testing.assert_close(gradient, plain.adapter.master.grad, rtol=1e-4, atol=1e-5)


def test_only_a_loss_that_is_not_over_the_whole_vocabulary_is_narrowed():
    llama, pack = LoraLlama(peft_model()), make_pack(examples(4), SMALL_LAYOUT, "cpu")
    whole, audio = (llama.loss(pack, first).item() for first in (0, SMALL_LAYOUT.base))
    llama.narrow(SMALL_LAYOUT)
    assert llama.loss(pack).item() == whole
    assert llama.loss(pack, SMALL_LAYOUT.base).item() < audio - 1


@pytest.mark.parametrize("asked", [{"full_vocabulary": True}, {"text_loss_weight": 0.5}])
def test_what_is_asked_for_is_not_narrowed(tmp_path, asked):
    assert trainer(tmp_path).llama.own_codes
    assert not trainer(tmp_path, options=replace(OPTIONS, **asked)).llama.own_codes


def test_the_same_seed_gives_the_same_adapter(tmp_path):
    runs = [trainer(tmp_path / name) for name in "ab"]
    for run in runs:
        run.run()
    assert torch.equal(*map(weights, runs)) and not torch.equal(weights(runs[0]), weights(trainer(tmp_path / "c")))


def test_a_run_of_several_passes_at_once_is_the_run(tmp_path, monkeypatch):
    """The same seed gives the same adapter, bit for bit, and that of one pass after the other up to rounding."""
    alone = trainer(tmp_path / "alone")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    runs = [trainer(tmp_path / name) for name in "ab"]
    assert alone.at_once is None and all(run.lists == 2 and run.at_once for run in runs)
    for run in (alone, *runs):
        run.run()
    assert torch.equal(*map(weights, runs))
    assert torch.allclose(weights(runs[0]), weights(alone), atol=1e-4)
