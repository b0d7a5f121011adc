"""From a checkpoint's folder to an engine."""

import math
from pathlib import Path
from warnings import warn

from orpheus.common.cards import Card
from orpheus.common.checkpoints import check_model_folder, quantization
from orpheus.common.command import cure_of
from orpheus.common.errors import CheckpointError, InputError, OrpheusError, OrpheusWarning
from orpheus.common.hub import brief, read_json
from orpheus.common.installed import TORCH, TRANSFORMERS, check_installed
from orpheus.common.options import ORPHEUS_3B
from orpheus.common.weights import check_sizes, shapes_of
from orpheus.engines.merging import merge_adapter

_SHARING = ("auto", "fast", "fast-int8", "fast-int4")  # engines whose weights several adapters can share


def _dtype(device):
    import torch

    if device.startswith("cuda"):
        return getattr(torch, Card(*torch.cuda.get_device_capability(device)).dtype)
    if device.startswith("mps") and torch.backends.mps.is_macos_or_newer(14, 0):  # the first with bfloat16
        return torch.bfloat16
    return torch.float32


def load_tokenizer(folder):
    """The tokenizer that belongs to the model; never a substitute, and no code of its own."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # transformers, tokenizers and json each raise their own
        cure = cure_of(error) or "Copy or download its files again"
        raise CheckpointError(f"the tokenizer in {folder} cannot be loaded: {brief(error)}. {cure}") from error


def check_model(folder, device, name=None):
    """Refuses a model's folder that cannot be loaded here, before it is; returns how it is quantised, or None.

    name: what the user called it, where that is not the folder
    Raises InputError, CheckpointError.
    """
    config = check_model_folder(folder, name)
    check_sizes(config, folder)
    kind = quantization(config)
    if kind and not device.startswith("cuda"):
        raise InputError(
            f"{folder} is a quantised copy of a model ({kind}), which needs CUDA: use the model in 16 bits that it was made "
            f"from; for Orpheus-3B: --model {ORPHEUS_3B}"
        )
    return kind


def load_language_model(folder, device):
    """Loads a causal language model from a folder: safetensors only, and no code of its own. Raises InputError and
    CheckpointError: for what is no such model, if any weight is missing, and if any is NaN or infinite."""
    check_installed("loading a model with transformers", TORCH, TRANSFORMERS)
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    from orpheus.engines.faults import does_not_fit

    kind = check_model(folder, device)
    logging.disable_progress_bar()  # "loading" is said already
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=_dtype(device),
            device_map=device,
            output_loading_info=True,
            attn_implementation="sdpa",
            trust_remote_code=False,
            use_safetensors=True,
            **_older_rope(folder),
        )
    except torch.OutOfMemoryError as error:
        raise does_not_fit(folder) from error
    except Exception as error:  # safetensors, transformers and json each raise their own
        raise CheckpointError(f"the model in {folder} cannot be loaded: {_reason_and_cure(error, kind)}") from error
    lacking = sorted(info["missing_keys"]) + sorted(map(str, info["mismatched_keys"]))
    if lacking:
        raise CheckpointError(
            f"the checkpoint in {folder} is incomplete: {len(lacking)} weights are missing, including {lacking[0]}. Download it again"
        )
    check_finite(model, folder)
    return model


def _older_rope(folder):
    """A folder's rotary embedding under the names of transformers 4, where that is installed and the folder has those of 5 alone,
    which 4 would pass over; else {}."""
    import transformers

    config = read_json(Path(folder) / "config.json")
    rope = config.get("rope_parameters")
    if int(transformers.__version__.split(".")[0]) >= 5 or not isinstance(rope, dict) or "rope_theta" in config:
        return {}
    found = {"rope_theta": rope["rope_theta"]} if "rope_theta" in rope else {}
    if rope.get("rope_type", "default") != "default":
        found["rope_scaling"] = {name: value for name, value in rope.items() if name != "rope_theta"}
    return found


def _reason_and_cure(error, kind):
    """Why transformers cannot load a model, and what to do about it."""
    reason = brief(error).rstrip(".")
    if cure := cure_of(error):
        return f"{reason}. {cure}"
    if "custom code" in reason or "trust_remote_code" in reason:
        return "it brings code of its own, which is never run. Use a model of a kind that transformers knows, such as a Llama"
    if "model type" in reason or "model_type" in reason or "Unrecognized" in reason:
        return f"{reason}. Use an Orpheus model"
    if kind:
        return f"{reason}. It is quantised ({kind}): install what that needs, or use the model in 16 bits"
    return f"{reason}. Download it again"


def check_finite(model, folder):
    """Refuses weights that are NaN or infinite. Raises CheckpointError."""
    import torch

    from orpheus.engines.faults import check_sizes, size_of

    plain = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
    with torch.inference_mode():
        check_sizes({n: size_of(w) for n, w in model.named_parameters() if w.dtype in plain and w.numel()}, folder)


def open_engine(name, checkpoint, adapter, device, layout, tokens=0):
    """Loads a checkpoint and returns the engine `name` (one of ENGINES) for it.

    checkpoint: the model's folder; adapter: a LoRA adapter's folder or None; layout: TokenLayout; tokens: how many the
    tokenizer knows, if it is the adapter's own
    Raises InputError and CheckpointError.
    """
    found = None if name == "transformers" else read_llama(checkpoint, adapter, device, tokens)
    if found:
        _check_room(found.config.vocab_size, checkpoint, layout)
        from orpheus.engines.fast.engine import FastEngine

        try:
            return FastEngine(found, layout, weights=_weights(name))
        except OrpheusError:
            raise
        except Exception as error:  # of a device or a version of PyTorch that this was not tried on
            reason = brief(error)
        warn(f"{checkpoint} could not be read directly ({reason}); loading it with transformers", OrpheusWarning, 2)
    model = load_language_model(checkpoint, device)
    if adapter:
        model = merge_adapter(model, adapter, tokens)
    _check_room(model.get_output_embeddings().weight.shape[0], checkpoint, layout)
    return choose_engine(name, model, layout)


def read_llama(checkpoint, adapter, device, tokens=0):
    """A folder's StoredLlama for the fast engine, which loads without transformers and peft; None where it takes them."""
    if not device.startswith(("cuda", "cpu")):
        return None
    from orpheus.engines.fast.stored import stored_llama

    def whole():
        model = load_language_model(checkpoint, device)
        return merge_adapter(model, adapter, tokens) if adapter else model

    return stored_llama(checkpoint, adapter, device, _dtype(device), tokens, whole)


