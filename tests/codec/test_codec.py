import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from benchmarks.common.models import full_shape_codec
from orpheus.codec import encoder
from orpheus.codec.noise import position_noise
from orpheus.codec.snac import Codec, check_frame_layout
from orpheus.common.errors import CheckpointError, InputError
from orpheus.common.options import ROOT
from orpheus.common.tokens import deinterleave
from tests.fakes.checkpoints import save_codec, snac_config

REAL = snac_config(4096, encoder_dim=48, decoder_dim=1024)


def codes_of(codec, frames, random):
    return random.integers(0, codec.codebook_size, (frames, 7))


# --- noise ---


def test_noise_depends_on_seed_place_and_position_alone():
    seeds, start = torch.tensor([3, 4, 2**40 + 3]), torch.tensor([0, 100, 0])
    noise = position_noise(seeds, 1, start, 500)
    assert torch.equal(noise[0, 100:400], position_noise(seeds[:1], 1, torch.tensor([100]), 300)[0])
    assert torch.equal(noise[1], position_noise(seeds[1:2], 1, start[1:2], 500)[0])
    assert not torch.equal(noise[0], noise[2])
    assert not torch.equal(noise[0], position_noise(seeds[:1], 2, start[:1], 500)[0])


def test_noise_is_standard_normal_and_independent():
    noise = position_noise(torch.arange(8), 0, torch.zeros(8, dtype=torch.int64), 50_000).double()
    assert abs(noise.mean()) < 0.005
    assert abs(noise.std() - 1) < 0.005
    assert abs((noise**4).mean() - 3) < 0.05  # kurtosis of a normal distribution
    correlation = torch.corrcoef(noise)
    assert (correlation - torch.eye(8)).abs().max() < 0.02
    assert abs((noise[:, 1:] * noise[:, :-1]).mean()) < 0.005


# --- decode ---


def test_decode_agrees_with_the_snac_package_where_its_noise_is_off(tmp_path, random):
    from snac import SNAC

    save_codec(tmp_path, snac_config(32) | {"noise": False})
    codec = Codec.from_folder(tmp_path)
    plain = SNAC.from_config(tmp_path / "config.json").eval()
    plain.load_state_dict(load_file(tmp_path / "model.safetensors"))
    codes = codes_of(codec, 9, random)
    assert not [
        name for name in codec.model.decoder.state_dict() if "original" in name
    ]  # weight norm was computed once
    with torch.inference_mode():
        expected = plain.decode([torch.from_numpy(level)[None] for level in deinterleave(codes)])[0, 0].numpy()
    assert np.abs(codec.decode(codes) - expected).max() < 1e-6


@pytest.mark.parametrize("frames", [1, 2, 23, 24, 25, 60])
def test_decoding_in_windows_equals_decoding_at_once(small_codec, frames, random):
    codes = codes_of(small_codec, frames, random)
    whole = small_codec.decode_window(codes, seed=5, first_frame=0)
    assert whole.shape == (frames * 2048,) and whole.dtype == np.float32
    assert np.abs(small_codec.decode(codes, seed=5) - whole).max() < 1e-5


def test_the_seed_decides_the_noise(small_codec, random):
    codes = codes_of(small_codec, 4, random)
    assert np.array_equal(small_codec.decode(codes, 1), small_codec.decode(codes, 1))
    assert np.abs(small_codec.decode(codes, 1) - small_codec.decode(codes, 2)).max() > 1e-4


def test_several_windows_in_a_batch_equal_one_by_one(small_codec, random):
    codes = random.integers(0, 32, (3, 8, 7))
    seeds, first = [7, 8, 9], [0, 5, 2]
    together = small_codec.decode_windows(codes, seeds, first).numpy()
    for row in range(3):
        alone = small_codec.decode_window(codes[row], seeds[row], first[row])
        assert np.abs(together[row] - alone).max() < 1e-5


