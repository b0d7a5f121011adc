"""Every export setting with its default and the reason for it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from orpheus.common.options import check, check_given, check_whole

OUT = "outputs/export"
OWN_KINDS = ("f32", "f16", "bf16", "q8_0", "q4_0")  # written by this program
K_QUANTS = {  # written by llama.cpp's own quantizer: {kind: llama_ftype in llama.h}
    "q2_k": 10,
    "q3_k_m": 12,
    "q4_k_s": 14,
    "q4_k_m": 15,
    "q5_k_s": 16,
    "q5_k_m": 17,
    "q6_k": 18,
}
KINDS = (*OWN_KINDS, *K_QUANTS)


@dataclass(frozen=True)
class ExportOptions:
    """What is written."""

    merged: bool = False
    """Writes model and adapter as one 16-bit model in safetensors, for transformers, vLLM and SGLang."""
    gguf: tuple[
        Literal["f32", "f16", "bf16", "q8_0", "q4_0", "q2_k", "q3_k_m", "q4_k_s", "q4_k_m", "q5_k_s", "q5_k_m", "q6_k"],
        ...,
    ] = ()
    """Writes a GGUF file of each kind, for llama.cpp and what is built on it. f32 to q4_0 need the package gguf; the kinds with
    a k need llama.cpp's own quantizer as well (llama-cpp-python, cyllama, or llama-quantize on the PATH)."""
    out: Path = Path(OUT)
    """Folder for it all: new, empty, or with an earlier export, which is replaced. Files of yours in it stay."""
    name: str | None = None
    """What the files are called. Default: the model's name, with the adapter's where there is one."""
    check: bool = False
    """Speaks sentences with each GGUF file through llama.cpp, and compares."""
    check_sentences: int = 20
    """How many; 20 tell whether a file is right, the word errors of quantised ones want more for a narrow interval."""
    check_tokens: int = 140
    """How many tokens of each are compared where ids are; 140 are 1.7 seconds, and every one must be equal for F32."""

    def __post_init__(self):
        check(len(set(self.gguf)) == len(self.gguf), f"a kind is named twice in --gguf {' '.join(self.gguf)}")
        check(not self.check or self.gguf, "--check speaks with GGUF files, and none is written: add --gguf f32")
        check_given(self, "name")
        check(
            self.name is None or (not set(self.name) & set('/\\:*?"<>|\0') and not self.name.startswith(".")),
            f"--name {self.name!r} is no name for files: use letters, digits, dots, - and _",
        )
        check(self.name is None or len(self.name.encode()) <= 200, "--name can have at most 200 bytes")
        check_whole(self, "check_sentences", 1, 100)
        check_whole(self, "check_tokens", 7, 1200)

    def check_something(self):
        """Refuses options that ask for nothing. Raises InputError."""
        check(
            self.merged or self.gguf,
            "nothing to write: say --merged (safetensors) or --gguf with one or more of " + ", ".join(KINDS),
        )
