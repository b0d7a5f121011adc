"""Settings for the engines: which one, and how it draws."""

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from orpheus.common.errors import InputError
from orpheus.common.frame import CODES_PER_FRAME, TOKENS_PER_SECOND
from orpheus.common.options import check, check_given, check_range, check_whole, is_number, shown

# What turns prompt ids into token ids; see docs/speed.md, and docs/engines.md for the last two.
ENGINES = ("auto", "fast", "fast-int8", "fast-int4", "fast-fp8", "transformers", "llama.cpp", "endpoint")
CACHES = ("same", "fp8")  # how many sequences at once keep their keys and values: FastEngine.open
DIALECTS = ("auto", "llama.cpp", "vllm", "sglang", "lm-studio", "ollama", "text")  # what a server speaks
INSTALL_LLAMA_CPP = "pip install -r requirements-llama.txt"
API_KEY = "ORPHEUS_API_KEY"  # the environment's variable with the key for a server


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


@dataclass(frozen=True)
class EndpointOptions:
    """A server that runs the model."""

    url: str | None = None
    """Address of a server that runs the model, as http://localhost:8080; its key, if it wants one, is read from the environment's
    ORPHEUS_API_KEY. The tokenizer and the codec are still those of --model."""
    dialect: Literal[DIALECTS] = "auto"
    """What the server speaks. auto asks it. text is any server with OpenAI's /v1/completions that answers in text."""
    served_model: str | None = None
    """The model's name on the server, where it has several."""

    def __post_init__(self):
        check_given(self, "url", "served_model")
        check(self.dialect in DIALECTS, f"there is no dialect {shown(self.dialect)}; use {', '.join(DIALECTS)}")
        if self.url is None:
            return
        check(isinstance(self.url, str), f"url must be an address such as http://localhost:8080, not {shown(self.url)}")
        try:
            parts = urlsplit(self.url)
            parts.port  # noqa: B018 (raises for one that is no number)
        except ValueError as error:
            raise InputError(f"url {shown(self.url)} is no address: {error}") from error
        check("@" not in parts.netloc, f"url holds a password: leave it out, and put a key into {API_KEY}")
        check(
            parts.scheme in ("http", "https") and parts.hostname and not (parts.query or parts.fragment),
            f"url must be the address of a server, as http://localhost:8080, not {shown(self.url)}",
        )


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for, in seconds."""

    ask: float = 10  # for the answer to a short question
    connect: float = 10
    token: float = 120  # for the next token; the first waits for its turn and for the prompt to be read
    tries: int = 6  # without a new token in between, after a connection is lost
    pause: float = 0.5  # before the second try; doubled for each one after
    longest_pause: float = 8
    overload: float = 120  # in all, for a server that is overloaded (429, 503)
