"""Every setting of the data with its default and the reason for it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from orpheus.common.frame import TOKENS_PER_SECOND
from orpheus.common.options import check, check_given, check_range, check_whole
from orpheus.text.languages import ENGLISH, language_code
from orpheus.text.spoken import check_normalizing

ELISE = "MrDragonFox/Elise"
LONGEST_EXAMPLE = 8192  # tokens, 97 s of speech: the positions that Unsloth prepares the model for

CODE_CACHE = "outputs/codes"


@dataclass(frozen=True)
class DataOptions:
    """What is learnt from, and what is checked and made of it before training."""

    dataset: str = ELISE
    """A hub id, a folder (saved by `datasets`, with a table of any name, LJSpeech's, LibriTTS', VCTK's, Common Voice's, pairs
    a.wav + a.txt or a.lab, parquet files) or a file (.jsonl, .json, .csv, .tsv, .list, .parquet)."""
    split: str = "train"
    """Of a hub data set or a saved one; of a folder with several parts, the one of this name."""
    subset: str | None = None
    """Of a hub data set with several configurations: which one; of a folder: which sub-folder."""
    audio_column: str | None = None
    """Found by itself, by its name (audio, file_name, path, wav ...) or by what is in it. Of a table without a header: its number."""
    text_column: str | None = None
    """Found by itself: text, transcription, transcript, sentence ..., or the one that is long and varied."""
    source_column: str | None = None
    """The speaker's name, found by itself: source, speaker, speaker_id, client_id, voice ... "none" trains without names."""
    name_prefix: Literal["auto", "keep"] = "auto"
    """A speaker's name that a transcript begins with ("anna: Good morning."): auto takes it off, for the prompt has it already, where a
    speaker is called so or every transcript begins with one; keep leaves it in the text."""
    speaker: str | None = None
    """A name for the one speaker of data that names none: the prompt is then "name: text". Without it, plain text."""

    min_seconds: float = 0.5
    """Shorter recordings are left out: too little to learn from."""
    max_seconds: float = 30.0
    """Longer recordings are left out: mostly chapters that nobody cut."""
    max_tokens: int = 2048
    """Length limit of a recording, text included: 24 s of speech. No recording is ever cut: its end of speech always stays."""
    long_rows: Literal["drop", "split"] = "drop"
    """What becomes of recordings over the limits: left out whole, or split at pauses that surely are sentences' ends."""
    max_rejected: float = 0.2
    """Share of recordings that may be left out; more stops the run with the reasons."""
    trim_silence: bool = False
    """Cuts silence before and after the speech, leaving a tenth of a second."""
    level_loudness: bool = False
    """Brings every clip to the same loudness (-23 dBFS RMS of its active part), limited to peaks of 0.95."""
    keep_repeated_frames: bool = False
    """By default a frame whose coarse code equals the one before is dropped, as the base model was trained; every such
    frame is 85 ms."""
    normalize: Literal["auto", "on", "off"] = "auto"
    """Writes numbers, dates and the like in transcripts as words. auto does so where the base model's config.json asks for it: the
    same is done with every text that it speaks later."""
    transcribe: bool = False
    """Writes missing transcripts with faster-whisper (`pip install faster-whisper`), marked in the report."""
    transcribe_model: str | None = None
    """faster-whisper's model: a name, a hub id or a folder. Default: base.en for English, base for other languages."""
    language: str | None = None
    """What is spoken in the recordings, such as de, hi or zh: where sentences end, what --transcribe and --evaluate listen
    for, how numbers are written as words. Default: the base model's language."""
    held_out: float | Literal["auto"] = "auto"
    """Share of recordings, chosen by a hash of their text, that is never trained on but tells when the voice is learnt. auto
    is 2 %, of small data 8 recordings but at most every fifth, of less than ten none."""
    code_cache: Path = Path(CODE_CACHE)
    """Where codes are kept by content, so that a second run starts in seconds."""

    def __post_init__(self):
        check(
            isinstance(self.dataset, str) and self.dataset.strip(),
            "dataset is empty; give a folder, a file or a hub id",
        )
        check_given(
            self, "split", "subset", "audio_column", "text_column", "source_column", "speaker", "transcribe_model"
        )
        check_normalizing(self.normalize, self.language)
        check_range(self, "min_seconds", 0.1, 60)
        check_range(self, "max_seconds", 1, 600)
        check(
            self.min_seconds < self.max_seconds,
            f"min_seconds must be below max_seconds, {self.max_seconds}, not {self.min_seconds}",
        )
        check_whole(self, "max_tokens", 64, LONGEST_EXAMPLE, f"; {TOKENS_PER_SECOND:.0f} tokens are one second")
        check_range(self, "max_rejected", 0, 1, ": a share of the recordings")
        if self.held_out != "auto":
            check_range(self, "held_out", 0, 0.5, ": a share of the recordings, nor auto")

    @property
    def spoken(self):
        """The code of the language in the recordings: English, where neither the user nor the base model says otherwise."""
        return ENGLISH if self.language is None else language_code(self.language)

    def in_language_of(self, description):
        """The same options in the language of the base model, if the user named none. description: its ModelDescription"""
        return self if self.language is not None else replace(self, language=description.language)