def test_no_frames_are_no_samples(small_codec):
    assert small_codec.decode(np.zeros((0, 7))).shape == (0,)


def test_the_audio_needs_no_detach(small_codec, random):
    """ "Can't call numpy() on Tensor that requires grad", the user's first crash."""
    audio = small_codec.decode_windows(codes_of(small_codec, 2, random)[None], [0], [0])
    assert not audio.requires_grad


# --- encode ---


def test_encoding_a_batch_equals_one_by_one(small_codec, random):
    lengths = [1, 2047, 2048, 2049, 10_000, 10_001, 12_288, 30_000, 9_000]
    clips = [(random.standard_normal(length) * 0.1).astype(np.float32) for length in lengths]
    together = small_codec.encode(clips)
    for clip, codes in zip(clips, together, strict=True):
        assert codes.shape == (-(-len(clip) // 2048), 7)
        assert np.array_equal(codes, small_codec.encode([clip])[0])


def test_encode_agrees_with_the_snac_package(small_codec, random):
    clip = (random.standard_normal(9_000) * 0.1).astype(np.float32)
    with torch.inference_mode():
        expected = small_codec.model.encode(torch.from_numpy(clip)[None, None])
    for level, expected_level in zip(deinterleave(small_codec.encode([clip])[0]), expected, strict=True):
        assert np.array_equal(level, expected_level[0].numpy())


@pytest.mark.parametrize("frames", [24, 27, 28, 48, 51, 73])
def test_long_clips_are_encoded_in_windows_with_the_codes_of_the_whole(spread_codec, frames, random, monkeypatch):
    clip = (random.standard_normal(frames * 2048 - 100) * 0.1).astype(np.float32)
    with torch.inference_mode():
        expected = spread_codec.model.encode(torch.from_numpy(clip)[None, None])
    lengths, inner = [], spread_codec.model.encoder.forward
    monkeypatch.setattr(spread_codec.model.encoder, "forward", lambda x: lengths.append(x.shape[-1]) or inner(x))
    codes = spread_codec.encode([clip])[0]
    assert max(lengths) <= 30 * 2048
    for level, expected_level in zip(deinterleave(codes), expected, strict=True):
        assert np.array_equal(level, expected_level[0].numpy())


def test_an_empty_clip_is_refused(small_codec):
    with pytest.raises(InputError, match="clip 1 is empty"):
        small_codec.encode([np.zeros(10, np.float32), np.zeros(0, np.float32)])


class RoundsByBatch(torch.nn.Module):
    """An encoder that rounds otherwise for another batch size, as a GPU's libraries do, only far more coarsely."""

    def __init__(self, inner, size):
        super().__init__()
        self.inner, self.size = inner, size

    def forward(self, audio):
        features = self.inner(audio)
        signs = torch.randn(features.shape, generator=torch.Generator().manual_seed(len(audio))).sign()
        return features * (1 + self.size * signs * (len(audio) > 1))


@pytest.fixture(scope="module")
def spread_codec():
    """Random weights, but codes that vary."""
    speech = np.random.default_rng(1).standard_normal(48_000).astype(np.float32) * 0.1
    return full_shape_codec("cpu", speech, snac_config(32))


@pytest.fixture(scope="module")
def clips_alone(spread_codec):
    """(clips, their codes one by one)"""
    random = np.random.default_rng(2)
    clips = [(random.standard_normal(2048 * (1 + index % 3) - 5) * 0.1).astype(np.float32) for index in range(150)]
    return clips, [spread_codec.encode([clip])[0] for clip in clips]


@pytest.fixture
def coarse(spread_codec, clips_alone):
    """(a batching encoder with coarse rounding, clips, their codes one by one)"""
    inner = spread_codec.model.encoder
    spread_codec.model.encoder = RoundsByBatch(inner, 4e-3)
    batching = encoder.BatchEncoder(spread_codec.model, fused=False, tolerance=1e-2)
    batching.batched = True
    yield batching, *clips_alone
    spread_codec.model.encoder = inner


def differing(made, expected):
    return [index for index, (a, b) in enumerate(zip(made, expected, strict=True)) if not np.array_equal(a, b)]


def test_a_batch_that_rounds_otherwise_gives_the_codes_of_one_by_one(coarse):
    batching, clips, expected = coarse
    made = batching.encode(clips)
    assert differing(made.codes, expected) == []
    batching._tolerance = -1  # no check: what the check is for
    unchecked = batching.encode(clips)
    wrong = differing(unchecked.codes, expected)
    assert len(wrong) >= 3 and unchecked.redone == []
    assert set(wrong) <= set(made.redone)
    assert len(made.redone) < 0.75 * len(clips)  # alone are those in doubt, not all


def test_the_order_of_clips_decides_nothing(coarse):
    batching, clips, expected = coarse
    order = np.random.default_rng(3).permutation(len(clips))
    made = batching.encode([clips[index] for index in order])
    assert differing(made.codes, [expected[index] for index in order]) == []


def test_clips_beyond_one_batch(coarse, monkeypatch):
    batching, clips, expected = coarse
    monkeypatch.setattr(batching, "seconds_per_batch", 1)
    sizes = [len(batch) for batch in batching._batches([1 + index % 3 for index in range(len(clips))])]
    assert sum(sizes) == len(clips) and max(sizes) == 11  # 11 frames last 0.94 s
    assert differing(batching.encode(clips).codes, expected) == []
    monkeypatch.setattr(batching, "seconds_per_batch", 0)  # every clip is longer than a batch
    assert batching.encode(clips[:5]).redone == []


def test_codes_in_doubt_are_those_that_a_small_shift_changes(spread_codec, random):
    """All codes that change are within reach of the shift; the codes themselves are the package's."""
    quantizer = spread_codec.model.quantizer
    with torch.inference_mode():
        features = spread_codec.model.encoder(
            torch.from_numpy(random.standard_normal((1, 1, 2048 * 400))).float() * 0.1
        )
        codes, borders = encoder.quantize(quantizer, features[0])
        for level, expected in zip(codes, quantizer(features)[1], strict=True):
            assert torch.equal(level, expected[0])
        moved = features[0] * (1 + 1e-2 * torch.from_numpy(random.standard_normal(features[0].shape)).float())
        codes_after, borders_after = encoder.quantize(quantizer, moved)
    changed = [(a != b).view(400, -1) for a, b in zip(codes, codes_after)]
    earlier = torch.zeros(400, dtype=torch.bool)
    for level, (before, after) in enumerate(zip(borders, borders_after)):
        same = ~changed[level] & ~earlier[:, None]
        shift = (before - after).view(400, -1)[same].abs().max()
        first = changed[level] & ~earlier[:, None]  # later levels see another residual
        assert first.any()
        assert before.view(400, -1)[first].max() < 2 * shift
        earlier |= changed[level].any(1)


def test_twin_code_vectors_are_in_doubt(tmp_path, random):
    save_codec(tmp_path, snac_config(32))
    quantizer = Codec.from_folder(tmp_path).model.quantizer
    quantizer.quantizers[2].codebook.weight[16:] = quantizer.quantizers[2].codebook.weight[:16]
    borders = encoder.quantize(quantizer, torch.from_numpy(random.standard_normal((64, 40))).float())[1]
    assert (borders[2] < 0).all()


def test_encoding_leaves_the_callers_precision(small_codec, random):
    clip = (random.standard_normal(5_000) * 0.1).astype(np.float32)
    torch.set_float32_matmul_precision("high")
    try:
        small_codec.encode([clip])
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.kernels
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_the_fused_kernels_compute_what_the_layers_do(part):
    """In Triton's interpreter, where Triton is; `test_gpu_encoder.py` and `test_gpu_streams.py` show it on a GPU."""
    pytest.importorskip("triton", reason="Triton is not installed: make test-kernels installs it")
    done = subprocess.run(
        [sys.executable, "-m", f"tests.codec.interpret_{part}"],
        **{"cwd": ROOT, "capture_output": True, "text": True, "env": os.environ | {"TRITON_INTERPRET": "1"}},
    )
    assert done.returncode == 0, done.stderr[-3000:]


# --- loading ---


def test_both_weight_formats_load_the_same(tmp_path, random):
    save_codec(tmp_path / "safe", snac_config(32))
    save_codec(tmp_path / "pickled", snac_config(32), pickled=True)
    safe, pickled = Codec.from_folder(tmp_path / "safe"), Codec.from_folder(tmp_path / "pickled")
    codes = codes_of(safe, 3, random)
    assert np.array_equal(safe.decode(codes), pickled.decode(codes))


def test_the_real_shape_is_accepted(tmp_path, random):
    save_codec(tmp_path, REAL)
    codec = Codec.from_folder(tmp_path)
    assert sum(tensor.numel() for tensor in codec.model.state_dict().values()) == pytest.approx(19.84e6, rel=0.01)
    codes = codes_of(codec, 9, random)
    assert (
        np.abs(codec.decode_window(codes, 0, 0)[: 5 * 2048] - codec.decode_window(codes[:8], 0, 0)[: 5 * 2048]).max()
        < 1e-5
    )


@pytest.mark.parametrize(
    "change, named",
    [
        ({"sampling_rate": 32_000}, "sampling_rate is 32000, must be 24000"),
        ({"vq_strides": [8, 4, 2, 1]}, r"vq_strides is \[8, 4, 2, 1\]"),
        ({"vq_strides": [2, 2, 1]}, r"vq_strides is \[2, 2, 1\]"),
        ({"encoder_rates": [3, 3, 7, 7]}, "samples per frame is 1764, must be 2048"),
        ({"decoder_rates": [8, 8, 4, 4]}, "samples per frame when decoding is 4096"),
        ({"attn_window_size": 32}, "attn_window_size is 32"),
    ],
)
def test_other_frame_layouts_are_refused(change, named):
    check_frame_layout(REAL, "here")
    with pytest.raises(CheckpointError, match=named):
        check_frame_layout(REAL | change, "here")


class Malicious:
    def __reduce__(self):
        return Path("owned").touch, ()


def test_a_pickle_that_wants_to_run_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_codec(tmp_path, snac_config(32), pickled=True)
    torch.save({"weights": Malicious()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="cannot be read"):
        Codec.from_folder(tmp_path)
    assert not Path("owned").exists()


def test_keys_that_snac_does_not_know_are_left_alone(tmp_path):
    save_codec(tmp_path, snac_config(32) | {"noise": True})
    (tmp_path / "config.json").write_text(json.dumps(snac_config(32) | {"model_type": "snac"}))
    assert Codec.from_folder(tmp_path).codebook_size == 32


@pytest.mark.parametrize("config", [[], {}, {"vq_strides": 4}])
def test_configurations_that_are_none(tmp_path, config):
    save_codec(tmp_path, snac_config(32))
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="not a SNAC|a list, not a dict"):
        Codec.from_folder(tmp_path)


def test_damaged_codec_folders_are_refused(tmp_path):
    save_codec(tmp_path, snac_config(32))
    weights = tmp_path / "model.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[:1000])
    with pytest.raises(CheckpointError, match="cannot be read"):
        Codec.from_folder(tmp_path)
    weights.unlink()
    with pytest.raises(CheckpointError, match="neither model.safetensors nor pytorch_model.bin"):
        Codec.from_folder(tmp_path)
    weights.write_bytes(data)
    (tmp_path / "config.json").write_text(json.dumps(snac_config(64)))
    with pytest.raises(CheckpointError, match="do not fit its config.json"):
        Codec.from_folder(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="config.json"):
        Codec.from_folder(tmp_path)
