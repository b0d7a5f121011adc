"""Reads the corpus that `build` wrote."""

from __future__ import annotations

import json

import numpy as np
import torch


def load_corpus(folder: str, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, list[dict]]:
    """(audio int16, label track int8, clips as `build` describes them), the tensors on `device`."""
    audio = torch.from_numpy(np.load(f"{folder}/audio.npy")).to(device)
    track = torch.from_numpy(np.load(f"{folder}/labels.npy")).to(device)
    with open(f"{folder}/clips.json") as file:
        return audio, track, json.load(file)
