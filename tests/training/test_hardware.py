"""What this machine, or what started the processes, cannot do is said before anything is loaded."""

from types import SimpleNamespace

import pytest
import torch

import orpheus_sft_unsloth as script
from orpheus.common.errors import InputError, OrpheusError, StoppedError
from orpheus.common.options import ORPHEUS_3B
from orpheus.data.options import DataOptions
from orpheus.training import hardware
from orpheus.training.hardware import Memory, check_fp8, check_without_gpu, choose_backend, start_ranks, stop_ranks
from orpheus.training.options import RunOptions, TrainingOptions
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


@pytest.mark.parametrize("kind, there", [(None, False), (StoppedError, False), (OrpheusError, True)])
def test_the_process_group_is_closed_at_the_end(tmp_path, kind, there):
    """NCCL warns of one that is not. After an error of one rank the others may wait for it, so it is left to the launcher."""
    meeting = (tmp_path / "meeting").as_uri()
    torch.distributed.init_process_group("gloo", init_method=meeting, rank=0, world_size=1)
    try:
        script.Finetune.__exit__(SimpleNamespace(held=None), kind)
        assert torch.distributed.is_initialized() is there
    finally:
        stop_ranks()
    assert not torch.distributed.is_initialized()
    stop_ranks()  # nothing to end


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


# --- FP8 ---


@pytest.mark.parametrize(
    "device, capability, options, message",
    [
        ("cpu", None, {}, r"--fp8 needs a GPU of compute capability 8\.9 or more .*, and this run is on cpu: leave the flag out"),
        ("cuda", (8, 6), {}, r"--fp8 needs a GPU .* 8\.9 or more \(RTX 40, L4, H100\); A10 has 8\.6: leave the flag out"),
        ("cuda:1", (7, 5), {}, r"A10 has 7\.5"),
        ("cuda", (9, 0), {"load_in_4bit": True}, "--fp8 and --load-in-4bit are two ways to store the same weights"),
        ("cuda", (9, 0), {"compile": "off"}, "leave --compile off out, or --fp8"),
        ("cuda", (9, 0), {"lora_rank": 24}, "a lora_rank that is a multiple of 16, not 24"),
    ],
)  # fmt: skip
def test_fp8_is_refused_where_it_cannot_be(monkeypatch, device, capability, options, message):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A10")
    with pytest.raises(InputError, match=message):
        check_fp8(device, TrainingOptions(fp8=True, **options))
    check_fp8(device, TrainingOptions(**options))


@pytest.mark.parametrize("capability", [(8, 9), (9, 0), (12, 0)])
def test_fp8_is_taken_where_it_can_be(monkeypatch, capability):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    check_fp8("cuda", TrainingOptions(fp8=True))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_recipe_refuses_fp8_before_it_reads_anything(capsys, in_empty_folder):
    assert script.main(["--demo", "--report-to", "none", "--dataset", "nowhere", "--fp8"]) == 2
    assert capsys.readouterr().err.startswith("error: --fp8 needs a GPU")
    assert not list(in_empty_folder.iterdir())


# --- a large model on a CPU ----------------------------------------------------------------------------------------------


def refused(checkpoint, device="cpu", data=None, **run):
    with pytest.raises(InputError) as error:
        check_without_gpu(
            SimpleNamespace(checkpoint=checkpoint, device=device), RunOptions(**run), data or DataOptions()
        )
    return str(error.value)


def weights_of(folder, size):
    folder.mkdir()
    with open(folder / "model.safetensors", "wb") as file:
        file.truncate(size)
    return str(folder)


def test_orpheus_3b_is_refused_without_a_gpu_with_the_way_to_go():
    said = refused(ORPHEUS_3B)
    assert said.startswith(
        f"{ORPHEUS_3B} is 6.6 GB to fetch and would train for days without a GPU, and PyTorch finds no"
    )
    assert (
        "(or --demo alone, for the speaker that comes with it):\n    python orpheus_sft_unsloth.py --demo --dataset my_recordings\n"
        in said
    )
    assert said.endswith("--cpu-anyway trains the large model all the same")


