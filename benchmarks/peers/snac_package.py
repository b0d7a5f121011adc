"""The `snac` package's own encoding, for benchmarks/encode.py: as Orpheus' notebook calls it, one by one, and in batches."""

from collections import defaultdict
from contextlib import nullcontext

import numpy as np
import torch

from orpheus.common.frame import CODES_PER_FRAME, FRAME_SAMPLES
from orpheus.common.tokens import interleave

AUDIO_TOKENS_START, CODEBOOK = 128_266, 4096


def notebook_loop(model, clips, device):
    """Codes of each clip, made as tokens as Orpheus' training notebook does."""
    made = []
    for clip in clips:
        waveform = torch.from_numpy(clip).unsqueeze(0).to(dtype=torch.float32).unsqueeze(0).to(device)
        with torch.inference_mode():
            codes = model.encode(waveform)
        tokens = []
        for i in range(codes[0].shape[1]):
            tokens.append(codes[0][0][i].item() + AUDIO_TOKENS_START)
            tokens.append(codes[1][0][2 * i].item() + AUDIO_TOKENS_START + CODEBOOK)
            tokens.append(codes[2][0][4 * i].item() + AUDIO_TOKENS_START + 2 * CODEBOOK)
            tokens.append(codes[2][0][4 * i + 1].item() + AUDIO_TOKENS_START + 3 * CODEBOOK)
            tokens.append(codes[1][0][2 * i + 1].item() + AUDIO_TOKENS_START + 4 * CODEBOOK)
            tokens.append(codes[2][0][4 * i + 2].item() + AUDIO_TOKENS_START + 5 * CODEBOOK)
            tokens.append(codes[2][0][4 * i + 3].item() + AUDIO_TOKENS_START + 6 * CODEBOOK)
        made.append(np.array(tokens).reshape(-1, CODES_PER_FRAME))
    return [tokens - AUDIO_TOKENS_START - CODEBOOK * np.arange(CODES_PER_FRAME) for tokens in made]


def plain_encode(model, clips, device, batch=1):
    """Codes of each clip by the package's own `encode`, clips of equal frame count in batches; precision is the caller's."""
    groups, made = defaultdict(list), [None] * len(clips)
    for index, clip in enumerate(clips):
        groups[-(-len(clip) // FRAME_SAMPLES)].append(index)
    with torch.inference_mode():
        for frames, group in groups.items():
            for start in range(0, len(group), batch):
                chosen = group[start : start + batch]
                audio = np.zeros((len(chosen), 1, frames * FRAME_SAMPLES), np.float32)
                for row, index in enumerate(chosen):
                    audio[row, 0, : len(clips[index])] = clips[index]
                levels = model.encode(torch.from_numpy(audio).to(device))
                levels = [level.cpu().numpy() for level in levels]
                for row, index in enumerate(chosen):
                    made[index] = interleave([level[row] for level in levels])
    return made


def in_precision(model, clips, device, tf32=False, bf16=False):
    """The package's layers in batches of 64 without a check."""
    autocast = torch.autocast(device.type, torch.bfloat16) if bf16 else nullcontext()
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=tf32), autocast:
        return plain_encode(model, clips, device, 64)
