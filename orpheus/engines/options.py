"""Settings for the engines: which one, and how it draws."""

from dataclasses import dataclass

from orpheus.common.frame import CODES_PER_FRAME, TOKENS_PER_SECOND
from orpheus.common.options import check, is_number, is_whole

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
            f"temperature {self.temperature} is neither 0 nor in 0.01..5; 0.6 is the usual value",
        )
        check(
            is_number(self.top_p) and 0 < self.top_p <= 1,
            f"top_p {self.top_p} is not in 0 < top_p <= 1; 0.95 is the usual value",
        )
        check(
            is_number(self.repetition_penalty) and 0.5 <= self.repetition_penalty <= 5,
            f"repetition_penalty {self.repetition_penalty} is not in 0.5..5; 1.1 is the usual value",
        )
        check(
            is_whole(self.max_new_tokens) and CODES_PER_FRAME <= self.max_new_tokens <= 100_000,
            f"max_new_tokens {self.max_new_tokens} is not a whole number in {CODES_PER_FRAME}..100000; {TOKENS_PER_SECOND:.0f} tokens are one second",
        )
        check(
            is_whole(self.seed) and 0 <= self.seed < 2**63,
            f"seed {self.seed} is not a whole number from 0 to 2^63 - 1",
        )
