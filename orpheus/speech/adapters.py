"""LoRA adapters: finding one, the model that it was trained on, and whether it fits the one that is to speak."""

import re
from pathlib import Path
from typing import NamedTuple
from warnings import warn

from orpheus.common.checkpoints import ADAPTER_CONFIG, explain, has_weights, is_adapter, weight_files
from orpheus.common.errors import CheckpointError, InputError, OrpheusWarning
from orpheus.common.files import restore
from orpheus.common.hub import cached, locate, read_json
from orpheus.common.options import LORA_DIR, ORPHEUS_3B, ROOT, shown
from orpheus.common.stored import LARGEST_JSON
from orpheus.common.weights import BASE_FILE, fingerprint, same_weights, shapes_of
from orpheus.engines.merging import adapter_config, adapter_shapes, vocabulary_of
from orpheus.text.description import DESCRIPTION_FILE

DEMO_VOICE = ROOT / "assets" / "demo_voice"
ORPHEUS_3B_PRETRAINED = "unsloth/orpheus-3b-0.1-pretrained"

# Hub ids of the same weights in 16 bits; an adapter for one fits the others of its row. The first is the one that is fetched.
SAME_WEIGHTS = (
    (ORPHEUS_3B, "canopylabs/orpheus-3b-0.1-ft"),
    (ORPHEUS_3B_PRETRAINED, "canopylabs/orpheus-3b-0.1-pretrained"),
)
ORPHEUS_3B_WIDTH = 3072  # hidden_size of all of them
_QUANTIZED = re.compile(r"(-unsloth)?-bnb-[48]bit$|-[48]bit$", re.IGNORECASE)
_CACHED = re.compile(r".*models--([^/]+?)--([^/]+)(?:/.*)?$")
_URL = re.compile(r"^(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/([^/]+/[^/]+).*$", re.IGNORECASE)
_SMALL = 2_000_000_000  # bytes of weights that a CPU speaks with in bearable time, where there is no CUDA
_FILES = (
    ADAPTER_CONFIG,
    "adapter_model.safetensors",
    "voices.json",
    DESCRIPTION_FILE,
    BASE_FILE,
    "*token*",
    "vocab.json",
    "merges.txt",
)


# --- finding ---------------------------------------------------------------------------------------------------------


def find_adapter(lora):
    """The adapter's folder, or None. "auto" takes lora_model/ if it holds one. Raises InputError, CheckpointError."""
    if lora in (None, "none", ""):
        return None
    if lora == "auto":
        folder = Path(LORA_DIR)
        restore(folder)
        return folder if (folder / ADAPTER_CONFIG).exists() else None
    path = Path(lora).expanduser()
    if path.is_file():
        raise InputError(f"--lora: {explain(path, '--lora')}")
    folder = locate(lora, _FILES)
    if not (folder / ADAPTER_CONFIG).exists():
        raise InputError(explain(folder, "--lora"))
    return folder


def adapter_given_as_model(model, lora):
    """(model, lora, what was made of it) where `model` is an adapter's folder: the adapter on its own base. Raises InputError."""
    folder = Path(model).expanduser()
    if not (folder.is_dir() and is_adapter(folder)):
        return model, lora, None
    if lora == "none":
        use = base_to_use(folder) or adapter_base(folder)
        raise InputError(
            f"--model {model} is a LoRA adapter, not a whole model, and no adapter is to be used here: give its base, --model {use}"
        )
    if lora not in (None, "auto", "") and folder.resolve() != Path(lora).expanduser().resolve():
        raise InputError(
            f"--model {model} is a LoRA adapter, not a whole model, and --lora {lora} is another: give one of them"
        )
    return "auto", str(model), f"{model} is a LoRA adapter: speaking with it on its own base, as with --lora {model}"


# --- names -----------------------------------------------------------------------------------------------------------


def adapter_base(folder):
    """The name of the model that an adapter was trained on."""
    base = read_json(folder / ADAPTER_CONFIG).get("base_model_name_or_path")
    if not isinstance(base, str) or not base.strip():
        raise CheckpointError(f"{folder / ADAPTER_CONFIG} does not name its base model: not a LoRA adapter")
    if len(base) > 1000 or not base.isprintable():
        raise CheckpointError(
            f"{folder / ADAPTER_CONFIG}: base_model_name_or_path is {shown(base)}, no name of a model"
        )
    return base.strip()


