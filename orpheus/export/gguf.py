"""GGUF files, written block by block with the package `gguf`."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orpheus.common.errors import CheckpointError, InputError
from orpheus.common.progress import progress_bar
from orpheus.engines.options import INSTALL_LLAMA_CPP
from orpheus.export.gguf_metadata import write_metadata
from orpheus.export.llama import head_width, interleaved, rope_factors, tensor_names

_FILE_TYPES = {
    "f32": "ALL_F32",
    "f16": "MOSTLY_F16",
    "bf16": "MOSTLY_BF16",
    "q8_0": "MOSTLY_Q8_0",
    "q4_0": "MOSTLY_Q4_0",
}
_LARGEST_F16 = 65_504.0
# Choosing among 28,672 codes is the finest thing that this model does, and the head is 15 % of it: 8 bits there.
_KEPT_AT_8_BITS = ("token_embd.weight", "output.weight")


def require_gguf():
    """The package `gguf`. Raises InputError with how to install it."""
    try:
        import gguf
    except ImportError as error:
        raise InputError(f"--gguf needs the package gguf ({error}): {INSTALL_LLAMA_CPP}") from error
    return gguf


@dataclass(frozen=True)
class Plan:
    """What goes into a file."""

    names: dict  # {name in transformers: name in GGUF}
    kinds: dict  # {name in GGUF: kind}
    shapes: dict  # {name in GGUF: shape}
    factors: np.ndarray | None  # of the rotary embedding

    @property
    def size(self):
        """Bytes of all tensors."""
        kept = sum(_size(self.shapes[name], self.kinds[name]) for name in self.kinds)
        return kept + (0 if self.factors is None else self.factors.nbytes)


def plan(weights, config, kind, name):
    """What goes into a GGUF file of one kind. Raises InputError, CheckpointError for a model that cannot be written so."""
    names = tensor_names(weights.shapes, config, name)
    shapes = {theirs: weights.shapes[ours] for ours, theirs in names.items()}
    kinds = {theirs: kind_of(theirs, shape, kind) for theirs, shape in shapes.items()}
    return Plan(names, kinds, shapes, rope_factors(config))


def kind_of(name, shape, kind):
    """How a tensor is kept in a file of a kind: vectors in 32 bits; what has no blocks of 32 in a row in 16."""
    if len(shape) == 1:
        return "f32"
    if kind in ("q8_0", "q4_0") and shape[-1] % 32:
        return "f16"
    return "q8_0" if kind == "q4_0" and name in _KEPT_AT_8_BITS else kind


def _size(shape, kind):
    """Bytes of a tensor."""
    values = math.prod(shape)
    return {
        "f32": 4 * values,
        "f16": 2 * values,
        "bf16": 2 * values,
        "q8_0": values // 32 * 34,
        "q4_0": values // 32 * 18,
    }[kind]


def encoded(block, kind, name=""):
    """Bytes of a float32 block (rows, columns): uint8, one after the other."""
    gguf = require_gguf()
    if kind == "f32":
        kept = np.ascontiguousarray(block, "<f4")
    elif kind == "f16":
        if (largest := float(np.abs(block).max(initial=0))) > _LARGEST_F16:
            raise CheckpointError(
                f"{name} has values up to {largest:.3g}, and 16 bits hold 65,504: write bf16 or q8_0 instead"
            )
        kept = block.astype("<f2")
    else:
        kept = gguf.quants.quantize(np.ascontiguousarray(block), gguf.GGMLQuantizationType[kind.upper()])
    return np.ascontiguousarray(kept).reshape(-1).view(np.uint8)


def write_gguf(path, weights, config, kind, facts, shown=False):
    """Writes a GGUF file of one kind of OWN_KINDS.

    weights: orpheus.export.weights.Weights; config: of config.json; facts: gguf_metadata.Facts; shown: whether progress is
    Raises InputError, CheckpointError; OSError where the disk is full.
    """
    gguf = require_gguf()
    plan_ = plan(weights, config, kind, facts.name)
    writer = gguf.GGUFWriter(Path(path), "llama")
    try:
        writer.add_file_type(gguf.LlamaFileType[_FILE_TYPES[kind]])
        write_metadata(writer, config, facts, plan_.shapes["token_embd.weight"][0])
        if plan_.factors is not None:
            _announce(writer, "rope_freqs.weight", plan_.factors.shape, "f32")
        for name, shape in plan_.shapes.items():
            _announce(writer, name, shape, plan_.kinds[name])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        file = writer.fout[0]
        writer.write_padding(file, file.tell())
        if plan_.factors is not None:
            _put(writer, file, [plan_.factors.astype("<f4").view(np.uint8)])
        with progress_bar(shown, len(plan_.names), f"writing {Path(path).name}", "tensor") as bar:
            for ours, theirs in plan_.names.items():
                _put(writer, file, _blocks(weights, config, ours, plan_.kinds[theirs]))
                bar.update()
    finally:
        writer.close()


def _announce(writer, name, shape, kind):
    gguf = require_gguf()
    kind_ = gguf.GGMLQuantizationType[kind.upper()]
    writer.add_tensor_info(name, shape, np.dtype(np.float32), _size(shape, kind), kind_)


def _blocks(weights, config, name, kind):
    width = head_width(name, config)
    for block in weights.blocks(name, width):
        yield encoded(interleaved(block, width) if width > 1 else block, kind, name)


def _put(writer, file, blocks):
    size = 0
    for block in blocks:
        block.tofile(file)
        size += block.nbytes
    writer.write_padding(file, size)
