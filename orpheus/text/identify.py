"""Which description a model or adapter has: by the file beside it, its name, or what its files say.

In this order: `--like`; orpheus.json in its folder; its name, if the table of known models has it; config.json's keys of old; what
its files say that it was made from; the added tokens of its tokenizer.
"""

import json
import re
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from orpheus.common.errors import CheckpointError, InputError
from orpheus.common.gguf import is_gguf, read_gguf
from orpheus.common.hub import locate, read_json
from orpheus.common.stored import LARGEST_JSON
from orpheus.text.description import (
    DESCRIPTION_FILE,
    OLD_KEYS,
    ModelDescription,
    described,
    names_of,
    read_values,
    tuned,
    values_in,
)
from orpheus.text.known_models import KNOWN_MODELS, known_model, plain_name

DESCRIBING_FILES = ("config.json", DESCRIPTION_FILE, "README.md", "tokenizer_config.json", "added_tokens.json")
_TOKENS = {"<spk_kavya>": "veena", "<laugh_harder>": "maya1"}  # that only one of the known models has
_HABITS = ("piece_seconds", "normalize_text")  # of config.json, for a model whose voices are known by its name
GGUF_KEY = "orpheus.description"  # in a GGUF's metadata: what orpheus.json would hold
_README = 40_000  # bytes at its beginning, where the front matter is


def like(name):
    """The description that `--like` names: a row of the table, or a folder or file with an orpheus.json. Raises InputError."""
    path = Path(name).expanduser()
    file = path / DESCRIPTION_FILE if path.is_dir() else path
    if file.is_file() and file.suffix == ".json":
        return replace(_from_file(file), known_by=f"--like {name}")
    row = known_model(name)
    if row is None:
        near = get_close_matches(str(name).casefold(), KNOWN_MODELS, 1, 0.4)
        hint = f"did you mean {near[0]}? " if near else ""
        raise InputError(
            f"there is no known model {str(name)!r:.80}; {hint}--like takes {', '.join(KNOWN_MODELS)}, or a folder with an {DESCRIPTION_FILE}"
        )
    return replace(row, known_by=f"--like {name}")


def describe(checkpoint, adapter=None, as_like=None):
    """The ModelDescription of a model, a folder or hub id, with or without an adapter's folder.

    as_like: what the user says that the model is like; None to find out
    Of a model that is in the table by its name nothing is fetched. Raises CheckpointError for a file that can't be read.
    """
    base = like(as_like) if as_like else _of_model(checkpoint)
    return base if adapter is None else _of_adapter(Path(adapter), base, bool(as_like))


def is_known_here(checkpoint):
    """Whether `describe` needs no network for a model."""
    return Path(checkpoint).expanduser().is_dir() or known_model(checkpoint) is not None


def _of_model(checkpoint):
    here = Path(checkpoint).expanduser()
    if is_gguf(here):
        return _of_gguf(here)
    if here.is_file() and (here.parent / DESCRIPTION_FILE).is_file():  # a single file with a model in it
        return _from_file(here.parent / DESCRIPTION_FILE)
    if (here / DESCRIPTION_FILE).is_file():
        return _from_file(here / DESCRIPTION_FILE)
    row = known_model(checkpoint) or (known_model(here.resolve()) if here.is_dir() else None)
    own = here.resolve().name
    if row is not None and here.is_dir() and row.prompt == "orpheus" and plain_name(own) in KNOWN_MODELS:
        row = _likely(row, f"its folder's name {own}")  # a name of ours, which people give their fine-tunes, too
    if row is not None:
        config = here / "config.json"
        return described(row, read_values(config, _HABITS)) if config.is_file() else row
    folder = locate(checkpoint, DESCRIBING_FILES)
    if (folder / DESCRIPTION_FILE).is_file():
        return _from_file(folder / DESCRIPTION_FILE)
    row = _made_from(folder)
    config = folder / "config.json"
    values = read_values(config, OLD_KEYS)
    if "voices" in values or "default_voice" in values:
        return replace(described(row or ModelDescription(), values), known_by=str(config), guessed=False)
    return described(row or ModelDescription(known_by="nothing: taken for an Orpheus-3B of unknown voices"), values)


