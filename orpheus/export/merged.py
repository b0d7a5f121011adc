"""Base and adapter as one model."""

import json
import shutil
from pathlib import Path

from orpheus.common.errors import InputError
from orpheus.common.files import whole_folder
from orpheus.engines.loading import load_language_model, load_tokenizer, merge_adapter


def merge(folder, base_folder, adapter, voices, device="cpu"):
    """Writes base and adapter as one model in 16 bits, with tokenizer and, where the base brings one, its codec."""
    import torch

    folder, base_folder = Path(folder), Path(base_folder)
    if folder.exists() and any(folder.iterdir()) and not (folder / "config.json").exists():
        raise InputError(f"--merge {folder} is a folder with other things in it; name a new one")
    model = load_language_model(base_folder, device)
    stored = json.loads((base_folder / "config.json").read_text()).get("dtype", "bfloat16")
    model = merge_adapter(model, adapter).to(torch.float16 if stored == "float16" else torch.bfloat16)
    if voices:
        known = getattr(model.config, "voices", [])
        model.config.voices = [*voices, *(voice for voice in known if voice not in voices)]
    with whole_folder(folder) as new:
        model.save_pretrained(new)
        load_tokenizer(base_folder).save_pretrained(new)
        if (base_folder / "codec").is_dir():
            shutil.copytree(base_folder / "codec", new / "codec")
