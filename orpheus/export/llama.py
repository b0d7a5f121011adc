"""What llama.cpp's architecture "llama" can hold: which models, under which names, with q and k in which order.

Names and orders after convert_hf_to_gguf.py of github.com/ggml-org/llama.cpp.
"""

import math

import numpy as np

from orpheus.common.errors import CheckpointError, InputError
from orpheus.common.options import is_number, is_whole, shown
from orpheus.engines.layers import rope_settings
from orpheus.export.weights import EMBEDDINGS, HEAD

_OUTER = {EMBEDDINGS: "token_embd.weight", "model.norm.weight": "output_norm.weight", HEAD: "output.weight"}
_IN_LAYER = {
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
_ROPES = ("default", "linear", "llama3")
_CURE = "Only Llama models can be written as GGUF here: use --merged, and llama.cpp's own convert_hf_to_gguf.py on that"


def check_llama(config, name):
    """Refuses what is no plain Llama, before anything is written. Raises InputError and CheckpointError.

    config: of config.json; name: of the model, for the message
    """
    kind, rope = config.get("model_type"), rope_settings(config)
    if rope is None:
        raise CheckpointError(f"{name}: the rope settings in config.json are no object. Download it again")
    if not (is_number(rope["rope_theta"]) and rope["rope_theta"] > 0):
        raise CheckpointError(
            f"{name}: rope_theta in config.json is {shown(rope['rope_theta'])}, and must be a number above 0"
        )
    wrong = [
        ("model_type", kind, kind == "llama"),
        ("hidden_act", config.get("hidden_act"), config.get("hidden_act", "silu") == "silu"),
        ("rope_type", rope["rope_type"], rope["rope_type"] in _ROPES),
        ("partial_rotary_factor", factor := rope.get("partial_rotary_factor", 1), factor == 1),
        ("pretraining_tp", pieces := config.get("pretraining_tp", 1), pieces in (None, 1)),
    ]
    for what, value, is_right in wrong:
        if not is_right:
            raise InputError(f"{name} has {what} {shown(value)}, which llama.cpp's Llama has not. {_CURE}")
    needed = ["hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings"]
    for key in needed:
        if not (is_whole(config.get(key)) and config[key] > 0):
            raise CheckpointError(
                f"{name}: {key} in config.json is {shown(config.get(key))}, and must be a whole number above 0"
            )
    if rope["rope_type"] == "llama3":
        lacking = [key for key in _LLAMA3 if not isinstance(rope.get(key), (int, float))]
        if lacking:
            raise CheckpointError(
                f"{name}: the rope settings in config.json lack {', '.join(lacking)}. Download it again"
            )


_LLAMA3 = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")


def heads_of(config):
    """(heads, heads of keys and values, width of each)"""
    heads = config["num_attention_heads"]
    return heads, config.get("num_key_value_heads") or heads, config.get("head_dim") or config["hidden_size"] // heads


def tensor_names(shapes, config, name):
    """{name in transformers: name in GGUF}, in the order of the file. Raises InputError, CheckpointError.

    Every weight must have its place, and every place its weight: a model with others is no Llama as llama.cpp knows it.
    """
    wanted = dict(_OUTER)
    for layer in range(config["num_hidden_layers"]):
        wanted |= {f"model.layers.{layer}.{a}.weight": f"blk.{layer}.{b}.weight" for a, b in _IN_LAYER.items()}
        wanted |= {f"model.layers.{layer}.{a}.bias": f"blk.{layer}.{b}.bias" for a, b in _IN_LAYER.items() if "." in a}
    extra = sorted(shapes.keys() - wanted.keys())
    if extra:
        raise InputError(f"{name} has weights that llama.cpp's Llama has no place for, including {extra[0]}. {_CURE}")
    lacking = sorted(n for n in wanted.keys() - shapes.keys() - {HEAD} if not n.endswith(".bias"))
    if lacking:
        raise CheckpointError(
            f"{name} is incomplete: {len(lacking)} weights are missing, including {lacking[0]}. Download it again"
        )
    _check_shapes(shapes, config, name)
    return {ours: theirs for ours, theirs in wanted.items() if ours in shapes}


def _check_shapes(shapes, config, name):
    heads, groups, width = heads_of(config)
    hidden, inner, rows = config["hidden_size"], config["intermediate_size"], shapes[EMBEDDINGS][0]
    expected = {EMBEDDINGS: (rows, hidden), HEAD: (rows, hidden), "model.norm.weight": (hidden,)}
    of_layer = {
        "self_attn.q_proj": (heads * width, hidden),
        "self_attn.k_proj": (groups * width, hidden),
        "self_attn.v_proj": (groups * width, hidden),
        "self_attn.o_proj": (hidden, heads * width),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
        "input_layernorm": (hidden,),
        "post_attention_layernorm": (hidden,),
    }
    for layer in range(config["num_hidden_layers"]):
        expected |= {f"model.layers.{layer}.{part}.weight": shape for part, shape in of_layer.items()}
    for key, shape in expected.items():
        if key in shapes and tuple(shapes[key]) != shape:
            raise CheckpointError(
                f"{name}: {key} is {tuple(shapes[key])}, and config.json says {shape}: they are not of one model"
            )


def head_width(name, config):
    """How many rows of a weight belong together in the other order of a head; 1 for all but q and k."""
    return heads_of(config)[2] if ".q_proj." in name or ".k_proj." in name else 1


def interleaved(block, width):
    """Rows of q or k as llama.cpp wants them: pairs that turn together side by side, where transformers has them half a head apart.

    block: (heads * width, ...) of whole heads
    """
    return block.reshape(-1, 2, width // 2, *block.shape[1:]).swapaxes(1, 2).reshape(block.shape)


def rope_factors(config):
    """float32 (head width / 2,): by what each frequency is divided under llama3's scaling; None where there is none.

    As `_compute_llama3_parameters` of transformers has it.
    """
    rope, width = rope_settings(config), heads_of(config)[2]
    if rope["rope_type"] != "llama3":
        return None
    factor, low, high, before = (rope[key] for key in _LLAMA3)
    waves = 2 * math.pi * rope["rope_theta"] ** (np.arange(0, width, 2, dtype=np.float64) / width)
    smooth = np.clip((before / waves - low) / (high - low), 0, 1)
    return (1 / ((1 - smooth) / factor + smooth)).astype(np.float32)
