"""Real formats through the real path: the 156,940-word vocabulary, LoRA adapters, damaged and foreign checkpoints."""

import errno
import json
import shutil

import numpy as np
import pytest
import torch

from orpheus.common.errors import CheckpointError, InputError, OrpheusWarning
from orpheus.common.options import ORPHEUS_3B
from orpheus.speech import model as loading
from orpheus.speech.synthesis import OrpheusInference
from tests.fakes.checkpoints import (
    ORPHEUS_3B_CONFIG,
    ORPHEUS_LAYOUT,
    SMALL_SHAPE,
    save_adapter,
    save_codec,
    save_tokenizer,
    save_voice,
    snac_config,
)

pytestmark = pytest.mark.usefixtures("in_empty_folder")


@pytest.fixture(scope="module")
def orpheus_folder(tmp_path_factory):
    """Orpheus-3B in everything but size: configuration, vocabulary, tokenizer, a SNAC of 4,096 codes beside it."""
    folder = tmp_path_factory.mktemp("hub") / "orpheus-3b-0.1-ft"
    return save_voice(folder, ORPHEUS_3B_CONFIG | SMALL_SHAPE, ORPHEUS_LAYOUT, voices=None, dtype=torch.bfloat16)


def test_a_checkpoint_in_the_real_format_speaks(orpheus_folder):
    speaker = OrpheusInference(str(orpheus_folder))
    layout = speaker.engine.layout
    assert layout == ORPHEUS_LAYOUT
    assert speaker.engine.model.config.vocab_size == 156_940
    prompt = speaker.prompts.prompt("Hi", "tara")
    assert prompt[:2] == [128_259, 128_000] and prompt[-4:] == [128_009, 128_260, 128_261, 128_257]
    speech = speaker.synthesize("Hi <laugh> there.", seed=1)
    assert speech.finish_reason == "end_of_speech" and speech.seconds > 0.1


def test_an_adapter_is_picked_up_from_lora_model_and_merged(orpheus_folder, in_empty_folder):
    plain = OrpheusInference(str(orpheus_folder))
    save_adapter(in_empty_folder / "lora_model", orpheus_folder, "unsloth/orpheus-3b-0.1-ft")
    tuned = OrpheusInference(str(orpheus_folder))
    assert tuned.name.endswith("+ lora_model")
    assert type(tuned.engine.model).__name__ == "LlamaForCausalLM"  # merged: nothing of peft is left in the step
    first, second = (speaker.engine.model.model.layers[0].mlp.up_proj.weight for speaker in (plain, tuned))
    assert not torch.equal(first, second)
    from peft import PeftModel
    from transformers import LlamaForCausalLM

    ids = torch.tensor([plain.prompts.prompt("Hi")])
    unmerged = PeftModel.from_pretrained(
        LlamaForCausalLM.from_pretrained(orpheus_folder, dtype=torch.float32), "lora_model"
    )
    with torch.inference_mode():
        expected, found = unmerged(ids).logits, tuned.engine.model(ids).logits
    assert (expected - found).abs().max() < 1e-3 < (expected - plain.engine.model(ids).logits).abs().max()
    assert OrpheusInference(str(orpheus_folder), lora="none").name == str(orpheus_folder)


def test_an_adapter_makes_the_prompt_plain_and_other_voices_possible(
    orpheus_folder, small_voice_folder, in_empty_folder
):
    adapter = save_adapter(in_empty_folder / "mine", small_voice_folder, str(small_voice_folder))
    speaker = OrpheusInference(str(small_voice_folder), lora=str(adapter))
    assert speaker.default_voice is None
    with pytest.warns(OrpheusWarning, match="voice 'elise' is not among the known ones.*ann, bob"):
        speaker.synthesize("Hi.", "elise")
    (adapter / "voices.json").write_text('["elise"]')
    speaker = OrpheusInference(str(small_voice_folder), lora=str(adapter))
    assert speaker.voices == ("elise", "ann", "bob") and speaker.default_voice == "elise"


# --- auto ---


def test_auto_is_orpheus_on_cuda_and_the_demo_voice_without():
    assert loading.choose_model("auto", None, cuda=True) == (ORPHEUS_3B, False)
    assert loading.choose_model("auto", None, cuda=False) == (str(loading.DEMO_VOICE), True)
    assert loading.choose_model("demo", None, cuda=True) == (str(loading.DEMO_VOICE), False)
    assert loading.choose_model("me/mine", None, cuda=True) == ("me/mine", False)


def test_a_local_copy_of_the_3b_knows_them_too(orpheus_folder, tmp_path):
    voices, default, closed = loading.voices_of(str(orpheus_folder), None)
    assert len(voices) == 8 and default == "tara" and closed
    cached = "/cache/models--unsloth--orpheus-3b-0.1-ft/snapshots/0123abc"
    assert loading.voices_of(cached, None)[1] == "tara"
    with pytest.raises(InputError, match="unknown voice 'nobody'"):
        OrpheusInference(str(orpheus_folder)).synthesize("Hi.", "nobody")


