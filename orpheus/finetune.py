"""The parts of the recipe that are not the recipe: devices and ranks, the base model on a CPU, sample sentences, figures."""

import os
import signal
import time
import warnings
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed as dist

from orpheus.common.errors import InputError, OrpheusError
from orpheus.common.files import whole_folder
from orpheus.engines.loading import load_language_model
from orpheus.engines.transformers import TransformersEngine
from orpheus.llama import VARLEN_CAPABILITY
from orpheus.speech.model import LoadedModel
from orpheus.speech.options import PIECE_SECONDS
from orpheus.speech.synthesis import OrpheusInference
from orpheus.training_options import LORA_TARGETS


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


def compiles(device, options):
    """Whether the layers are compiled: auto does so where all of a layer can be, on CUDA with 16-bit weights and flash attention."""
    if options.compile != "auto":
        return options.compile == "on"
    return device == "cuda" and not options.load_in_4bit and torch.cuda.get_device_capability() >= VARLEN_CAPABILITY


def load_with_peft(folder, device, options):
    """The base model with a fresh adapter, by transformers and peft alone: on a CPU, or where Unsloth is not wanted."""
    from peft import LoraConfig, get_peft_model

    if options.load_in_4bit:
        raise InputError("--load-in-4bit needs a GPU and --backend unsloth")
    model = load_language_model(folder, device)
    torch.manual_seed(options.seed)
    config = LoraConfig(
        r=options.lora_rank,
        lora_alpha=options.lora_alpha,
        lora_dropout=0.0,
        bias="none",
        target_modules=list(LORA_TARGETS),
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config)


class Speaker:
    """Speaks sample sentences with the adapter as it is now, while training."""

    def __init__(self, llama, prompts, codec, voices, sentences, piece_seconds=PIECE_SECONDS):
        voice = voices[0] if voices else None
        engine = TransformersEngine(llama, prompts.layout)
        loaded = LoadedModel(
            "the model in training", engine, prompts, codec, tuple(voices), voice, False, piece_seconds
        )
        self.tts, self.sentences = OrpheusInference(loaded), sentences

    def speak(self, folder):
        """Writes output_0.wav ... into `folder`; returns the paths. What is odd about the speech is a warning."""
        try:
            return self.tts.generate(self.sentences, output_dir=folder)
        except OrpheusError as error:  # training goes on without this sample
            warnings.warn(f"no samples into {folder}: {error}", stacklevel=2)
            return []
        finally:
            self.tts.engine.release()  # a captured step's cache is memory that training needs


@contextmanager
def stop_on_ctrl_c(trainer):
    """The first Ctrl-C ends the run after the step, its state saved; a second one ends it at once."""

    def stop(*_):
        trainer.stop = True
        trainer.log.say("stopping after this step; Ctrl-C again stops at once, without saving")
        signal.signal(signal.SIGINT, signal.default_int_handler)

    former = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)


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


def restart_folder(run_dir):
    """Begins a run's folder anew: states and log of an earlier run would be mistaken for this one's."""
    import shutil

    run_dir = Path(run_dir)
    for name in ("states", "samples", "best"):
        shutil.rmtree(run_dir / name, ignore_errors=True)
    for name in ("log.jsonl", "evaluation_base.npz"):
        (run_dir / name).unlink(missing_ok=True)


class Best:
    """The adapter with the lowest held-out loss so far, on disk."""

    def __init__(self, folder, adapter, rank):
        self.folder, self.adapter, self.rank = Path(folder), adapter, rank

    def save(self, step):
        if self.rank == 0:
            with whole_folder(self.folder) as new:
                torch.save({"step": step, "master": self.adapter.master.data}, new / "adapter.pt")

    def load(self):
        path = self.folder / "adapter.pt"
        barrier()  # rank 0 has written it
        self.adapter.master.data.copy_(
            torch.load(path, map_location=self.adapter.master.device, weights_only=True)["master"]
        )
        self.adapter.refresh()


def facts_of(progress, trainer, options, memory):
    """Figures of a finished run, for its card."""
    facts = {
        "steps": progress.step,
        "epochs": options.epochs,
        "tokens_trained_on": progress.tokens,
        "learning_rate": options.learning_rate,
        "lora_rank": options.lora_rank,
        "optimizer": trainer.optimizer_name,
        "held_out_loss_before": progress.first,
        "held_out_loss_best": f"{progress.best:.4f} at step {progress.best_step}"
        if progress.best_step
        else "not measured",
        "held_out_loss_last": progress.last,
        "seconds": round(progress.seconds, 1),
        "tokens_per_second": round(progress.tokens / max(progress.seconds, 1e-9)),
    }
    return facts | ({"peak_gpu_memory_gb": memory.peak()} if memory.gpu else {})
