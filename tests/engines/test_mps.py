"""The fast engine on Apple's mps, as far as that can be told on a CPU: the same code, with a device that says that it is mps."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from orpheus.common.errors import OrpheusWarning
from orpheus.engines.fast.engine import FastEngine
from orpheus.engines.fast.llama import TorchOperations
from orpheus.engines.loading import _dtype, choose_engine
from orpheus.engines.options import SamplingOptions
from tests.fakes.checkpoints import SMALL_CONFIG, SMALL_LAYOUT, walking_model

SAMPLING = SamplingOptions(max_new_tokens=28)


@pytest.fixture
def model(monkeypatch):
    model = walking_model(SMALL_CONFIG, SMALL_LAYOUT)
    monkeypatch.setattr(type(model), "device", torch.device("mps"))  # its weights are where they were
    return model


def tokens(engine):
    return [[int(row) for row in step] for step in engine.generate([[256, 70, 257], [256, 71]], SAMPLING, [3, 4])]


def test_the_plain_step_is_taken(model):
    engine = choose_engine("auto", model, SMALL_LAYOUT)
    assert isinstance(engine, FastEngine) and not engine.captured and not engine.fallen_back
    assert engine.llama.operations is TorchOperations
    assert tokens(engine) == tokens(FastEngine(walking_model(SMALL_CONFIG, SMALL_LAYOUT), SMALL_LAYOUT))


@pytest.mark.parametrize("name", ["qkv", "attend", "gate_up"])
def test_what_the_device_lacks_is_said_and_transformers_takes_over(model, monkeypatch, name):
    def lacking(*_):
        raise NotImplementedError("The operator is not currently implemented for the MPS device")

    monkeypatch.setattr(TorchOperations, name, staticmethod(lacking))
    with pytest.warns(OrpheusWarning, match="NotImplementedError: The operator is not .*; using transformers instead"):
        engine = choose_engine("fast", model, SMALL_LAYOUT)
    assert engine.fallen_back


class Types(TorchDispatchMode):
    """Notes the data types of all results."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        result = function(*arguments, **named or {})
        for value in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(value, torch.Tensor):
                self.seen.add(value.dtype)
        return result


def test_nothing_is_computed_in_types_that_mps_lacks(model):
    engine = choose_engine("auto", model, SMALL_LAYOUT)
    with Types() as noted:
        assert len(tokens(engine)) > 7
    assert torch.float32 in noted.seen
    assert not noted.seen & {torch.float64, torch.complex128, torch.uint64}


def test_the_data_type(monkeypatch):
    for newest, expected in ((13, torch.float32), (14, torch.bfloat16), (15, torch.bfloat16)):
        monkeypatch.setattr(torch.backends.mps, "is_macos_or_newer", lambda major, _, newest=newest: newest >= major)
        assert _dtype("mps") == expected
    assert _dtype("cpu") == torch.float32