def test_a_model_that_names_no_voices_warns_about_any(copied):
    config = json.loads((copied / "config.json").read_text())
    del config["voices"]
    (copied / "config.json").write_text(json.dumps(config))
    with pytest.warns(OrpheusWarning, match="'nobody' is not among the known ones; .* names no voices"):
        OrpheusInference(str(copied)).synthesize("Hi.", "nobody")


@pytest.mark.parametrize("voices", [5, "ann", [1]])
def test_voices_that_are_no_list_of_names(copied, voices):
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps(config | {"voices": voices}))
    with pytest.raises(CheckpointError, match="must be a list of names"):
        loading.known_voices(str(copied))


@pytest.mark.parametrize("device", ["cuda", "mps", "tpu"])
def test_devices_that_are_not_here(device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(InputError, match=f"no device '{device}' here; use cpu"):
        loading.choose_device(device)


def test_the_3b_knows_its_eight_voices():
    voices, default, closed = loading.voices_of(ORPHEUS_3B, None)
    assert voices == ("tara", "leah", "jess", "leo", "dan", "mia", "zac", "zoe")
    assert (default, closed) == ("tara", True)


# --- the hub ---


class Response:
    status_code, headers, request, text = 404, {}, None, ""


def hub_errors():
    from huggingface_hub import errors

    gated = errors.GatedRepoError.__new__(errors.GatedRepoError)
    missing = errors.RepositoryNotFoundError.__new__(errors.RepositoryNotFoundError)
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as cause:
            raise RuntimeError("download failed") from cause
    except RuntimeError as error:
        full = error
    return [
        (gated, "it is gated"),
        (missing, "no such repository, or it is private"),
        (errors.LocalEntryNotFoundError("no cache"), "cannot be reached"),
        (ConnectionError("refused"), "cannot be reached"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk is full"),
        (full, "disk is full"),
        (RuntimeError("odd"), "RuntimeError: odd"),
    ]


@pytest.mark.parametrize("error, reason", hub_errors())
def test_every_hub_error_is_one_message_that_says_what_to_do(monkeypatch, error, reason):
    import huggingface_hub

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(CheckpointError) as caught:
        OrpheusInference(ORPHEUS_3B, device="cpu")
    message = str(caught.value)
    assert ORPHEUS_3B in message and reason in message and "\n" not in message
    for remedy in ("local folder", "HF_TOKEN", "HF_HUB_OFFLINE", "--model demo"):
        assert remedy in message


def test_offline_without_a_cache_is_such_an_error():
    with pytest.raises(CheckpointError, match="cannot be reached"):
        OrpheusInference("nobody/nothing-here")


@pytest.mark.parametrize("name", ["./missing", "/no/such/folder", "missing", "a/b/c", "~/missing"])
def test_a_missing_folder_is_no_hub_id(name):
    with pytest.raises(InputError, match="is not a folder"):
        OrpheusInference(name)


# --- damaged and foreign folders ---


@pytest.fixture
def copied(small_voice_folder, tmp_path):
    return shutil.copytree(small_voice_folder, tmp_path / "voice")


def test_truncated_weights(copied):
    weights = copied / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match="model.safetensors cannot be read as safetensors.*was not copied whole"):
        OrpheusInference(str(copied))


def test_missing_weights(copied):
    from safetensors.torch import load_file, save_file

    state = load_file(copied / "model.safetensors")
    del state["model.layers.1.mlp.up_proj.weight"]
    save_file(state, copied / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        CheckpointError, match="incomplete: model.layers.1.mlp.up_proj.weight is missing. Copy or download it again"
    ):
        OrpheusInference(str(copied))


def test_a_damaged_tokenizer_is_never_replaced(copied):
    (copied / "tokenizer.json").write_text("{")
    with pytest.raises(CheckpointError, match="tokenizer in .* cannot be loaded"):
        OrpheusInference(str(copied))


def test_a_codec_with_other_codebooks_is_refused(copied, tmp_path):
    save_codec(tmp_path / "codec", snac_config(64))
    with pytest.raises(CheckpointError, match="not an Orpheus tokenizer for a codec with 64 codes"):
        OrpheusInference(str(copied), codec=str(tmp_path / "codec"))


def test_a_model_without_room_for_audio_tokens_is_refused(copied):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(copied)
    model.resize_token_embeddings(300)
    model.save_pretrained(copied)
    with pytest.raises(CheckpointError, match="vocabulary of 300 and no room for audio tokens up to 491"):
        OrpheusInference(str(copied))


def test_a_given_codec_is_used(copied, tmp_path):
    save_codec(tmp_path / "codec", snac_config(32, decoder_dim=16))
    speaker = OrpheusInference(str(copied), codec=str(tmp_path / "codec"))
    assert speaker.codec.model.decoder_dim == 16
    assert np.isfinite(speaker.synthesize("Hi.").audio).all()


def test_the_tokenizer_of_another_model_is_refused(copied):
    save_tokenizer(copied, ORPHEUS_LAYOUT)
    with pytest.raises(CheckpointError):
        OrpheusInference(str(copied))
