"""Plain LoRA, added to linear layers as `peft` adds it, to the bit: weight += (B @ A) * scaling, in float32.

Everything else that an adapter can be (DoRA, embeddings, whole modules, quantised bases), and every fault, is left to merging.py.
"""

import math
import re
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from orpheus.common.checkpoints import ADAPTER_WEIGHTS
from orpheus.engines.merging import adapter_config, adapter_shapes, check_finite_adapter

_MORE = {
    "use_dora": "it is DoRA",
    "modules_to_save": "it replaces whole modules",
    "trainable_token_indices": "it changes the embeddings of single tokens",
    "fan_in_fan_out": "its weights are stored the other way round",
}
_PROJECTIONS = re.compile(r"model\.layers\.\d+\.(?:self_attn\.[qkvo]|mlp\.(?:gate|up|down))_proj")


class Change(NamedTuple):
    """What one layer gets: a (rank, in), b (out, rank), as stored, and the scaling."""

    a: torch.Tensor
    b: torch.Tensor
    scaling: float

    def add_to(self, weight):
        """Adds it to a weight (out, in) in place."""
        a, b = (part.to(weight.device, torch.float32) for part in (self.a, self.b))
        weight += (b @ a).mul_(self.scaling)


def plain_lora(folder, shapes, tokens=0):
    """{layer: Change} of an adapter's folder; None if it is not plain, or if its weights and its configuration disagree.

    shapes: {name: shape} of the model's tensors; tokens: how many the tokenizer knows, if more than the model has
    Raises InputError and CheckpointError for an adapter that nothing can merge.
    """
    folder = Path(folder)
    config, stored = adapter_config(folder), adapter_shapes(folder)
    layers = [name.removesuffix(".weight") for name in shapes]
    if any(config.get(name) for name in _MORE) or config.get("bias", "none") != "none":
        return None
    if tokens > shapes["model.embed_tokens.weight"][0]:
        return None
    try:
        wanted = _targets(config, layers)
        if wanted is None or stored != _stored_shapes(config, wanted, shapes):
            return None
        state = load_file(folder / ADAPTER_WEIGHTS)
    except (re.error, SafetensorError, OSError):  # a pattern or a file that is at fault
        return None
    if not all(name.startswith("base_model.model.") for name in state):
        return None
    check_finite_adapter(state, folder)
    return {
        layer: Change(
            *(state[f"base_model.model.{layer}.lora_{part}.weight"] for part in "AB"), scaling_of(config, layer)
        )
        for layer in wanted
    }


def why_not_plain(folder, more_tokens=False):
    """Why an adapter that `plain_lora` has None for is not plain, in a few words. more_tokens: whether it has more than its model"""
    config = adapter_config(folder)
    if more_tokens:
        return "it has tokens that the model lacks"
    if config.get("bias", "none") != "none":
        return "it changes biases"
    return next(
        (reason for name, reason in _MORE.items() if config.get(name)), "it is not of the layers' projections alone"
    )


def _stored_shapes(config, wanted, shapes):
    """{name: shape} of the weights that an adapter of these layers has."""
    expected = {}
    for layer in wanted:
        rank, (rows, columns) = rank_of(config, layer), shapes[f"{layer}.weight"]
        expected |= {f"{layer}.lora_A.weight": (rank, columns), f"{layer}.lora_B.weight": (rows, rank)}
    return expected


def _figure(config, name, pattern, layer):
    """A layer's rank or alpha, as peft finds it: the first pattern that fits the end of its name, else the common one."""
    patterns = config.get(pattern) or {}
    return next((patterns[key] for key in patterns if re.match(rf"(.*\.)?({key})$", layer)), config.get(name, 8))


def rank_of(config, layer):
    """The rank of a layer's adapter."""
    return _figure(config, "r", "rank_pattern", layer)


def scaling_of(config, layer):
    """What the product of a layer's B and A is multiplied by."""
    rank = rank_of(config, layer)
    return _figure(config, "lora_alpha", "alpha_pattern", layer) / (
        math.sqrt(rank) if config.get("use_rslora") else rank
    )


def _targets(config, layers):
    """The linear layers that a configuration names, as peft matches them; None if it names anything else or is unusual.

    layers: names of everything in the model that has weights
    """
    targets, excluded = config.get("target_modules"), config.get("exclude_modules") or []
    indices, pattern = config.get("layers_to_transform"), config.get("layers_pattern") or []
    indices = [indices] if isinstance(indices, int) else indices or []
    listed = isinstance(targets, list) and all(isinstance(target, str) for target in targets)
    if (
        not (listed or isinstance(targets, str))
        or not isinstance(excluded, list)
        or pattern not in ([], ["layers"], "layers")
    ):
        return None
    if not isinstance(indices, list) or (indices and (not listed or any("." in target for target in targets))):
        return None  # whether the indices hold then depends on how peft has shortened the names
    # Blocks of layers, and layers without weights, which no adapter can change.
    inside = {part for layer in layers for part in _above(layer)} | {"model.rotary_emb", "lm_head"}
    inside |= {f"{layer.rpartition('.')[0]}.act_fn" for layer in layers if layer.endswith("mlp.up_proj")}
    found = [name for name in sorted({*layers, *inside}) if is_named(config, name)]
    return found if found and all(_PROJECTIONS.fullmatch(name) for name in found) else None


def _above(layer):
    """a.b.c: a, a.b"""
    parts = layer.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def is_named(config, name):
    """Whether an adapter's configuration names a module of a Llama, such as model.layers.0.mlp.up_proj, as peft matches it."""
    targets, indices = config.get("target_modules"), config.get("layers_to_transform")
    if isinstance(targets, str) and targets.lower() == "all-linear":
        targets = r"model\.layers\..*_proj"
    if _means(config.get("exclude_modules"), name) or not _means(targets, name):
        return False
    if isinstance(targets, str) or indices in (None, []) or name in targets:
        return True
    layer = re.match(r".*?\.[^.]*\.(\d+)\.", name)
    return bool(layer) and int(layer[1]) in (indices if isinstance(indices, list) else [indices])


def _means(modules, name):
    """Whether a regular expression, or a list of the ends of modules' names, means one."""
    if isinstance(modules, str):
        return bool(re.fullmatch(modules, name))
    return any(_ends(name, end) for end in modules or ())


def _ends(name, end):
    return name == end or name.endswith(f".{end}")
