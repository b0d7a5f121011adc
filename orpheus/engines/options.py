"""Settings for the engines: which one, and how it draws."""

from dataclasses import dataclass

from orpheus.common.frame import CODES_PER_FRAME, TOKENS_PER_SECOND
from orpheus.common.options import check, check_range, check_whole, is_number, shown

ENGINES = ("auto", "fast", "fast-int8", "transformers")  # what turns prompt ids into token ids; see docs/speed.md


@dataclass(frozen=True)
class SamplingOptions:
    """How the next token is drawn. Same seed, same audio."""

    temperature: float = 0.6
    """0 always takes the likeliest token (which tends to loop); 0.6 is what the model's authors use."""
    top_p: float = 0.95
    """Draws from the likeliest tokens that together have this probability."""
    repetition_penalty: float = 1.1
    """Needed: without it the model loops. 1.3 makes it speak faster."""
    max_new_tokens: int = 1200
    """Cap for one piece of text: 1200 tokens are 14.6 seconds. Longer text is cut into pieces, so it needs no more."""
    seed: int = 0
    """Determines the tokens and the codec's noise."""

    def __post_init__(self):
        check(
            is_number(self.temperature) and (self.temperature == 0 or 0.01 <= self.temperature <= 5),
            f"temperature must be 0 or between 0.01 and 5, not {shown(self.temperature)}; 0.6 is the usual value",
        )
        check(
            is_number(self.top_p) and 0 < self.top_p <= 1,
            f"top_p must be above 0 and at most 1, not {shown(self.top_p)}; 0.95 is the usual value",
        )
        check_range(self, "repetition_penalty", 0.5, 5, "; 1.1 is the usual value")
        check_whole(
            self, "max_new_tokens", CODES_PER_FRAME, 100_000, f"; {TOKENS_PER_SECOND:.0f} tokens are one second"
        )
        check_whole(self, "seed", 0, 2**63 - 1)
