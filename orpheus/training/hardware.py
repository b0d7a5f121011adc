"""The parts of the recipe that are not the recipe: devices and ranks, the base model on a CPU, sample sentences, figures."""

import os
import time

import torch
import torch.distributed as dist

from orpheus.training.llama import VARLEN_CAPABILITY


def start_ranks():
    """(rank, ranks) under torchrun or `accelerate launch`, the process group begun; (0, 1) otherwise."""
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    if ranks > 1 and not dist.is_initialized():
        cuda = torch.cuda.is_available()
        if cuda:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("nccl" if cuda else "gloo")
    return int(os.environ.get("RANK", "0")), ranks


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
    """Whether the layers are compiled: auto does so where all of a layer can be, on CUDA with 16-bit weights and flash attention."""
    if options.compile != "auto":
        return options.compile == "on"
    return device == "cuda" and not options.load_in_4bit and torch.cuda.get_device_capability() >= VARLEN_CAPABILITY


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
        total = round(self.gpu.total_memory / 2**30, 3)
        return f"GPU = {self.gpu.name}. Max memory = {total} GB.\n{self.start} GB of memory reserved."

    def after(self, seconds):
        lines = [f"{seconds:.1f} seconds used for training, {seconds / 60:.2f} minutes."]
        if self.gpu:
            peak, total = self.peak(), self.gpu.total_memory / 2**30
            lines += [
                f"Peak reserved memory = {peak} GB, {peak / total:.1%} of max memory.",
                f"Peak reserved memory for training = {peak - self.start:.3f} GB, {(peak - self.start) / total:.1%} of max memory.",
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
