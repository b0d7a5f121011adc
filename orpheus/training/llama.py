"""Orpheus' Llama over packed examples: training's forward pass, on the weights of a model that peft (or Unsloth) has prepared.

Examples lie end to end without padding; attention never crosses from one to the next, and the head is computed only where the
loss is. It is the arithmetic of transformers' LlamaForCausalLM, whatever has patched that, and is tested against it.
"""

from importlib.util import find_spec
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from orpheus.common.cards import Card
from orpheus.engines.fast.llama import Layer, Parts
from orpheus.engines.fast.matrix import Matrix
from orpheus.engines.fast.rows import LARGEST
from orpheus.engines.layers import inverse_frequencies, rms_norm, rope, rotate
from orpheus.training import passes
from orpheus.training.fused import FusedLayer, Last
from orpheus.training.head import ROUND, HeadLoss, OwnCodes
from orpheus.training.lora import FlatAdapter, LoraGroup, lora_linear
from orpheus.training.small import SmallLayer

TILE = 128  # tokens that a product handles together


def _passes(device):
    """The passes between products, on a GPU as kernels; where Triton is not, as elsewhere."""
    if device.type != "cuda" or not find_spec("triton"):
        return passes
    from orpheus.training import kernels

    return kernels


def attention_for(device, dtype):
    """Causal attention inside each example, as a function of q (T, heads, d), k, v (T, kv_heads, d), bounds and longest (see
    Pack) that returns (T, heads, d)."""
    if device.type != "cuda" or dtype == torch.float32:
        return one_by_one_attention
    fits = Card(*torch.cuda.get_device_capability(device)).packed_attention
    return flash_attention if fits and torch.backends.cuda.is_flash_attention_available() else one_by_one_attention


def flash_attention(q, k, v, bounds, longest):
    """What `attention_for` describes, on GPUs of Ampere and later: what `torch.nn.attention.varlen` calls, without its turn through
    Python, which takes longer than the kernel for a small step."""
    return torch.ops.aten._flash_attention_forward(q, k, v, bounds, bounds, longest, longest, 0.0, True, False)[0]


def one_by_one_attention(q, k, v, bounds, longest):
    """What `attention_for` describes, an example after the other: for every device and version."""
    outputs = []
    for start, end in zip(bounds[:-1].tolist(), bounds[1:].tolist()):
        if end > start:
            one = (t[start:end].transpose(0, 1)[None] for t in (q, k, v))
            outputs.append(F.scaled_dot_product_attention(*one, is_causal=True, enable_gqa=True)[0].transpose(0, 1))
    return torch.cat(outputs)


def _before_attention(x, norm, qkv, shape):
    """x (..., hidden) -> q (..., heads, d), k and v (..., kv_heads, d), not yet rotated."""
    heads, kv_heads, dim, eps = shape
    hidden = rms_norm(x, norm, eps)
    y = lora_linear(hidden.flatten(0, -2), *qkv).view(*x.shape[:-1], heads + 2 * kv_heads, dim)
    return y.split([heads, kv_heads, kv_heads], dim=-2)


def _after_attention(x, attended, norm, o, gate_up, down, eps):
    """x (..., hidden), attended (..., heads * d) -> the layer's output."""
    x = x + lora_linear(attended.flatten(0, -2), *o).view_as(x)
    hidden = lora_linear(rms_norm(x, norm, eps).flatten(0, -2), *gate_up)
    gate, up = hidden.chunk(2, dim=-1)
    return x + lora_linear(F.silu(gate) * up, *down).view_as(x)


def packed_layer(attention, x, cos, sin, bounds, longest, shape, norms, qkv, o, gate_up, down):
    """One decoder layer over packed examples: x (T, hidden) -> (T, hidden)."""
    q, k, v = _before_attention(x, norms[0], qkv, shape)
    attended = attention(rotate(q, cos, sin), rotate(k, cos, sin), v, bounds, longest)
    return _after_attention(x, attended.flatten(-2), norms[1], o, gate_up, down, shape[-1])


