"""A Llama in a folder, read without `transformers`: its tensors are mapped, and go to the device one after the other.

Only what is plain is read: `stored_llama` answers None for all else, from the files' headers alone, and the caller loads it
with `transformers`, which also says what is wrong with a folder that is at fault.
"""

import math
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from orpheus.common.checkpoints import check_model_folder
from orpheus.common.errors import CheckpointError
from orpheus.common.hub import read_json
from orpheus.common.options import is_number, is_whole
from orpheus.common.weights import header
from orpheus.engines.fast.llama import (
    POSITION_INDEPENDENT,
    Layer,
    Parts,
)
from orpheus.engines.fast.matrix import Matrix, empty_matrix, quantize_into
from orpheus.engines.faults import check_sizes, does_not_fit, size_of
from orpheus.engines.layers import rope_settings
from orpheus.engines.plain_lora import plain_lora

_EMBEDDINGS, _HEAD, _NORM = "model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"
_TYPES = {"F32", "F16", "BF16"}
_SIZES = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
# In config.json, what would make another model of it.
_ODD = ("attention_bias", "mlp_bias", "quantization_config", "transformers_weights", "original_max_position_embeddings")
_ROWS_AT_ONCE = 4096  # of two matrices that are compared


@dataclass(frozen=True)
class Config:
    """A Llama's shape, under the names of transformers' LlamaConfig."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    max_position_embeddings: int
    rms_norm_eps: float
    rope_parameters: dict
    tie_word_embeddings: bool

    @classmethod
    def read(cls, values):
        """The Config of a config.json's values, in the spelling of transformers 4 or 5; None if it is not plain."""
        if values.get("model_type") != "llama" or values.get("hidden_act", "silu") != "silu":
            return None
        if any(values.get(name) for name in _ODD) or values.get("partial_rotary_factor", 1) != 1:
            return None
        found = {name: values.get(name) for name in _SIZES}
        found["num_key_value_heads"] = values.get("num_key_value_heads") or found["num_attention_heads"]
        found["max_position_embeddings"] = values.get("max_position_embeddings", 2048)
        if not all(is_whole(size) and size > 0 for size in found.values()):
            return None
        heads = found["num_attention_heads"]
        if found["hidden_size"] % heads or heads % found["num_key_value_heads"]:
            return None
        found["head_dim"] = values.get("head_dim") or found["hidden_size"] // heads
        eps, tied, rope = values.get("rms_norm_eps", 1e-6), values.get("tie_word_embeddings", False), _rope(values)
        if not (
            is_whole(found["head_dim"])
            and found["head_dim"] > 0 == found["head_dim"] % 2
            and is_number(eps)
            and isinstance(tied, bool)
            and rope
        ):
            return None
        return cls(**found, rms_norm_eps=eps, tie_word_embeddings=tied, rope_parameters=rope)

    @property
    def layer_size(self):
        """How many values the tensors of one layer have."""
        return sum(math.prod(shape) for name, shape in self.tensors().items() if name.startswith("model.layers.0."))

    def tensors(self):
        """{name: shape} of all its tensors, without the head, in the order of transformers' model."""
        width, inner, dim = self.hidden_size, self.intermediate_size, self.head_dim
        q, kv = self.num_attention_heads * dim, self.num_key_value_heads * dim
        shapes = {_EMBEDDINGS: (self.vocab_size, width)}
        for layer in range(self.num_hidden_layers):
            at = f"model.layers.{layer}"
            shapes |= {f"{at}.self_attn.{name}_proj.weight": (q if name == "q" else kv, width) for name in "qkv"}
            shapes[f"{at}.self_attn.o_proj.weight"] = (width, q)
            shapes |= {f"{at}.mlp.{name}_proj.weight": (inner, width) for name in ("gate", "up")}
            shapes[f"{at}.mlp.down_proj.weight"] = (width, inner)
            shapes |= {f"{at}.{name}_layernorm.weight": (width,) for name in ("input", "post_attention")}
        return shapes | {_NORM: (width,)}


def _rope(values):
    """The rotary embedding's figures; None for a kind whose frequencies depend on the length, or that lacks any."""
    rope = rope_settings(values)
    if rope is None or any(isinstance(value, dict) for value in rope.values()):
        return None
    kind = rope["rope_type"]
    needed = {
        "linear": ("factor",),
        "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
    }
    if kind not in POSITION_INDEPENDENT:
        return None
    figures = [rope.get(name) for name in ("rope_theta", *needed.get(kind, ()))]
    if not all(is_number(value) and value > 0 for value in figures):
        return None
    if kind == "llama3" and not rope["low_freq_factor"] < rope["high_freq_factor"]:
        return None
    return rope if rope.get("partial_rotary_factor", 1) == 1 else None


def _places(folder):
    """{name: (file, shape, dtype)} of the tensors that transformers would read; None where they are not plain to see."""
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        files = [single]
    elif index.is_file():
        files = [folder / name for name in sorted(set(read_json(index)["weight_map"].values()))]
    else:
        return None
    places, count = {}, 0
    for file in files:
        try:
            there = header(file)
        except CheckpointError:
            return None
        count += len(there)
        places |= {name: (file, shape, dtype) for name, (dtype, shape, _) in there.items()}
    return places if len(places) == count else None


