"""The demo voice: the shipped files keep the project's contract, and the recipe's parts do what they say."""

import argparse
import json
import sys

import numpy as np
import pytest
import torch

from orpheus.common.options import ROOT

RECIPE = ROOT / "recipes" / "demo_voice"
VOICE = ROOT / "assets" / "demo_voice"
sys.path.append(str(RECIPE))

MEGABYTE = 1_000_000


@pytest.fixture
def tiny_codec():
    import snac

    torch.manual_seed(0)
    return snac.SNAC(
        sampling_rate=24_000,
        encoder_dim=4,
        encoder_rates=[2, 4, 8, 8],
        decoder_dim=32,
        decoder_rates=[8, 8, 4, 2],
        attn_window_size=None,
        codebook_size=32,
        codebook_dim=8,
        vq_strides=[4, 2, 1],
    )


@pytest.fixture
def tiny_corpus(tmp_path):
    """Twelve clips of tones with labels, two of them held out."""
    from labels import FIRST_PHONEME, TRACK_HOP

    rng, clips, audio, labels, position = np.random.default_rng(0), [], [], [], 0
    for number in range(12):
        samples = TRACK_HOP * 300
        tone = 6000 * np.sin(np.arange(samples) * (0.03 + 0.01 * (number % 4))) + rng.normal(0, 300, samples)
        audio += [tone.astype(np.int16), np.zeros(TRACK_HOP * 40, np.int16)]
        labels += [np.full(300, FIRST_PHONEME + number % 4, np.int8), np.zeros(40, np.int8)]
        voice = ("nora", "theo")[number % 2]
        clips.append(
            dict(start=position, samples=samples, text=f"Tone {number % 4}.", voice=voice, held_out=number >= 10)
        )
        position += TRACK_HOP * 340
    np.save(tmp_path / "audio.npy", np.concatenate(audio))
    np.save(tmp_path / "labels.npy", np.concatenate(labels))
    (tmp_path / "clips.json").write_text(json.dumps(clips))
    return tmp_path


# --- the shipped files -----------------------------------------------------------------------------------------------


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
    from corpus import load_codec

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


# --- the recipe ------------------------------------------------------------------------------------------------------


