"""Decoding of many streams frame by frame against decoding each whole."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from orpheus.codec import stream_layers
from orpheus.codec.snac import Codec
from orpheus.codec.stream_decoder import StreamDecoder, _sizes_up_to
from orpheus.codec.stream_layers import upsample_few
from orpheus.common.errors import InputError, OrpheusError
from tests.fakes.checkpoints import save_codec, snac_config


def drain(decoder, into):
    """Steps until nothing waits; adds each slot's samples to its list."""
    while decoder.waiting():
        for slot, samples in decoder.step().chunks().items():
            into.setdefault(slot, []).append(samples)
    return into


def decode_alone(decoder, codes, seed):
    slot = decoder.join(seed)
    decoder.push(slot, codes)
    decoder.finish(slot)
    chunks = drain(decoder, {slot: [np.zeros(0, np.float32)]})[slot]
    decoder.leave(slot)
    return np.concatenate(chunks)


@pytest.mark.parametrize("frames", [0, 1, 2, 3, 4, 7, 30])
def test_a_stream_equals_the_whole(small_codec, frames, random):
    codes, decoder = random.integers(0, 32, (frames, 7)), StreamDecoder(small_codec, 1)
    for seed in (3, 2**62 + 1):  # the second finds what the first left
        audio = decode_alone(decoder, codes, seed)
        assert audio.dtype == np.float32 and len(audio) == frames * 2048
        if frames:
            assert np.abs(audio - small_codec.decode_window(codes, seed, 0)).max() < 1e-5


def test_the_real_shape_equals_the_whole(tmp_path, random, monkeypatch):
    save_codec(tmp_path, snac_config(4096, encoder_dim=48, decoder_dim=1024))
    codec, products = Codec.from_folder(tmp_path), set()

    def noted(x, weight, *rest):
        products.add(tuple(weight.shape))
        return upsample_few(x, weight, *rest)

    monkeypatch.setattr(stream_layers, "upsample_few", noted)
    codes, decoder = random.integers(0, 4096, (5, 7)), StreamDecoder(codec, 1)
    assert decoder.delay == 4757  # the codec's reach as measured
    assert decoder.state_bytes == 327_168
    assert np.abs(decode_alone(decoder, codes, 1) - codec.decode_window(codes, 1, 0)).max() < 1e-5
    assert products == {(1024, 512, 16), (512, 256, 16)}  # those with few times and many weights


@pytest.mark.parametrize("change", [{"noise": False}, {"depthwise": False}])
def test_other_layers_of_the_package(tmp_path, change, random):
    save_codec(tmp_path, snac_config(32) | change)
    codec = Codec.from_folder(tmp_path)
    codes = random.integers(0, 32, (6, 7))
    whole = codec.decode_window(codes, 1, 0)
    assert np.abs(decode_alone(StreamDecoder(codec, 1), codes, 1) - whole).max() < 1e-5


@settings(deadline=None, max_examples=15)
@given(data=st.data())
def test_streams_of_different_progress_share_steps(small_codec, data):
    """Streams come, go and pause at random; each is what it would be alone."""
    random = np.random.default_rng(data.draw(st.integers(0, 1000)))
    lengths = data.draw(st.lists(st.integers(0, 9), min_size=1, max_size=6))
    streams = [(random.integers(0, 32, (frames, 7)), int(random.integers(2**63 - 1))) for frames in lengths]
    decoder, waiting, running, made = StreamDecoder(small_codec, 3), list(enumerate(streams)), {}, {}
    while waiting or running:
        if waiting and len(running) < 3 and random.random() < 0.5:
            index, (codes, seed) = waiting.pop(0)
            running[decoder.join(seed)] = [index, codes, [np.zeros(0, np.float32)], False]
        for slot, stream in running.items():
            index, codes, _, over = stream
            count = int(random.integers(0, 3))
            decoder.push(slot, codes[:count])
            stream[1] = codes[count:]
            if not len(stream[1]) and not over:
                decoder.finish(slot)
                stream[3] = True
        for slot, samples in decoder.step().chunks().items():
            running[slot][2].append(samples)
        for slot in [slot for slot, stream in running.items() if stream[3] and not decoder.waiting([slot])]:
            decoder.leave(slot)
            index, _, chunks, _ = running.pop(slot)
            made[index] = np.concatenate(chunks)
    for index, (codes, seed) in enumerate(streams):
        assert np.abs(made[index] - small_codec.decode(codes, seed)).max(initial=0) < 1e-5
        assert len(made[index]) == 2048 * len(codes)


