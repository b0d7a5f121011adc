"""Base and adapter as one model in 16 bits, written block by block."""

import json
import math
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from orpheus.common.errors import CheckpointError
from orpheus.common.files import whole_folder
from orpheus.common.hub import read_json
from orpheus.common.places import Place, check_places
from orpheus.common.progress import progress_bar
from orpheus.engines.loading import load_tokenizer
from orpheus.export.generations import for_both_generations
from orpheus.export.weights import EMBEDDINGS, open_weights
from orpheus.speech.adapters import tokenizer_folder
from orpheus.text.description import write_description
from orpheus.text.identify import describe

_FILE_BYTES = 5_000_000_000  # of weights in one file, as transformers cuts them
_LARGEST_F16 = 65_504.0


def merge(folder, base_folder, adapter, device="cpu", like=None):
    """Writes base and adapter as one model in 16 bits, with tokenizer and, where the base brings one, its codec.

    It speaks as the two do: what the base's config.json says beyond the weights stays, and the voices and the default among
    them are those of the adapter on its base; so is orpheus.json. like: a known model that the base is like; device: of no effect,
    since nothing is computed but the merge. Raises InputError where `folder` is not ours to write, and OutputError.
    """
    folder, base_folder, adapter = Path(folder), Path(base_folder), Path(adapter)
    check_places([Place("--merge", folder, "merged")], [("--model", base_folder), ("--out", adapter)])
    speaking, tokens = tokenizer_folder(base_folder, adapter)
    description = describe(str(base_folder), adapter, like)
    weights = open_weights(base_folder, adapter, tokens)
    with whole_folder(folder, "merged") as new:
        write_merged(new, SimpleNamespace(folder=base_folder, description=description), weights)
        load_tokenizer(speaking).save_pretrained(new)
        for_both_generations(new)
        write_description(new, description)
        if (base_folder / "codec").is_dir():
            shutil.copytree(base_folder / "codec", new / "codec")


def write_merged(folder, source, weights):
    """Writes a model's configuration and weights, in 16 bits, as transformers lays them out.

    source: with `folder`, the base's, and `description`, of what is written; weights: orpheus.export.weights.Weights
    """
    from transformers import AutoConfig, GenerationConfig

    stored = read_json(source.folder / "config.json")
    dtype = stored.get("dtype") or stored.get("torch_dtype")  # the name before transformers 4.56
    dtype = "float16" if dtype == "float16" else "bfloat16"
    config = AutoConfig.from_pretrained(source.folder, trust_remote_code=False)
    config.dtype = dtype
    if EMBEDDINGS in weights.shapes:
        config.vocab_size, config.tie_word_embeddings = weights.shapes[EMBEDDINGS][0], weights.tied
    config.voices, config.default_voice = list(source.description.voices), source.description.default_voice
    config.save_pretrained(folder)
    if (source.folder / "generation_config.json").is_file():
        shutil.copyfile(source.folder / "generation_config.json", folder / "generation_config.json")
    else:
        GenerationConfig.from_model_config(config).save_pretrained(folder)
    write_safetensors(folder, weights, dtype)


def write_safetensors(folder, weights, dtype, file_bytes=_FILE_BYTES):
    """Writes weights as `model.safetensors`, or as several files with an index. dtype: "float16" or "bfloat16"."""
    files, sizes = [[]], [0]
    for name, shape in weights.shapes.items():
        size = 2 * math.prod(shape)
        if files[-1] and sizes[-1] + size > file_bytes:
            files.append([])
            sizes.append(0)
        files[-1].append(name)
        sizes[-1] += size
    single = len(files) == 1
    paths = [f"model-{n + 1:05d}-of-{len(files):05d}.safetensors" for n in range(len(files))]
    paths = ["model.safetensors"] if single else paths
    with progress_bar(True, len(weights.shapes), "writing the merged model", "tensor") as bar:
        for path, names in zip(paths, files, strict=True):
            _write_file(folder / path, names, weights, dtype, bar)
    if not single:
        where = {name: path for path, names in zip(paths, files, strict=True) for name in names}
        index = {"metadata": {"total_size": sum(sizes)}, "weight_map": where}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2), encoding="utf-8")


def _write_file(path, names, weights, dtype, bar):
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name in names:
        size = 2 * math.prod(weights.shapes[name])
        shape = list(weights.shapes[name])
        header[name] = {
            "dtype": "F16" if dtype == "float16" else "BF16",
            "shape": shape,
            "data_offsets": [end, end + size],
        }
        end += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the values begin at a multiple of 8
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            for block in weights.blocks(name):
                in_16_bits(block, dtype, name).tofile(file)
            bar.update()


def in_16_bits(block, dtype, name=""):
    """A float32 block as float16, or as the bits of bfloat16: rounded to the nearest, ties to even, as PyTorch does.

    Raises CheckpointError for values beyond float16.
    """
    if dtype == "float16":
        if (largest := float(np.abs(block).max(initial=0))) > _LARGEST_F16:
            raise CheckpointError(
                f"{name} has values up to {largest:.3g}, and float16 holds 65,504: the merge overflows"
            )
        return block.astype("<f2")
    bits = np.ascontiguousarray(block, np.float32).view(np.uint32)
    return ((bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) >> 16).astype("<u2")
