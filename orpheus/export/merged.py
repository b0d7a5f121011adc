"""Base and adapter as one model."""

import shutil
from pathlib import Path

from orpheus.common.files import whole_folder
from orpheus.common.hub import read_json
from orpheus.common.places import Place, check_places
from orpheus.engines.loading import load_language_model, load_tokenizer
from orpheus.engines.merging import merge_adapter
from orpheus.export.generations import for_both_generations
from orpheus.speech.adapters import tokenizer_folder
from orpheus.text.description import write_description
from orpheus.text.identify import describe


def merge(folder, base_folder, adapter, device="cpu", like=None):
    """Writes base and adapter as one model in 16 bits, with tokenizer and, where the base brings one, its codec.

    It speaks as the two do: what the base's config.json says beyond the weights stays, and the voices and the default among
    them are those of the adapter on its base; so is orpheus.json. like: a known model that the base is like. Raises InputError where `folder` is not ours to write, and OutputError.
    """
    import torch

    folder, base_folder = Path(folder), Path(base_folder)
    check_places([Place("--merge", folder, "merged")], [("--model", base_folder), ("--out", adapter)])
    model = load_language_model(base_folder, device)
    config = read_json(base_folder / "config.json")
    stored = config.get("dtype") or config.get("torch_dtype")  # the name before transformers 4.56
    speaking, tokens = tokenizer_folder(base_folder, Path(adapter))
    model = merge_adapter(model, adapter, tokens).to(torch.float16 if stored == "float16" else torch.bfloat16)
    description = describe(str(base_folder), Path(adapter), like)
    model.config.voices, model.config.default_voice = list(description.voices), description.default_voice
    with whole_folder(folder, "merged") as new:
        model.save_pretrained(new)
        load_tokenizer(speaking).save_pretrained(new)
        for_both_generations(new)
        write_description(new, description)
        if (base_folder / "codec").is_dir():
            shutil.copytree(base_folder / "codec", new / "codec")
