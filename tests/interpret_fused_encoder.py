"""Runs the kernels of `fused_encoder` in Triton's interpreter; TRITON_INTERPRET=1 must be set before Triton is imported."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from checkpoints import snac_config

from benchmarks.encode import full_shape_codec
from orpheus import fused_encoder
from orpheus.encoder import BatchEncoder

random = np.random.default_rng(0)


def noise(length):
    return (random.standard_normal(length) * 0.3).astype(np.float32)


for alpha in (0.3, 1.0, 4.0):
    x, y = torch.linspace(-60, 60, 4096)[None], torch.empty(1, 4096)
    fused_encoder._snake_kernel[(4, 1)](x, torch.zeros(1), torch.tensor([alpha]), y, 4096, BLOCK=1024)
    alpha = torch.tensor(alpha).double()
    exact = x.double() + torch.sin(alpha * x.double()).pow(2) / alpha
    assert (y - exact).abs().max() < 5e-6, alpha  # float32 rounds alpha * x as much

codec = full_shape_codec("cpu", noise(24_000), snac_config(32))
assert fused_encoder.fits(codec.model)
with torch.no_grad():
    for name, parameter in codec.model.encoder.named_parameters():
        if name.endswith("alpha"):
            parameter.uniform_(0.5, 1.5)
clips = [noise(length) for length in (2048, 2 * 2048 + 100, 4 * 2048)]
together = BatchEncoder(codec.model, fused=True)
together.batched = True
together._load_fused()
padded = [np.pad(clip, (0, -len(clip) % 2048)) for clip in clips]
with torch.inference_mode():
    bounds = np.cumsum([0, *(len(clip) // 2048 for clip in padded)])
    fused = together.features(torch.from_numpy(np.concatenate(padded)), bounds)
    package = torch.cat([codec.model.encoder(torch.from_numpy(clip)[None, None])[0] for clip in padded], 1)
error = (fused - package).norm(dim=0) / package.norm(dim=0)
assert error.max() < 2e-5, error
for made, clip in zip(together.encode(clips).codes, clips):
    assert np.array_equal(made, codec.encode([clip])[0])
