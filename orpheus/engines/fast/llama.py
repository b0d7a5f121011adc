"""One Llama step for tokens of many sequences, over a cache with a slot for each: plain PyTorch, and its weights.

Every token carries its sequence's slot in the cache and its position; it writes its key and value there and attends to
that slot up to itself. So one function both reads a prompt and draws the next tokens of many sequences, nothing is
padded, and what a sequence gets does not depend on its neighbours or on the length of the buffers.

`orpheus/engines/fast/kernels/layer.py` has the same four operations as Triton kernels, and is tested against these.
"""

import math
from contextlib import nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from orpheus.codec.threads import one_thread
from orpheus.common.errors import InputError
from orpheus.engines.fast.adapters import SeatedLlama
from orpheus.engines.fast.matrix import FP8, Matrix, in_fp8, quantized
from orpheus.engines.layers import inverse_frequencies, rms_norm, rope, rotate

_LINE = 64  # bytes of a CPU's cache line, where PyTorch's tensors begin
POSITION_INDEPENDENT = ("default", "linear", "llama3")  # rope types whose frequencies are the same at every length


class Layer(NamedTuple):
    norm: torch.Tensor
    qkv: Matrix
    o: Matrix
    mlp_norm: torch.Tensor
    gate_up: Matrix
    down: Matrix


class Shape(NamedTuple):
    heads: int
    kv_heads: int
    dim: int
    eps: float


class Cache(NamedTuple):
    """Keys and values, (layers, slots, kv_heads, length, dim) each, in the model's data type or as FP8.

    key_scales, value_scales: None; or float32 (layers, slots, kv_heads, length), which FP8 is multiplied by: one for each head
    and token, so that the largest of it is matrix.FP8_LARGEST
    """

    keys: torch.Tensor
    values: torch.Tensor
    key_scales: torch.Tensor | None = None
    value_scales: torch.Tensor | None = None

    def layer(self, index):
        """That of one layer: (slots, kv_heads, length, dim)."""
        return Cache(*(None if part is None else part[index] for part in self))

    @property
    def length(self):
        return self.keys.shape[-2]


def _zeros(shape, dtype, device):
    """torch.zeros. On a CPU its pages come when they are used: PyTorch's fills them all first, 40 ms for one sequence of the demo voice."""
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    size = math.prod(shape) * dtype.itemsize
    raw = torch.from_numpy(np.zeros(size + _LINE, np.uint8))
    return raw[-raw.data_ptr() % _LINE :][:size].view(dtype).view(shape)


@dataclass
class Tokens:
    """What a step reads.

    ids, slots, positions: int64 (T,) on the model's device
    spans: [(first, end, slot, first position)], runs of consecutive `ids` in one slot; None for kernels, where only the
    device knows
    """

    ids: torch.Tensor
    slots: torch.Tensor
    positions: torch.Tensor
    spans: list | None = None


def unfit(model):
    """Why this step cannot run a transformers model, in a few words; None if it can."""
    config = getattr(model, "config", None)
    if getattr(config, "model_type", None) != "llama" or not hasattr(getattr(model, "model", None), "layers"):
        return f"a {getattr(config, 'model_type', type(model).__name__)} model, not a llama"
    if config.hidden_act != "silu" or config.rope_parameters["rope_type"] not in POSITION_INDEPENDENT:
        return f"activation {config.hidden_act}, rope {config.rope_parameters['rope_type']}"
    linear = [module for layer in model.model.layers for module in layer.modules() if hasattr(module, "in_features")]
    if any(type(module) is not nn.Linear for module in linear):
        return "layers that are not plain linear (quantized, or an unmerged adapter)"
    if any(module.bias is not None for module in linear):
        return "linear layers with a bias"
    if len({parameter.dtype for parameter in model.parameters()}) > 1:
        return "weights of more than one data type"
    return None


