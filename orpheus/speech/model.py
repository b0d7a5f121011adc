"""From a name to something that speaks: finds, fetches and checks model, tokenizer, codec and adapter."""

import os
from dataclasses import dataclass
from pathlib import Path

from orpheus.common.checkpoints import explain
from orpheus.common.command import say
from orpheus.common.errors import CheckpointError, InputError
from orpheus.common.hub import locate, read_json
from orpheus.common.options import ORPHEUS_3B, ORPHEUS_3B_VOICES, SNAC_24KHZ
from orpheus.engines.loading import check_model, load_tokenizer, open_engine
from orpheus.engines.options import ENGINES
from orpheus.speech.adapters import (
    DEMO_VOICE,
    adapter_given_as_model,
    base_for_auto,
    check_adapter_fits,
    find_adapter,
    is_orpheus_3b,
    tokenizer_folder,
)
from orpheus.speech.options import PIECE_SECONDS

MODEL_FILES = (
    "config.json",
    "adapter_config.json",
    "generation_config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "*token*",
    "vocab.json",
    "merges.txt",
)
_CODEC_FILES = ("config.json", "model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class LoadedModel:
    """What OrpheusInference works with."""

    name: str
    engine: object  # orpheus.engines.Engine
    prompts: object  # orpheus.text.prompt.PromptBuilder
    codec: object  # orpheus.codec.snac.Codec
    voices: tuple  # known speakers; empty if the model names none
    default_voice: str | None  # used if none is asked for; None means that prompts carry no speaker name
    voices_closed: bool  # whether an unknown voice is an error
    piece_seconds: float  # how much speech a piece of long text should have
    normalize_text: bool = False  # whether it needs numbers, dates and the like written as words


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
    if not there.get(str(device).split(":")[0]):
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
        if value is not None and not isinstance(value, (str, os.PathLike)):
            raise InputError(f"{name} must be a name or a folder, not {value!r}")
    model, lora, note = adapter_given_as_model("auto" if model is None else str(model), lora)
    path = Path(model).expanduser()
    if path.is_file() or (path.is_dir() and str(model) and not (path / "config.json").is_file()):
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


def _names(value, path):
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise CheckpointError(f"the voices in {path} must be a list of names, not {value!r:.80}")
    return tuple(value)


def _voices_in(config_path):
    """(known voices, default voice) of a model's config.json.

    The default is the first of `voices`, unless `default_voice` says otherwise: null for a prompt without a speaker.
    """
    config = read_json(config_path)
    voices = _names(config.get("voices") or [], config_path)
    default = config.get("default_voice", voices[0] if voices else None)
    if default is not None and default not in voices:
        raise CheckpointError(f"default_voice in {config_path} is {default!r:.80}, which is not one of its voices")
    return voices, default


def voices_of(checkpoint, adapter):
    """(known voices, default voice, whether others are refused); of the model it needs only the config.json."""
    if is_orpheus_3b(checkpoint):
        base, default = ORPHEUS_3B_VOICES, ORPHEUS_3B_VOICES[0]
    else:
        base, default = _voices_in(locate(checkpoint, ("config.json",)) / "config.json")
    if adapter is None:
        return base, default, bool(base)
    listed = adapter / "voices.json"
    voices = _names(read_json(listed, list), listed) if listed.exists() else ()
    return (*voices, *(voice for voice in base if voice not in voices)), voices[0] if voices else None, False


def find_codec(codec, model_folder):
    """The codec's folder: `codec` if given, else the one inside the model's folder, else the hub's SNAC."""
    if codec is None:
        codec = model_folder / "codec" if (model_folder / "codec").is_dir() else SNAC_24KHZ
    return locate(codec, _CODEC_FILES)


def known_voices(model="auto", lora="auto", device="auto", lora_anyway=False):
    """(known voices, default voice) of what `load_model` would load, without loading it."""
    resolved = resolve(model, lora, device, lora_anyway)
    return voices_of(resolved.checkpoint, resolved.adapter)[:2]


def load_model(model="auto", lora="auto", codec=None, device="auto", engine="auto", lora_anyway=False):
    """Loads everything needed to speak; cheap checks come first.

    model: "auto", "demo", a folder or a hub id; lora: "auto", "none", a folder or a hub id; codec: a folder or a hub id,
    by default the `codec` folder inside the model's, else the hub's 24 kHz SNAC; engine: one of ENGINES; lora_anyway: takes
    an adapter of the right shapes for other weights
    returns: (LoadedModel, whether "auto" fell back to the demo voice)
    """
    if engine not in ENGINES:
        raise InputError(f"there is no engine {engine!r}; use {', '.join(ENGINES)}")
    resolved = resolve(model, lora, device, lora_anyway)
    checkpoint, adapter = resolved.checkpoint, resolved.adapter
    if resolved.note:
        say(resolved.note)
    folder = locate(checkpoint, MODEL_FILES)
    check_model(folder, resolved.device, checkpoint)
    if not resolved.compared:
        check_adapter_fits(adapter, checkpoint, lora_anyway, folder)
    speaking, tokens = tokenizer_folder(folder, adapter)
    codec_folder = find_codec(codec, folder)
    config = read_json(folder / "config.json")

    from orpheus.codec.snac import Codec
    from orpheus.text.prompt import PromptBuilder, layout_of

    codec = Codec.from_folder(codec_folder, resolved.device)
    tokenizer = load_tokenizer(speaking)
    layout = layout_of(tokenizer, codec.codebook_size)
    opened = open_engine(engine, folder, adapter, resolved.device, layout, tokens)
    voices, default_voice, closed = voices_of(checkpoint, adapter)
    name = DEMO_VOICE.name if checkpoint == str(DEMO_VOICE) else checkpoint
    return LoadedModel(
        f"{name} + {adapter}" if adapter else name,
        opened,
        PromptBuilder(tokenizer, layout),
        codec,
        voices,
        default_voice,
        closed,
        config.get("piece_seconds", PIECE_SECONDS),
        config.get("normalize_text", False),
    ), resolved.fell_back