def _of_gguf(path):
    """By its metadata, a file beside it, or the names that it gives for itself and its origin."""
    values = read_gguf(path).values
    if GGUF_KEY in values:
        try:
            given = json.loads(values[GGUF_KEY])
            if not isinstance(given, dict):
                raise ValueError("no object")
        except (TypeError, ValueError, RecursionError) as error:
            raise CheckpointError(
                f"{GGUF_KEY} in {path} is no description ({error}): export the model again"
            ) from error
        return _from_values(values_in(given, path), f"{GGUF_KEY} in {path}")
    if (path.parent / DESCRIPTION_FILE).is_file():
        return _from_file(path.parent / DESCRIPTION_FILE)
    for name in (path.name, *_names_in(values)):
        if row := known_model(name):
            return _likely(row, f"its name {name}")
    return ModelDescription(known_by="nothing: taken for an Orpheus-3B of unknown voices")


def _names_in(values):
    """The names in a GGUF's metadata: its own, and those of what it was made from."""
    for key in ("general.name", "general.basename", "general.base_model.0.name", "general.base_model.0.repo_url"):
        name = values.get(key)
        if isinstance(name, str) and name.strip():
            name = name.strip().rstrip("/")
            yield "/".join(name.split("/")[-2:]) if "//" in name else name


def _from_file(path):
    return _from_values(read_values(path), path)


def _from_values(values, path):
    base = ModelDescription()
    if "like" in values:
        base = known_model(values["like"])
        if base is None:
            raise CheckpointError(
                f"{path} says that the model is like {values['like']!r:.80}; known are {', '.join(KNOWN_MODELS)}"
            )
    return replace(described(base, values), known_by=str(path))


def _made_from(folder):
    """The known model that a folder's files say it was made from, or whose tokens it has; None if they say nothing."""
    for name, file in _origins(folder):
        row = known_model(name)
        if row is not None:
            return _likely(row, f"{file}, which names {name}")
    for token, name in _TOKENS.items():
        if _has_token(folder, token):
            return _likely(KNOWN_MODELS[name], f"its token {token}")
    return None


def _likely(row, known_by):
    """A row for a model that is a copy or a fine-tune of it: other voices are no error, and Orpheus' prompt names none unasked."""
    default = None if row.prompt == "orpheus" else row.default_voice
    unsure = {"closed": False, "guessed": True, "language_stated": False}
    return replace(row, default_voice=default, known_by=known_by, **unsure)


def _origins(folder):
    """(name, file) of every model that a folder's files name as their origin."""
    for file, key in (("config.json", "_name_or_path"), ("tokenizer_config.json", "name_or_path")):
        if (folder / file).is_file():
            name = read_json(folder / file).get(key)
            if isinstance(name, str) and name:
                yield name, file
    readme = folder / "README.md"
    if readme.is_file():
        with open(readme, "rb") as file:
            head = file.read(_README).decode(errors="replace")
        front = re.match(r"---\n(.*?)\n---", head, re.S)
        for name in re.findall(r"^(?:base_model:|- )\s*['\"]?([\w.-]+/[\w.-]+)", front[1] if front else "", re.M):
            yield name, "README.md"


def _has_token(folder, token):
    """Whether a tokenizer's files list an added token. They are not parsed: tokenizer.json has 23 MB."""
    names = ("added_tokens.json", "tokenizer_config.json", "tokenizer.json")
    written = f'"{token}"'.encode()
    files = [path for name in names if (path := folder / name).is_file() and path.stat().st_size <= LARGEST_JSON]
    return any(written in path.read_bytes() for path in files)


def _of_adapter(folder, base, asked):
    """An adapter's description on that of its base. What is said with --like comes before what the file says it is like."""
    file, listed = folder / DESCRIPTION_FILE, folder / "voices.json"
    if file.is_file():
        values = read_values(file)
        row = known_model(values.get("like", "")) if not asked and not base.name else None
        return replace(tuned(row or base, values), known_by=f"{file} on {base.known_by or 'its base'}")
    values = {}
    if listed.is_file():
        names = names_of(read_json(listed, list), listed)
        values = {"voices": names, "default_voice": names[0] if names else None}
    return tuned(base, values)
