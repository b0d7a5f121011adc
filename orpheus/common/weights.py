"""What safetensors files say of a model without loading it: shapes, and samples that tell one model from another.

A safetensors file is the length of its header (8 bytes), the header (JSON: name, dtype, shape, place) and the values.
"""

import json
import math
import os
import re
from pathlib import Path

from orpheus.common.checkpoints import weight_files
from orpheus.common.errors import CheckpointError
from orpheus.common.options import is_whole, shown

BASE_FILE = "base.json"  # in an adapter's folder: samples of the weights that it was trained on
_LARGEST_HEADER = 16_000_000  # bytes: 100,000 weights
_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_SAMPLES = 64  # values of each weight
_ROUNDING = 0.004  # rounding to bfloat16 moves values by 0.2 % of their size (root mean square), a fine-tune by more
_LAYER = re.compile(r"model\.layers\.(\d{1,6})\.")
# Where a fine-tune shows: embeddings and norms stay as they were under most adapters, and 4-bit copies keep only those whole.
_EVERYWHERE = ("model.embed_tokens.weight", "model.norm.weight")
_IN_LAYERS = ("self_attn.q_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.up_proj", "mlp.down_proj")


def header(path):
    """({name: (dtype, shape, first byte in the file)}) of a safetensors file, each value in its own place. Raises CheckpointError."""
    path = Path(path)
    try:
        with open(path, "rb") as file:
            length, size = int.from_bytes(file.read(8), "little"), os.path.getsize(path)
            if not 2 <= length <= min(_LARGEST_HEADER, size - 8):
                raise ValueError(
                    f"a header of {length:,} bytes in a file of {size:,}; at most {_LARGEST_HEADER:,} are read"
                )
            entries = json.loads(file.read(length))
        entries.pop("__metadata__", None)
        spans = {name: _span(name, entry, size - 8 - length) for name, entry in entries.items()}
        end = 0
        for first, last, name in sorted((*span, name) for name, span in spans.items()):
            if first < end:
                raise ValueError(f"the values of {shown(name)} overlap others")
            end = max(end, last)
        return {
            name: (entry["dtype"], tuple(entry["shape"]), 8 + length + spans[name][0])
            for name, entry in entries.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"{path} cannot be read as safetensors ({error}): it is damaged or was not copied whole. Copy or download it again"
        ) from error


def _span(name, entry, size):
    """(first byte, one after the last) of a weight's values, which the file must hold. Raises ValueError."""
    shape, (first, last) = entry["shape"], entry["data_offsets"]
    bits = re.fullmatch(r"(?:BOOL|[A-Z]+?(\d+)(?:_[A-Z0-9]+)?)", entry["dtype"])
    if not isinstance(shape, list) or not all(is_whole(n) and 0 <= n < 2**40 for n in shape) or len(shape) > 8:
        raise ValueError(f"the shape of {shown(name)} is {shown(shape)}")
    if bits is None:
        raise ValueError(f"the data type of {shown(name)} is {shown(entry['dtype'])}")
    if not (is_whole(first) and is_whole(last) and 0 <= first <= last <= size):
        raise ValueError(f"{shown(name)} lies at {shown([first, last])} of {size} bytes")
    if (last - first) * 8 != math.prod(shape) * int(bits[1] or 8):
        raise ValueError(
            f"{shown(name)} takes {last - first} bytes, which a {entry['dtype']} of {shown(shape)} does not"
        )
    return first, last


def tensors_in(folder):
    """{name: (file, dtype, shape, first byte)} of a model's weights. Raises CheckpointError."""
    return {name: (path, *entry) for path in weight_files(Path(folder)) for name, entry in header(path).items()}


def shapes_of(folder):
    """{name: shape} of a model's weights."""
    return {name: shape for name, (_, _, shape, _) in tensors_in(folder).items()}


_LLAMA = {  # what transformers takes where config.json says nothing
    "vocab_size": 32_000,
    "hidden_size": 4096,
    "intermediate_size": 11_008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
}


def check_sizes(config, folder):
    """Refuses a model whose weights are of other sizes than its configuration says, before either is allocated.

    config: of the model in `folder`, checked. Raises CheckpointError.
    """
    shapes, path, is_llama = shapes_of(folder), Path(folder) / "config.json", config.get("model_type") == "llama"
    config = (_LLAMA if is_llama else {}) | {name: value for name, value in config.items() if value is not None}
    there, wanted = shapes.get(_EVERYWHERE[0]), (config.get("vocab_size"), config.get("hidden_size"))
    if there and None not in wanted and there != wanted:
        raise CheckpointError(
            f"{path} says vocab_size {wanted[0]} and hidden_size {wanted[1]}, but the model's embeddings are {there}: "
            "they are not of one model. Copy config.json again from where the weights are from"
        )
    layers, numbers = config.get("num_hidden_layers"), {int(found[1]) for found in map(_LAYER.match, shapes) if found}
    if not (layers and numbers):
        return
    if not numbers >= set(range(layers)) or (is_llama and len(numbers) > layers):
        raise CheckpointError(
            f"{path} says num_hidden_layers {layers}, but the weights are of {len(numbers)} layers: they are not of one "
            "model, or files are missing. Copy the whole folder again from where it is from"
        )
    if not is_llama or config.get("quantization_config"):  # those are stored in shapes of their own
        return
    for name, shape in _llama_shapes(config, shapes).items():
        if name not in shapes:
            raise CheckpointError(
                f"the checkpoint in {folder} is incomplete: {name} is missing. Copy or download it again"
            )
        if shapes[name] != shape:
            raise CheckpointError(
                f"{name} in {folder} is {shapes[name]}, and by config.json it must be {shape}: they are not of one model. "
                "Copy config.json again from where the weights are from"
            )


