"""The language model: a small `LlamaForCausalLM`, a forward pass for training, and its files."""

from __future__ import annotations

import json
import os
from dataclasses import asdict

import torch
import torch.nn.functional as F

from orpheus.engines.options import SamplingOptions
from recipes.demo_voice.language.tokenizer import demo_layout, vocabulary_size

VOICES = ("nora", "theo")
PIECE_SECONDS = 6.0  # long text is spoken in pieces of this length: WER of a page is 8 % so, 19 % with pieces of 10 s
SAMPLING = dict(do_sample=True, top_k=0, **{k: v for k, v in asdict(SamplingOptions()).items() if k != "seed"})
"""The project's defaults; top_k 0 is none (transformers would take 50)."""


def new_model(codebook_size, hidden, layers, heads, mlp):
    """A LlamaForCausalLM with random weights; embeddings and head are one matrix."""
    from transformers import LlamaConfig, LlamaForCausalLM

    layout = demo_layout(codebook_size)
    config = LlamaConfig(
        vocab_size=vocabulary_size(codebook_size),
        hidden_size=hidden,
        intermediate_size=mlp,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        rms_norm_eps=1e-5,
        initializer_range=0.02,
        bos_token_id=layout.begin_of_text,
        eos_token_id=layout.end_of_speech,
        pad_token_id=layout.pad,
    )
    return LlamaForCausalLM(config)


def load_model(folder):
    """The model of a folder of `save_model`, in float32."""
    from transformers import LlamaForCausalLM

    return LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)


def save_model(model, folder):
    """config.json (with the voices), generation_config.json and model.safetensors (fp16)."""
    from safetensors.torch import save_file

    os.makedirs(folder, exist_ok=True)
    state = {name: value.detach().to("cpu", torch.float16).contiguous() for name, value in model.state_dict().items()}
    state.pop("lm_head.weight")  # the embeddings
    save_file(state, f"{folder}/model.safetensors.tmp", metadata={"format": "pt"})
    os.replace(f"{folder}/model.safetensors.tmp", f"{folder}/model.safetensors")
    config = model.config.to_diff_dict()
    config.update(architectures=["LlamaForCausalLM"], dtype="float16", voices=list(VOICES), piece_seconds=PIECE_SECONDS)
    config.update(language="en", normalize_text=True)  # the corpus has no digits and hardly an abbreviation
    special = {name: config[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    for name, content in (("config.json", config), ("generation_config.json", {**special, **SAMPLING})):
        with open(f"{folder}/{name}", "w") as file:
            json.dump(content, file, indent=1)


def rotary_tables(config, length: int, device) -> tuple[torch.Tensor, torch.Tensor]:
    """(cosines, sines), each (length, head size)."""
    size = config.hidden_size // config.num_attention_heads
    parameters = getattr(config, "rope_parameters", None) or {}
    theta = parameters.get("rope_theta", getattr(config, "rope_theta", None) or 10_000.0)
    frequencies = 1.0 / theta ** (torch.arange(0, size, 2, device=device).float() / size)
    angles = torch.arange(length, device=device).float()[:, None] * frequencies
    angles = torch.cat([angles, angles], -1)
    return angles.cos(), angles.sin()


def rotate(states: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor) -> torch.Tensor:
    first, second = states.chunk(2, -1)
    return states * cosines + torch.cat([-second, first], -1) * sines


def hidden_states(model, ids: torch.Tensor, dropout: float = 0.0) -> torch.Tensor:
    """Normalised states before the head, (batch, length, hidden), as the model's own forward gives them.

    Rows are padded on the right: causal attention never looks at the padding, so no mask is needed. Few kernels,
    and nothing that a CUDA graph cannot record.
    """
    config = model.config
    batch, length = ids.shape
    heads = config.num_attention_heads
    size = config.hidden_size // heads
    cosines, sines = rotary_tables(config, length, ids.device)
    training = dropout > 0

    def norm(states, layer):
        return F.rms_norm(states, (config.hidden_size,), layer.weight, config.rms_norm_eps)

    def split(states):
        return states.view(batch, length, heads, size).transpose(1, 2)

    hidden = F.dropout(model.model.embed_tokens(ids), dropout, training)
    for layer in model.model.layers:
        attention, mlp = layer.self_attn, layer.mlp
        normed = norm(hidden, layer.input_layernorm)
        query, key, value = (
            split(projection(normed)) for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        query, key = rotate(query, cosines, sines).to(value.dtype), rotate(key, cosines, sines).to(value.dtype)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        mixed = attention.o_proj(mixed.transpose(1, 2).reshape(batch, length, -1))
        hidden = hidden + F.dropout(mixed, dropout, training)
        normed = norm(hidden, layer.post_attention_layernorm)
        mixed = mlp.down_proj(F.silu(mlp.gate_proj(normed)) * mlp.up_proj(normed))
        hidden = hidden + F.dropout(mixed, dropout, training)
    return norm(hidden, model.model.norm)
