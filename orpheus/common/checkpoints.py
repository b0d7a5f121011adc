"""What a folder of weights is, and what its files say without being loaded: shapes, samples of the weights, and whether it is safe.

A folder may come from anywhere: nothing in it is run (no pickle, no code), and nothing outside of it is read.
"""

import os
import tarfile
import zipfile
from pathlib import Path

from orpheus.common.errors import CheckpointError, InputError
from orpheus.common.hub import read_json
from orpheus.common.options import shown
from orpheus.common.stored import (
    FLAG,
    LARGEST_CONFIG,
    LARGEST_JSON,
    NOTHING,
    OBJECT,
    TEXT,
    check_values,
    either,
    not_finite,
    number,
    several,
    whole,
)

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PICKLES = {".bin", ".pt", ".pth", ".ckpt", ".pkl"}
_NOT_A_MODEL = ("adapter_model", "optimizer", "scheduler", "training_args", "rng_state")  # .bin and .pt beside a model
_LARGE = ("tokenizer.json", "vocab.json")
_DEEPEST = 3  # folders down, in the search for what was meant
_CONVERT = (
    "python -c \"import torch; from safetensors.torch import save_file as s; s({{k: v.clone() for k, v in torch.load('{0}', "
    "weights_only=True).items()}}, '{1}', {{'format': 'pt'}})\""
)


# --- kinds -----------------------------------------------------------------------------------------------------------


def is_adapter(folder):
    """Whether a folder holds an adapter and no whole model."""
    return (folder / ADAPTER_CONFIG).is_file() and not (folder / "config.json").is_file()


def weight_files(folder):
    """The safetensors files of a whole model, in the order of their names."""
    return sorted(path for path in folder.glob("*.safetensors") if path.name != ADAPTER_WEIGHTS)


def has_weights(folder):
    """Whether all of a model's safetensors files are in its folder."""
    named = [read_json(index).get("weight_map") or {} for index in folder.glob("*.safetensors.index.json")]
    files = {str(name) for weight_map in named for name in weight_map.values()}
    return bool(weight_files(folder)) and all((folder / name).is_file() for name in files)


def pickles(folder):
    """Files of a whole model's weights that are pickles."""
    return sorted(p for p in folder.glob("*") if p.suffix in _PICKLES and not p.name.startswith(_NOT_A_MODEL))


def inside(folder, is_wanted):
    """The folders in a folder that are wanted, the nearest first and the latest first among those."""
    found, level = [], [folder]
    for _ in range(_DEEPEST):
        try:
            level = [p for above in level for p in above.iterdir() if p.is_dir() and not p.is_symlink()][:1000]
        except OSError:
            break
        found += sorted((p for p in level if is_wanted(p)), key=lambda p: p.stat().st_mtime, reverse=True)
    return found


def _named(folders):
    return ", ".join(map(str, folders[:3])) + (f" and {len(folders) - 3} more" if len(folders) > 3 else "")


def _of_file(path, flag):
    """What a file is and what to do, where a folder is wanted."""
    name = path.name.lower()
    try:
        with open(path, "rb") as file:
            start = file.read(8)
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    if start.startswith(b"GGUF") or name.endswith(".gguf"):
        if flag != "--model":
            return "is a GGUF file, for llama.cpp: adapters are read as folders with safetensors"
        return f"is a GGUF file, which llama.cpp runs: give the file itself, --model {path}"
    if path.suffix in _PICKLES:
        return (
            f"is a pickle, which can run code as it is read, so it is not: give a folder with safetensors as {flag}. If you "
            f"trust the file: {_CONVERT.format(path, path.with_suffix('.safetensors'))}"
        )
    if zipfile.is_zipfile(path) or tarfile.is_tarfile(path):
        folder = path.with_name(path.name.split(".")[0])
        unpack = (
            f"unzip {path} -d {folder}" if zipfile.is_zipfile(path) else f"mkdir {folder} && tar xf {path} -C {folder}"
        )
        return f"is an archive: unpack it ({unpack}), then give the folder: {flag} {folder}"
    return f"is a file, not a folder: give the folder that it is in, {flag} {path.parent}"


def explain(path, flag, name=None):
    """What a path is that was given as `flag` ("--model" or "--lora") and cannot be used as such, and what to do.

    name: what the user called it, where that is not the path
    """
    name = name or path
    if not path.is_dir():
        return f"{name} {_of_file(path, flag)}"
    return f"{name} {_no_adapter(path, name) if flag == '--lora' else _no_model(path, name)}"