class Name(NamedTuple):
    """A model's name, taken apart: a hub id, or the last part of a path."""

    text: str  # without the marks of a quantised copy
    is_id: bool
    same: str | None  # the first of its row in SAME_WEIGHTS

    @property
    def last(self):
        return self.text.rsplit("/", 1)[-1].casefold()


def read_name(name):
    """What a name says, wherever it was written: Windows paths, the hub's cache, addresses, quantised copies, any case."""
    text = str(name).strip().replace("\\", "/").rstrip("/")
    text = _URL.sub(r"\1", _CACHED.sub(r"\1/\2", text))
    text = _QUANTIZED.sub("", text)
    is_path = text.startswith((".", "/", "~")) or re.match(r"^[A-Za-z]:", text) or text.count("/") != 1
    is_id = not is_path and not Path(text).is_dir()
    for row in SAME_WEIGHTS:
        if text.casefold() in row or (not is_id and text.rsplit("/", 1)[-1].casefold() == row[0].split("/")[1]):
            return Name(text, is_id, row[0])
    return Name(text, is_id, None)


def _same_name(base, model):
    """Whether two names mean the same weights; None where they cannot tell."""
    a, b = read_name(base), read_name(model)
    if a.text.casefold() == b.text.casefold() or (a.same and a.same == b.same):
        return True
    if a.same and b.same:
        return False
    if DEMO_VOICE.name in (a.last, b.last) and a.last != b.last:
        return False
    if a.is_id and b.is_id:
        return False
    return True if a.last == b.last else None  # a downloaded copy is recognised by its folder's name


def base_to_use(adapter):
    """What to give as --model for an adapter: a folder that is here, or a hub id in 16 bits; None for a folder of elsewhere."""
    base = adapter_base(adapter)
    name = read_name(base)
    if name.last == DEMO_VOICE.name:
        return str(DEMO_VOICE)
    folder = _folder_here(base, adapter)
    if folder and not _is_quantized(folder):
        return str(folder)
    return name.same or (name.text if name.is_id and name.text.count("/") == 1 else None)


def _folder_here(name, adapter=None):
    """The folder of a model that is named by its path, if it is here; relative ones also from beside the adapter."""
    path = Path(str(name).replace("\\", "/")).expanduser()
    beside = [Path(adapter).resolve().parent / path] if adapter and not path.is_absolute() else []
    return next((folder for folder in (path, *beside) if (folder / "config.json").is_file()), None)


def _whole(folder):
    """The folder if all of its weights are in it, else None: the hub's cache may hold a part of a model."""
    return folder if folder and has_weights(folder) else None


def base_for_auto(adapter, cuda):
    """The model that "auto" takes for an adapter: the adapter's own base. Raises CheckpointError where it cannot be had here."""
    base = base_to_use(adapter)
    if base is None:
        raise CheckpointError(
            f"the adapter {adapter} was made for {adapter_base(adapter)}, which is not here: give that model's folder or hub "
            "id with --model"
        )
    folder = _whole(_folder_here(base) or cached(base))
    if not cuda and not (folder and sum(path.stat().st_size for path in weight_files(folder)) <= _SMALL):
        raise CheckpointError(
            f"no CUDA here, and the adapter {adapter} was made for {adapter_base(adapter)}, which is slow without: give "
            f"--model {base} to use it all the same, or --lora none to speak with the demo voice"
        )
    return base


# --- whether it fits -------------------------------------------------------------------------------------------------


def check_adapter_fits(adapter, model, anyway=False, folder=None):
    """Refuses an adapter that was not trained on `model`, as far as can be told without loading anything.

    Shapes that differ are always refused. Then what the weights say decides, where samples of both are here: those that
    training wrote into the adapter's folder, or the base model itself. Else the names do; where they are of no help
    either, there is a warning, once the model's `folder` is here.

    model: a hub id or a folder; anyway: takes other weights of the same shapes, with a warning
    returns: whether the model's weights are here: if not, ask again once they are
    Raises InputError and CheckpointError.
    """
    base = adapter_base(adapter)
    adapter_config(adapter)
    shapes = adapter_shapes(adapter)
    here = folder or _whole(_folder_here(model) or cached(model))
    if here:
        _check_shapes(adapter, shapes, here, base)
        same, reason = _same_samples(adapter, base, here)
    else:
        same, reason = None, None
    if same is None:
        same, reason = _same_name(base, model), None
    if same is None and here and read_name(base).same and (width := _width(here)) not in (None, ORPHEUS_3B_WIDTH):
        same, reason = False, f"that is {ORPHEUS_3B_WIDTH} wide, and this {width}"
    if same or (same is None and (anyway or here is None)):
        return here is not None
    cure = f"--model {use}" if (use := base_to_use(adapter)) else "the folder or hub id of that model as --model"
    if same is None:
        warn(
            f"the adapter {adapter} was made for {base}, and whether {model} is a copy of that cannot be told from here: its "
            f"shapes fit. If the speech is bad, use {cure}. --lora-anyway leaves out this warning",
            OrpheusWarning,
            3,
        )
        return True
    said = f"the adapter {adapter} was made for {base}, not for {model}{f': {reason}' if reason else ''}"
    if anyway:
        warn(f"{said}. It is used all the same (--lora-anyway)", OrpheusWarning, 3)
        return here is not None
    raise CheckpointError(
        f"{said}. Use it with {cure}, or speak without it: --lora none (or use it all the same: --lora-anyway)"
    )


