"""The adapter's weights in one vector."""

import torch

from orpheus.training.llama import LoraLlama
from tests.fakes.training import peft_model


def test_half_the_strength_moves_half_as_far_from_the_base():
    tuned = peft_model()
    layer = tuned.get_base_model().model.layers[1].mlp.up_proj
    whole = layer.get_delta_weight("default").clone()
    LoraLlama(tuned).adapter.multiply(0.5)
    assert torch.allclose(layer.get_delta_weight("default"), whole / 2, atol=1e-7) and whole.abs().max() > 0.01