def test_when_samples_come(small_codec, random):
    """3 frames give the first samples, two thirds of a frame, each later one a frame's, the end all of the rest."""
    decoder = StreamDecoder(small_codec, 1)
    slot, sizes = decoder.join(0), []
    for _ in range(5):
        decoder.push(slot, random.integers(0, 32, 7))
        sizes.append(sum(map(len, decoder.step().chunks().values())))
        assert decoder.waiting() == []
    assert sizes == [0, 0, 1387, 2048, 2048]
    decoder.finish(slot)
    assert [len(decoder.step().chunks().get(slot, ())) for _ in range(3)] == [2048, 2048, 661]
    assert decoder.waiting() == []


def test_only_the_slots_asked_for_go_on(small_codec, random):
    decoder = StreamDecoder(small_codec, 2)
    slots, codes = [decoder.join(1), decoder.join(1)], random.integers(0, 32, (4, 7))
    for slot in slots:
        decoder.push(slot, codes)
    for _ in range(4):
        decoder.step([slots[1]])
    assert decoder.waiting() == [slots[0]]


@pytest.mark.parametrize(
    "batch, sizes", [(1, [1]), (2, [1, 2]), (11, [1, 2, 4, 8, 11]), (100, [1, 2, 4, 8, 16, 32, 64, 96, 100])]
)
def test_batch_sizes_that_are_captured(batch, sizes):
    assert _sizes_up_to(batch) == sizes


def test_a_step_without_streams_is_nothing(small_codec):
    decoded = StreamDecoder(small_codec, 2).step()
    assert decoded.ready and decoded.chunks() == {}


def test_a_step_has_a_largest_batch(small_codec, random):
    decoder = StreamDecoder(small_codec, 3, batch=2)
    slots = [decoder.join(seed) for seed in range(3)]
    for slot in slots:
        decoder.push(slot, random.integers(0, 32, 7))
    with pytest.raises(ValueError, match="3 streams in one step, at most 2"):
        decoder.step(slots)
    decoder.step()
    assert len(decoder.waiting()) == 1


def test_leaving_half_way_frees_the_slot_and_leaves_nothing_behind(small_codec, random):
    decoder = StreamDecoder(small_codec, 1)
    slot = decoder.join(0)
    decoder.push(slot, random.integers(0, 32, (5, 7)))
    decoder.step()
    with pytest.raises(OrpheusError, match="all 1 streams are taken"):
        decoder.join(1)
    decoder.leave(slot)
    codes = random.integers(0, 32, (4, 7))
    assert np.abs(decode_alone(decoder, codes, 9) - small_codec.decode(codes, 9)).max() < 1e-5


def test_codes_out_of_range_are_refused_before_they_touch_others(small_codec):
    decoder = StreamDecoder(small_codec, 1)
    slot = decoder.join(0)
    with pytest.raises(InputError, match=r"codes 0\.\.32 outside 0\.\.31"):
        decoder.push(slot, [0, 0, 0, 32, 0, 0, 0])
    assert decoder.waiting() == []


def test_the_codec_is_left_alone(small_codec, random):
    codes = random.integers(0, 32, (4, 7))
    before = small_codec.decode(codes, 2)
    decode_alone(StreamDecoder(small_codec, 1), codes, 5)
    assert np.array_equal(small_codec.decode(codes, 2), before)
    assert not torch.is_inference_mode_enabled()


@pytest.mark.parametrize(
    ("rows", "channels", "outputs", "stride", "times"), [(1, 24, 6, 8, 4), (3, 5, 7, 2, 9), (2, 4, 3, 1, 1)]
)
def test_a_product_gives_the_transposed_convolution_of_a_few_times(rows, channels, outputs, stride, times):
    generator = torch.Generator().manual_seed(rows)
    x, weight, bias = (
        torch.randn(shape, generator=generator)
        for shape in ((rows, channels, 1 + times), (channels, outputs, 2 * stride), (outputs,))
    )
    expected = F.conv_transpose1d(x, weight, bias, stride=stride, padding=stride)
    made = upsample_few(x, weight, bias, stride)
    assert made.shape == (rows, outputs, times * stride)
    torch.testing.assert_close(made, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("streams", "threads"), [(1, 1), (4, 1), (5, 2)])
def test_few_streams_are_decoded_in_one_thread_of_a_cpu(small_codec, random, monkeypatch, streams, threads):
    before, seen, run = torch.get_num_threads(), [], stream_layers.StreamLayers.__call__
    monkeypatch.setattr(
        stream_layers.StreamLayers,
        "__call__",
        lambda self, inputs: seen.append(torch.get_num_threads()) or run(self, inputs),
    )
    torch.set_num_threads(2)
    try:
        decoder = StreamDecoder(small_codec, 5)
        for seed in range(streams):
            decoder.push(decoder.join(seed), random.integers(0, 32, 7))
        decoder.step()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == [threads]