def read_shared(name, checkpoint, adapters, device):
    """A checkpoint whose weights several adapters can share, and which of these can.

    name: one of ENGINES; adapters: {id: (its folder, how many tokens the tokenizer knows if it is the adapter's own, else 0)}
    returns: (StoredLlama, or None where each must have the weights to itself; {id: {layer: plain_lora.Change}} of those that can;
        {id: why} of those that cannot). Raises InputError and CheckpointError for what nothing can load.
    """
    from orpheus.engines.plain_lora import why_not_plain

    base = read_llama(checkpoint, None, device) if name in _SHARING else None
    if base is None:
        why = f"engine {name}" if name not in _SHARING else f"a model that the fast engine does not read, or {device}"
        return (
            None,
            {},
            dict.fromkeys(adapters, f"only the fast engine on CUDA and CPUs can share weights, and this is {why}"),
        )
    changes, alone = {}, {}
    for id, (folder, tokens) in adapters.items():
        found = read_llama(checkpoint, folder, device, tokens)
        if found:
            changes[id] = found.lora
        else:
            alone[id] = why_not_plain(folder, tokens > base.config.vocab_size)
    return base, changes, alone


def open_shared(name, base, changes, layout):
    """The engine `name` for a StoredLlama with adapters beside it, {id: {layer: plain_lora.Change}}: see FastEngine.speaking_as."""
    from orpheus.engines.fast.engine import FastEngine

    _check_room(base.config.vocab_size, base.folder, layout)
    return FastEngine(base, layout, weights=_weights(name), adapters=changes)


def bytes_of(checkpoint, device):
    """What a checkpoint's weights take on a device, as they are."""
    return sum(map(math.prod, shapes_of(checkpoint).values())) * _dtype(device).itemsize


def _check_room(rows, checkpoint, layout):
    if rows <= layout.last_audio:
        raise CheckpointError(
            f"{checkpoint} has a vocabulary of {rows} and no room for audio tokens up to {layout.last_audio}: not an Orpheus model"
        )


def _weights(name):
    """What the fast engine is to make of a model's weights, by its name in ENGINES."""
    return name.removeprefix("fast-") if name.startswith("fast-") else "same"


def choose_engine(name, model, layout):
    """The engine `name` (one of ENGINES) for a language model.

    "auto" is the fast one if it supports the model, on CUDA, a CPU and mps; "fast", "fast-int8", "fast-int4" and "fast-fp8"
    (the same with smaller linear layers) warn if it does not.
    """
    from orpheus.engines.fast.engine import FastEngine, unfit
    from orpheus.engines.transformers import TransformersEngine

    reason = unfit(model) or (None if model.device.type in ("cuda", "cpu", "mps") else f"device {model.device.type}")
    if name.startswith("fast") and reason:
        warn(f"the fast engine cannot run this model ({reason}); using transformers instead", OrpheusWarning, 2)
    if name == "transformers" or reason:
        return TransformersEngine(model, layout)
    return FastEngine(model, layout, weights=_weights(name))
