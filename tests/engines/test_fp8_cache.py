"""A cache in FP8, for many sequences."""

from dataclasses import replace

import pytest
import torch

from orpheus.common.errors import InputError
from orpheus.engines.fast.engine import FastEngine, check_fp8
from orpheus.engines.fast.matrix import in_fp8
from tests.engines.test_fast import SEEDS, collect
from tests.engines.test_transformers import GREEDY, PROMPTS, SAMPLED
from tests.fakes.checkpoints import SMALL_CONFIG, SMALL_LAYOUT, walking_model


@pytest.fixture(scope="module")
def model():
    return walking_model(SMALL_CONFIG, SMALL_LAYOUT, frames=8)


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_a_cache_in_fp8_gives_each_row_the_same_beside_others(model, sampling):
    engine, short = FastEngine(model, SMALL_LAYOUT), replace(sampling, max_new_tokens=20)
    alone = []
    for prompt, seed in zip(PROMPTS, SEEDS):
        slots = engine.open(1, 256, cache="fp8")
        slots.join(prompt, short, seed)
        alone.append(collect(slots, {})[0])
    slots = engine.open(4, 256, cache="fp8")
    for prompt, seed in zip(PROMPTS, SEEDS):
        slots.join(prompt, short, seed)
    assert list(collect(slots, {}).values()) == alone and all(len(row) >= 7 for row in alone)
    assert slots.cache.keys.element_size() == 1 and engine.open(4, 256).cache.keys.element_size() == 4
    with pytest.raises(InputError, match="cache must be same or fp8, not 'fp4'"):
        engine.open(1, 256, cache="fp4")


def test_fp8_keeps_a_rows_largest_exactly_and_the_rest_within_a_sixteenth():
    rows = torch.randn(3, 5, 64) * torch.tensor([1e-3, 1.0, 300.0])[:, None, None]
    values, scales = in_fp8(rows)
    back = values.float() * scales[..., None]
    assert torch.equal(values.float().abs().amax(-1), torch.full((3, 5), 448.0))
    assert ((back - rows).abs() <= rows.abs() / 16 + rows.abs().amax(-1, keepdim=True) / 448 / 512).all()
    assert not in_fp8(torch.zeros(2, 4))[0].float().any()


@pytest.mark.parametrize(
    "device, capability, refused",
    [("cuda", (8, 6), "8.9 or newer"), ("cuda", (8, 9), None), ("mps", None, "not mps"), ("cpu", None, None)],
)
@pytest.mark.parametrize("what", ["weights", "a cache"])
def test_fp8_is_refused_where_the_device_cannot_compute_with_it(monkeypatch, what, device, capability, refused):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    if refused is None:
        check_fp8(what, torch.device(device))
        return
    with pytest.raises(InputError, match=f"{what} in fp8 needs .*{refused}.*: leave it out here"):
        check_fp8(what, torch.device(device))