def test_labels_follow_durations():
    from labels import FIRST_PHONEME, IGNORE, PHONEMES, SILENCE, TEACHER_LAG, TEACHER_UNIT, TRACK_HOP, label_track

    track = label_track("ˈə t.", np.array([4, 1, 5, 1, 6, 4, 2]), offset=0, samples=23 * TEACHER_UNIT)

    def at(unit):
        return track[int((unit * TEACHER_UNIT - TEACHER_LAG) // TRACK_HOP)]

    assert at(3.5) == SILENCE
    assert at(4.5) == at(9.5) == FIRST_PHONEME + PHONEMES.index("ə")  # the stress mark belongs to the vowel
    assert at(10.5) == IGNORE
    assert at(12) == FIRST_PHONEME + PHONEMES.index("t")
    assert at(18) == SILENCE
    moved = label_track("ˈə t.", np.array([4, 1, 5, 1, 6, 4, 2]), offset=TRACK_HOP * 10, samples=10 * TEACHER_UNIT)
    assert np.array_equal(moved[:80], track[10:90])
    with pytest.raises(ValueError):
        label_track("ə", np.array([1, 1]), 0, 600)


@pytest.fixture(scope="module")
def sentences():
    from speak_corpus import read_sentences

    return [line for name in ("sentences", "more_sentences") for line in read_sentences(RECIPE / f"{name}.jsonl.gz")]


def test_every_symbol_of_the_sentences_has_a_class(sentences):
    from labels import CLASS_COUNT, symbol_classes

    parts = [part for sentence in sentences for part in sentence.get("parts") or [(sentence["text"], sentence["ph"])]]
    classes = {value for _, symbols in parts for value in symbol_classes(symbols)}
    assert len(sentences) > 30_000 and max(classes) == CLASS_COUNT - 1
    assert all(len(text.split()) == len(symbols.split()) for text, symbols in parts)


def test_judged_sentences_are_not_in_the_corpus(sentences):
    from judge import words

    lines = (RECIPE / "judge_sentences.txt").read_text().split("\n")
    judged = [line.split(": ", 1)[1] for line in lines if line]
    known = {sentence["text"].lower().rstrip(".!?") for sentence in sentences}
    assert len(judged) == 50 and words("It's <laugh> five o'clock!") == "its five oclock"
    assert not [text for text in judged if text.lower().rstrip(".!?") in known]


def test_voices_begin_with_the_short_texts_and_take_the_others_from_both_ends(sentences):
    from speak_corpus import BOTH_VOICES, in_order

    one, other = in_order(sentences, 1, False), in_order(sentences, 1, True)
    short = sum(sentence["src"] in BOTH_VOICES for sentence in sentences)
    assert short > 2_000 and {sentence["src"] for sentence in one[:short]} == set(BOTH_VOICES)
    assert one[:short] == other[:short] and one[short:] == other[short:][::-1] != sentences[short:]


def test_more_sentences_are_short_named_counted_asked_long_and_in_two_halves():
    from write_sentences import Writer, fragment, halves, texts_of

    sentence = {"text": "He left the old car here.", "ph": "hˌi lˈɛft ði ˈOld kˈɑɹ hˈɪɹ."}
    rng = Writer(3).rng
    for _ in range(20):
        text, sounds = fragment(sentence, rng)
        assert (
            2 <= len(text.split()) == len(sounds.split()) <= 4 and text[0].isupper() and text[-1] == sounds[-1] in ".!?"
        )
        cut = halves(sentence, rng)
        (first, first_sounds), (second, second_sounds) = cut["parts"]
        assert cut["text"] == f"{first} {second}" == sentence["text"] and first_sounds.endswith(",")
        assert f"{first_sounds.rstrip(',')} {second_sounds}" == sentence["ph"]
    assert halves({"text": "Go on, then.", "ph": "a b c."}, rng) is None
    assert "good evening, is this seat already taken?" in texts_of(str(RECIPE / "judge_sentences.txt"))


def test_halves_become_one_clip_with_a_tag_between(tmp_path):
    from build_corpus import mix
    from labels import FIRST_TAG, TRACK_HOP

    clip, track = np.full(TRACK_HOP * 100, 900, np.int16), np.full(100, FIRST_TAG + 20, np.int8)
    texts = np.frombuffer(json.dumps(["I missed you", "so much!"]).encode(), np.uint8)
    ends = np.array([len(clip), 2 * len(clip)])
    path = str(tmp_path / "am_puck-0.npz")
    np.savez(
        path, pcm=np.tile(clip, 2), ends=ends, track=np.tile(track, 2), texts=texts, halves=np.array([True, False])
    )
    voice, [(text, _, pcm, labels)] = mix(path)
    assert voice == "theo" and text.startswith("I missed you <") and text.endswith("> so much!")
    assert len(pcm) == TRACK_HOP * len(labels) > 2 * len(clip)
    assert set(labels[110:-110]) & set(range(FIRST_TAG, FIRST_TAG + 9))


@pytest.mark.parametrize("name", ["laugh", "chuckle", "giggles", "sigh", "cough", "sniffle", "groan", "yawn", "gasp"])
def test_tag_sounds_are_audible(name):
    from tag_sounds import tag_sound

    tracts = json.loads((RECIPE / "vocal_tracts.json").read_text())
    for tract in tracts.values():
        sound = tag_sound(name, tract, np.random.default_rng(1))
        assert 0.25 < len(sound) / 24_000 < 2.2
        assert 0.02 < np.abs(sound).max() <= 0.91


def test_spherical_quantiser_is_the_packages_own(tiny_codec):
    from codec_model import Codebooks, encode, quantise

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
    import fused_snake

    codes = [torch.randint(32, (1, count)) for count in (1, 2, 4)]
    outputs = []
    for kind in ("package", "plain"):
        fused_snake.use(kind)
        torch.manual_seed(0)
        outputs.append(tiny_codec.decode(codes).detach())
    fused_snake.use("package")
    assert torch.equal(*outputs)
    with pytest.raises(ValueError):
        fused_snake.use("magic")


def test_triton_kernels_agree_with_plain_operations():
    import fused_snake

    if fused_snake.triton is None or not torch.cuda.is_available():
        pytest.skip("no GPU with Triton here (TRITON_INTERPRET=1 runs the kernels on a CPU)")
    assert fused_snake.largest_error(torch.device("cuda")) < 1e-3


def codec_options(corpus, folder, **changes):
    from train_codec import parse_options

    options = parse_options(["--data", str(corpus), "--out", str(folder / "codec"), "--state", str(folder / "state")])
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
    import fused_snake
    from corpus import load_codec
    from train_codec import CodecTrainer

    trainer = CodecTrainer(codec_options(tiny_corpus, tmp_path, max_steps=14, adversarial_from=0.8))
    trainer.crops.choose()
    trainer.step.run(False)
    before = float(trainer.step.logged[0])
    trainer.train()
    assert float(trainer.step.logged[0]) < before and trainer.adversarial_since is not None
    folder = tmp_path / "codec"
    audio = torch.randn(1, 1, 2048 * 3) * 0.1
    first = load_codec(folder)[0]
    decoder = CodecTrainer(codec_options(tiny_corpus, tmp_path, stage="decoder", max_steps=3, adversarial_from=0.0))
    decoder.train()
    fused_snake.use("package")
    second = load_codec(folder)[0]
    for one, two in zip(first.encode(audio), second.encode(audio)):
        assert torch.equal(one, two)
    for one, two in zip(first.quantizer.parameters(), second.quantizer.parameters()):
        assert torch.equal(one, two)
    for level in first.quantizer.quantizers:
        assert torch.allclose(level.codebook.weight.norm(dim=1), torch.ones(1), atol=3e-4)
    changed = [not torch.equal(a, b) for a, b in zip(first.decoder.parameters(), second.decoder.parameters())]
    assert any(changed)
    resumed = CodecTrainer(codec_options(tiny_corpus, tmp_path, resume=True))
    assert resumed.done == 14 and resumed.quantised_since == 2


def test_language_model_training_learns_and_its_folder_loads(tiny_codec, tiny_corpus, tmp_path):
    from corpus import save_codec
    from lm_model import hidden_states
    from train_lm import LanguageTrainer, parse_options
    from transformers import AutoModelForCausalLM

    config = dict(sampling_rate=24_000, encoder_dim=4, encoder_rates=[2, 4, 8, 8], decoder_dim=32)
    config |= dict(decoder_rates=[8, 8, 4, 2], attn_window_size=None, codebook_size=32, codebook_dim=8)
    save_codec(tiny_codec.state_dict(), config | dict(vq_strides=[4, 2, 1]), str(tmp_path / "codec"))
    arguments = f"--data {tiny_corpus} --codec {tmp_path}/codec --out {tmp_path}/lm --variants 2 --tokens 600"
    arguments += " --hidden 32 --layers 1 --mlp 32 --heads 2 --warm-up 1 --max-steps 12 --rate 0.01"
    trainer = LanguageTrainer(parse_options(arguments.split()))
    assert len(trainer.rows) == 20 and len(trainer.held_out) == 2
    trainer.step.run(*trainer.rows.batches(600, 64, trainer.rng)[0])
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
    from lm_data import slot_order

    from orpheus.common.tokens import interleave

    levels = [torch.randint(1024, (2, 5 * count)) for count in (1, 2, 4)]
    for row in range(2):
        expected = interleave([level[row].numpy() for level in levels])
        assert np.array_equal(slot_order(levels)[row].numpy(), expected)