def _leftovers(path, flag):
    """What else there is in a folder that may have been meant."""
    for pattern in ("*.gguf", "*.zip", "*.tar*", "*.tgz"):
        if found := sorted(path.glob(pattern)):
            return f"; {found[0].name} in it {_of_file(found[0], flag)}"
    return ""


def _no_adapter(path, name):
    lacks = f"holds no {ADAPTER_CONFIG}"
    if not any(path.iterdir()):
        return f"is empty ({lacks}). Give the folder that training wrote, or --lora none"
    if (path / "config.json").is_file() and (weight_files(path) or pickles(path)):
        return f"{lacks}: it is a whole model, not a LoRA adapter. Speak with it by --model {name} --lora none"
    if (path / ADAPTER_WEIGHTS).is_file() or (path / "adapter_model.bin").is_file():
        return f"{lacks}, only an adapter's weights: copy that file beside them from where the adapter was trained"
    if found := inside(path, is_adapter):
        return f"{lacks} itself, but there are adapters in it: {_named(found)}. Give one of them: --lora {found[0]}"
    return (
        f"{lacks}: not a LoRA adapter{_leftovers(path, '--lora')}. Give the folder that training wrote, or --lora none"
    )


def _no_model(path, name):
    if not any(path.iterdir()):
        return "is an empty folder. Give a folder with a model, a hub id, or --model demo"
    if is_adapter(path):
        return f"is a LoRA adapter, not a whole model: give it as --lora {name}"
    if (path / "config.json").is_file():
        if found := pickles(path):
            return (
                f"holds its weights as a pickle ({found[0].name}), which can run code as it is read, so it is not. Save it with "
                f"safetensors (model.save_pretrained), or, if you trust it: {_CONVERT.format(found[0], path / 'model.safetensors')}"
            )
        lacks = "holds a config.json and no weights in safetensors (model.safetensors), the only kind that is read"
        return lacks + (_leftovers(path, "--model") or ". Copy or download them too")
    if found := inside(path, lambda p: (p / "config.json").is_file() and weight_files(p)):
        return f"holds no config.json itself, but there are models in it: {_named(found)}. Give one: --model {found[0]}"
    if found := inside(path, is_adapter):
        return f"holds no model, but LoRA adapters: {_named(found)}. Give one of them: --lora {found[0]}"
    return (
        f"holds no config.json: not a model{_leftovers(path, '--model')}. Give a folder with a model, a hub id, or demo"
    )


# --- safety ----------------------------------------------------------------------------------------------------------


def check_within(folder, weights=True):
    """Refuses a folder whose files lie elsewhere: symbolic links out of it, and an index that names other places.

    Links into the hub's cache are fine: all its folders are made of them. weights: whether they are to be read, and so must all be
    there. Raises CheckpointError.
    """
    folder = Path(folder)
    root = Path(os.path.realpath(folder))
    for path in [*folder.glob("*"), *folder.glob("codec/*")]:
        target = Path(os.path.realpath(path))
        of_cache = target.parent.name == "blobs" and target.parent.parent.name.startswith("models--")
        if path.is_symlink() and root not in target.parents and not of_cache:
            raise CheckpointError(
                f"{path} is a symbolic link to {target}, outside of its folder, and is not followed: put a copy in its place"
            )
    for path in [*folder.glob("*.json"), *folder.glob("codec/*.json")]:
        largest = LARGEST_JSON if path.name in _LARGE else LARGEST_CONFIG
        size = path.stat().st_size if path.is_file() else None
        if size is None or size > largest:
            what = (
                "no ordinary file"
                if size is None
                else f"{size / 1e6:,.0f} MB long; at most {largest / 1e6:,.0f} MB are read"
            )
            raise CheckpointError(f"{path} is {what}: remove it, or copy or download it again")
    for index in folder.glob("*.safetensors.index.json") if weights else ():
        files = read_json(index).get("weight_map")
        if not isinstance(files, dict):
            raise CheckpointError(f"{index} has no weight_map: the folder is incomplete or damaged")
        for name in files.values():
            if not isinstance(name, str) or Path(name).name != name or "\\" in name:
                raise CheckpointError(
                    f"{index} names {shown(name)}, which is no file in its folder, and is not followed: correct the index"
                )
            if not (folder / name).is_file():
                raise CheckpointError(
                    f"{folder} is incomplete: {name}, which {index.name} names, is missing. Download it again"
                )