def _check_shapes(adapter, shapes, folder, base):
    """Refuses LoRA weights of another width than the layers in the model's folder have."""
    model = shapes_of(folder)
    if _is_quantized(folder) or not any(name.startswith("model.layers.") for name in model):
        return  # stored in other shapes, or under other names than the modules have
    for name, shape in shapes.items():
        layer, _, part = name.partition(".lora_")
        there = model.get(f"{layer}.weight")
        if not part.endswith(".weight") or len(shape) != 2 or layer.endswith("lm_head"):
            continue
        if there is None:
            problem = f"its {layer} is not in the model"
        elif len(there) == 2 and shape[1 if part.startswith("A") else 0] != there[1 if part.startswith("A") else 0]:
            problem = f"its {name} is {shape}, and the model's {layer}.weight {there}"
        else:
            continue
        raise CheckpointError(
            f"the adapter {adapter} does not fit the model in {folder}: {problem}. It was made for {base}"
        )


def _width(folder):
    return read_json(folder / "config.json").get("hidden_size")


def _is_quantized(folder):
    return bool(read_json(folder / "config.json").get("quantization_config"))


def _same_samples(adapter, base, folder):
    """(whether an adapter was trained on the weights in `folder`, why not); None where samples of both are not here."""
    here = fingerprint(folder)
    if (adapter / BASE_FILE).is_file():
        trained = read_json(adapter / BASE_FILE).get("weights")
        if isinstance(trained, dict):
            try:
                if (same := same_weights(trained, here)) is not None:
                    return same, f"its weights are not those that {BASE_FILE} in the adapter's folder describes"
            except (KeyError, TypeError, ValueError) as error:
                raise CheckpointError(
                    f"{adapter / BASE_FILE} is damaged: remove it, or copy the adapter again"
                ) from error
    name = read_name(base)
    other = DEMO_VOICE if name.last == DEMO_VOICE.name else _folder_here(base, adapter)
    other = _whole(other or (cached(name.same or name.text) if name.is_id or name.same else None))
    if other is None:
        return None, None
    if other.samefile(folder):
        return True, None
    return same_weights(fingerprint(other), here), f"the weights in {other} and {folder} differ"


# --- the tokenizer ---------------------------------------------------------------------------------------------------


def tokenizer_folder(folder, adapter):
    """(the folder of the tokenizer to use, how many tokens the model must have): the adapter's own where it knows other tokens.

    folder: the model's; adapter: its folder or None
    """
    if adapter is None or not (adapter / "tokenizer.json").is_file():
        return folder, 0
    own, base = adapter / "tokenizer.json", folder / "tokenizer.json"
    if base.is_file() and own.read_bytes() == base.read_bytes():
        return folder, 0
    known = _tokens(own)
    if base.is_file() and known == _tokens(base):
        return folder, 0
    count = 1 + max(known.values())
    rows = vocabulary_of(adapter_shapes(adapter))
    if rows is not None and rows < count:
        raise CheckpointError(
            f"the tokenizer in {adapter} knows {count} tokens, but its weights are for {rows}: they are not of one training. "
            f"Copy the tokenizer again, or remove it ({own}) to use the model's"
        )
    return adapter, count


def _tokens(path):
    """{token: id} of a tokenizer.json."""
    stored = read_json(path, largest=LARGEST_JSON)
    try:
        vocabulary = stored["model"]["vocab"]
        listed = vocabulary if isinstance(vocabulary, dict) else {piece[0]: n for n, piece in enumerate(vocabulary)}
        return listed | {token["content"]: token["id"] for token in stored.get("added_tokens") or []}
    except (KeyError, TypeError, IndexError) as error:
        raise CheckpointError(f"{path} is no tokenizer that this program knows: it is incomplete or damaged") from error
