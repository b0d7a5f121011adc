"""Encoding in batches on a GPU against the plain `snac` package one clip at a time. Run with `pytest -m gpu`."""

import numpy as np
import pytest
import torch

from benchmarks.encode import cut_clips, full_shape_codec, largest_shift, plain_encode, read_speech
from orpheus.codec import Codec
from orpheus.encoder import BatchEncoder, full_precision
from orpheus.loading import DEMO_VOICE

fused_encoder = pytest.importorskip("orpheus.fused_encoder")  # needs Triton
pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600)]
SECONDS = [5.0] * 24 + [0.05, 0.09, 2.0, 2.03, 3.7, 3.7, 6.1, 8.8, 9.9, 12.4, 14.9, 3.71]


@pytest.fixture(scope="module", params=["full shape", "demo"])
def on_gpu(request):
    """(codec, clips, their codes by the package one by one in float32)"""
    speech = read_speech()
    if request.param == "demo":
        codec = Codec.from_folder(DEMO_VOICE / "codec", "cuda")
    else:
        codec = full_shape_codec(torch.device("cuda"), speech[: 10 * 24_000])
    clips = cut_clips(speech, SECONDS, np.random.default_rng(0))
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        plain_encode(codec.model, clips[:3], codec.device)  # TorchScript compiles Snake in the first calls
        expected = plain_encode(codec.model, clips, codec.device)
    assert len(np.unique(np.concatenate(expected)[:, 3])) > 50  # codes that say something
    return codec, clips, expected


def assert_equal(made, expected):
    different = [index for index, (a, b) in enumerate(zip(made, expected, strict=True)) if not np.array_equal(a, b)]
    assert different == []


@pytest.mark.parametrize("fused", [True, False])
def test_batches_give_the_codes_of_one_by_one(on_gpu, fused, monkeypatch):
    codec, clips, expected = on_gpu
    encoder = BatchEncoder(codec.model, fused=fused)
    made = encoder.encode(clips)
    print(f"fused {fused}: {len(made.redone)} of {len(clips)} encoded again alone")
    assert_equal(made.codes, expected)
    assert len(made.redone) < 0.8 * len(clips)
    order = np.random.default_rng(1).permutation(len(clips))
    assert_equal(encoder.encode([clips[index] for index in order]).codes, [expected[index] for index in order])
    monkeypatch.setattr("orpheus.encoder.ENCODE_SECONDS", 11)  # other batches, some of one clip
    assert_equal(encoder.encode(clips).codes, expected)


def test_the_codec_takes_the_fused_kernels_and_the_callers_tf32_changes_nothing(on_gpu):
    codec, clips, expected = on_gpu
    torch.set_float32_matmul_precision("high")
    try:
        assert_equal(codec.encode(clips), expected)
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert isinstance(codec.encoder._fused, fused_encoder.FusedEncoder)


def test_latents_move_less_than_the_tolerance(on_gpu):
    codec, clips, _ = on_gpu
    for fused in (True, False):
        encoder = BatchEncoder(codec.model, fused=fused)
        encoder._load_fused()
        shift = largest_shift(encoder, clips[:24])
        print(f"fused {fused}: largest shift {shift:.1e}, tolerance {encoder.tolerance:.0e}")
        assert shift < encoder.tolerance


def test_the_fused_snake_is_as_exact_as_torchs():
    for alpha in (0.3, 1.0, 4.0):
        x, alpha = torch.linspace(-60, 60, 4096, device="cuda")[None], torch.tensor([alpha], device="cuda")
        y = torch.empty_like(x)
        fused_encoder._snake_kernel[(4, 1)](x, torch.zeros_like(alpha), alpha, y, 4096, BLOCK=1024)
        exact = x.double() + torch.sin(alpha.double() * x.double()).pow(2) / alpha.double()
        ours, theirs = (y - exact).abs().max(), (x + torch.sin(alpha * x).pow(2) / alpha - exact).abs().max()
        assert ours < 1.5 * theirs + 1e-6


def test_the_fused_kernels_compute_the_packages_encoder(on_gpu):
    codec, clips, _ = on_gpu
    padded = [np.pad(clip, (0, -len(clip) % 2048)) for clip in clips[20:]]
    bounds = np.cumsum([0, *(len(clip) // 2048 for clip in padded)])
    audio = torch.from_numpy(np.concatenate(padded)).cuda()
    with torch.inference_mode(), full_precision():
        fused = fused_encoder.FusedEncoder(codec.model)(audio, bounds)
        package = torch.cat([codec.model.encoder(torch.from_numpy(clip).cuda()[None, None])[0] for clip in padded], 1)
    error = (fused - package).norm(dim=0) / package.norm(dim=0)
    print(f"relative error of the features: median {error.median():.1e}, largest {error.max():.1e}")
    assert error.median() < 5e-6 and error.max() < 2e-4
