"""Starting with Orpheus-3B's shape on a GPU: what loading takes of its memory, and that it is the model of its files."""

import pytest
import torch

from orpheus.engines.loading import load_language_model, open_engine, read_llama
from orpheus.engines.options import SamplingOptions
from tests.engines.test_transformers import rows_of
from tests.fakes.checkpoints import ORPHEUS_LAYOUT, save_full_size_voice

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(300)]
GIB = 2**30
ONE_LAYER = 2 * 100_669_440  # bytes: 2 x 3072 x 3072 + 2 x 1024 x 3072 + 3 x 8192 x 3072, and two norms, in 16 bits


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = save_full_size_voice(tmp_path_factory.mktemp("full"))
    torch.cuda.empty_cache()
    return folder


def loaded(files, weights):
    """(parts, bytes kept, most bytes while loading)"""
    stored = read_llama(files, None, "cuda")
    assert 2 * stored.config.layer_size == ONE_LAYER
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    parts = stored.parts(weights)
    return parts, torch.cuda.memory_allocated() - before, torch.cuda.max_memory_allocated() - before


def test_8_bits_never_take_more_than_one_layer_above_what_is_kept(files):
    parts, kept, most = loaded(files, "int8")
    assert kept < 3.6 * GIB  # head and embeddings are one matrix of 0.9 in 16 bits
    assert kept <= most < kept + ONE_LAYER
    assert {layer.down.values.dtype for layer in parts.layers} == {torch.int8}


def test_16_bits_take_next_to_nothing_above_what_is_kept(files):
    parts, kept, most = loaded(files, "same")
    assert 6.0 * GIB < kept < 6.3 * GIB and most < kept + 2**24
    expected = load_language_model(files, "cuda").state_dict()
    assert torch.equal(parts.embeddings, expected["model.embed_tokens.weight"])
    for index, layer in enumerate(parts.layers):
        attention, mlp = f"model.layers.{index}.self_attn", f"model.layers.{index}.mlp"
        q, k, v = (expected[f"{attention}.{name}_proj.weight"] for name in "qkv")
        assert torch.equal(layer.qkv.values, torch.cat([q, k, v]))
        assert torch.equal(layer.down.values, expected[f"{mlp}.down_proj.weight"])


def test_it_speaks(files):
    for name in ("fast", "fast-int8"):
        engine = open_engine(name, files, None, "cuda", ORPHEUS_LAYOUT)
        assert not engine.fallen_back
        rows = rows_of(
            engine,
            [[128_259, 128_000, 1000, 1001, 128_009, 128_260, 128_261, 128_257]],
            SamplingOptions(max_new_tokens=50),
            [0],
        )
        assert len(rows[0]) == 50
        engine.release()