_POSITIVE = number("above 0 and below 1; 1e-5 is usual", lambda x: 0 < x < 1)
_TOKEN = either(NOTHING, whole(-1, 2**31), several(whole(0, 2**31), 0, 1000))
_MODEL = {  # sizes far beyond any model that one machine holds
    "hidden_size": either(NOTHING, whole(1, 65_536)),
    "intermediate_size": either(NOTHING, whole(1, 1_048_576), several(whole(1, 1_048_576), 1, 1000)),
    "num_hidden_layers": either(NOTHING, whole(1, 1000)),
    "num_attention_heads": either(NOTHING, whole(1, 1024)),
    "num_key_value_heads": either(NOTHING, whole(1, 1024)),
    "head_dim": either(NOTHING, whole(2, 4096)),
    "vocab_size": either(NOTHING, whole(1, 4_194_304)),
    "max_position_embeddings": either(NOTHING, whole(2, 1 << 30)),
    "rms_norm_eps": either(NOTHING, _POSITIVE),
    "hidden_act": either(NOTHING, TEXT),
    "model_type": either(NOTHING, TEXT),
    "architectures": either(NOTHING, several(TEXT, 0, 100)),
    "tie_word_embeddings": either(NOTHING, FLAG),
    "attention_bias": either(NOTHING, FLAG),
    "mlp_bias": either(NOTHING, FLAG),
    "bos_token_id": _TOKEN,
    "eos_token_id": _TOKEN,
    "pad_token_id": _TOKEN,
    "dtype": either(NOTHING, TEXT),
    "torch_dtype": either(NOTHING, TEXT),
    "rope_parameters": either(NOTHING, OBJECT),
    "rope_scaling": either(NOTHING, OBJECT),
    "quantization_config": either(NOTHING, OBJECT),
}
_GENERATION = {name: _MODEL[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
_ROPE = {
    "rope_theta": either(NOTHING, number("at least 1; 500000 is Orpheus-3B's", lambda x: x >= 1)),
    "factor": either(NOTHING, number("above 0; 32 is Orpheus-3B's", lambda x: x > 0)),
    "low_freq_factor": either(NOTHING, number("above 0; 1 is Orpheus-3B's", lambda x: x > 0)),
    "high_freq_factor": either(NOTHING, number("above 0; 4 is Orpheus-3B's", lambda x: x > 0)),
    "original_max_position_embeddings": either(NOTHING, whole(1, 1 << 30)),
    "rope_type": either(NOTHING, TEXT),
    "type": either(NOTHING, TEXT),
}


def check_config(config, path):
    """Refuses a model's or adapter's configuration with values that no model can have. Raises CheckpointError."""
    for name, value in not_finite(config):
        raise CheckpointError(
            f"{name} in {path} is {value}: it must be a finite number. Correct the file, or download it again"
        )
    check_values(config, _MODEL, path)
    check_values(config, {"rope_theta": _ROPE["rope_theta"]}, path)
    for name in ("rope_parameters", "rope_scaling"):
        check_values(config.get(name) or {}, _ROPE, path)
    heads, groups = config.get("num_attention_heads"), config.get("num_key_value_heads")
    if heads and groups and heads % groups:
        raise CheckpointError(
            f"num_attention_heads in {path} is {heads}, which num_key_value_heads, {groups}, does not divide. Correct the file"
        )
    low, high = ((config.get("rope_parameters") or {}).get(f"{name}_freq_factor") for name in ("low", "high"))
    if low is not None and high is not None and low >= high:
        raise CheckpointError(
            f"low_freq_factor in {path} is {low}: it must be below high_freq_factor, {high}. Correct the file"
        )


def check_model_folder(folder, name=None):
    """The configuration of a model's folder; refuses one that is no model in safetensors, or that is not safe to load.

    name: what the user called it, where that is not the folder
    Raises InputError, CheckpointError.
    """
    folder = Path(folder)
    check_within(folder)
    if not (folder / "config.json").is_file() or not weight_files(folder):
        raise InputError(explain(folder, "--model", name))
    if (folder / ADAPTER_CONFIG).is_file():
        raise InputError(
            f"{folder} holds a whole model and a LoRA adapter beside it, which may be merged into it already: move "
            f"{ADAPTER_CONFIG} and {ADAPTER_WEIGHTS} into a folder of their own, and give that as --lora if it is wanted"
        )
    config = read_json(folder / "config.json")
    check_config(config, folder / "config.json")
    generation = folder / "generation_config.json"
    if generation.is_file():
        check_values(read_json(generation), _GENERATION, generation)
    return config


def quantization(config):
    """How a model's weights are quantised, in a few words; None if they are not."""
    settings = config.get("quantization_config")
    if not isinstance(settings, dict):
        return None
    bits = 4 if settings.get("load_in_4bit") else 8 if settings.get("load_in_8bit") else settings.get("bits")
    return f"{bits}-bit, {settings.get('quant_method', 'bitsandbytes')}" if bits else str(settings.get("quant_method"))