def _llama_shapes(config, there):
    """{name: shape} of a Llama's weights; of two matrices that are one, of that which is `there`."""
    hidden, inner, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    dim = config.get("head_dim") or hidden // heads
    kv = config.get("num_key_value_heads", heads) * dim
    norms = dict.fromkeys(("input_layernorm", "post_attention_layernorm"), (hidden,))
    attention = dict.fromkeys(("k_proj", "v_proj"), (kv, hidden))
    attention |= {"q_proj": (heads * dim, hidden), "o_proj": (hidden, heads * dim)}
    mlp = {"gate_proj": (inner, hidden), "up_proj": (inner, hidden), "down_proj": (hidden, inner)}
    parts = norms | {f"self_attn.{name}": shape for name, shape in attention.items()}
    parts |= {f"mlp.{name}": shape for name, shape in mlp.items()}
    shapes = {"model.norm.weight": (hidden,)}
    for layer in range(config["num_hidden_layers"]):
        shapes |= {f"model.layers.{layer}.{part}.weight": shape for part, shape in parts.items()}
    ends = {_EVERYWHERE[0], "lm_head.weight"}
    if config.get("tie_word_embeddings"):
        ends = ends & there.keys() or {_EVERYWHERE[0]}
    return shapes | dict.fromkeys(ends, (config["vocab_size"], hidden))


def _values(path, dtype, shape, start):
    """Evenly spread values of a weight, as floats; None where it is stored in fewer than 16 bits or is cut off."""
    import numpy as np  # late: speaking says who speaks before it loads

    count = math.prod(shape)
    if dtype not in _TYPES or not count:
        return None
    try:
        stored = np.memmap(path, _TYPES[dtype], "r", start, (count,))
    except ValueError:  # the file is shorter than its header says
        return None
    values = np.array(stored[(np.arange(_SAMPLES) * count) // _SAMPLES])
    if dtype == "BF16":
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return [float(f"{value:.6g}") for value in values.astype(np.float64)]


def fingerprint(folder):
    """{name: {"dtype", "shape", "values"}}: samples of a few weights, which JSON can hold."""
    there = tensors_in(folder)
    depth = 1 + max((int(n[1]) for n in map(_LAYER.match, there) if n), default=0)
    layers = sorted({0, depth // 2, depth - 1})
    names = [*_EVERYWHERE, *(f"model.layers.{layer}.{part}.weight" for layer in layers for part in _IN_LAYERS)]
    sampled = {name: (*there[name][1:3], _values(*there[name])) for name in names if name in there}
    return {
        name: {"dtype": dtype, "shape": list(shape), "values": values}
        for name, (dtype, shape, values) in sampled.items()
        if values
    }


def same_weights(first, second):
    """Whether two fingerprints are of the same weights, in whatever precision; None where they cannot tell.

    In the same precision the samples must be equal, in another one equal up to rounding.
    """
    import numpy as np  # late: speaking says who speaks before it loads

    compared_layers = 0
    for name in first.keys() & second.keys():
        one, other = first[name], second[name]
        if one["shape"] != other["shape"]:
            if "embed" in name:  # resized: the samples lie elsewhere
                continue
            return False
        a, b = (np.asarray(side["values"], dtype=np.float64) for side in (one, other))
        allowed = 0 if one["dtype"] == other["dtype"] else _ROUNDING * np.linalg.norm(a)
        if a.shape != b.shape or not np.linalg.norm(a - b) <= allowed:
            return False
        compared_layers += ".layers." in name
    return True if compared_layers else None


def write_fingerprint(folder, name, base_folder):
    """Writes what an adapter's folder keeps of its base: the name, and samples of the weights."""
    kept = {"name": name, "weights": fingerprint(base_folder)}
    (Path(folder) / BASE_FILE).write_text(json.dumps(kept), encoding="utf-8")


def read_rows(path, dtype, shape, start, first, last):
    """float32 (last - first, ...): rows of a weight, read from its file and nothing around them. Raises CheckpointError.

    path, dtype, shape, start: as `tensors_in` has them
    """
    import numpy as np  # late: speaking says who speaks before it loads

    if dtype not in _TYPES:
        raise CheckpointError(
            f"{path} holds weights as {dtype}, a quantised kind: use the model in 16 or 32 bits that it was made from"
        )
    kind, inner = np.dtype(_TYPES[dtype]), math.prod(shape[1:])
    count = (last - first) * inner
    with open(path, "rb") as file:
        file.seek(start + first * inner * kind.itemsize)
        values = np.fromfile(file, kind, count)
    if len(values) < count:
        raise CheckpointError(f"{path} is shorter than its header says: it was not copied whole. Copy it again")
    if dtype == "BF16":
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float32, copy=False).reshape(last - first, *shape[1:])
