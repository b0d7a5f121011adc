"""Decoding many streams on a GPU: graphs against eager layers against the whole. Run with `pytest -m gpu`."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from orpheus.codec.snac import Codec
from orpheus.codec.stream_decoder import StreamDecoder
from orpheus.engines.transformers import TransformersEngine
from orpheus.server.pool import StreamPool
from orpheus.speech.model import DEMO_VOICE, load_model
from orpheus.speech.synthesis import OrpheusInference
from tests.fakes.checkpoints import save_codec, snac_config

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def codec(tmp_path_factory):
    """The 24 kHz SNAC's shape with random weights."""
    folder = tmp_path_factory.mktemp("snac")
    save_codec(folder, snac_config(4096, encoder_dim=48, decoder_dim=1024))
    return Codec.from_folder(folder, "cuda")


def decode_staggered(decoder, streams, interrupt=lambda: None):
    """Audio of each (codes, seed); stream i begins at step i."""
    slots, made, step = {}, [[] for _ in streams], 0
    while step < len(streams) or decoder.waiting():
        if step < len(streams):
            codes, seed = streams[step]
            slots[decoder.join(seed)] = step
            slot = next(reversed(slots))
            decoder.push(slot, codes)
            decoder.finish(slot)
        decoded = decoder.step()
        interrupt()
        for slot, samples in decoded.chunks().items():
            made[slots[slot]].append(samples)
        step += 1
    for slot in slots:
        decoder.leave(slot)
    return [np.concatenate(parts) for parts in made]


def test_graphs_equal_eager_layers_and_the_whole(codec, random):
    fused_decoder = pytest.importorskip("orpheus.codec.kernels.decoder")  # needs Triton
    streams = [(random.integers(0, 4096, (1 + index % 9, 7)), 2**40 + index) for index in range(11)]
    graphs, eager = StreamDecoder(codec, 11), StreamDecoder(codec, 11, graphs=False, fused=False)
    assert sorted(graphs._graphs) == [1, 2, 4, 8, 11]
    assert isinstance(graphs._layers, fused_decoder.FusedLayers) and graphs.delay == eager.delay == 4757
    busy = torch.randn(4096, 4096, device="cuda")
    for _ in range(2):  # the second time in slots that others had
        made = decode_staggered(graphs, streams, lambda: busy @ busy)  # beside work on the caller's stream
        plain = decode_staggered(eager, streams)
        for audio, other, (codes, seed) in zip(made, plain, streams, strict=True):
            assert len(audio) == 2048 * len(codes)
            assert np.abs(audio - other).max() < 1e-5
            assert np.abs(audio - codec.decode(codes, seed)).max() < 2e-5


def test_a_stream_does_not_depend_on_those_beside_it(codec, random):
    pytest.importorskip("orpheus.codec.kernels.decoder")
    streams = [(random.integers(0, 4096, (1 + index % 5, 7)), index) for index in range(9)]
    decoder = StreamDecoder(codec, 9)
    together = decode_staggered(decoder, streams)
    for index in (0, 4, 8):
        assert np.array_equal(decode_staggered(decoder, streams[index : index + 1])[0], together[index])


def test_the_demo_codec_decodes_by_the_same_kernels(random):
    fused_decoder = pytest.importorskip("orpheus.codec.kernels.decoder")
    demo = Codec.from_folder(DEMO_VOICE / "codec", "cuda")
    decoder, codes = StreamDecoder(demo, 2), random.integers(0, 1024, (6, 7))
    assert isinstance(decoder._layers, fused_decoder.FusedLayers)
    assert np.abs(decode_staggered(decoder, [(codes, 3)])[0] - demo.decode(codes, 3)).max() < 2e-5


def test_the_fused_snake_runs_here_and_is_as_exact_as_torchs():
    fused_snake = pytest.importorskip("orpheus.codec.kernels.snake")
    assert fused_snake.runs(torch.device("cuda"))
    for shape in ((3, 5, 38), (2, 64, 2048 + 54), (70_000, 2, 4)):
        x, alpha = torch.randn(shape, device="cuda") * 20, torch.rand(1, shape[1], 1, device="cuda") + 0.3
        exact = x.double() + torch.sin(alpha.double() * x.double()).square() / alpha.double()
        assert (fused_snake.snake(x, alpha) - exact).abs().max() < 2e-5
        assert torch.equal(fused_snake.snake(x[..., 1:], alpha), fused_snake.snake(x[..., 1:].contiguous(), alpha))


def test_a_large_batch_takes_a_small_part_of_real_time(codec):
    decoder = StreamDecoder(codec, 200)
    slots = [decoder.join(seed) for seed in range(200)]
    times = []
    for _ in range(8):
        for slot in slots:
            decoder.push(slot, np.zeros(7))
        began = time.perf_counter()
        decoder.step().chunks()
        times.append(time.perf_counter() - began)
    share = sorted(times)[4] * 24_000 / 2_048
    print(f"200 streams: {sorted(times)[4] * 1e3:.2f} ms per frame of each, {share:.1%} of real time")
    assert share < 0.2


@pytest.mark.filterwarnings("ignore::orpheus.common.errors.OrpheusWarning")  # greedy speech may be cut off
def test_a_pool_speaks_as_each_text_alone_on_a_gpu(small_voice_folder):
    loaded = load_model(str(small_voice_folder), lora="none", device="cuda")[0]
    # Row by row in a pool as alone: the same tokens also in bfloat16.
    engine = TransformersEngine(loaded.engine.model, loaded.engine.layout, static_cache=False)
    loaded = replace(loaded, engine=engine)
    alone, texts = OrpheusInference(loaded), ["Good morning.", "How did you sleep?", "Come in. Sit down, please."]
    options = [dict(seed=seed, temperature=0.0, max_new_tokens=140) for seed in range(3)]
    with StreamPool(loaded, slots=2) as pool:
        pooled = [pool.submit(text, "bob", **chosen) for text, chosen in zip(texts, options, strict=True)]
        made = [np.concatenate(list(speech)) for speech in pooled]
    for text, chosen, audio in zip(texts, options, made, strict=True):
        expected = np.concatenate(list(alone.stream(text, "bob", **chosen)))
        assert audio.shape == expected.shape and np.abs(audio - expected).max() < 2e-5
