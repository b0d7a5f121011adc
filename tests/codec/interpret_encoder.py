"""Runs the encoder's kernels in Triton's interpreter; TRITON_INTERPRET=1 must be set before Triton is imported."""

import numpy as np
import torch

from benchmarks.common.models import full_shape_codec
from orpheus.codec import encoder
from orpheus.codec.encoder import BatchEncoder
from orpheus.codec.kernels import encoder as fused_encoder
from orpheus.codec.kernels import products as fused_products
from orpheus.codec.kernels import snake as fused_snake
from tests.fakes.checkpoints import snac_config

fused_snake._NUMBERS = 2**14  # few large programs: the interpreter takes its time for each
ordinary = fused_products.tile_of
fused_products.tile_of = lambda terms, columns: ordinary(terms, columns)._replace(rows=1024)
random = np.random.default_rng(0)


def noise(length):
    return (random.standard_normal(length) * 0.3).astype(np.float32)


for alpha in (0.3, 1.0, 4.0):
    x = torch.linspace(-60, 60, 4096)[None, None]
    y, alpha = fused_snake.snake(x, torch.tensor([[[alpha]]])), torch.tensor(alpha).double()
    exact = x.double() + torch.sin(alpha * x.double()).pow(2) / alpha
    assert (y - exact).abs().max() < 1e-5, alpha  # twice what float32 rounds alpha * x by: no fused multiply-add here

codec = full_shape_codec("cpu", noise(24_000), snac_config(32, encoder_dim=12))
assert fused_encoder.fits(codec.model)
with torch.no_grad():
    for name, parameter in codec.model.encoder.named_parameters():
        if name.endswith("alpha"):
            parameter.uniform_(0.5, 1.5)
clips = [noise(length) for length in (2048, 2 * 2048 + 100, 4 * 2048)]
fused = BatchEncoder(codec.model, fused=True)
fused.batched = True
fused._load_fused()
padded = [np.pad(clip, (0, -len(clip) % 2048)) for clip in clips]
with torch.inference_mode():
    bounds = np.cumsum([0, *(len(clip) // 2048 for clip in padded)])
    together = fused.features(torch.from_numpy(np.concatenate(padded)), bounds)
    package = torch.cat([codec.model.encoder(torch.from_numpy(clip)[None, None])[0] for clip in padded], 1)
    error = (together - package).norm(dim=0) / package.norm(dim=0)
    assert error.max() < 2e-5, error
    # The quantizer, also where the features are far from any code vector and where vectors are equally near.
    features = torch.from_numpy(random.standard_normal((192, 52))).float()
    for values in (together, features):
        for made, expected in zip(
            fused._fused._quantizer(values.t()), encoder.quantize(codec.model.quantizer, values)[0]
        ):
            assert torch.equal(made, expected)
    level = codec.model.quantizer.quantizers[2]
    level.codebook.weight[16:] = level.codebook.weight[:16]
    assert (
        fused_encoder.FusedQuantizer(codec.model.quantizer)(features.t())[2].max() < 16
    )  # the first of two equal ones
    level.codebook.weight[16:] = torch.randn(16, 8)

fused = BatchEncoder(codec.model, fused=True)
fused.batched = True
made = fused.encode(clips)
assert made.redone == []
for together, clip in zip(made.codes, clips):
    assert np.array_equal(together, codec.encode([clip])[0])
assert np.array_equal(fused.encode(clips[1:2]).codes[0], made.codes[1])
strict = BatchEncoder(codec.model, fused=True, strict=True, tolerance=10.0)  # all clips are near a border then
strict.batched = True
made = strict.encode(clips)
assert made.redone == [0, 1, 2]
for together, clip in zip(made.codes, clips):
    assert np.array_equal(together, codec.encode([clip])[0])