def stored_llama(folder, adapter, device, dtype, tokens, whole):
    """The StoredLlama of a folder, with an adapter's folder or None; None for what is not plain.

    device, dtype: where its weights are to be, and as what; tokens: how many the tokenizer knows, if it is the adapter's own
    whole: a function that loads the same with transformers, a LlamaForCausalLM with the adapter merged
    Raises InputError and CheckpointError for a folder or adapter that nothing can load.
    """
    folder = Path(folder)
    config, places = Config.read(check_model_folder(folder)), _places(folder)
    if config is None or places is None:
        return None
    if config.num_hidden_layers > len(places):
        return None
    shapes = config.tensors() | ({} if config.tie_word_embeddings else {_HEAD: (config.vocab_size, config.hidden_size)})
    if config.tie_word_embeddings and _HEAD in places:
        shapes[_HEAD] = shapes[_EMBEDDINGS]
    if any(
        name not in places or places[name][1] != shape or places[name][2] not in _TYPES
        for name, shape in shapes.items()
    ):
        return None
    lora = {}
    if adapter:
        lora = plain_lora(adapter, shapes, tokens)
        if lora is None:
            return None
    return StoredLlama(
        folder, config, {name: places[name][0] for name in shapes}, lora, torch.device(device), dtype, whole
    )


class StoredLlama:
    """What `stored_llama` found: `parts` reads it. See `orpheus.engines.fast.llama.Llama`.

    files: {tensor: its file}; lora: {layer: plain_lora.Change}; whole: a function that loads the transformers model
    """

    def __init__(self, folder, config, files, lora, device, dtype, whole):
        self.folder, self.config, self.device, self.dtype, self.whole = folder, config, device, dtype, whole
        self._files, self.lora = files, lora

    def parts(self, weights):
        """All Parts, on the device. Raises CheckpointError for damaged files, for weights that are NaN or infinite, and where they do not fit."""
        try:
            with self._opened() as stored, torch.no_grad():
                return self._parts(_Reader(stored, self.lora, self.device, self.dtype, weights))
        except torch.OutOfMemoryError as error:
            raise does_not_fit(self.folder) from error

    @contextmanager
    def _opened(self):
        """{tensor: its open file}"""
        try:
            opened = {file: safe_open(file, "pt") for file in set(self._files.values())}
            yield {name: opened[file] for name, file in self._files.items()}
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"the model in {self.folder} cannot be loaded: {' '.join(str(error).split())[:300]}. Download it again"
            ) from error

    def _parts(self, read):
        config = self.config
        embeddings = read.whole(_EMBEDDINGS)
        layers = []
        for index in range(config.num_hidden_layers):
            at = f"model.layers.{index}"
            attention, mlp = f"{at}.self_attn", f"{at}.mlp"
            layers.append(
                Layer(
                    qkv=read.matrix(*(f"{attention}.{name}_proj" for name in "qkv")),
                    o=read.matrix(f"{attention}.o_proj"),
                    gate_up=read.matrix(f"{mlp}.gate_proj", f"{mlp}.up_proj"),
                    down=read.matrix(f"{mlp}.down_proj"),
                    norm=read.whole(f"{at}.input_layernorm.weight"),
                    mlp_norm=read.whole(f"{at}.post_attention_layernorm.weight"),
                )
            )
        norm, head = read.whole(_NORM), embeddings
        if _HEAD in self._files and not (config.tie_word_embeddings and read.same(_EMBEDDINGS, _HEAD)):
            head = read.whole(_HEAD)
        check_sizes(read.sizes, self.folder)
        return Parts(config, layers, embeddings, norm, head)


class _Reader:
    """Reads tensors onto a device, in its data type."""

    def __init__(self, stored, lora, device, dtype, weights):
        self.stored, self.lora, self.device, self.dtype, self.weights = stored, lora, device, dtype, weights
        self.sizes = {}  # of each tensor, on the device: they are looked at together, once

    def whole(self, name, into=None):
        """A tensor; `into`: where to put it."""
        values = self.stored[name].get_tensor(name)
        into = torch.empty(values.shape, dtype=self.dtype, device=self.device) if into is None else into
        into.copy_(values)
        self.sizes[name] = size_of(into)
        return into

    def matrix(self, *layers):
        """Linear layers one below the other, with their adapter: a Matrix."""
        shapes = [self.stored[f"{layer}.weight"].get_slice(f"{layer}.weight").get_shape() for layer in layers]
        rows, width = sum(count for count, _ in shapes), shapes[0][1]
        quantize = self.weights != "same"
        if quantize:
            matrix = empty_matrix(rows, width, self.device, self.weights)
        else:
            matrix = Matrix(torch.empty(rows, width, dtype=self.dtype, device=self.device))
        first = 0
        for layer, (count, _) in zip(layers, shapes):
            part = None if quantize else matrix.values[first : first + count]
            part = self.whole(f"{layer}.weight", part)
            if layer in self.lora:
                self.lora[layer].add_to(part)
            if quantize:
                quantize_into(matrix, first, part)
            first += count
        return matrix

    def same(self, one, other):
        """Whether two tensors are equal in this data type; neither is kept."""
        a, b = (self.stored[name].get_slice(name) for name in (one, other))
        return all(
            torch.equal(a[row : row + _ROWS_AT_ONCE].to(self.dtype), b[row : row + _ROWS_AT_ONCE].to(self.dtype))
            for row in range(0, a.get_shape()[0], _ROWS_AT_ONCE)
        )
