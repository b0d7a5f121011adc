"""The fast engine's weights as a transformers model: for the engine that takes over where kernels fail, and for comparisons."""

from contextlib import suppress

import torch


@torch.no_grad()
def whole_model(folder, llama):
    """A LlamaForCausalLM whose weights are views of a Llama's, which must be of the model's own data type.

    folder: where its config.json is
    """
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    config = LlamaConfig.from_pretrained(folder)
    tied = llama.head is llama.embeddings
    config.tie_word_embeddings, config.dtype = tied, llama.dtype
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    state = {
        "model.embed_tokens.weight": llama.embeddings,
        "model.norm.weight": llama.norm,
        "lm_head.weight": llama.head,
    }
    for index, layer in enumerate(llama.layers):
        at = f"model.layers.{index}"
        heads, kv_heads, dim, _ = llama.shape
        state |= {
            f"{at}.{name}.weight": values
            for names, matrix, rows in (
                (
                    [f"self_attn.{part}_proj" for part in "qkv"],
                    layer.qkv,
                    [heads * dim, kv_heads * dim, kv_heads * dim],
                ),
                (["self_attn.o_proj"], layer.o, [len(layer.o.values)]),
                (["mlp.gate_proj", "mlp.up_proj"], layer.gate_up, [len(layer.gate_up.values) // 2] * 2),
                (["mlp.down_proj"], layer.down, [len(layer.down.values)]),
            )
            for name, values in zip(names, matrix.values.split(rows), strict=True)
        }
        state |= {f"{at}.input_layernorm.weight": layer.norm, f"{at}.post_attention_layernorm.weight": layer.mlp_norm}
    model.load_state_dict(state, assign=True)
    if tied:
        model.tie_weights()
    model.model.rotary_emb = LlamaRotaryEmbedding(config, llama.device)
    with suppress(OSError):  # where there is no such file, the usual one stays
        model.generation_config = GenerationConfig.from_pretrained(folder)
    return model.requires_grad_(False)
