"""Base and adapter as one model."""

import json
import shutil
from pathlib import Path

from orpheus.common.files import whole_folder
from orpheus.common.places import Place, check_places
from orpheus.engines.loading import load_language_model, load_tokenizer, merge_adapter


def merge(folder, base_folder, adapter, voices, device="cpu"):
    """Writes base and adapter as one model in 16 bits, with tokenizer and, where the base brings one, its codec.

    Raises InputError where `folder` is not ours to write, and OutputError.
    """
    import torch

    folder, base_folder = Path(folder), Path(base_folder)
    check_places([Place("--merge", folder, "merged")], [("--model", base_folder), ("--out", adapter)])
    model = load_language_model(base_folder, device)
    stored = json.loads((base_folder / "config.json").read_text()).get("dtype", "bfloat16")
    model = merge_adapter(model, adapter).to(torch.float16 if stored == "float16" else torch.bfloat16)
    if voices:
        known = getattr(model.config, "voices", [])
        model.config.voices = [*voices, *(voice for voice in known if voice not in voices)]
    with whole_folder(folder, "merged") as new:
        model.save_pretrained(new)
        load_tokenizer(base_folder).save_pretrained(new)
        if (base_folder / "codec").is_dir():
            shutil.copytree(base_folder / "codec", new / "codec")
