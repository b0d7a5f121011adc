"""What a request for speech may say. A field that would not be honoured is refused, never passed over."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from orpheus.common.tempo import FASTEST, SLOWEST
from orpheus.server.failures import invalid
from orpheus.server.sentences import GRANULARITIES

FORMATS = ("mp3", "opus", "aac", "flac", "wav", "pcm")


class VoiceId(BaseModel):
    model_config = ConfigDict(extra="forbid")
    id: Annotated[str, Field(min_length=1, max_length=200)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")

    model: Annotated[str, Field(max_length=300)] | None = Field(
        None, description="One of /v1/models; tts-1 and the like stand for the default"
    )
    voice: Annotated[str, Field(min_length=1, max_length=200)] | VoiceId | None = Field(
        None, description="One of /v1/audio/voices"
    )
    response_format: Literal[FORMATS] = "mp3"
    speed: Annotated[float, Field(ge=SLOWEST, le=FASTEST, allow_inf_nan=False)] = Field(
        1.0, description="The pitch is kept"
    )
    instructions: str | None = Field(None, description="Refused unless empty: how it is said is up to tags in the text")
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=5, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    repetition_penalty: Annotated[float, Field(ge=0.5, le=5, allow_inf_nan=False)] | None = None
    max_new_tokens: Annotated[int, Field(ge=7, le=100_000)] | None = Field(
        None, description="Of one piece of the text; 82 are a second"
    )
    normalize: Literal["auto", "on", "off"] | None = Field(
        None, description="Whether numbers and the like are written as words"
    )

    @field_validator("instructions")
    @classmethod
    def _no_instructions(cls, value):
        if value and value.strip():
            raise ValueError(
                "these voices take no instructions: leave them out, and write tags such as <laugh> into the text"
            )
        return value

    @property
    def voice_name(self):
        return self.voice.id if isinstance(self.voice, VoiceId) else self.voice

    @property
    def choices(self):
        """The options of orpheus.speech that were given."""
        names = ("seed", "temperature", "top_p", "repetition_penalty", "max_new_tokens", "normalize")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


class SpeechRequest(_Strict):
    """The body of POST /v1/audio/speech."""

    input: str = Field(description="What to say")
    stream_format: Literal["audio", "sse"] = "audio"
    stream: bool = Field(True, description="false waits for the whole sound, and says its length in the header")
    timestamps: bool = Field(False, description="With sse: when each word is said")


class SessionConfig(_Strict):
    """The first message of a WebSocket."""

    response_format: Literal[FORMATS] = "wav"
    stream_audio: bool = Field(False, description="Whether sound is sent while it is made, or sentence by sentence")
    split_granularity: Literal[GRANULARITIES] = "sentence"
    word_timestamps: Literal[False] = False


def _path(fault):
    """The names of the fields down to a fault: pydantic puts the branches of a union between them."""
    return [
        str(part)
        for part in fault["loc"]
        if part not in ("body", "VoiceId") and str(part).isidentifier() and part != "str"
    ]


def refusal_of(error):
    """The Refusal for a pydantic ValidationError or FastAPI's RequestValidationError, about its first fault."""
    faults = [(_path(fault), fault) for fault in error.errors()]
    path, fault = max(faults[:20], key=lambda pair: len(pair[0]) if pair[0][:1] == faults[0][0][:1] else -1)
    param = ".".join(path) or None
    kind, given = fault["type"], fault.get("input")
    if kind == "json_invalid":
        return invalid("the body is no JSON", None, "invalid_json")
    if kind == "missing":
        return invalid(f"{param or 'the body'} is missing", param, "missing_field")
    if kind == "extra_forbidden":
        return invalid(f"{param} is not known here, and would not be honoured: leave it out", param, "unknown_field")
    if kind == "value_error":
        return invalid(f"{param}: {fault['ctx']['error']}", param, "invalid_value")
    shown = (
        f", not {given!r:.60}" if isinstance(given, (str, int, float, bool, type(None))) and param != "input" else ""
    )
    return invalid(
        f"{param or 'the body'}: {fault['msg'][:1].lower()}{fault['msg'][1:]}{shown}", param, "invalid_value"
    )


def read_config(message):
    """SessionConfig of a message's fields. Raises Refusal."""
    try:
        return SessionConfig(**{name: value for name, value in message.items() if name != "type"})
    except (ValidationError, TypeError) as error:
        raise (
            refusal_of(error) if isinstance(error, ValidationError) else invalid("session.config has no such fields")
        ) from error
