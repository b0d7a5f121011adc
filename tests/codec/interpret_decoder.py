"""Runs the decoder's kernels in Triton's interpreter; TRITON_INTERPRET=1 must be set before Triton is imported."""

import numpy as np
import torch
from snac import SNAC

from orpheus.codec import stream_decoder
from orpheus.codec.kernels import decoder as fused_decoder
from orpheus.codec.kernels import products as fused_products
from orpheus.codec.kernels import snake as fused_snake
from orpheus.codec.snac import Codec
from orpheus.codec.stream_layers import StreamLayers
from tests.fakes.checkpoints import snac_config

fused_snake._NUMBERS = 2**15  # few large programs: the interpreter takes its time for each
ordinary = fused_products.tile_of
fused_products.tile_of = lambda terms, columns: ordinary(terms, columns)._replace(rows=4096, columns=128)
random = np.random.default_rng(0)


def codec_of(decoder_dim, **change):
    torch.manual_seed(0)
    codec = Codec(SNAC(**snac_config(32, decoder_dim=decoder_dim) | change))
    with torch.no_grad():
        for name, parameter in codec.model.decoder.named_parameters():
            if name.endswith("alpha"):
                parameter.uniform_(0.5, 1.5)
            if name.endswith("bias"):
                parameter.normal_(0, 0.1)
    return codec


assert not fused_decoder.fits(codec_of(32).model)  # 2 channels at the end
assert not fused_decoder.fits(codec_of(256, noise=False).model)
assert not fused_decoder.fits(codec_of(256, depthwise=False).model)
codec = codec_of(256)
assert fused_decoder.fits(codec.model)

decoder = stream_decoder.StreamDecoder(codec, 2)
with torch.inference_mode():
    decoder._layers = layers = fused_decoder.FusedLayers(codec.model, 3)
    assert decoder.delay == layers.delay
    assert decoder.state_bytes == 2 * StreamLayers(codec.model, 3).state_bytes

# The second stream begins a step after the first, the third takes the first one's slot: old pasts must not be heard.
streams = [(random.integers(0, 32, (frames, 7)), seed) for frames, seed in ((1, 7), (3, 2**62 + 5), (1, 2**33))]
slots, made = {}, [[] for _ in streams]


def join(index):
    codes, seed = streams[index]
    slot = decoder.join(seed)
    slots[slot] = index
    decoder.push(slot, codes)
    decoder.finish(slot)


join(0)
for step in range(8):
    for slot, samples in decoder.step().chunks().items():
        made[slots[slot]].append(samples)
    if step == 0:
        join(1)
    if step == 3:
        first = next(slot for slot, index in slots.items() if index == 0)
        assert not decoder.waiting([first])
        decoder.leave(first)
        join(2)
assert decoder.waiting() == []
for (codes, seed), parts in zip(streams, made):
    audio, whole = np.concatenate(parts), codec.decode(codes, seed)
    assert audio.shape == whole.shape and np.abs(whole).max() > 0.1
    assert np.abs(audio - whole).max() < 2e-6, np.abs(audio - whole).max()

with torch.inference_mode():
    assert stream_decoder._agree(layers, StreamLayers(codec.model, 1))
    layers._tables[0][0] += 0.1  # the first frame's coarse code
    assert not stream_decoder._agree(layers, StreamLayers(codec.model, 1))
