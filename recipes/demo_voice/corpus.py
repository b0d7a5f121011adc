"""Reads the corpus of `build_corpus.py` and the codec's files; small things that the training scripts share."""

from __future__ import annotations

import json
import os

import numpy as np
import torch

FP16_ROUNDING = 3e-4
"""How far rounding to fp16 moves the length of a codebook's row of length one: half a unit in the last place at most."""


def load_corpus(folder: str, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, list[dict]]:
    """(audio int16, label track int8, clips as `build_corpus.py` describes them), the tensors on `device`."""
    audio = torch.from_numpy(np.load(f"{folder}/audio.npy")).to(device)
    track = torch.from_numpy(np.load(f"{folder}/labels.npy")).to(device)
    with open(f"{folder}/clips.json") as file:
        return audio, track, json.load(file)


def save_codec(state: dict[str, torch.Tensor], config: dict, folder: str) -> None:
    """config.json and model.safetensors (fp16), with codebook rows of length one."""
    from safetensors.torch import save_file

    os.makedirs(folder, exist_ok=True)
    tensors = {}
    for name, value in state.items():
        value = value.detach().float()
        if name.endswith("codebook.weight"):
            length = value.norm(dim=1, keepdim=True)
            value = torch.where(
                (length - 1).abs() < FP16_ROUNDING, value, value / length
            )  # rounded rows stay as they are
        tensors[name] = value.to("cpu", torch.float16).contiguous()
    save_file(tensors, f"{folder}/model.safetensors.tmp", metadata={"format": "pt"})
    os.replace(f"{folder}/model.safetensors.tmp", f"{folder}/model.safetensors")
    with open(f"{folder}/config.json", "w") as file:
        json.dump(config, file, indent=1)


def load_codec(folder: str, device: torch.device | str = "cpu"):
    """The `snac.SNAC` of a folder in float32, in evaluation mode, and its configuration."""
    import snac
    from safetensors.torch import load_file

    with open(f"{folder}/config.json") as file:
        config = json.load(file)
    codec = snac.SNAC(**config)
    codec.load_state_dict({name: value.float() for name, value in load_file(f"{folder}/model.safetensors").items()})
    return codec.eval().to(device), config
