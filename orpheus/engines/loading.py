"""From a checkpoint's folder to an engine."""

import sys
from warnings import warn

from orpheus.common.errors import CheckpointError, OrpheusWarning
from orpheus.common.hub import brief


def _dtype(device):
    import torch

    if device.startswith("cuda"):
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.float32


def load_tokenizer(folder):
    """The tokenizer that belongs to the model; never a substitute."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder)
    except Exception as error:  # transformers, tokenizers and json each raise their own
        raise CheckpointError(f"the tokenizer in {folder} cannot be loaded: {brief(error)}") from error


def load_language_model(folder, device):
    """Loads a causal language model from a folder. Raises CheckpointError if any weight is missing."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=_dtype(device),
            device_map=device,
            output_loading_info=True,
            attn_implementation="sdpa",
        )
    except torch.OutOfMemoryError as error:
        raise CheckpointError(
            f"{folder} does not fit into GPU memory: free some, or use --device cpu or --model demo"
        ) from error
    except Exception as error:  # safetensors, transformers and json each raise their own
        raise CheckpointError(f"the model in {folder} cannot be loaded: {brief(error)}. Download it again") from error
    lacking = sorted(info["missing_keys"]) + sorted(map(str, info["mismatched_keys"]))
    if lacking:
        raise CheckpointError(
            f"the checkpoint in {folder} is incomplete: {len(lacking)} weights are missing, including {lacking[0]}. Download it again"
        )
    return model


def merge_adapter(model, adapter):
    """Adds the adapter's weights to the model's, so that it runs as fast as without an adapter."""
    from peft import PeftModel

    try:
        return PeftModel.from_pretrained(model, adapter).merge_and_unload()
    except Exception as error:  # peft raises RuntimeError, ValueError and safetensors' own
        raise CheckpointError(f"the adapter {adapter} cannot be loaded onto the model: {brief(error)}") from error


def open_engine(name, checkpoint, adapter, device, layout):
    """Loads a checkpoint and returns the engine `name` (one of ENGINES) for it.

    checkpoint: the model's folder; adapter: a LoRA adapter's folder or None; layout: TokenLayout
    Raises CheckpointError.
    """
    model = load_language_model(checkpoint, device)
    rows = model.get_output_embeddings().weight.shape[0]
    if rows <= layout.last_audio:
        raise CheckpointError(
            f"{checkpoint} has a vocabulary of {rows} and no room for audio tokens up to {layout.last_audio}: not an Orpheus model"
        )
    return choose_engine(name, merge_adapter(model, adapter) if adapter else model, layout)


def choose_engine(name, model, layout):
    """The engine `name` (one of ENGINES) for a language model.

    "auto" is the fast one if it supports the model, on CUDA and on a CPU; "fast" and "fast-int8" (the same with 8-bit
    linear layers) warn if it does not.
    """
    from orpheus.engines.fast.engine import FastEngine, unfit
    from orpheus.engines.transformers import TransformersEngine

    reason = unfit(model) or (None if model.device.type in ("cuda", "cpu") else f"device {model.device.type}")
    if name.startswith("fast") and reason:
        warn(f"the fast engine cannot run this model ({reason}); using transformers instead", OrpheusWarning, 2)
    if name == "transformers" or reason:
        return TransformersEngine(model, layout)
    return FastEngine(model, layout, weights="int8" if name == "fast-int8" else "same")