def _fused(modules):
    """The modules' weights in one tensor; the modules keep views of it, so that it takes no extra memory."""
    parts = [module.weight.data for module in modules]
    rows, width = sum(map(len, parts)), parts[0].shape[1]
    storage = parts[0].untyped_storage()
    follows = storage.nbytes() == rows * width * parts[0].element_size() and parts[0].storage_offset() == 0
    for part, following in zip(parts, parts[1:]):
        follows &= following.data_ptr() == part.data_ptr() + part.nbytes and following.is_contiguous()
    if follows:  # another engine of the same model has already done it
        return parts[0].as_strided((rows, width), (width, 1))
    weight = torch.cat(parts)
    for module, part in zip(modules, weight.split([len(part) for part in parts])):
        module.weight.data = part
    return weight


class Parts(NamedTuple):
    """All that a Llama is made of.

    config: what transformers' LlamaConfig has, or `stored.Config`, which has the same names
    embeddings: (vocabulary, hidden); head: the same tensor where they are tied; norm: (hidden,), the last one
    """

    config: object
    layers: list
    embeddings: torch.Tensor
    norm: torch.Tensor
    head: torch.Tensor


@torch.no_grad()
def parts_of(model, weights):
    """Parts of a LlamaForCausalLM, which stays usable: its layers become views. Raises ValueError with `unfit`'s reason."""
    if reason := unfit(model):
        raise ValueError(reason)

    def make(weight):
        return Matrix(weight) if weights == "same" else quantized(weight, weights)

    layers = []
    for layer in model.model.layers:
        attention, mlp = layer.self_attn, layer.mlp
        qkv, gate_up = [attention.q_proj, attention.k_proj, attention.v_proj], [mlp.gate_proj, mlp.up_proj]
        layers.append(
            Layer(
                layer.input_layernorm.weight.data,
                make(_fused(qkv)),
                make(attention.o_proj.weight.data),
                layer.post_attention_layernorm.weight.data,
                make(_fused(gate_up)),
                make(mlp.down_proj.weight.data),
            )
        )
    embeddings, head = (part.weight.data for part in (model.get_input_embeddings(), model.get_output_embeddings()))
    return Parts(model.config, layers, embeddings, model.model.norm.weight.data, head)


class Llama:
    """A Llama's weights for the step.

    model: a LlamaForCausalLM (its layers become views), or a `stored.StoredLlama`, which reads a folder
    weights: one of matrix.WEIGHTS, for all linear layers except the head
    operations: a module or class with `qkv`, `attend`, `add_product` and `gate_up`; default: those below
    Raises ValueError with the reason that `unfit` gives.
    """

    def __init__(self, model, weights="same", operations=None):
        parts = model.parts(weights) if hasattr(model, "parts") else parts_of(model, weights)
        self.operations = operations or TorchOperations
        self.adapters = None  # adapters.Adapters, where rows may speak with one
        config, self.layers, self.embeddings, self.norm, self.head = parts
        self.shape = Shape(config.num_attention_heads, config.num_key_value_heads, config.head_dim, config.rms_norm_eps)
        self.dtype, self.device = self.embeddings.dtype, self.embeddings.device
        self.limit = config.max_position_embeddings
        self.alone = 0  # tokens up to which `hidden` runs in the calling thread
        self._frequencies = inverse_frequencies(config, self.device)

    def cache(self, slots, length, kind="same"):
        """An empty Cache; kind: one of orpheus.engines.options.CACHES."""
        shape = (len(self.layers), slots, self.shape.kv_heads, length, self.shape.dim)
        dtype = FP8 if kind == "fp8" else self.dtype
        parts = [_zeros(shape, dtype, self.device) for _ in range(2)]
        if kind == "fp8":
            parts += [torch.zeros(shape[:-1], device=self.device) for _ in range(2)]
        return Cache(*parts)

    def rope(self, length):
        """(cos, sin), each (length, dim), of positions 0 to length - 1."""
        return rope(torch.arange(length, device=self.device), *self._frequencies, self.dtype)

    @property
    def by_kernels(self):
        """Whether its operations are Triton kernels."""
        return self.operations is not TorchOperations

    def seated(self, slots):
        """What a Slots of `slots` slots runs: where there are adapters, each slot can have one."""
        return self if self.adapters is None else SeatedLlama(self, slots)

    def adapted(self, slots):
        """Whether any of these slots has an adapter."""
        return False

    def choose(self, slot, adapter):
        """Refuses a slot's adapter, where there are none. Raises InputError."""
        if adapter is not None:
            raise InputError(f"there is no adapter {adapter!r}: the engine was opened without any")

    def hidden(self, tokens, cache, rope, layers=None):
        """The last layer's output for `tokens`, before the final norm: (T, hidden). Fills the cache. layers: instead of its own"""
        do, x = self.operations, F.embedding(tokens.ids, self.embeddings)
        with one_thread() if len(x) <= self.alone else nullcontext():
            for index, layer in enumerate(layers or self.layers):
                place = cache.layer(index)
                q = do.qkv(x, layer, self.shape, rope, tokens, place)
                x = do.add_product(x, do.attend(q, place, tokens), layer.o)
                x = do.add_product(x, do.gate_up(x, layer, self.shape), layer.down)
        return x


