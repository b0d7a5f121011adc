"""Packed training on a GPU: the attention kernel over packed rows, bf16, fused layers, recorded steps, FP8, 4-bit weights."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model

from orpheus.common.cards import Card
from orpheus.data.examples import Example
from orpheus.training import passes
from orpheus.training.eight import Eight
from orpheus.training.llama import LoraLlama
from orpheus.training.packing import make_pack
from orpheus.training.steps import Gradients
from tests.fakes.checkpoints import SMALL_CONFIG, SMALL_LAYOUT, walking_model

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600)]
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
CONFIG = SMALL_CONFIG | {"hidden_size": 256, "intermediate_size": 512, "head_dim": 64}  # a head the kernel takes
LENGTHS = [40, 97, 61, 18]
FILLED = {"multiple": 128}


def examples(seed=0):
    random = np.random.default_rng(seed)
    rows = [random.integers(0, SMALL_LAYOUT.last_audio + 1, length).astype(np.int32) for length in LENGTHS]
    for row in rows:
        row[11:] = random.integers(SMALL_LAYOUT.base, SMALL_LAYOUT.last_audio + 1, len(row) - 11)
    return [Example(row, 11, str(index), "", None, str(index)) for index, row in enumerate(rows)]


def tuned(device, dtype, config=CONFIG, quantize=lambda model: model):
    """A peft model whose adapters are not zero: the same weights on every device."""
    torch.manual_seed(0)
    model = get_peft_model(
        quantize(walking_model(config, SMALL_LAYOUT).to(device, dtype)),
        LoraConfig(r=16, lora_alpha=32, target_modules=TARGETS),
    )
    random = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = (torch.randn(parameter.shape, generator=random) * 0.05).to(device, parameter.dtype)
    return model


def loss_and_gradient(llama, first=0, **shape):
    pack = make_pack(examples(), SMALL_LAYOUT, llama.device, **shape)
    llama.adapter.zero_grad()
    loss = llama.loss(pack, first) / pack.weights.sum()
    loss.backward()
    llama.adapter.collect()
    return loss.item(), llama.adapter.master.grad.cpu().clone()


def near(a, b):
    """Largest relative difference of two gradients' norms and directions."""
    return (torch.linalg.vector_norm(a - b) / torch.linalg.vector_norm(b)).item()


@pytest.mark.parametrize("first", [0, SMALL_LAYOUT.base])
def test_bf16_over_packed_rows_is_near_float32_on_the_cpu(first):
    loss, gradient = loss_and_gradient(LoraLlama(tuned("cpu", torch.float32)), first)
    wide_loss, wide = loss_and_gradient(LoraLlama(tuned("cuda", torch.float32)), first)
    assert wide_loss == pytest.approx(loss, rel=1e-3) and near(wide, gradient) < 1e-2  # TF32 or not
    short_loss, short = loss_and_gradient(LoraLlama(tuned("cuda", torch.bfloat16)), first)
    assert short_loss == pytest.approx(loss, rel=1e-2)
    assert near(short, gradient) < 5e-2


def test_rows_do_not_see_each_other_in_the_kernel():
    llama = LoraLlama(tuned("cuda", torch.bfloat16))
    pack = make_pack(examples(), SMALL_LAYOUT, llama.device, **FILLED)
    with torch.no_grad():
        before = llama.hidden(pack)
        ids = pack.ids.clone()
        ids[LENGTHS[0] : LENGTHS[0] + LENGTHS[1]] = SMALL_LAYOUT.pad
        after = llama.hidden(replace(pack, ids=ids))
    same = (before == after).all(-1).cpu()
    assert same[: LENGTHS[0]].all() and same[sum(LENGTHS[:2]) :].all() and not same[sum(LENGTHS[:2]) - 1]


@pytest.mark.parametrize("checkpointing", [False, True])
def test_fused_layers_with_filling_give_the_eager_gradients(checkpointing):
    expected_loss, expected = loss_and_gradient(LoraLlama(tuned("cuda", torch.bfloat16)))
    llama = LoraLlama(tuned("cuda", torch.bfloat16), compiled=True, checkpointing=checkpointing)
    for _ in range(2):
        loss, gradient = loss_and_gradient(llama, **FILLED)
        assert loss == pytest.approx(expected_loss, rel=5e-3)
        assert near(gradient, expected) < 3e-2


