"""The demo voice's codec and language model: they are the packages' own in other words, and they learn."""

import argparse
import json

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from orpheus.common.tokens import interleave
from recipes.demo_voice.codec import kernels
from recipes.demo_voice.codec import train as train_codec
from recipes.demo_voice.codec.model import Codebooks, encode, load_codec, quantise, save_codec
from recipes.demo_voice.language import train as train_language
from recipes.demo_voice.language.data import frame_order
from recipes.demo_voice.language.model import hidden_states


def test_spherical_quantiser_is_the_packages_own(tiny_codec):
    torch.manual_seed(0)  # near ties between codes fall either way with rounding
    audio = torch.randn(2, 1, 2048 * 6) * 0.1
    latents = encode(tiny_codec, audio, half=False).detach()
    Codebooks(tiny_codec).fit(latents)
    with torch.no_grad():
        ours = quantise(tiny_codec, latents)
        theirs, codes = tiny_codec.quantizer(tiny_codec.encoder(audio))
        assert torch.allclose(tiny_codec.quantizer.from_codes(codes), ours.latents[-1], atol=1e-4)
    assert torch.allclose(ours.latents[-1], theirs, atol=1e-4)
    for code, package in zip(ours.codes, codes):
        assert torch.equal(code.view(2, -1), package)
    assert 0 < float(ours.commitment) < 12  # at most 4 for each level


def test_plain_operations_are_the_packages_own(tiny_codec):
    codes = [torch.randint(32, (1, count)) for count in (1, 2, 4)]
    outputs = []
    for kind in ("package", "plain"):
        kernels.use(kind)
        torch.manual_seed(0)
        outputs.append(tiny_codec.decode(codes).detach())
    kernels.use("package")
    assert torch.equal(*outputs)
    with pytest.raises(ValueError):
        kernels.use("magic")


@pytest.mark.gpu
def test_triton_kernels_agree_with_plain_operations():
    assert kernels.largest_error(torch.device("cuda")) < 1e-3


def codec_options(corpus, folder, **changes):
    options = train_codec.parse_options(
        ["--data", str(corpus), "--out", str(folder / "codec"), "--state", str(folder / "state")]
    )
    small = dict(
        minutes=5.0,
        encoder_dim=4,
        decoder_dim=32,
        codebook_size=16,
        batch=3,
        adversarial_batch=2,
        crop_frames=2,
        warm_up=1,
        quantise_from=2,
        quantise_ramp=1,
        discriminator_width=1,
        rate=3e-3,
        samples=2,
    )
    return argparse.Namespace(**{**vars(options), **small, **changes})


def test_codec_training_learns_and_decoder_stage_keeps_the_codes(tiny_corpus, tmp_path):
    trainer = train_codec.CodecTrainer(codec_options(tiny_corpus, tmp_path, max_steps=14, adversarial_from=0.8))
    trainer.crops.choose()
    trainer.step.run(False)
    before = float(trainer.step.logged[0])
    trainer.train()
    assert float(trainer.step.logged[0]) < before and trainer.adversarial_since is not None
    folder = tmp_path / "codec"
    audio = torch.randn(1, 1, 2048 * 3) * 0.1
    first = load_codec(folder)[0]
    decoder = train_codec.CodecTrainer(
        codec_options(tiny_corpus, tmp_path, stage="decoder", max_steps=3, adversarial_from=0.0)
    )
    decoder.train()
    kernels.use("package")
    second = load_codec(folder)[0]
    for one, two in zip(first.encode(audio), second.encode(audio)):
        assert torch.equal(one, two)
    for one, two in zip(first.quantizer.parameters(), second.quantizer.parameters()):
        assert torch.equal(one, two)
    for level in first.quantizer.quantizers:
        assert torch.allclose(level.codebook.weight.norm(dim=1), torch.ones(1), atol=5e-4)
    changed = [not torch.equal(a, b) for a, b in zip(first.decoder.parameters(), second.decoder.parameters())]
    assert any(changed)
    resumed = train_codec.CodecTrainer(codec_options(tiny_corpus, tmp_path, resume=True))
    assert resumed.done == 14 and resumed.quantised_since == 2


def test_language_model_training_learns_and_its_folder_loads(tiny_codec, tiny_corpus, tmp_path):
    config = dict(sampling_rate=24_000, encoder_dim=4, encoder_rates=[2, 4, 8, 8], decoder_dim=32)
    config |= dict(decoder_rates=[8, 8, 4, 2], attn_window_size=None, codebook_size=32, codebook_dim=8)
    save_codec(tiny_codec.state_dict(), config | dict(vq_strides=[4, 2, 1]), str(tmp_path / "codec"))
    arguments = f"--data {tiny_corpus} --codec {tmp_path}/codec --out {tmp_path}/lm --variants 2 --tokens 600"
    arguments += " --hidden 32 --layers 1 --mlp 32 --heads 2 --warm-up 1 --max-steps 12 --rate 0.01"
    trainer = train_language.LanguageTrainer(train_language.parse_options(arguments.split()))
    assert len(trainer.examples) == 20 and len(trainer.held_out) == 2
    trainer.step.run(*trainer.examples.batches(600, 64, trainer.rng)[0])
    sums = trainer.step.take_sums()
    before = sums[0] / sums[1]
    trainer.train()
    assert trainer.best < before - 0.5
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "lm", dtype=torch.float32).eval()
    ids, _, _, sounds = trainer.held_out.gather(torch.tensor([0, 1]), 192)
    with torch.no_grad():
        assert torch.allclose(model.lm_head(hidden_states(model, ids)), model(ids).logits, atol=1e-4)
    assert (sounds != -1).any()
    assert json.loads((tmp_path / "lm" / "config.json").read_text())["voices"] == ["nora", "theo"]


def test_codes_of_a_batch_are_in_orpheus_order():
    levels = [torch.randint(1024, (2, 5 * count)) for count in (1, 2, 4)]
    for row in range(2):
        expected = interleave([level[row].numpy() for level in levels])
        assert np.array_equal(frame_order(levels)[row].numpy(), expected)
