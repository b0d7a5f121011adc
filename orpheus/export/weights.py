"""A model's weights, an adapter merged into them, block by block: never more of them in memory than one block.

Adapters of the plain kind (LoRA on linear layers, with or without whole embeddings for added tokens) are merged so; all others as
when speaking, by `merge_adapter`, with the whole model in memory.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orpheus.common.checkpoints import ADAPTER_CONFIG, ADAPTER_WEIGHTS, check_model_folder
from orpheus.common.errors import CheckpointError
from orpheus.common.weights import header, read_rows, tensors_in
from orpheus.engines.merging import adapter_config, adapter_shapes, vocabulary_of
from orpheus.engines.plain_lora import is_named, rank_of, scaling_of

EMBEDDINGS, HEAD = "model.embed_tokens.weight", "lm_head.weight"
_BLOCK = 1 << 24  # values in a block: 64 MB in 32 bits
_PART = re.compile(r"(model\.layers\.\d+\..+)\.lora_([AB])\.weight")
_NOT_PLAIN = ("use_dora", "modules_to_save", "trainable_token_indices", "fan_in_fan_out", "layers_pattern")


@dataclass(frozen=True)
class Weights:
    """The weights under the names that transformers has for them."""

    shapes: dict  # {name: shape}; without the head where it is the embeddings
    read: object  # (name, first row, last row) -> float32 (rows, ...)
    whole: int = 0  # bytes of the model that is in memory as a whole; 0 where nothing is

    @property
    def tied(self):
        return HEAD not in self.shapes

    def blocks(self, name, together=1):
        """float32 blocks of a weight, one after the other; each has a multiple of `together` rows. Raises CheckpointError for
        NaN and infinite values."""
        rows, *inner = self.shapes[name]
        step = max(1, _BLOCK // math.prod(inner) // together) * together
        for first in range(0, rows, step):
            block = self.read(name, first, min(first + step, rows))
            if not np.isfinite(block).all():
                raise CheckpointError(
                    f"{name} has NaN or infinite values: the model or the adapter was damaged in training or in conversion. "
                    "Use another checkpoint of it"
                )
            yield block


def open_weights(folder, adapter=None, tokens=0, is_tied=None):
    """The Weights of a model in safetensors, with an adapter or without.

    folder, adapter: folders; tokens: how many the tokenizer knows, if it is the adapter's own; is_tied: whether the head is the
    embeddings, by default what config.json says
    Raises InputError, CheckpointError.
    """
    folder = Path(folder)
    config = check_model_folder(folder)
    base = tensors_in(folder)
    if is_tied is None:
        is_tied = config.get("tie_word_embeddings", HEAD not in base)
    entries = {name: entry for name, entry in base.items() if not name.endswith("rotary_emb.inv_freq")}
    if is_tied:
        entries.pop(HEAD, None)
    if adapter is None:
        return _plain(entries)
    adapter = Path(adapter)
    settings, shapes = adapter_config(adapter), adapter_shapes(adapter)
    if not _is_plain(settings, shapes, entries, tokens):
        return _in_memory(folder, adapter, tokens)
    return _merged(entries, adapter, settings, shapes, tokens, is_tied)


def _plain(entries):
    return Weights(
        {name: entry[2] for name, entry in entries.items()}, lambda name, *rows: read_rows(*entries[name], *rows)
    )


def _in_memory(folder, adapter, tokens):
    from orpheus.engines.loading import load_language_model
    from orpheus.engines.merging import merge_adapter

    model = merge_adapter(load_language_model(folder, "cpu"), adapter, tokens)
    state = {name: value.detach() for name, value in model.state_dict().items()}
    if not getattr(model.config, "tie_word_embeddings", False) and HEAD not in state:
        state[HEAD] = state[EMBEDDINGS]
    if model.get_output_embeddings().weight is model.get_input_embeddings().weight:
        state.pop(HEAD, None)
    size = sum(value.numel() * value.element_size() for value in state.values())
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    return Weights(shapes, lambda name, first, last: state[name][first:last].float().numpy(), size)


# --- a plain adapter -------------------------------------------------------------------------------------------------


def _is_plain(settings, shapes, entries, tokens):
    if any(settings.get(name) for name in _NOT_PLAIN) or settings.get("bias") not in (None, "none"):
        return False
    whole = {name for name in shapes if name in (EMBEDDINGS, HEAD)}
    if EMBEDDINGS not in entries:
        return False
    rows = vocabulary_of(shapes) or entries[EMBEDDINGS][2][0]
    if tokens > rows or (rows != entries[EMBEDDINGS][2][0] and EMBEDDINGS not in whole):
        return False  # rows that nobody trained get the mean of all others
    if HEAD in entries and rows != entries[HEAD][2][0] and HEAD not in whole:
        return False
    return all(name in whole or (match := _PART.fullmatch(name)) and f"{match[1]}.weight" in entries for name in shapes)


def _merged(entries, adapter, settings, shapes, tokens, is_tied):
    """The weights with plain LoRA on linear layers, and whole embeddings where the adapter has some."""
    import torch

    path = adapter / ADAPTER_WEIGHTS
    stored = {name.removeprefix("base_model.model."): (path, *entry) for name, entry in header(path).items()}
    whole = {name: stored[name] for name in (EMBEDDINGS, HEAD) if name in stored}
    if is_tied and len(whole) == 2 and _equal(*whole.values()):
        del whole[HEAD]
    elif is_tied and set(whole) == {HEAD}:
        whole = {EMBEDDINGS: whole[HEAD]}  # one matrix, under the head's name
    entries = entries | whole
    _check_complete(adapter, settings, shapes, entries)
    scales = {name: _scale(adapter, settings, name, stored, entries) for name in _layers(shapes)}

    def part(name, letter, *rows):
        entry = stored[f"{name}.lora_{letter}.weight"]
        return torch.from_numpy(read_rows(*entry, *(rows or (0, entry[2][0]))))

    def read(name, first, last):
        values, layer = read_rows(*entries[name], first, last), name.removesuffix(".weight")
        if layer not in scales:
            return values
        return (torch.from_numpy(values) + part(layer, "B", first, last) @ part(layer, "A") * scales[layer]).numpy()

    return Weights({name: entry[2] for name, entry in entries.items()}, read)


def _layers(shapes):
    return sorted({match[1] for name in shapes if (match := _PART.fullmatch(name))})


def _equal(one, other):
    rows, width = one[2]
    step = max(1, _BLOCK // width)
    spans = [(first, min(first + step, rows)) for first in range(0, rows, step)]
    return one[2] == other[2] and all(np.array_equal(read_rows(*one, *s), read_rows(*other, *s)) for s in spans)


def _scale(adapter, settings, name, stored, entries):
    rank = rank_of(settings, name)
    rows, columns = entries[f"{name}.weight"][2]
    for letter, shape in (("A", (rank, columns)), ("B", (rows, rank))):
        found = stored.get(f"{name}.lora_{letter}.weight", (None, None, "missing"))[2]
        if found != shape:
            raise CheckpointError(
                f"the adapter {adapter} does not fit: {name}.lora_{letter}.weight is {found}, and {ADAPTER_CONFIG} and the model "
                f"ask for {shape}. Save it again where it was trained"
            )
    return scaling_of(settings, name)


def _check_complete(adapter, settings, shapes, entries):
    """Refuses an adapter without weights for a layer that its configuration asks for."""
    layers = {name.removesuffix(".weight") for name, entry in entries.items() if len(entry[2]) == 2} | {"lm_head"}
    lacking = sorted(name for name in layers if is_named(settings, name) and name not in _layers(shapes))
    if lacking:
        raise CheckpointError(
            f"the adapter {adapter} is incomplete: weights that {ADAPTER_CONFIG} asks for are missing, including those of "
            f"{lacking[0]}. Save it again where it was trained"
        )
