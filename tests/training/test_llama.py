"""A packed step computes what transformers and peft compute row by row."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from orpheus.engines.options import SamplingOptions
from orpheus.engines.transformers import TransformersEngine
from orpheus.training import passes
from orpheus.training.llama import LoraLlama
from orpheus.training.packing import make_pack
from tests.fakes.checkpoints import SMALL_LAYOUT
from tests.fakes.training import examples, peft_model


def plain_loss(model, rows, text_loss_weight=0.0):
    """The sum of weighted cross-entropies by transformers and peft, row by row."""
    total = 0.0
    for row in rows:
        ids = torch.from_numpy(row.input_ids.astype(np.int64))
        losses = F.cross_entropy(model(input_ids=ids[None]).logits[0, :-1].float(), ids[1:], reduction="none")
        weights = torch.ones(len(losses))
        weights[: row.prompt_tokens - 1] = text_loss_weight
        total = total + (losses * weights).sum()
    return total


@pytest.mark.parametrize("text_loss_weight", [0.0, 1.0, 0.3])
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("multiple", [1, 512])
def test_packed_loss_and_gradients_are_those_of_rows_one_by_one(text_loss_weight, compiled, multiple):
    plain, rows = peft_model(), examples(5)
    llama = LoraLlama(copy.deepcopy(plain), compiled)
    loss = llama.loss(make_pack(rows, SMALL_LAYOUT, "cpu", text_loss_weight, multiple))
    loss.backward()
    expected = plain_loss(plain, rows, text_loss_weight)
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    wanted = {name: parameter.grad for name, parameter in plain.named_parameters() if parameter.grad is not None}
    assert len(wanted) == 28
    got = []
    order = ("q_proj", "k_proj", "v_proj"), ("o_proj",), ("gate_proj", "up_proj"), ("down_proj",)
    for layer in range(2):
        for group in order:
            for matrix in ("lora_A", "lora_B"):
                for module in group:
                    block = "mlp" if module in ("gate_proj", "up_proj", "down_proj") else "self_attn"
                    got.append(
                        wanted[f"base_model.model.model.layers.{layer}.{block}.{module}.{matrix}.default.weight"]
                    )
    expected_gradient = torch.cat([gradient.reshape(-1) for gradient in got])
    assert torch.allclose(
        llama.adapter.master.grad, expected_gradient, rtol=1e-4, atol=1e-5 * expected_gradient.abs().max()
    )


def test_the_loss_over_audio_tokens_alone():
    model, rows = peft_model(), examples(3)
    llama = LoraLlama(copy.deepcopy(model))
    loss = llama.loss(make_pack(rows, SMALL_LAYOUT, "cpu"), first=SMALL_LAYOUT.base)
    expected = 0.0
    for row in rows:
        ids = torch.from_numpy(row.input_ids.astype(np.int64))
        logits = model(input_ids=ids[None]).logits[0, row.prompt_tokens - 1 : -1, SMALL_LAYOUT.base :]
        expected += F.cross_entropy(logits, ids[row.prompt_tokens :] - SMALL_LAYOUT.base, reduction="sum").item()
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_checkpointed_layers_give_the_same_gradients():
    gradients = []
    for checkpointing in (False, True):
        llama = LoraLlama(peft_model(), checkpointing=checkpointing)
        llama.loss(make_pack(examples(4), SMALL_LAYOUT, "cpu")).backward()
        gradients.append(llama.adapter.master.grad)
    assert torch.equal(*gradients)


def test_a_model_in_training_speaks_what_the_merged_one_does():
    model = peft_model(0.02)
    llama = LoraLlama(copy.deepcopy(model))
    prompts = [[*range(5)], [7, 8, 9]]
    greedy = SamplingOptions(temperature=0, max_new_tokens=40)
    spoken = [
        np.stack(list(TransformersEngine(m, SMALL_LAYOUT).generate(prompts, greedy, [0, 1])))
        for m in (llama, model.merge_and_unload())
    ]
    assert np.array_equal(*spoken)


@pytest.mark.parametrize("scale", [0.1, 3.0, 60.0])
@pytest.mark.parametrize("skip", [0, 5])
def test_a_heads_loss_and_gradient_are_pytorchs(scale, skip):
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(9, 40, generator=generator) * scale
    targets, weights = torch.randint(skip, 40, (9,), generator=generator), torch.tensor([1.0, 0.0, 0.3] * 3)
    leaf = logits.clone().requires_grad_(True)
    wanted = F.cross_entropy(leaf[:, skip:], targets - skip, reduction="none") * weights
    wanted.sum().backward()
    losses = passes.cross_entropy(logits, targets, weights, skip)
    torch.testing.assert_close(losses, wanted, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(logits, leaf.grad, rtol=1e-4, atol=1e-6)
    assert not logits[1].any() and logits[0].any()
