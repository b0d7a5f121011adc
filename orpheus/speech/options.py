"""Every setting of speaking with its default and the reason for it; how tokens are drawn stands in engines/options.py."""

from dataclasses import dataclass
from typing import Literal

from orpheus.common.frame import CONTEXT_FRAMES
from orpheus.common.options import check, check_given, check_range, check_whole

PIECE_SECONDS = 10.0  # where neither the user nor the model says


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
    """Estimated speech per piece. By default what the model's config.json asks for (6 for the demo voice, which was
    trained on short clips), else 10: under the 14.6 s of max_new_tokens also for a slow speaker."""
    sentence_pause: float = 0.15
    """Seconds of silence between pieces; the pieces bring some of their own."""
    paragraph_pause: float = 0.5
    """Seconds of silence between paragraphs."""
    batch_size: int = 8
    """Pieces generated side by side. More is faster on a GPU, for more memory."""

    def __post_init__(self):
        if self.piece_seconds is not None:
            check_range(self, "piece_seconds", 1, 600, "; 10 seconds are usual")
        check_range(self, "sentence_pause", 0, 10, "; it is in seconds")
        check_range(self, "paragraph_pause", 0, 10, "; it is in seconds")
        check_whole(self, "batch_size", 1, 4096, "; 8 to 64 are usual")


@dataclass(frozen=True)
class TextOptions:
    """How text is written before the model reads it."""

    normalize: Literal["auto", "on", "off"] = "auto"
    """Writes numbers, dates, currency, times, units, abbreviations and addresses as words. auto is off unless the model's
    config.json asks for it, as the demo voice's does: it never learnt digits. Orpheus-3B reads them itself."""


@dataclass(frozen=True)
class RetryOptions:
    """When a piece of text is spoken again, and which attempt is kept."""

    retries: int = 0
    """How often a piece is spoken again, with another seed, that was cut off, ended out of range, loops, or is far too
    short or long for its text. The best attempt is kept. 0 is off; not for streams."""
    choose_by_asr: str | None = None
    """Speech recognition that listens to each attempt: a piece that is misheard is spoken again too, and the attempt with
    the lowest word error rate is kept. A model of faster-whisper (tiny.en, small.en ...) or its folder."""

    def __post_init__(self):
        check_whole(self, "retries", 0, 100, "; 2 or 3 are usual")
        check_given(self, "choose_by_asr")
        check(
            self.choose_by_asr is None or self.retries > 0,
            "choose_by_asr chooses among several attempts: give retries as well, 2 or 3 are usual",
        )


@dataclass(frozen=True)
class StreamOptions:
    """When a chunk of audio is let out."""

    lookahead: int = CONTEXT_FRAMES
    """Frames (85 ms each) of right context a frame waits for. 3 is exact; see orpheus/speech/streaming.py for what fewer costs."""
    max_chunk_frames: int = 8
    """The first chunk is one frame or less, later ones grow up to this: fewer, larger decodes once the player has something to play."""

    def __post_init__(self):
        check_whole(self, "lookahead", 0, CONTEXT_FRAMES, f"; {CONTEXT_FRAMES} is exact")
        check_whole(self, "max_chunk_frames", 1, 1000, "; a frame is 85 ms")
