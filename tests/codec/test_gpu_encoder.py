"""Encoding on a GPU: batches against one by one, and against the plain `snac` package. Run with `pytest -m gpu`."""

import numpy as np
import pytest
import torch

from benchmarks.common.models import full_shape_codec
from benchmarks.encode import cut_clips, largest_shift, read_speech
from benchmarks.peers.snac_package import plain_encode
from orpheus.codec.encoder import FUSED_TOLERANCE, BatchEncoder, _rows, quantize
from orpheus.codec.precision import full_precision
from orpheus.codec.snac import Codec
from orpheus.speech.model import DEMO_VOICE

fused_encoder = pytest.importorskip("orpheus.codec.kernels.encoder")  # needs Triton
fused_products = pytest.importorskip("orpheus.codec.kernels.products")
fused_snake = pytest.importorskip("orpheus.codec.kernels.snake")
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


def end_to_end(clips):
    """(samples of all clips padded to whole frames, on the GPU; the frame where each begins and the last ends)"""
    padded = [np.pad(clip, (0, -len(clip) % 2048)) for clip in clips]
    return torch.from_numpy(np.concatenate(padded)).cuda(), np.cumsum([0, *(len(clip) // 2048 for clip in padded)])


def test_a_clip_has_the_same_codes_alone_and_in_any_batch(on_gpu, monkeypatch):
    codec, clips, _ = on_gpu
    encoder = BatchEncoder(codec.model, fused=True)
    alone = [encoder.encode([clip]).codes[0] for clip in clips]
    made = encoder.encode(clips)
    assert_equal(made.codes, alone)
    assert made.redone == []
    order = np.random.default_rng(1).permutation(len(clips))
    assert_equal(encoder.encode([clips[index] for index in order]).codes, [alone[index] for index in order])
    monkeypatch.setattr(encoder, "seconds_per_batch", 11)  # other batches, some of one clip
    assert_equal(encoder.encode(clips).codes, alone)


@torch.inference_mode()
def test_a_clip_has_the_same_features_alone_and_in_any_batch(on_gpu):
    codec, clips, _ = on_gpu
    encoder = fused_encoder.FusedEncoder(codec.model)
    audio, bounds = end_to_end(clips)
    together = encoder(audio, bounds)
    for first, end in zip(bounds, bounds[1:]):
        alone = encoder(audio[first * 2048 : end * 2048].clone(), np.array([0, end - first]))
        assert torch.equal(together[first * 4 : end * 4], alone)


@torch.inference_mode()
def test_codes_are_the_packages_but_where_rounding_decides(on_gpu):
    codec, clips, expected = on_gpu
    encoder = BatchEncoder(codec.model, fused=True)
    made = np.concatenate(encoder.encode(clips).codes)
    equal = made == np.concatenate(expected)
    with full_precision():
        _, borders = quantize(codec.model.quantizer, encoder.features(*end_to_end(clips)))
    clear = (_rows(borders).amin(1) > FUSED_TOLERANCE).cpu().numpy()
    print(f"{equal.mean():.5%} of the codes equal the package's; {clear.mean():.1%} of the frames are clear of borders")
    assert equal.mean() >= 0.999
    assert clear.mean() > 0.9 and equal[clear].all()


@pytest.mark.parametrize("options", [{"fused": True, "strict": True}, {"fused": False}])
def test_checked_batches_give_the_codes_of_the_package_one_by_one(on_gpu, options, monkeypatch):
    codec, clips, expected = on_gpu
    encoder = BatchEncoder(codec.model, **options)
    made = encoder.encode(clips)
    print(f"{options}: {len(made.redone)} of {len(clips)} encoded again alone")
    assert_equal(made.codes, expected)
    assert len(made.redone) < 0.8 * len(clips)
    order = np.random.default_rng(1).permutation(len(clips))
    assert_equal(encoder.encode([clips[index] for index in order]).codes, [expected[index] for index in order])
    monkeypatch.setattr(encoder, "seconds_per_batch", 11)  # other batches, some of one clip
    assert_equal(encoder.encode(clips).codes, expected)


def test_the_codec_takes_the_fused_kernels_and_the_callers_tf32_changes_nothing(on_gpu):
    codec, clips, _ = on_gpu
    expected = BatchEncoder(codec.model, fused=True).encode(clips).codes
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
        x, alpha = torch.linspace(-60, 60, 4096, device="cuda")[None, None], torch.tensor([[[alpha]]], device="cuda")
        y = fused_snake.snake(x, alpha)
        exact = x.double() + torch.sin(alpha.double() * x.double()).pow(2) / alpha.double()
        ours, theirs = (y - exact).abs().max(), (x + torch.sin(alpha * x).pow(2) / alpha - exact).abs().max()
        assert ours < 1.5 * theirs + 1e-6


@torch.inference_mode()
def test_the_fused_kernels_compute_the_packages_encoder(on_gpu):
    codec, clips, _ = on_gpu
    audio, bounds = end_to_end(clips[20:])
    parts = [audio[first * 2048 : end * 2048] for first, end in zip(bounds, bounds[1:])]
    with full_precision():
        fused = fused_encoder.FusedEncoder(codec.model)(audio, bounds)
        package = torch.cat([codec.model.encoder(part[None, None])[0].t() for part in parts])
    error = (fused - package).norm(dim=1) / package.norm(dim=1)
    print(f"relative error of the features: median {error.median():.1e}, largest {error.max():.1e}")
    assert error.median() < 5e-6 and error.max() < 2e-4


@pytest.mark.parametrize("terms, columns", [(48, 48), (64, 64), (512, 512), (3072, 384), (6144, 8)])
def test_a_product_is_float32s_and_its_rows_do_not_depend_on_each_other(terms, columns):
    torch.manual_seed(0)
    x, weight = torch.randn(1000, terms, device="cuda"), torch.randn(columns, terms, device="cuda")
    product = fused_products.Product(weight, torch.zeros(columns, device="cuda"))
    clips = torch.zeros(2, 1000, dtype=torch.int32, device="cuda")

    def multiply(rows):
        return fused_encoder._product(product, rows.contiguous(), clips, len(rows), 1)

    made, exact = multiply(x), x.double() @ weight.double().t()
    with full_precision():
        theirs = (x @ weight.t() - exact).abs().mean()
    error = (made - exact).abs().mean()
    print(f"{terms} terms: mean error {error:.1e}, cuBLAS {theirs:.1e}")
    assert error < 2 * theirs + 1e-6
    for rows in (1, 7, 130):
        assert torch.equal(multiply(x[5 : 5 + rows]), made[5 : 5 + rows])
