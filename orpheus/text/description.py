"""What a model of the family is like to speak with: a ModelDescription, and the file `orpheus.json` beside a model or adapter.

The table of the models that people use is in known_models.py; which description a model has is decided in identify.py.
"""

import json
from dataclasses import dataclass, field, replace

from orpheus.common.errors import CheckpointError, InputError
from orpheus.common.files import atomic_file
from orpheus.common.hub import read_json
from orpheus.common.options import PIECE_SECONDS, is_number, is_whole, shown
from orpheus.text.languages import ENGLISH, language_code
from orpheus.text.prompt import FORMATS
from orpheus.text.tags import KNOWN_TAGS

DESCRIPTION_FILE = "orpheus.json"
TAUGHT = 3  # times that a tag must have been in the recordings to count as taught: one that was there less often may be a slip


@dataclass(frozen=True)
class ModelDescription:
    """What speaking and training need to know of a model besides its weights."""

    name: str = ""  # in the table of known models; "" for a model that is not in it
    voices: tuple = ()  # known speakers; empty if the model names none
    default_voice: str | None = None  # used if none is asked for; None means that prompts carry no speaker
    closed: bool = False  # whether another voice is an error
    tags: dict = field(default_factory=lambda: dict.fromkeys(KNOWN_TAGS))  # {tag: how often it was learnt, or None}
    language: str | None = ENGLISH  # ISO 639-1 or 639-3 code; None if nobody says
    language_stated: bool = (
        False  # whether somebody says so: the model's or adapter's files, or the table of known models
    )
    languages: dict = field(default_factory=dict)  # {voice: language} of those that speak another one
    prompt: str = "orpheus"  # one of FORMATS in prompt.py
    piece_seconds: float = PIECE_SECONDS  # how much speech a piece of long text should have
    normalize_text: bool = False  # whether it needs numbers, dates and the like written as words
    references: bool = False  # whether it is meant to take its voice from clips in the prompt
    checked: bool = False  # whether the description was checked by running the model with its weights
    source: str = ""  # where the facts are from
    known_by: str = ""  # how the model was recognised, for people
    guessed: bool = False  # whether that was a guess

    def language_of(self, voice=None):
        """The language that a voice speaks."""
        return self.languages.get(voice if voice is not None else self.default_voice, self.language)

    @property
    def taught(self):
        """The tags that may be relied on: those of the model, and those that were learnt at least TAUGHT times."""
        return tuple(tag for tag, count in self.tags.items() if count is None or count >= TAUGHT)


# --- the file --------------------------------------------------------------------------------------------------------


_MOST_NAMES, _LONGEST_NAME = 10_000, 1000


def _is_name(value):
    """Whether it can be a name: what a terminal would obey, as an escape sequence, is none."""
    return isinstance(value, str) and bool(value.strip()) and len(value) <= _LONGEST_NAME and value.isprintable()


def names_of(value, path):
    """The names in a list of JSON. Raises CheckpointError."""
    if not isinstance(value, list) or not all(map(_is_name, value)) or len(value) > _MOST_NAMES:
        raise CheckpointError(
            f"the voices in {path} must be a list of names, not {shown(value)}; at most {_MOST_NAMES:,} of them, of up to {_LONGEST_NAME:,} letters"
        )
    return tuple(value)


def _tags(value, path):
    counts = dict.fromkeys(value) if isinstance(value, list) and all(map(_is_name, value)) else value
    if not isinstance(counts, dict) or not all(
        _is_name(tag) and (count is None or (is_whole(count) and count >= 0)) for tag, count in counts.items()
    ):
        raise CheckpointError(
            f'the tags in {path} must be a list of names or names with counts, as in {{"laugh": 12}}, not {shown(value)}'
        )
    return {tag.strip("<>{} "): count for tag, count in counts.items()}


def _seconds(value, path):
    if not is_number(value) or not 1 <= value <= 600:
        raise CheckpointError(f"piece_seconds in {path} must be a number between 1 and 600, not {shown(value)}")
    return float(value)


def _flag(value, path):
    if not isinstance(value, bool):
        raise CheckpointError(f"{path} must say true or false where it says {shown(value)}")
    return value


def _text(value, path):
    if value is not None and not _is_name(value):
        raise CheckpointError(f"{path} must hold a text where it holds {shown(value)}")
    return value


def _format(value, path):
    if not isinstance(value, str) or value not in FORMATS:
        raise CheckpointError(f"prompt in {path} must be one of {', '.join(FORMATS)}, not {shown(value)}")
    return value


