"""Which models and voices there are, and what OpenAI's names stand for here."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from orpheus.server.failures import invalid, unknown_model

MODEL_ALIASES = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")
# OpenAI's voices, and whether each is heard as a woman's. Theirs sound otherwise; only the names are the same.
OPENAI_VOICES = {
    "alloy": True,
    "ash": False,
    "ballad": False,
    "coral": True,
    "echo": False,
    "fable": False,
    "nova": True,
    "onyx": False,
    "sage": True,
    "shimmer": True,
    "verse": False,
    "marin": True,
    "cedar": False,
}
_WOMEN = frozenset(("tara", "leah", "jess", "mia", "zoe", "nora"))
_MEN = frozenset(("leo", "dan", "zac", "theo"))


@dataclass(frozen=True)
class ServedModel:
    """A model as it is told about."""

    id: str
    voices: tuple = ()
    default_voice: str | None = None
    language: str | None = None
    languages: tuple = ()  # (voice, language) of voices that speak another one
    tags: tuple = ()  # that it may be relied on to know
    closed: bool = True  # whether other voices are refused
    created: int = 0  # seconds since 1970

    def language_of(self, voice):
        return dict(self.languages).get(voice, self.language)


def public_name(name):
    """What a model is called outside: its hub id, or the last part of its folder's path."""
    base, plus, adapter = str(name).partition(" + ")
    parts = [
        Path(part).name if Path(part).is_absolute() or Path(part).exists() else part for part in (base, adapter) if part
    ]
    return f" {plus.strip()} ".join(parts) if plus else parts[0]


def stand_ins(voices):
    """{OpenAI's name: ours} for the names that the model has no voice of."""
    women = [voice for voice in voices if voice in _WOMEN]
    men = [voice for voice in voices if voice in _MEN]
    meant, turns = {}, {True: 0, False: 0}
    for name, woman in OPENAI_VOICES.items():
        choice = (women if woman else men) or list(voices)
        if name not in voices and choice:
            meant[name] = choice[turns[woman] % len(choice)]
            turns[woman] += 1
    return meant


def preview_path(name):
    """Where a voice's preview is, for `preview` of a list of voices."""
    return f"/v1/audio/voices/{quote(name, safe='')}/preview"


class Catalogue:
    """models: {id: ServedModel}; the first is meant where none is named. voice_models: {voice: id} of voices that are models."""

    def __init__(self, models, voice_models=()):
        self.models, self.voice_models = dict(models), dict(voice_models)
        self.default = next(iter(self.models))
        self._stand_ins = {id: stand_ins(model.voices) for id, model in self.models.items()}

    @property
    def names(self):
        """All names that `model` may have."""
        return (
            *self.models,
            *self.voice_models,
            *(alias for alias in ("orpheus", *MODEL_ALIASES) if alias not in self.models),
        )

    def find(self, model, voice):
        """(model's id, voice or None) for what a request says. Raises Refusal."""
        id = self._model(model)
        if voice in self.voice_models and (model is None or id == self.default or id == self.voice_models[voice]):
            return self.voice_models[voice], None
        if voice is None:
            return id, None
        return id, self._voice(self.models[id], voice)

    def _model(self, name):
        if name is None or name in ("orpheus", *MODEL_ALIASES) and name not in self.models:
            return self.default
        if name in self.voice_models:
            return self.voice_models[name]
        if name in self.models:
            return name
        raise unknown_model(name, self.names)

    def _voice(self, model, name):
        if name in model.voices:
            return name
        if name in OPENAI_VOICES:
            return self._stand_ins[model.id].get(name)  # None where the model names no voices
        if not model.closed and not model.voices:
            return name
        known = ", ".join((*model.voices, *self.voice_models))
        raise invalid(
            f"unknown voice {name!r:.100}; {model.id} has {known or 'none'}, and OpenAI's names stand for these",
            "voice",
            "voice_not_found",
        )

    # --- what clients list ---

    def listed_models(self):
        """OpenAI's list of models."""
        return {"object": "list", "data": [self.described(name) for name in self.names]}

    def described(self, name):
        """OpenAI's object for one model, and the tags that it knows. Raises Refusal."""
        model = self.models[self._model(name)]
        also = {} if name == model.id else {"stands_for": model.id}
        return {
            "id": name,
            "object": "model",
            "created": model.created,
            "owned_by": "orpheus",
            "tags": model.tags,
            **also,
        }

    def audio_models(self):
        """{"models": [{"id", "name"}]}, as Open WebUI reads it."""
        return {"models": [{"id": name, "name": name} for name in self.names]}

    def listed_voices(self):
        """{"voices": [{"id", "name", "language", "preview", ...}]}: ours first, then those that stand for one of ours."""
        rows = []
        for id, model in self.models.items():
            voiced = [voice for voice, other in self.voice_models.items() if other == id]
            rows += [self._row(voice, model, model.default_voice) for voice in voiced]
            if not voiced or id == self.default:
                rows += [self._row(voice, model, voice) for voice in model.voices]
        model, taken = self.models[self.default], {row["id"] for row in rows}
        for name, voice in self._stand_ins[model.id].items():
            if name not in taken:
                row = self._row(name, model, voice) | {"name": f"{name} ({voice})", "stands_for": voice}
                rows.append(row | {"preview": preview_path(voice)} if voice in taken else row)
        if not rows:
            rows.append(self._row("alloy", model, None) | {"name": f"alloy ({model.id})"})
        return {"voices": rows}

    @staticmethod
    def _row(name, model, voice):
        return {
            "id": name,
            "name": name,
            "language": model.language_of(voice),
            "preview": preview_path(name),
            "model": model.id,
        }
