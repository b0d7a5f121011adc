"""Orpheus' Llama over packed examples: training's forward pass, on the weights of a model that peft (or Unsloth) has prepared.

Examples lie end to end without padding; attention never crosses from one to the next, and the head is computed only where the
loss is. It is the arithmetic of transformers' LlamaForCausalLM, whatever has patched that, and is tested against it.
"""

import inspect
from functools import partial
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from orpheus.engines.fast.llama import Layer, Parts
from orpheus.engines.fast.matrix import Matrix
from orpheus.engines.layers import inverse_frequencies, rms_norm, rope, rotate
from orpheus.training.lora import FlatAdapter, LoraGroup, lora_linear
from orpheus.training.packing import HEAD_POSITIONS

VARLEN_CAPABILITY = (8, 0)  # of the GPUs that flash attention runs on: Ampere and later


def _varlen():
    """torch's attention over packed examples with what it needs to be told, or None where this version or GPU has none."""
    if torch.cuda.get_device_capability() < VARLEN_CAPABILITY:
        return None, {}
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None, {}
    known = inspect.signature(varlen_attn).parameters
    causal = {"window_size": (-1, 0)} if "window_size" in known else {"is_causal": True}
    return varlen_attn, causal | ({"enable_gqa": True} if "enable_gqa" in known else {})


def attention_for(device, dtype):
    """Causal attention inside each example, as a function of q (T, heads, d), k, v (T, kv_heads, d), bounds and longest (see
    Pack) that returns (T, heads, d). Decided once: compiled layers take it as it is."""
    varlen, arguments = _varlen() if device.type == "cuda" and dtype != torch.float32 else (None, {})
    if not varlen:
        return one_by_one_attention
    return lambda q, k, v, bounds, longest: varlen(q, k, v, bounds, bounds, longest, longest, **arguments)


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


def _loss_rows(hidden, head, targets, weights):
    """Sum of weighted cross-entropies of some positions, and its gradient on `hidden` (n, hidden)."""
    logits = (hidden @ head.T).float()  # (n, head rows)
    normalizer = torch.logsumexp(logits, dim=-1, keepdim=True)
    loss = ((normalizer - logits.gather(1, targets[:, None]))[:, 0] * weights).sum()
    slope = torch.exp(logits - normalizer)
    here = torch.arange(logits.shape[1], device=logits.device) == targets[:, None]
    slope = (slope - here.float()) * weights[:, None]
    return loss, slope.to(hidden.dtype) @ head


def _loss_rows_in_place(hidden, head, targets, weights):
    """`_loss_rows` where nothing fuses its operations: one exponential, and one tensor of the logits' size."""
    logits = (hidden @ head.T).float()
    taken = logits.gather(1, targets[:, None])[:, 0]
    top = logits.amax(dim=-1, keepdim=True)
    total = logits.sub_(top).exp_().sum(dim=-1, keepdim=True)
    loss = (((total.log() + top)[:, 0] - taken) * weights).sum()
    slope = logits.mul_(weights[:, None] / total)
    slope.scatter_add_(1, targets[:, None], -weights[:, None])
    return loss, slope.to(hidden.dtype) @ head


class _HeadLoss(torch.autograd.Function):
    """Cross-entropy over the rows of a frozen head, a slice of positions at a time: the logits are never kept."""

    @staticmethod
    def forward(ctx, hidden, head, targets, weights, loss_rows):
        parts = [
            loss_rows(h, head, t, w) for h, t, w in zip(*(x.split(HEAD_POSITIONS) for x in (hidden, targets, weights)))
        ]
        ctx.save_for_backward(torch.cat([gradient for _, gradient in parts]))
        return torch.stack([loss for loss, _ in parts]).sum()

    @staticmethod
    def backward(ctx, slope):
        (gradient,) = ctx.saved_tensors
        return gradient * slope.to(gradient.dtype), None, None, None, None


class LoraLlama:
    """A causal Llama with LoRA on all its linear layers. Takes over the weights of `peft_model`, which stays usable."""

    def __init__(self, peft_model, compiled=False, checkpointing=False):
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
        self.checkpointing = checkpointing
        layer = partial(packed_layer, attention_for(self.device, self.dtype))
        self.layer = torch.compile(layer, dynamic=False) if compiled else layer
        self.loss_rows = torch.compile(_loss_rows, dynamic=False) if compiled else _loss_rows_in_place

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
        x = F.embedding(pack.ids, self.embeddings)
        cos, sin = self._rope(pack.positions)
        for index in range(len(self.groups)):
            inputs = (index, x, cos, sin, pack)
            if self.checkpointing and torch.is_grad_enabled():
                x = checkpoint(self._layer, *inputs, use_reentrant=False, preserve_rng_state=False)
            else:
                x = self._layer(*inputs)
        return x

    def _layer(self, index, x, cos, sin, pack):
        # Compiled code gets weights as tensors: a function that makes them would be compiled anew for every layer. Where all
        # layers' are kept for the backward pass, that would lose what 4 bits save.
        kept = torch.is_grad_enabled() and not self.checkpointing
        weights = [group.weights if kept else group.whole_weights for group in self.groups[index]]
        return self.layer(x, cos, sin, pack.bounds, pack.longest, self.shape, self._norms(index), *weights)

    def loss(self, pack, first=0):
        """Weighted sum of the cross-entropies of a pack's targets, a float32 scalar.

        first: the head's first row that takes part: 0 is the whole vocabulary, the first control token's id the audio tokens
        and the control tokens alone. Targets below it are not allowed.
        """
        hidden = rms_norm(self.hidden(pack)[pack.where], self.decoder.norm.weight, self.eps)
        return _HeadLoss.apply(hidden, self.head[first:], pack.targets - first, pack.weights, self.loss_rows)

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
