"""The parts of the recipe that are not the recipe: devices and ranks, the base model on a CPU, sample sentences, figures."""

import ctypes
import os
import shlex
import time
from pathlib import Path

import torch
import torch.distributed as dist

from orpheus.common.cards import ADA, Card
from orpheus.common.errors import InputError
from orpheus.common.figures import rounded
from orpheus.common.hub import brief
from orpheus.common.options import ORPHEUS_3B
from orpheus.common.progress import in_time
from orpheus.data.options import ELISE
from orpheus.training.eight import WIDTHS as FP8_WIDTHS


def _count(name, default, low):
    """A whole number out of the environment, of at least `low`."""
    value = os.environ.get(name, default)
    try:
        number = int(value)
    except ValueError:
        number = low - 1
    if number < low:
        raise InputError(
            f"{name} in the environment must be a whole number of at least {low}, not {value!r}: torchrun sets it; "
            f"without torchrun, `unset {name}`"
        )
    return number


def start_ranks():
    """(rank, ranks) under torchrun or `accelerate launch`, the process group begun; (0, 1) otherwise. Raises InputError."""
    ranks, rank = _count("WORLD_SIZE", "1", 1), _count("RANK", "0", 0)
    if rank >= ranks:
        raise InputError(f"RANK in the environment must be below WORLD_SIZE, {ranks}, not {rank}: start with torchrun")
    if ranks > 1 and not dist.is_initialized():
        if lacking := [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]:
            raise InputError(
                f"WORLD_SIZE in the environment is {ranks}, but {', '.join(lacking)} not set: start with torchrun, or "
                "`unset WORLD_SIZE`"
            )
        cuda = torch.cuda.is_available()
        if cuda:
            local, there = _count("LOCAL_RANK", "0", 0), torch.cuda.device_count()
            if local >= there:
                raise InputError(f"LOCAL_RANK is {local}, but there are {there} GPUs: --nproc-per-node {there}")
            torch.cuda.set_device(local)
        try:
            dist.init_process_group("nccl" if cuda else "gloo")
        except (ValueError, RuntimeError) as error:  # a port that is none, a host that does not answer
            raise InputError(f"the {ranks} processes do not find each other: {brief(error)}") from error
    return rank, ranks


def stop_ranks():
    """Ends the process group that start_ranks began: PyTorch warns of one that is left to the end of the process."""
    if dist.is_initialized():
        dist.destroy_process_group()


def choose_backend(backend, device, load_in_4bit):
    """ "unsloth" or "transformers", "auto" resolved for a device. Raises InputError for what the device cannot do."""
    if backend == "auto":
        backend = "unsloth" if device == "cuda" else "transformers"
    if backend == "unsloth" and device != "cuda":
        raise InputError(
            f"--backend unsloth needs a GPU (CUDA), and this run is on {device}: use --backend transformers, or leave it out"
        )
    if load_in_4bit and backend != "unsloth":
        cure = "leave --backend out" if device == "cuda" else "leave the flag out"
        raise InputError(f"--load-in-4bit needs a GPU (CUDA) and --backend unsloth: {cure}")
    return backend


_LARGE = 1_000_000_000  # bytes of weights: 500 million parameters in 16 bits, some hundred times the demo voice


def check_without_gpu(base, run, data):
    """Refuses a base model that a CPU would train for days, before anything of it is fetched. Raises InputError.

    base: Resolved of the base model; run: RunOptions; data: DataOptions
    """
    if base.device.startswith("cuda") or run.cpu_anyway:
        return
    folder = Path(base.checkpoint).expanduser()
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors")) if folder.is_dir() else None
    if size is not None and size <= _LARGE:
        return
    what = f"{base.checkpoint} ({size / 1e9:.1f} GB)" if size else base.checkpoint
    own = "" if data.dataset == ELISE else f" --dataset {shlex.quote(data.dataset)}"
    own += f" --speaker {shlex.quote(data.speaker)}" if own and data.speaker else ""
    way = f"python orpheus_sft_unsloth.py --demo{own or ' --dataset my_recordings'}"
    bundled = "" if own else " (or --demo alone, for the speaker that comes with it)"
    fetched = " is 6.6 GB to fetch and" if base.checkpoint == ORPHEUS_3B else ""
    raise InputError(
        f"{what}{fetched} would train for days without a GPU, and {_why_no_cuda(run.device)}.\n"
        f"On a CPU the small demo voice learns your recordings in minutes{bundled}:\n    {way}\n"
        "--cpu-anyway trains the large model all the same"
    )


