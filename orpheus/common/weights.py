"""What safetensors files say of a model without loading it: shapes, and samples that tell one model from another.

A safetensors file is the length of its header (8 bytes), the header (JSON: name, dtype, shape, place) and the values.
"""

import json
import math
import os
from pathlib import Path

import numpy as np

from orpheus.common.checkpoints import weight_files
from orpheus.common.errors import CheckpointError

BASE_FILE = "base.json"  # in an adapter's folder: samples of the weights that it was trained on
_LARGEST_HEADER = 100_000_000  # bytes, as the safetensors library has it
_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_SAMPLES = 64  # values of each weight
_ROUNDING = 0.004  # rounding to bfloat16 moves values by 0.2 % of their size (root mean square), a fine-tune by more
# Where a fine-tune shows: embeddings and norms stay as they were under most adapters, and 4-bit copies keep only those whole.
_EVERYWHERE = ("model.embed_tokens.weight", "model.norm.weight")
_IN_LAYERS = ("self_attn.q_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.up_proj", "mlp.down_proj")


def header(path):
    """({name: (dtype, shape, first byte in the file)}) of a safetensors file. Raises CheckpointError."""
    path = Path(path)
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(_LARGEST_HEADER, os.path.getsize(path) - 8):
                raise ValueError("no header of safetensors")
            entries = json.loads(file.read(length))
        entries.pop("__metadata__", None)
        return {
            name: (entry["dtype"], tuple(entry["shape"]), 8 + length + entry["data_offsets"][0])
            for name, entry in entries.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"{path} cannot be read as safetensors ({error}): it is damaged or was not copied whole. Copy or download it again"
        ) from error


def tensors_in(folder):
    """{name: (file, dtype, shape, first byte)} of a model's weights. Raises CheckpointError."""
    return {name: (path, *entry) for path in weight_files(Path(folder)) for name, entry in header(path).items()}


def shapes_of(folder):
    """{name: shape} of a model's weights."""
    return {name: shape for name, (_, _, shape, _) in tensors_in(folder).items()}


def _values(path, dtype, shape, start):
    """Evenly spread values of a weight, as floats; None where it is stored in fewer than 16 bits or is cut off."""
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
    depth = 1 + max((int(n.split(".")[2]) for n in there if n.startswith("model.layers.")), default=0)
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
