"""Every speech setting with its default and the reason for it; for how tokens are drawn, see engines/options.py."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from orpheus.common.frame import CONTEXT_FRAMES
from orpheus.common.options import PIECE_SECONDS, check, check_given, check_range, check_whole  # noqa: F401 (part of this module's face)
from orpheus.text.spoken import check_normalizing

EXAMPLES = (
    "Hey there my name is Elise, <giggles> and I'm a speech generation model that can sound like a person.",
    "I missed you <laugh> so much!",
    "That's so beautiful <sigh> it brings back memories.",
    "<gasp> You scared me! I thought that nobody was home.",
    "It is late already, <yawn> let's talk about it tomorrow.",
)


@dataclass(frozen=True)
class LongTextOptions:
    """How text that is too long for one generation is spoken."""

    piece_seconds: float | None = None
    """Estimated speech per piece. Default: what the model's description asks for (6 for the demo voice, which was
    trained on short clips), else 10, which keeps even a slow speaker under the 14.6 s of max_new_tokens."""
    sentence_pause: float = 0.15
    """Seconds of silence between pieces, on top of the silence that the pieces contain."""
    paragraph_pause: float = 0.5
    """Seconds of silence between paragraphs."""
    batch_size: int = 8
    """Pieces generated side by side. More is faster on a GPU but takes more memory."""

    def __post_init__(self):
        if self.piece_seconds is not None:
            check_range(self, "piece_seconds", 1, 600, "; 10 seconds are usual")
        check_range(self, "sentence_pause", 0, 10, "; it is in seconds")
        check_range(self, "paragraph_pause", 0, 10, "; it is in seconds")
        check_whole(self, "batch_size", 1, 4096, "; 8 to 64 are usual")


@dataclass(frozen=True)
class TextOptions:
    """How text is rewritten before the model reads it."""

    normalize: Literal["auto", "on", "off"] = "auto"
    """Writes numbers, dates, currency, times, units, abbreviations and addresses as words. auto is off unless the model's
    description asks for it, as the demo voice's does: it never learnt digits. Orpheus-3B reads them itself. In other
    languages than English only plain numbers, where num2words knows the language."""
    language: str | None = None
    """What the text is in, such as de, hi or zh: which full stops end a sentence, how numbers are written as words, and
    what speech recognition listens for. Default: the model's language."""
    line_voices: Literal["on", "off"] = "on"
    """Speaks lines that begin with the name of a voice, as in "theo: Good morning.", with that voice, and leaves the name out.
    off reads the names aloud."""

    def __post_init__(self):
        check_normalizing(self.normalize, self.language)


@dataclass(frozen=True)
class ReferenceOptions:
    """A voice from clips, for pretrained models."""

    reference: tuple[Path, ...] = ()
    """A recording of the voice to speak with, 1 to 30 s; say the flag again for more. Meant for pretrained models."""
    reference_text: tuple[str, ...] = ()
    """What is said in the recording, word by word; once for each --reference, in their order."""

    def __post_init__(self):
        clips, texts = len(self.reference), len(self.reference_text)
        check(
            clips == texts,
            f"reference and reference_text go in pairs, but there are {clips} and {texts}: say for each recording what is said in it",
        )
        for path, text in zip(self.reference, self.reference_text):
            check(text.strip(), f"reference_text of {path} is empty: say what is said in it, word by word")


@dataclass(frozen=True)
class RetryOptions:
    """When a piece of text is retried, and which attempt is kept."""

    retries: int = 0
    """Retries a piece up to this many times, with another seed, if it is cut off, ends out of range, loops, or is
    implausibly long or short for its text. Keeps the best attempt. 0 is off; not for streams."""
    choose_by_asr: str | None = None
    """A faster-whisper model (tiny.en, small.en ...) or its folder, to listen to each attempt: a misheard piece is
    retried too, and the attempt with the lowest word error rate is kept."""

    def __post_init__(self):
        check_whole(self, "retries", 0, 100, "; 2 or 3 are usual")
        check_given(self, "choose_by_asr")
        check(
            self.choose_by_asr is None or self.retries > 0,
            "choose_by_asr chooses among several attempts: give retries as well, 2 or 3 are usual",
        )


@dataclass(frozen=True)
class StreamOptions:
    """When a chunk of audio is sent."""

    lookahead: int = CONTEXT_FRAMES
    """How many later frames (85 ms each) a frame waits for before it is sent. 3 is exact; orpheus/speech/streaming.py
    says what fewer cost."""
    max_chunk_frames: int = 8
    """The first chunk is one frame or less; later ones grow up to this: fewer, larger decodes once the player has
    something to play."""

    def __post_init__(self):
        check_whole(self, "lookahead", 0, CONTEXT_FRAMES, f"; {CONTEXT_FRAMES} is exact")
        check_whole(self, "max_chunk_frames", 1, 1000, "; a frame is 85 ms")
