"""What this machine, or what started the processes, cannot do is said before anything is loaded."""

from types import SimpleNamespace

import pytest
import torch

import orpheus_sft_unsloth as script
from orpheus.common.errors import InputError
from orpheus.training.hardware import choose_backend, start_ranks
from orpheus.training.options import TrainingOptions
from orpheus.training.trainer import Trainer
from tests.fakes.checkpoints import SMALL_LAYOUT


@pytest.mark.parametrize(
    "environment, message",
    [
        ({"WORLD_SIZE": "abc"}, "WORLD_SIZE in the environment must be a whole number of at least 1, not 'abc'"),
        ({"WORLD_SIZE": "0"}, "at least 1, not '0'"),
        ({"WORLD_SIZE": ""}, "at least 1, not ''"),
        (
            {"WORLD_SIZE": "2"},
            "WORLD_SIZE in the environment is 2, but RANK, MASTER_ADDR, MASTER_PORT not set: start with",
        ),
        ({"RANK": "first"}, "RANK in the environment must be a whole number of at least 0, not 'first'"),
        ({"RANK": "1"}, "RANK in the environment must be below WORLD_SIZE, 1, not 1"),
        (
            {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "abc"},
            "the 2 processes do not find each other: ",
        ),
    ],
)
def test_an_environment_that_is_not_torchruns(monkeypatch, environment, message):
    for name in ("WORLD_SIZE", "RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    assert start_ranks() == (0, 1)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError) as refused:
        start_ranks()
    assert message in str(refused.value)


@pytest.mark.parametrize(
    "backend, device, load_in_4bit, chosen",
    [
        ("auto", "cuda", True, "unsloth"),
        ("auto", "cpu", False, "transformers"),
        ("transformers", "cuda", False, "transformers"),
        ("unsloth", "cuda", False, "unsloth"),
    ],
)
def test_what_loads_the_base_model(backend, device, load_in_4bit, chosen):
    assert choose_backend(backend, device, load_in_4bit) == chosen


@pytest.mark.parametrize(
    "backend, device, load_in_4bit, message",
    [
        (
            "unsloth",
            "cpu",
            False,
            "--backend unsloth needs a GPU .*, and this run is on cpu: use --backend transformers",
        ),
        ("auto", "cpu", True, "--load-in-4bit needs a GPU .*: leave the flag out"),
        ("transformers", "cuda", True, "--load-in-4bit needs .* --backend unsloth: leave --backend out"),
    ],
)
def test_what_a_device_cannot_do(backend, device, load_in_4bit, message):
    with pytest.raises(InputError, match=message):
        choose_backend(backend, device, load_in_4bit)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("flags", ["--backend unsloth", "--load-in-4bit"])
def test_the_recipe_refuses_it_before_it_reads_anything(flags, capsys, in_empty_folder):
    assert script.main(["--demo", "--report-to", "none", "--dataset", "nowhere", *flags.split()]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {flags} needs a GPU") and error.count("\n") == 1
    assert not list(in_empty_folder.iterdir())


def test_too_little_of_a_pass_is_no_run(tmp_path):
    train = [SimpleNamespace(input_ids=[0] * 9)] * 12
    with pytest.raises(
        InputError, match="epochs 0.03 of 12 recordings is less than one of them: raise --epochs to 0.083"
    ):
        Trainer(None, train, [], SMALL_LAYOUT, TrainingOptions(epochs=0.03), tmp_path, None)
