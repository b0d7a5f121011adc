"""Which kind a server is, found by asking it, and which of its models is meant."""

from dataclasses import dataclass

from orpheus.common.errors import EndpointError, InputError
from orpheus.engines.endpoint.dialects import BY_NAME

_OWNERS = {
    "llamacpp": "llama.cpp",
    "vllm": "vllm",
    "sglang": "sglang",
    "library": "ollama",
    "organization_owner": "lm-studio",
}
_NAMED = ("vllm", "lm-studio", "ollama", "text")  # those that want a model's name


@dataclass(frozen=True)
class Found:
    dialect: type  # one of those in dialects.py
    model: str | None  # its name on the server
    tokens: int | None  # of the server's vocabulary, where it says so


def _listed(answer, *keys):
    """The models in an answer, as dictionaries."""
    for key in keys:
        value = (answer or {}).get(key)
        if isinstance(value, list) and value and all(isinstance(entry, dict) for entry in value):
            return value
    return []


def find(client, dialect="auto", model=None):
    """Asks a server what it is. dialect: one of DIALECTS; model: the name of the model that is wanted, or None.

    Raises EndpointError for a server that is none of them or cannot be reached, InputError where it has several models.
    """
    models = _listed(client.ask("v1/models"), "data")
    owners = {str(entry.get("owned_by")) for entry in models}
    kind = dialect if dialect != "auto" else next((_OWNERS[o] for o in sorted(owners) if o in _OWNERS), None)
    kind = kind or _by_questions(client, models)
    if kind is None:
        raise EndpointError(
            f"{client.url} is no server that is known here: it has neither /v1/models nor /props, /model_info or /api/tags. Give the "
            "address of llama.cpp's server, vLLM, SGLang, LM Studio or Ollama, or say what it is: --dialect"
        )
    if kind == "ollama":
        models = _listed(client.ask("api/tags"), "models") or models
    name = _name(client, kind, models, model) if kind in _NAMED else None
    metas = [entry.get("meta") for entry in models]
    sizes = [meta.get("n_vocab") for meta in metas if isinstance(meta, dict)]
    size = sizes[0] if len(sizes) == 1 and isinstance(sizes[0], int) else None
    return Found(BY_NAME[kind], name, size)


def _by_questions(client, models):
    if "default_generation_settings" in (client.ask("props") or {}):
        return "llama.cpp"
    if any("model_path" in (client.ask(path) or {}) for path in ("model_info", "get_model_info")):
        return "sglang"
    if _listed(client.ask("api/v0/models"), "data"):  # LM Studio answers unknown paths with 200 and an error
        return "lm-studio"
    if _listed(client.ask("api/tags"), "models"):
        return "ollama"
    return "text" if models else None


def _name(client, kind, models, wanted):
    names = [str(entry.get("id") or entry.get("model") or entry.get("name")) for entry in models]
    if wanted:
        if names and wanted not in names and f"{wanted}:latest" not in names:
            raise InputError(
                f"{client.url} has no model {wanted!r}; it has {', '.join(names[:10])}: name one with --served-model"
            )
        return wanted
    if kind == "vllm":  # its adapters are listed beside their base
        names = [str(entry.get("id")) for entry in models if not entry.get("parent")] if len(models) > 1 else names
    likely = [name for name in names if "orpheus" in name.casefold()] if len(names) > 1 else names
    if len(likely) != 1:
        has = f"has several models ({', '.join(names[:10])})" if names else "lists no models"
        raise InputError(f"{client.url} {has}: name the one to speak with, --served-model NAME")
    return likely[0]
