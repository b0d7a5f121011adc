"""From a name to something that speaks: finds, fetches and checks model, tokenizer, codec and adapter."""

import re
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path

from orpheus.common.checkpoints import explain
from orpheus.common.command import say
from orpheus.common.errors import InputError, OrpheusWarning
from orpheus.common.gguf import is_gguf
from orpheus.common.hub import locate
from orpheus.common.options import ORPHEUS_3B, SNAC_24KHZ, check, check_path, shown
from orpheus.engines.loading import check_model, load_tokenizer, open_engine
from orpheus.engines.options import ENGINES
from orpheus.speech.adapters import (
    DEMO_VOICE,
    adapter_given_as_model,
    base_for_auto,
    check_adapter_fits,
    find_adapter,
    tokenizer_folder,
)
from orpheus.text.description import ModelDescription
from orpheus.text.identify import DESCRIBING_FILES, describe

MODEL_FILES = (
    "config.json",
    "adapter_config.json",
    "generation_config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "*token*",
    "vocab.json",
    "merges.txt",
    *DESCRIBING_FILES[1:],
)
_CODEC_FILES = ("config.json", "model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class LoadedModel:
    """What OrpheusInference works with."""

    name: str
    engine: object  # orpheus.engines.Engine
    prompts: object  # orpheus.text.prompt.PromptBuilder
    codec: object  # orpheus.codec.snac.Codec
    description: ModelDescription = field(default_factory=ModelDescription)
    clips: dict = field(default_factory=dict, repr=False, compare=False)  # codes of reference clips, see reference.py

    @property
    def voices(self):
        return self.description.voices

    @property
    def default_voice(self):
        return self.description.default_voice

    @property
    def voices_closed(self):
        return self.description.closed

    @property
    def piece_seconds(self):
        return self.description.piece_seconds

    @property
    def normalize_text(self):
        return self.description.normalize_text


# --- model -----------------------------------------------------------------------------------------------------------


def choose_model(model, adapter, cuda):
    """The model's checkpoint, and whether "auto" fell back to the demo voice."""
    if model == "demo":
        return str(DEMO_VOICE), False
    if model != "auto":
        return model, False
    if adapter:
        return base_for_auto(adapter, cuda), False
    return (ORPHEUS_3B, False) if cuda else (str(DEMO_VOICE), True)


def choose_device(device):
    """An available device, with "auto" resolved. Raises InputError if it is not available."""
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return next(name for name, available in there.items() if available)
    if not there.get(str(device).split(":")[0]) or not re.fullmatch(r"cuda(:\d{1,3})?|mps|cpu", str(device)):
        raise InputError(
            f"there is no device {str(device)!r} here; use {' or '.join(n for n, here in there.items() if here)}"
        )
    return str(device)


@dataclass(frozen=True)
class Resolved:
    """What the names mean on this machine."""

    checkpoint: str  # the model: a folder or a hub id
    adapter: Path | None  # its folder
    device: str
    fell_back: bool  # whether "auto" took the demo voice because there is no CUDA
    note: str | None = None  # what was made of the names, where that is not plain
    compared: bool = True  # whether the adapter's fit is settled; else once the model's weights are here


def resolve(model, lora, device, lora_anyway=False):
    """Resolves names and checks that the adapter fits the model. Raises InputError and CheckpointError."""
    for name, value in (("model", model), ("lora", lora)):
        if value is not None:
            check_path(name, value)
    if model is not None and is_gguf(model):
        return Resolved(str(model), None, choose_device(device), False)
    model, lora, note = adapter_given_as_model("auto" if model is None else str(model), lora)
    path = Path(model).expanduser()
    if model not in ("auto", "demo") and (
        path.is_file() or (path.is_dir() and str(model) and not (path / "config.json").is_file())
    ):
        raise InputError(f"--model: {explain(path, '--model')}")
    adapter = find_adapter(lora)
    device = choose_device(device)
    cuda = device.startswith("cuda")
    checkpoint, fell_back = choose_model(model, adapter, cuda)
    if adapter is None:
        return Resolved(checkpoint, None, device, fell_back)
    if model == "auto" and checkpoint != choose_model("auto", None, cuda)[0]:
        note = f"{note or f'The adapter {adapter} was made for another model than the usual one: speaking with that'}, {checkpoint}"
    return Resolved(checkpoint, adapter, device, fell_back, note, check_adapter_fits(adapter, checkpoint, lora_anyway))


def voices_of(checkpoint, adapter):
    """(known voices, default voice, whether others are refused); of the model it needs only what describes it."""
    found = describe(checkpoint, adapter)
    return found.voices, found.default_voice, found.closed


def find_codec(codec, model_folder):
    """The codec's folder: `codec` if given, else the one inside the model's folder, else the hub's SNAC."""
    if codec is None:
        codec = model_folder / "codec" if (model_folder / "codec").is_dir() else SNAC_24KHZ
    return locate(codec, _CODEC_FILES)


def description_of(model="auto", lora="auto", device="auto", like=None, lora_anyway=False):
    """The ModelDescription of what `load_model` would load, without loading it."""
    resolved = resolve(model, lora, device, lora_anyway)
    return describe(resolved.checkpoint, resolved.adapter, like)


def known_voices(model="auto", lora="auto", device="auto", lora_anyway=False):
    """(known voices, default voice) of what `load_model` would load, without loading it."""
    found = description_of(model, lora, device, lora_anyway=lora_anyway)
    return found.voices, found.default_voice


def model_to_describe(model, engine, url):
    """What `description_of` is asked for where a server runs the model: "auto" means Orpheus-3B there."""
    return ORPHEUS_3B if model == "auto" and (engine == "endpoint" or url) else model


def load_model(
    model="auto",
    lora="auto",
    codec=None,
    device="auto",
    engine="auto",
    like=None,
    lora_anyway=False,
    url=None,
    dialect="auto",
    served_model=None,
):
    """Loads everything needed to speak; cheap checks come first.

    model: "auto", "demo", a folder or a hub id; lora: "auto", "none", a folder or a hub id; codec: a folder or a hub id,
    by default the `codec` folder inside the model's, else the hub's 24 kHz SNAC; engine: one of ENGINES; like: a known model
    that it is like, where its files don't say; lora_anyway: takes an adapter of the right shapes for other weights; url, dialect,
    served_model: of a server that runs the model, see EndpointOptions
    returns: (LoadedModel, whether "auto" fell back to the demo voice)
    """
    for name, value in (("model", model), ("codec", codec), ("like", like)):
        if value is not None:
            check_path(name, value)
    check(isinstance(lora_anyway, bool), f"lora_anyway must be true or false, not {shown(lora_anyway)}")
    if engine not in ENGINES:
        raise InputError(f"there is no engine {engine!r}; use {', '.join(ENGINES)}")
    from orpheus.speech.served import load_endpoint, load_gguf, options_of, refuse_no_gguf

    engine, server = options_of(engine, url, dialect, served_model)
    if engine == "endpoint":
        return load_endpoint(model, lora, codec, device, like, server), False
    if model is not None and is_gguf(model):
        return load_gguf(model, lora, codec, device, like, engine), False
    if engine == "llama.cpp":
        raise refuse_no_gguf(model)
    resolved = resolve(model, lora, device, lora_anyway)
    if resolved.note:
        say(resolved.note)
    folder = find_model(resolved, lora_anyway)
    codec_folder = find_codec(codec, folder)

    from orpheus.codec.snac import Codec

    codec = Codec.from_folder(codec_folder, resolved.device)
    described, tokens = without_engine(resolved, folder, codec, like)
    layout = described.prompts.layout
    opened = open_engine(engine, folder, resolved.adapter, resolved.device, layout, tokens)
    return replace(described, engine=opened), resolved.fell_back


def find_model(resolved, lora_anyway=False):
    """The folder of a Resolved's model, fetched and checked, and its adapter with it. Raises InputError and CheckpointError."""
    folder = locate(resolved.checkpoint, MODEL_FILES)
    check_model(folder, resolved.device, resolved.checkpoint)
    if not resolved.compared:
        check_adapter_fits(resolved.adapter, resolved.checkpoint, lora_anyway, folder)
    return folder


def without_engine(resolved, folder, codec, like=None):
    """(the LoadedModel of what was resolved, with None for its engine; how many tokens the tokenizer knows if it is the adapter's).

    folder: its model's; codec: a Codec; like: see `load_model`
    """
    from orpheus.text.prompt import PromptBuilder, layout_of
    from orpheus.text.tokenizer import plain_tokenizer

    checkpoint, adapter = resolved.checkpoint, resolved.adapter
    description = describe(checkpoint, adapter, like)
    speaking, tokens = tokenizer_folder(folder, adapter)
    if description.guessed:
        warnings.warn(guess_of(description), OrpheusWarning, stacklevel=3)
    tokenizer = plain_tokenizer(speaking) or load_tokenizer(speaking)
    prompts = PromptBuilder(tokenizer, layout_of(tokenizer, codec.codebook_size), description.prompt)
    voices = tuple(dict.fromkeys((*description.voices, *prompts.voice_tokens())))
    name = DEMO_VOICE.name if checkpoint == str(DEMO_VOICE) else checkpoint
    name = f"{name} + {adapter}" if adapter else name
    return LoadedModel(name, None, prompts, codec, replace(description, voices=voices)), tokens


def guess_of(description):
    """A guess about a model, in one line."""
    voice = (
        f"it speaks without a name unless you say --voice ({', '.join(description.voices)})"
        if description.voices
        else ""
    )
    return (
        f"the model is taken for a copy or fine-tune of {description.name}, by {description.known_by}"
        f"{'; ' + voice if voice and description.default_voice is None else ''}. If it is another, say --like NAME"
    )