def _language(value, path):
    try:
        return value if value is None else language_code(value)
    except InputError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _languages(value, path):
    if not isinstance(value, dict) or not all(_is_name(name) and _is_name(code) for name, code in value.items()):
        raise CheckpointError(
            f'languages in {path} must be voices with codes, as in {{"pietro": "it"}}, not {shown(value)}'
        )
    return {name: _language(code, path) for name, code in value.items()}


_KEYS = {
    "voices": names_of,
    "tags": _tags,
    "language": _language,
    "languages": _languages,
    "prompt": _format,
    "piece_seconds": _seconds,
    "normalize_text": _flag,
    "references": _flag,
}
OLD_KEYS = (
    "voices",
    "default_voice",
    "language",
    "piece_seconds",
    "normalize_text",
)  # that a model's config.json may hold
_OTHERS = ("default_voice", "like", "comment")


def read_values(path, keys=None):
    """What a description's file says, {field of ModelDescription: value}, and `like`. Raises CheckpointError.

    keys: those that are read, where others in the file are none of ours; by default an unknown one is an error
    """
    return values_in(read_json(path), path, keys)


def values_in(given, path, keys=None):
    """The same of what a file holds, {key: value}; `path` is for messages."""
    if keys is None:
        unknown = [key for key in given if key not in {*_KEYS, *_OTHERS}]
        if unknown:
            raise CheckpointError(
                f"{path} says {', '.join(map(repr, unknown))}, which is unknown; known are {', '.join([*_KEYS, *_OTHERS])}"
            )
    given = {key: value for key, value in given.items() if keys is None or key in keys}
    if given.get("voices", ()) is None:  # config.json may say null
        del given["voices"]
    values = {key: _KEYS[key](value, path) for key, value in given.items() if key in _KEYS}
    default = given.get("default_voice", next(iter(values.get("voices", ())), None))
    if default is not None:
        free = FORMATS[values.get("prompt", "orpheus")].free_voice
        if default not in values.get("voices", ()) and not (free and _is_name(default)):
            raise CheckpointError(f"default_voice in {path} is {shown(default)}, which is not one of its voices")
    if "default_voice" in given or "voices" in values:
        values["default_voice"] = default
    return values | ({"like": _text(given["like"], path)} if given.get("like") else {})


def described(base, values):
    """`base` with what a model's file says, {field: value}."""
    values = {key: value for key, value in values.items() if key != "like"}
    if "default_voice" in values:
        values["closed"] = bool(values.get("voices", base.voices))
    if "language" in values:
        values["language_stated"] = values["language"] is not None
    return replace(base, **values)


def tuned(base, values):
    """The description of an adapter on its base: what the adapter learnt comes first, and the base's voices and tags stay known.

    base: of the model; values: what the adapter's file says, {field: value}, or the fields of what `taught` returns; {} where it has no
    file
    """
    voices = values.get("voices", ())
    known = {tag: count for tag, count in base.tags.items() if count is None or tag not in values.get("tags", {})}
    more = {
        "language_stated": base.language_stated or "language" in values,
        "voices": (*voices, *(voice for voice in base.voices if voice not in voices)),
        "default_voice": values.get("default_voice"),
        "closed": False,
        "tags": values.get("tags", {}) | known,
        "languages": base.languages | values.get("languages", {}),
    }
    return replace(base, **{key: value for key, value in values.items() if key != "like"} | more)


def taught(base, voices=(), tags=None, normalize_text=None, language=None):
    """The description of what an adapter learnt on `base`, for its folder.

    voices: its speakers, the default first; tags: {tag: how often it was in the recordings}; normalize_text: whether it learnt texts
    whose numbers are words, None for what the base wants; language: of its recordings, None for the base's
    """
    return replace(
        base,
        voices=tuple(voices),
        default_voice=voices[0] if voices else None,
        closed=False,
        tags=dict(tags or {}),
        languages={voice: code for voice, code in base.languages.items() if voice in voices},
        normalize_text=base.normalize_text if normalize_text is None else normalize_text,
        language=base.language if language is None else language,
    )


def as_json(description):
    """What `read_values` reads, as a dictionary that JSON can write."""
    values = {key: getattr(description, key) for key in ("voices", "default_voice", *list(_KEYS)[1:])}
    like = {"like": description.name} if description.name else {}
    return like | values | {"voices": list(description.voices)}


def write_description(folder, description):
    """Writes `orpheus.json` into a folder, whole or not at all. Raises OutputError."""
    with atomic_file(folder / DESCRIPTION_FILE) as file:
        file.write((json.dumps(as_json(description), indent=2, ensure_ascii=False) + "\n").encode())