def test_the_way_names_the_users_own_recordings():
    said = refused("me/mine", data=DataOptions(dataset="my clips", speaker="anna"), device="mps")
    assert (
        "in minutes:\n    python orpheus_sft_unsloth.py --demo --dataset 'my clips' --speaker anna\n--cpu-anyway"
        in said
    )


def test_a_cpu_that_was_asked_for_and_a_build_for_cpus_are_told_apart(monkeypatch):
    base, data = SimpleNamespace(checkpoint=ORPHEUS_3B, device="cpu"), DataOptions()
    with pytest.raises(InputError, match="and --device cpu was asked for"):
        check_without_gpu(base, RunOptions(device="cpu"), data)
    monkeypatch.setattr(hardware.torch.version, "cuda", None)
    monkeypatch.setattr(hardware.Path, "exists", lambda path: str(path) == "/proc/driver/nvidia")
    with pytest.raises(InputError, match="PyTorch here is a build for CPUs, though there is an NVIDIA driver"):
        check_without_gpu(base, RunOptions(), data)


def test_what_a_cpu_can_train_or_was_insisted_on_goes_on(tmp_path):
    small, large = weights_of(tmp_path / "small", 300_000_000), weights_of(tmp_path / "large", 2_400_000_000)
    assert f"{large} (2.4 GB) would train for days" in refused(large)
    for checkpoint, device, run in [
        (small, "cpu", {}),
        (large, "cuda", {}),
        (large, "cuda:1", {}),
        (large, "cpu", {"cpu_anyway": True}),
        (ORPHEUS_3B, "cpu", {"cpu_anyway": True}),
    ]:
        check_without_gpu(SimpleNamespace(checkpoint=checkpoint, device=device), RunOptions(**run), DataOptions())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_recipe_refuses_it_before_anything_is_read_or_fetched(capsys, in_empty_folder):
    assert script.main(["--dataset", "nowhere", "--report-to", "none"]) == 2
    assert "--demo --dataset nowhere\n--cpu-anyway" in capsys.readouterr().err
    assert list(in_empty_folder.iterdir()) == []


# --- figures -------------------------------------------------------------------------------------------------------------


def test_time_and_memory_have_two_or_three_digits(monkeypatch):
    memory = Memory()
    memory.gpu, memory.start = None, 0.0
    assert memory.after(159.348) == "159 seconds used for training (2:39 min)."
    assert memory.after(9.27) == "9.27 seconds used for training."
    memory.gpu, memory.start = SimpleNamespace(name="NVIDIA H100", total_memory=85_017_493_504), 6.5823
    monkeypatch.setattr(memory, "peak", lambda: 36.8921)
    assert memory.before() == "GPU = NVIDIA H100. Max memory = 79.2 GB.\n6.58 GB of memory reserved."
    assert memory.after(60).splitlines()[1:] == [
        "Peak reserved memory = 36.9 GB, 47% of max memory.",
        "Peak reserved memory for training = 30.3 GB, 38% of max memory.",
    ]


# --- memory of the process -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("answer", "kept"), [(1, True), (0, False)])
def test_freed_memory_is_kept_where_the_c_library_says_so(monkeypatch, answer, kept):
    chosen = []
    library = SimpleNamespace(mallopt=lambda *choice: chosen.append(choice) or answer)
    monkeypatch.setattr(hardware.ctypes, "CDLL", lambda name: library)
    assert hardware.keep_freed_memory() is kept
    assert chosen[0] == (-1, 2**31 - 1) and (len(chosen) == 3) is kept


@pytest.mark.parametrize("error", [AttributeError, OSError, TypeError])
def test_other_c_libraries_are_left_alone(monkeypatch, error):
    def missing(name):
        raise error

    monkeypatch.setattr(hardware.ctypes, "CDLL", missing)
    assert hardware.keep_freed_memory() is False
