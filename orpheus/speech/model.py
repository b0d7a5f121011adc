"""From a name to something that speaks: finds, fetches and checks model, tokenizer, codec and adapter."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from orpheus.common.errors import CheckpointError, InputError
from orpheus.common.files import restore
from orpheus.common.hub import locate, read_json
from orpheus.common.options import LORA_DIR, ORPHEUS_3B, ORPHEUS_3B_VOICES, ROOT, SNAC_24KHZ
from orpheus.engines.loading import load_tokenizer, open_engine
from orpheus.engines.options import ENGINES
from orpheus.speech.options import PIECE_SECONDS
from orpheus.text.languages import ENGLISH, model_language

DEMO_VOICE = ROOT / "assets" / "demo_voice"

# Names of the same 3B weights; an adapter for one fits the others.
_SAME_WEIGHTS = {"unsloth/orpheus-3b-0.1-ft", "canopylabs/orpheus-3b-0.1-ft"}
_QUANTIZED_SUFFIXES = ("-unsloth-bnb-4bit", "-bnb-4bit")

MODEL_FILES = (
    "config.json",
    "generation_config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "*token*",
    "vocab.json",
    "merges.txt",
)
_CODEC_FILES = ("config.json", "model.safetensors", "pytorch_model.bin")
_ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors", "voices.json")


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
    language: str = ENGLISH  # what it speaks if nobody says otherwise, such as "de"


# --- adapter ---------------------------------------------------------------------------------------------------------


def find_adapter(lora):
    """The adapter's folder, or None. "auto" takes lora_model/ if it holds one."""
    if lora in (None, "none", ""):
        return None
    if lora == "auto":
        folder = Path(LORA_DIR)
        restore(folder)
        return folder if (folder / "adapter_config.json").exists() else None
    folder = locate(lora, _ADAPTER_FILES)
    if not (folder / "adapter_config.json").exists():
        raise InputError(
            f"{folder} holds no adapter_config.json: not a LoRA adapter. Give the folder that training wrote, or --lora none"
        )
    return folder


def adapter_base(folder):
    """The name of the model that an adapter was trained on."""
    base = read_json(folder / "adapter_config.json").get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise CheckpointError(f"{folder / 'adapter_config.json'} does not name its base model: not a LoRA adapter")
    return base


def _canonical(name):
    """One spelling for all names of the same weights: no quantization suffix, hub cache folders by their id."""
    name = re.sub(r".*models--([^/]+)--([^/]+)/snapshots/.*", r"\1/\2", str(name).rstrip("/"))
    for suffix in _QUANTIZED_SUFFIXES:
        name = name.removesuffix(suffix)
    return ORPHEUS_3B if name in _SAME_WEIGHTS else name


def _is_orpheus_3b(checkpoint):
    """Whether `checkpoint` is Orpheus-3B's hub id, or a folder with a copy of it."""
    copies = {Path(name).name for name in _SAME_WEIGHTS}
    return _canonical(checkpoint) == ORPHEUS_3B or (
        Path(checkpoint).is_dir() and Path(checkpoint).resolve().name in copies
    )


def check_adapter_fits(adapter, model):
    """Refuses an adapter whose base is not `model` (a hub id or folder). Raises CheckpointError with both names."""
    base, model = _canonical(adapter_base(adapter)), _canonical(model)
    same = base == model or (Path(base).exists() and Path(model).exists() and Path(base).samefile(model))
    # A downloaded copy is recognised by its folder's name.
    if not same and (Path(model).is_dir() or Path(base).is_dir() or Path(base).is_absolute()):
        same = Path(base).name == Path(model).name
    if not same:
        raise CheckpointError(
            f"the adapter {adapter} was made for {adapter_base(adapter)}, not for {model}. "
            f"Use it with --model {adapter_base(adapter)}, or speak without it: --lora none"
        )


# --- model -----------------------------------------------------------------------------------------------------------


def choose_model(model, adapter, cuda):
    """The model's checkpoint, and whether "auto" fell back to the demo voice."""
    if model == "demo":
        return str(DEMO_VOICE), False
    if model != "auto":
        return model, False
    if adapter and Path(adapter_base(adapter)).name == DEMO_VOICE.name:
        return str(DEMO_VOICE), False
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


def resolve(model, lora, device):
    """Resolves names and checks that the adapter fits the model. Raises InputError and CheckpointError."""
    for name, value in (("model", model), ("lora", lora)):
        if value is not None and not isinstance(value, (str, os.PathLike)):
            raise InputError(f"{name} must be a name or a folder, not {value!r}")
    adapter = find_adapter(lora)
    device = choose_device(device)
    checkpoint, fell_back = choose_model("auto" if model is None else str(model), adapter, device.startswith("cuda"))
    if adapter:
        try:
            check_adapter_fits(adapter, checkpoint)
        except CheckpointError as error:
            if not fell_back:
                raise
            raise CheckpointError(f"no CUDA here, so --model auto is the demo voice: {error}") from error
    return Resolved(checkpoint, adapter, device, fell_back)


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
    if _is_orpheus_3b(checkpoint):
        base, default = ORPHEUS_3B_VOICES, ORPHEUS_3B_VOICES[0]
    else:
        base, default = _voices_in(locate(checkpoint, ("config.json",)) / "config.json")
    if adapter is None:
        return base, default, bool(base)
    listed = adapter / "voices.json"
    voices = _names(read_json(listed, list), listed) if listed.exists() else ()
    return (*voices, *(voice for voice in base if voice not in voices)), voices[0] if voices else None, False


def language_of(checkpoint):
    """The language that a model speaks, such as "de"; of the model it needs only the config.json. Raises CheckpointError."""
    if _is_orpheus_3b(checkpoint):
        return ENGLISH
    return model_language(read_json(locate(checkpoint, ("config.json",)) / "config.json"))


def find_codec(codec, model_folder):
    """The codec's folder: `codec` if given, else the one inside the model's folder, else the hub's SNAC."""
    if codec is None:
        codec = model_folder / "codec" if (model_folder / "codec").is_dir() else SNAC_24KHZ
    return locate(codec, _CODEC_FILES)


def known_voices(model="auto", lora="auto", device="auto"):
    """(known voices, default voice) of what `load_model` would load, without loading it."""
    resolved = resolve(model, lora, device)
    return voices_of(resolved.checkpoint, resolved.adapter)[:2]


def load_model(model="auto", lora="auto", codec=None, device="auto", engine="auto"):
    """Loads everything needed to speak; cheap checks come first.

    model: "auto", "demo", a folder or a hub id; lora: "auto", "none", a folder or a hub id; codec: a folder or a hub id,
    by default the `codec` folder inside the model's, else the hub's 24 kHz SNAC; engine: one of ENGINES
    returns: (LoadedModel, whether "auto" fell back to the demo voice)
    """
    if engine not in ENGINES:
        raise InputError(f"there is no engine {engine!r}; use {', '.join(ENGINES)}")
    resolved = resolve(model, lora, device)
    checkpoint, adapter = resolved.checkpoint, resolved.adapter
    folder = locate(checkpoint, MODEL_FILES)
    codec_folder = find_codec(codec, folder)
    config = read_json(folder / "config.json")

    from orpheus.codec.snac import Codec
    from orpheus.text.prompt import PromptBuilder, layout_of

    codec = Codec.from_folder(codec_folder, resolved.device)
    tokenizer = load_tokenizer(folder)
    layout = layout_of(tokenizer, codec.codebook_size)
    opened = open_engine(engine, folder, adapter, resolved.device, layout)
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
        language_of(checkpoint),
    ), resolved.fell_back