class LoraLlama:
    """A causal Llama with LoRA on all its linear layers. Takes over the weights of `peft_model`, which stays usable.

    compiled: whether layers are FusedLayers, which Triton compiles on a GPU (a small model's on a CPU are else SmallLayers);
    checkpointing: whether each is computed twice;
    fp8: whether frozen weights' products in training are in FP8, which needs fused layers
    """

    def __init__(self, peft_model, compiled=False, checkpointing=False, fp8=False):
        base = peft_model.get_base_model()
        self.config, self.decoder = base.config, base.model
        self.embeddings = base.get_input_embeddings().weight
        self.head = base.get_output_embeddings().weight
        self.dtype, self.device = self.embeddings.dtype, self.embeddings.device
        self.eps = self.config.rms_norm_eps
        self.shape = (
            self.config.num_attention_heads,
            self.config.num_key_value_heads,
            self.config.head_dim,
            self.eps,
        )
        self.groups = [self._group(layer) for layer in self.decoder.layers]
        self.adapter = FlatAdapter([group for layer in self.groups for group in layer], self.dtype)
        self.frequencies, self.rope_scale = inverse_frequencies(self.config, self.device)
        self.checkpointing, self.own_codes = checkpointing, None
        self.passes = _passes(self.device)
        self.attention = attention_for(self.device, self.dtype)
        self.layers = self._fused_layers() if compiled else self._small_layers() if self.small else None
        self.multiple = TILE if compiled else 1  # of a pack's tokens
        if fp8:
            for group in self.adapter.groups:
                group.in_eight(self.passes)
        if self.recordable:
            self.adapter.record()

    @property
    def recordable(self):
        """Whether a pass can be a CUDA graph: the same kernels each time, over tensors that stay where they are."""
        whole = not any(group.quantized for group in self.adapter.groups)
        kernels = self.passes is not passes and self.attention is flash_attention
        return self.layers is not None and kernels and whole and not self.checkpointing

    @property
    def small(self):
        """Whether it is on a CPU, and of a size that there is room for twice."""
        size = sum(sum(group.rows) * group.width for group in self.adapter.groups) * self.dtype.itemsize
        return self.device.type == "cpu" and self.dtype == torch.float32 and size <= LARGEST

    @property
    def parallel(self):
        """Whether several passes can be made at once (orpheus.training.small.AtOnce)."""
        return bool(self.layers) and isinstance(self.layers[0], SmallLayer)

    def _small_layers(self):
        for group in self.adapter.groups:
            group.keep_merged()
        return [
            SmallLayer(groups, self._norms(index), self.shape, first=not index)
            for index, groups in enumerate(self.groups)
        ]

    def _fused_layers(self):
        last = Last()
        return [
            FusedLayer(self.passes, self.attention, groups, self._norms(index), self.shape, last, first=not index)
            for index, groups in enumerate(self.groups)
        ]

    def _group(self, layer):
        attention, mlp = layer.self_attn, layer.mlp
        together = (
            [attention.q_proj, attention.k_proj, attention.v_proj],
            [attention.o_proj],
            [mlp.gate_proj, mlp.up_proj],
            [mlp.down_proj],
        )
        return [LoraGroup(modules, self.dtype) for modules in together]

    def _norms(self, index):
        layer = self.decoder.layers[index]
        return layer.input_layernorm.weight, layer.post_attention_layernorm.weight

    def _rope(self, positions):
        return rope(positions, self.frequencies, self.rope_scale, self.dtype)

    def hidden(self, pack):
        """The last layer's output for a Pack, before the final norm: (T, hidden)."""
        x, y = F.embedding(pack.ids, self.embeddings), None
        cos, sin = self._rope(pack.positions)
        if self.layers is None:
            for index in range(len(self.groups)):
                x = self._kept(self._layer, index, x, cos, sin, pack)
            return x
        if torch.is_grad_enabled():
            x.requires_grad_()  # such layers hand their gradients on by themselves: without one nothing would ask for them
        for layer in self.layers:
            x, y = self._kept(layer, x, y, cos, sin, pack.bounds, pack.longest)
        return x if y is None else x + y

    def _kept(self, layer, *inputs):
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(layer, *inputs, use_reentrant=False, preserve_rng_state=False)
        return layer(*inputs)

    def _layer(self, index, x, cos, sin, pack):
        weights = [group.weights for group in self.groups[index]]
        return packed_layer(
            self.attention, x, cos, sin, pack.bounds, pack.longest, self.shape, self._norms(index), *weights
        )

    def loss(self, pack, first=0):
        """Weighted sum of the cross-entropies of a pack's targets, a float32 scalar.

        first: the head's first row that takes part: 0 is the whole vocabulary, the first control token's id the audio tokens
        and the control tokens alone (after `narrow`, of the audio tokens those of the position). Targets below it are not allowed.
        """
        if first and self.own_codes:
            pack, places = self.own_codes.sorted(pack)
        hidden = rms_norm(self.hidden(pack).index_select(0, pack.where), self.decoder.norm.weight, self.eps)
        if first and self.own_codes:
            return self.own_codes(hidden, pack, places)
        skip = min(first, -(len(self.head) - first) % ROUND)  # rows that take no part make a product's size a round one
        start = first - skip
        return HeadLoss.apply(hidden, self.head[start:], skip, pack.targets - start, pack.weights, self.passes)

    def narrow(self, layout):
        """From now on, a loss that is not over the whole vocabulary is over those tokens alone that may stand at a position."""
        self.own_codes = OwnCodes(self.head, layout, self.passes)

    def flop_per_token(self, first=0):
        """Arithmetic of a training token: 4 x the base weights that it passes, 6 x the adapter; no recomputation, no attention."""
        layers = sum(sum(group.rows) * group.width for group in self.adapter.groups)
        head = (self.head.shape[0] - first) * self.config.hidden_size
        return 4 * (layers + head) + 6 * len(self.adapter.master)

    # --- speaking: what the engines need of a model ---------------------------------------------------------------

    def parts(self, weights="same"):
        """What FastEngine speaks with: a copy of the layers, the adapter as it is now merged into them."""
        if weights != "same":
            raise ValueError(f"weights must be same in training, not {weights!r}")
        layers = []
        for index, groups in enumerate(self.groups):
            norm, mlp_norm = (weight.detach() for weight in self._norms(index))
            qkv, o, gate_up, down = (Matrix(group.merged()) for group in groups)
            layers.append(Layer(norm, qkv, o, mlp_norm, gate_up, down))
        embeddings, norm, head = (w.detach() for w in (self.embeddings, self.decoder.norm.weight, self.head))
        return Parts(self.config, layers, embeddings, norm, head)

    def eval(self):
        return self

    def get_output_embeddings(self):
        return SimpleNamespace(weight=self.head)

    def __call__(self, input_ids, position_ids, attention_mask, past_key_values, **_):
        """Logits (B, 1, vocabulary) of the last of `input_ids` (B, n), over a transformers cache.

        attention_mask: bool (B, 1, n, keys), or None for one token that sees all there is
        """
        x = F.embedding(input_ids, self.embeddings)
        cos, sin = self._rope(position_ids)
        for index, (qkv, o, gate_up, down) in enumerate(self.groups):
            norms = self._norms(index)
            q, k, v = _before_attention(x, norms[0], qkv.weights, self.shape)
            q, k, v = (t.transpose(1, 2) for t in (rotate(q, cos, sin), rotate(k, cos, sin), v))
            k, v = past_key_values.update(k, v, index)
            attended = F.scaled_dot_product_attention(q, k, v, attn_mask=attention_mask, enable_gqa=True)
            attended = attended.transpose(1, 2).flatten(-2)
            x = _after_attention(x, attended, norms[1], o.weights, gate_up.weights, down.weights, self.eps)
        return SimpleNamespace(logits=rms_norm(x[:, -1:], self.decoder.norm.weight, self.eps) @ self.head.T)