@pytest.mark.parametrize("fp8, tolerance", [(False, 3e-2), (True, 0.2)])
def test_a_recorded_step_gives_the_eager_gradients(fp8, tolerance):
    if fp8 and not Card(*torch.cuda.get_device_capability()).fp8:
        pytest.skip("this GPU has no FP8 products")
    expected_loss, expected = loss_and_gradient(LoraLlama(tuned("cuda", torch.bfloat16)))
    llama = LoraLlama(tuned("cuda", torch.bfloat16), compiled=True, fp8=fp8)
    gradients = Gradients(llama)
    pack = make_pack(examples(), SMALL_LAYOUT, llama.device, **FILLED)
    for _ in range(4):
        llama.adapter.zero_grad()
        loss = gradients(pack, 0, 1 / pack.weights.sum().item())
        assert loss.item() == pytest.approx(expected_loss, rel=1e-2)
        assert near(llama.adapter.master.grad.cpu(), expected) < tolerance
    assert len(gradients.recorded) == 1 and all(gradients.recorded.values())
    llama.adapter.multiply(0.0)  # what is recorded reads the adapter as it is
    bare = loss_and_gradient(LoraLlama(tuned("cuda", torch.bfloat16), compiled=True))[0]
    assert gradients(pack, 0, 1 / pack.weights.sum().item()).item() != pytest.approx(bare, rel=1e-6)


@pytest.mark.parametrize("eight", [False, True])
def test_kernels_compute_the_plain_passes(eight):
    if eight and not Card(*torch.cuda.get_device_capability()).fp8:
        pytest.skip("this GPU has no FP8 products")
    from orpheus.training import kernels

    torch.manual_seed(0)
    tokens, width = 7, 384
    x, y, d = torch.randn(3, tokens, width, device="cuda", dtype=torch.bfloat16)
    weight, rstd = torch.rand(width, device="cuda").bfloat16() + 0.5, torch.rand(tokens, device="cuda")
    gate_up = torch.randn(tokens, 2 * width, device="cuda", dtype=torch.bfloat16)
    for name, arguments in {
        "add_norm": (x, y, weight, 1e-5, 16),
        "norm_backward": (d, x, rstd, weight, y, 16),
        "swiglu": (gate_up, 16),
        "swiglu_backward": (d, gate_up, 16),
    }.items():
        for found, expected in zip(*(getattr(part, name)(*arguments, eight=eight) for part in (kernels, passes))):
            if isinstance(expected, Eight):
                found, expected = (Eight(e.values[:, :-16], e.scales).wide() for e in (found, expected))
            elif expected is not None and expected.dim() == 2 and expected.shape[1] % width:
                found, expected = found[:, :-16], expected[:, :-16]
            if expected is not None:
                assert near(found.float(), expected.float()) < (0.05 if eight else 0.01), name


def _in_four_bits(model):
    import bitsandbytes
    from torch import nn

    def convert(module):
        for name, child in module.named_children():
            if isinstance(child, nn.Linear) and name != "lm_head":
                small = bitsandbytes.nn.Linear4bit(
                    child.in_features,
                    child.out_features,
                    bias=False,
                    compute_dtype=torch.bfloat16,
                    quant_type="nf4",
                    quant_storage=torch.uint8,
                )
                small.weight = bitsandbytes.nn.Params4bit(
                    child.weight.data.cpu(), requires_grad=False, quant_type="nf4", module=small
                )
                setattr(module, name, small.cuda())
            else:
                convert(child)

    convert(model.model)
    return model


@pytest.mark.parametrize("compiled", [False, True])
def test_four_bit_weights_give_what_the_dequantized_ones_give(compiled):
    pytest.importorskip("bitsandbytes")
    from orpheus.training.lora import dequantized

    deep = CONFIG | {"num_hidden_layers": 12}
    small = tuned("cuda", torch.bfloat16, deep, _in_four_bits)
    plain = tuned("cuda", torch.bfloat16, deep)
    kept = {name: module for name, module in small.named_modules() if name.endswith("base_layer")}
    assert len(kept) == 12 * 7
    for name, module in plain.named_modules():
        if name in kept:
            assert kept[name].weight.dtype == torch.uint8
            module.weight.data.copy_(dequantized(kept[name]))
    expected_loss, expected = loss_and_gradient(LoraLlama(plain))
    loss, gradient = loss_and_gradient(LoraLlama(small, compiled=compiled, checkpointing=True), **FILLED)
    assert loss == pytest.approx(expected_loss, rel=5e-3)
    assert near(gradient, expected) < 3e-2


def test_the_pack_lies_on_the_gpu():
    pack = make_pack(examples(), SMALL_LAYOUT, torch.device("cuda"), **FILLED)
    tensors = [getattr(pack, field.name) for field in fields(pack) if field.name != "longest"]
    assert all(tensor.is_cuda for tensor in tensors) and len(pack.ids) == 256