def _why_no_cuda(device):
    if device == "cpu":
        return "--device cpu was asked for"
    if torch.version.cuda is None and Path("/proc/driver/nvidia").exists():
        return "PyTorch here is a build for CPUs, though there is an NVIDIA driver (pip install -r requirements.txt)"
    return "PyTorch finds no CUDA here"


def check_fp8(device, options):
    """Refuses --fp8 where it cannot be. Raises InputError. device: "cuda", "cuda:0" or "cpu"; options: TrainingOptions"""
    if not options.fp8:
        return
    needs = f"--fp8 needs a GPU of compute capability {ADA} or more (RTX 40, L4, H100)"
    if not device.startswith("cuda"):
        raise InputError(f"{needs}, and this run is on {device}: leave the flag out")
    if not (card := Card(*torch.cuda.get_device_capability())).fp8:
        raise InputError(f"{needs}; {torch.cuda.get_device_name()} has {card}: leave the flag out")
    if options.load_in_4bit:
        raise InputError("--fp8 and --load-in-4bit are two ways to store the same weights: leave one of them out")
    if options.compile == "off":
        raise InputError("--fp8 is a matter of compiled layers: leave --compile off out, or --fp8")
    if options.lora_rank % FP8_WIDTHS:
        raise InputError(f"--fp8 needs a lora_rank that is a multiple of {FP8_WIDTHS}, not {options.lora_rank}")


def barrier():
    if dist.is_initialized():
        dist.barrier()


def shared(value):
    """What rank 0 gives here, on every rank."""
    values = [value]
    if dist.is_initialized():
        dist.broadcast_object_list(values, 0)
    return values[0]


def compiles(device, options):
    """Whether the layers are kernels: auto has them so where all of a layer can be, on CUDA with 16-bit weights and flash attention."""
    if options.compile != "auto":
        return options.compile == "on"
    if device != "cuda" or options.load_in_4bit:
        return False
    return Card(*torch.cuda.get_device_capability()).packed_attention


class Memory:
    """GPU memory as the first version of the recipe printed it."""

    def __init__(self):
        self.began = time.perf_counter()
        self.gpu = torch.cuda.get_device_properties(torch.cuda.current_device()) if torch.cuda.is_available() else None
        self.start = self.peak()

    def peak(self):
        """Most memory reserved so far, in GB (2^30 bytes)."""
        return round(torch.cuda.max_memory_reserved() / 2**30, 3) if self.gpu else 0.0

    def before(self):
        if not self.gpu:
            return f"Training on the CPU, {torch.get_num_threads()} threads."
        total = self.gpu.total_memory / 2**30
        return f"GPU = {self.gpu.name}. Max memory = {rounded(total)} GB.\n{rounded(self.start)} GB of memory reserved."

    def after(self, seconds):
        minutes = f" ({in_time(seconds)})" if seconds >= 60 else ""
        lines = [f"{rounded(seconds)} seconds used for training{minutes}."]
        if self.gpu:
            peak, total = self.peak(), self.gpu.total_memory / 2**30
            lines += [
                f"Peak reserved memory = {rounded(peak)} GB, {peak / total:.0%} of max memory.",
                f"Peak reserved memory for training = {rounded(peak - self.start)} GB, {(peak - self.start) / total:.0%} of max memory.",
            ]
        return "\n".join(lines)


_PROBE = 8192  # size of the product that the card's rate is measured with


def matrix_rate(device):
    """The card's measured bf16 product rate in FLOP/s; None on a CPU."""
    if device.type != "cuda":
        return None
    a = torch.randn(_PROBE, _PROBE, device=device, dtype=torch.bfloat16)
    for _ in range(3):
        a @ a
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(5):
        a @ a
    torch.cuda.synchronize()
    return 5 * 2 * _PROBE**3 / (time.perf_counter() - began)


def keep_freed_memory():
    """Lets this process keep memory that it frees, for what it needs next; returns whether that can be said here (glibc).

    glibc gives each large block back and fetches the next one page by page: a tenth of a training step's time on a CPU.
    """
    trim_threshold, top_pad, most_mapped = -1, -2, -4  # M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX of malloc.h
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl and macOS have no such function, Windows no such library
        return False
    return all(set_option(*choice) for choice in ((trim_threshold, 2**31 - 1), (top_pad, 2**26), (most_mapped, 0)))
