"""The demo voice, or another small Llama with a tied head and plain rotary embedding, as a GGUF in float32, by the package `gguf`."""

import json

import numpy as np

from tests.fakes.gguf import tokenizer_values

LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def _interleaved(weight, heads):
    """The halves that transformers rotates, as the pairs that llama.cpp does."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(weight.shape)


def write_f32(folder, path):
    """Writes `path`; returns it."""
    import gguf
    from safetensors import safe_open

    config = json.loads((folder / "config.json").read_text())
    rope = config.get("rope_parameters") or {"rope_theta": config["rope_theta"]}
    assert config["tie_word_embeddings"] and rope.get("rope_type", "default") == "default"
    heads, pairs = config["num_attention_heads"], config["num_key_value_heads"]
    width = config.get("head_dim") or config["hidden_size"] // heads
    writer = gguf.GGUFWriter(str(path), "llama")
    for add, value in (
        (writer.add_name, folder.name),
        (writer.add_vocab_size, config["vocab_size"]),
        (writer.add_context_length, config["max_position_embeddings"]),
        (writer.add_embedding_length, config["hidden_size"]),
        (writer.add_block_count, config["num_hidden_layers"]),
        (writer.add_feed_forward_length, config["intermediate_size"]),
        (writer.add_head_count, heads),
        (writer.add_head_count_kv, pairs),
        (writer.add_layer_norm_rms_eps, config["rms_norm_eps"]),
        (writer.add_rope_freq_base, rope["rope_theta"]),
        (writer.add_rope_dimension_count, width),
        (writer.add_key_length, width),
        (writer.add_value_length, width),
        (writer.add_file_type, gguf.LlamaFileType.ALL_F32),
    ):
        add(value)
    values = tokenizer_values(folder)
    tokens, kinds = values["tokenizer.ggml.tokens"], values["tokenizer.ggml.token_type"]
    more = range(len(tokens), config["vocab_size"])
    writer.add_tokenizer_model(values["tokenizer.ggml.model"])
    writer.add_tokenizer_pre(values["tokenizer.ggml.pre"])
    writer.add_token_list([*tokens, *(f"[PAD{i}]" for i in more)])
    writer.add_token_types([*kinds, *(5 for _ in more)])
    writer.add_token_merges(values["tokenizer.ggml.merges"])
    writer.add_eos_token_id(tokens.index("<custom_token_2>"))
    writer.add_add_bos_token(False)
    names = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    for layer in range(config["num_hidden_layers"]):
        names |= {f"model.layers.{layer}.{a}.weight": f"blk.{layer}.{b}.weight" for a, b in LAYER.items()}
    with safe_open(folder / "model.safetensors", "np") as weights:
        for name, there in names.items():
            weight = weights.get_tensor(name).astype(np.float32)
            if there.endswith(("attn_q.weight", "attn_k.weight")):
                weight = _interleaved(weight, heads if "attn_q" in there else pairs)
            writer.add_tensor(there, weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