class TorchOperations:
    """The four operations of a layer in plain PyTorch. They read `tokens.spans`, so they cannot be captured in a graph."""

    @staticmethod
    def qkv(x, layer, shape, rope, tokens, cache):
        """x (T, hidden) -> queries (T, heads, dim); writes keys and values into the layer's Cache."""
        heads, kv_heads, dim, eps = shape
        y = layer.qkv(rms_norm(x, layer.norm, eps)).view(len(x), heads + 2 * kv_heads, dim)
        cos, sin = (table[tokens.positions] for table in rope)
        turned, v = rotate(y[:, : heads + kv_heads], cos, sin), y[:, heads + kv_heads :]
        k = turned[:, heads:]
        for first, end, slot, position in tokens.spans:
            there = slice(position, position + end - first)
            new = (cache.keys, cache.key_scales, k), (cache.values, cache.value_scales, v)
            for side, scales, rows in new:
                rows = rows[first:end].transpose(0, 1)
                if scales is not None:
                    rows, scales[slot, :, there] = in_fp8(rows)
                side[slot, :, there] = rows
        return turned[:, :heads]

    @staticmethod
    def attend(q, cache, tokens):
        """Each token's attention over its slot up to its own position: (T, heads, dim) -> (T, heads * dim)."""
        outputs = []
        for first, end, slot, position in tokens.spans:
            count = end - first
            past = slot, slice(None), slice(position + count)
            k, v = (side[past][None] for side in (cache.keys, cache.values))
            if cache.key_scales is not None:
                scales = (side[past][None, ..., None] for side in (cache.key_scales, cache.value_scales))
                k, v = ((side.float() * scale).to(q.dtype) for side, scale in zip((k, v), scales))
            row = q[first:end].transpose(0, 1)[None]
            mask = None
            if count > 1 and position:
                at = torch.arange(position + count, device=q.device)
                mask = at <= at[position:, None]
            causal = count > 1 and not position
            attended = F.scaled_dot_product_attention(row, k, v, mask, is_causal=causal, enable_gqa=True)
            outputs.append(attended[0].transpose(0, 1).flatten(1))
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)

    @staticmethod
    def add_product(x, y, matrix):
        """x (T, hidden) plus y (T, in) times the matrix; may overwrite x."""
        return x + matrix(y)

    @staticmethod
    def gate_up(x, layer, shape):
        """x (T, hidden) -> silu(gate) * up (T, inner)."""
        gate, up = layer.gate_up(rms_norm(x, layer.mlp_norm, shape.eps)).chunk(2, dim=-1)
        return F.silu(gate) * up
