"""Adapters beside one copy of the weights on a GPU: captured steps, bf16 at the 3B's shape. Run with `pytest -m gpu`."""

import pytest
import torch

from benchmarks.adapters import random_changes
from orpheus.engines.fast.engine import FastEngine
from orpheus.engines.loading import read_llama
from orpheus.engines.options import SamplingOptions
from tests.engines.test_adapters import changes_of
from tests.engines.test_fast import SEEDS, collect
from tests.engines.test_gpu import TEXTS
from tests.engines.test_transformers import PROMPTS, rows_of
from tests.fakes.adapters import train_adapter
from tests.fakes.checkpoints import ORPHEUS_3B_CONFIG, ORPHEUS_LAYOUT, SMALL_LAYOUT, walking_model

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(300)]


@pytest.mark.parametrize("temperature", [0.0, 0.6])
def test_captured_steps_in_fp32_give_the_ids_of_models_of_their_own_on_the_cpu(
    small_voice_folder, tmp_path, temperature, monkeypatch
):
    monkeypatch.setattr("orpheus.engines.loading._dtype", lambda device: torch.float32)
    sampling = SamplingOptions(temperature=temperature, max_new_tokens=60)
    adapters = {
        "anna": train_adapter(tmp_path / "anna", small_voice_folder),
        "ben": train_adapter(tmp_path / "ben", small_voice_folder, r=7, target_modules=["q_proj", "down_proj"]),
    }
    expected = {
        name: rows_of(FastEngine(read_llama(small_voice_folder, folder, "cpu"), SMALL_LAYOUT), PROMPTS, sampling, SEEDS)
        for name, folder in {None: None, **adapters}.items()
    }
    source, changes = read_llama(small_voice_folder, None, "cuda"), changes_of(small_voice_folder, adapters)
    engine = FastEngine(source, SMALL_LAYOUT, adapters=changes)
    for name, rows in expected.items():
        assert rows_of(engine.speaking_as(name), PROMPTS, sampling, SEEDS) == rows, name
        assert rows_of(engine.speaking_as(name), PROMPTS[1:2], sampling, SEEDS[1:2]) == rows[1:2], name
    slots = engine.open(6, 256)
    asked = [("anna", 0), (None, 1), ("ben", 0), ("anna", 2), ("ben", 3), (None, 3)]
    for name, row in asked:
        slots.join(PROMPTS[row], sampling, SEEDS[row], name)
    rows = collect(slots, {})
    assert [rows[slot] for slot in range(6)] == [expected[name][row] for name, row in asked]
    assert engine.captured and not engine.fallen_back


def test_two_adapters_in_bf16_at_the_full_shape():
    """Rows of the base are those of the engine without adapters, as far as both take the products; each row is the same again, beside
    other neighbours; and no two speakers say the same."""
    model = walking_model(ORPHEUS_3B_CONFIG, ORPHEUS_LAYOUT, 100, dtype=torch.bfloat16, device="cuda", margin=11.0)
    changes = {
        name: random_changes(model.config, 64, "cuda", torch.bfloat16, seed)
        for seed, name in enumerate(("anna", "ben"))
    }
    sampling = SamplingOptions(max_new_tokens=100)
    plain = FastEngine(model, ORPHEUS_LAYOUT)
    before = torch.cuda.memory_allocated()
    engine = FastEngine(model, ORPHEUS_LAYOUT, adapters=changes)
    added = torch.cuda.memory_allocated() - before
    assert 0 <= added - engine.llama.adapters.nbytes < 50e6  # the base's weights are not there again

    def speak(engine, asked):
        slots = engine.open(4, 512)
        for name in asked:
            slots.join(TEXTS[0], sampling, 7, *([name] if name else []))
        rows = collect(slots, {})
        return [rows[row] for row in range(len(asked))]

    one = speak(engine, [None, "anna", "ben", None])
    assert one[0] == one[3] == speak(plain, [None] * 4)[0]
    assert len({str(row) for row in one}) == 3
    assert speak(engine, ["ben", None, None, "anna"]) == [one[2], one[0], one[0], one[1]]
    assert rows_of(engine.speaking_as("anna"), TEXTS[:1], sampling, [7]) == rows_of(
        engine.speaking_as("anna"), TEXTS[:1], sampling, [7]
    )
    assert engine.captured and not engine.fallen_back
