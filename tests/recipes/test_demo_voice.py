"""The demo voice's shipped files keep the project's contract."""

import json

import torch

from orpheus.common.options import ROOT
from recipes.demo_voice.codec.model import load_codec

VOICE = ROOT / "assets" / "demo_voice"
MEGABYTE = 1_000_000


def test_all_of_the_voice_fits_in_40_megabytes():
    assert sum(path.stat().st_size for path in VOICE.rglob("*") if path.is_file()) <= 40 * MEGABYTE


def test_tokenizer_has_bytes_then_orpheus_tokens():
    from transformers import AutoTokenizer

    from orpheus.text.prompt import layout_of

    tokenizer = AutoTokenizer.from_pretrained(VOICE)
    codec = json.loads((VOICE / "codec" / "config.json").read_text())
    layout = layout_of(tokenizer, codec["codebook_size"])
    assert (layout.begin_of_text, layout.end_of_turn, layout.base) == (256, 257, 258)
    assert tokenizer("Hé", add_special_tokens=False)["input_ids"] == list("Hé".encode())
    assert tokenizer.decode(list("naïve – ok".encode())) == "naïve – ok"
    assert len(tokenizer) == layout.last_audio + 1
    config = json.loads((VOICE / "config.json").read_text())
    assert config["vocab_size"] == layout.last_audio + 1
    assert config["tie_word_embeddings"] and config["voices"] == ["nora", "theo"]


def test_weights_are_half_precision_and_codebooks_have_length_one():
    from safetensors.torch import load_file

    for path in (VOICE / "model.safetensors", VOICE / "codec" / "model.safetensors"):
        weights = load_file(path)
        assert {weight.dtype for weight in weights.values()} == {torch.float16}
        for name, weight in weights.items():
            assert torch.isfinite(weight).all(), name
            if name.endswith("codebook.weight"):
                assert torch.allclose(weight.float().norm(dim=1), torch.ones(len(weight)), atol=2e-3)


def test_shipped_codec_makes_seven_codes_per_2048_samples():
    codec, config = load_codec(VOICE / "codec")
    tone = 0.1 * torch.sin(torch.arange(4 * 2048) * 2 * torch.pi * 200 / 24_000)
    with torch.inference_mode():
        codes = codec.encode(tone[None, None])
    assert [level.shape[1] for level in codes] == [4, 8, 16]
    assert max(int(level.max()) for level in codes) < config["codebook_size"]


def test_model_writes_audio_in_the_right_slots_and_logits_are_log_probabilities():
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from orpheus.text.prompt import PromptBuilder, layout_of

    tokenizer = AutoTokenizer.from_pretrained(VOICE)
    builder = PromptBuilder(tokenizer, layout_of(tokenizer, 1024))
    model = AutoModelForCausalLM.from_pretrained(VOICE, dtype=torch.float32).eval()
    ids = torch.tensor([builder.prompt("Good morning.", "nora")])
    start = ids.shape[1]
    with torch.inference_mode():
        ids = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=21)
        logits = model(ids).logits[0, start - 1 :]
    assert builder.layout.first_out_of_range(ids[0, start:].tolist()) == 21
    assert logits.logsumexp(-1).abs().max() < 3
