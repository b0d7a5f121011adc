"""A merged model speaks as its base with the adapter does, and loads in both generations of transformers."""

import json
import shutil

import pytest
import torch

from orpheus.common.errors import CheckpointError
from orpheus.engines.loading import load_language_model
from orpheus.export.generations import for_both_generations
from orpheus.export.merged import merge
from orpheus.speech.model import known_voices, voices_of
from orpheus.speech.synthesis import OrpheusInference
from orpheus.text.description import as_json, taught, write_description
from orpheus.text.identify import describe
from tests.fakes.adapters import add_tokens, train_adapter, unmerged
from tests.fakes.checkpoints import SMALL_CONFIG, save_adapter, save_voice

TEXT = "Good <laugh> morning."


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A voice that knows ann and bob, with wishes of its own in config.json."""
    folder = save_voice(tmp_path_factory.mktemp("base") / "voice", frames=25, margin=10.0, piece_seconds=5)
    config = json.loads((folder / "config.json").read_text())
    config |= {"normalize_text": True, "accent": {"of": "Galway"}}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def tuned(base, tmp_path_factory):
    """(voices) -> (the adapter's folder, the merged model's)"""

    def tuned(*voices):
        folder = tmp_path_factory.mktemp("tuned")
        adapter = save_adapter(folder / "adapter", base, str(base))
        if voices:
            (adapter / "voices.json").write_text(json.dumps(voices))
        merge(folder / "merged", base, adapter)
        return adapter, folder / "merged"

    return tuned


@pytest.fixture(scope="module")
def nameless(tuned):
    return tuned()


def config_of(folder, name="config.json"):
    return json.loads((folder / name).read_text())


# --- the same prompt -------------------------------------------------------------------------------------------------


def prompts(tts, **options):
    from orpheus.speech.request import plan_request, split_options

    sampling, writing, long_text, _, _ = split_options(options)
    return [u.prompt for u in plan_request(tts.model, TEXT, None, sampling, writing, long_text).utterances]


@pytest.mark.parametrize("voices, default", [((), None), (("mara",), "mara"), (("bob",), "bob")])
def test_the_same_prompt_as_adapter_and_merged(base, tuned, voices, default):
    adapter, merged = tuned(*voices)
    apart, whole = OrpheusInference(str(base), lora=str(adapter)), OrpheusInference(str(merged), lora="none")
    assert apart.default_voice == whole.default_voice == default
    assert apart.voices == whole.voices and {"ann", "bob", *voices} == {*whole.voices}
    assert prompts(apart) == prompts(whole)
    assert whole.synthesize(TEXT, max_new_tokens=70).seconds > 0
    whole.synthesize(TEXT, "ann", max_new_tokens=70)  # a known voice can still be asked for


def test_the_first_voice_is_the_default_where_the_model_says_nothing(base):
    assert voices_of(str(base), None) == (("ann", "bob"), "ann", True)


def test_a_default_that_is_no_voice(base, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(config_of(base) | {"default_voice": "eve"}))
    with pytest.raises(
        CheckpointError, match="default_voice in .*config.json is 'eve', which is not one of its voices"
    ):
        known_voices(str(tmp_path), "none")


def test_an_adapter_on_a_nameless_merged_model_may_name_a_voice(nameless):
    _, merged = nameless
    adapter = merged.parent / "second"
    adapter.mkdir()
    assert voices_of(str(merged), adapter) == (("ann", "bob"), None, False)
    (adapter / "voices.json").write_text('["mara"]')
    assert voices_of(str(merged), adapter) == (("mara", "ann", "bob"), "mara", False)


def test_the_3bs_voices_are_written_down(base, tuned, tmp_path):
    """Its own config.json names none: they are known by its name, which a merged model no longer has."""
    copy = shutil.copytree(base, tmp_path / "orpheus-3b-0.1-ft")
    adapter, _ = tuned("mara")
    merge(tmp_path / "merged", copy, adapter)
    assert config_of(tmp_path / "merged")["voices"] == "mara tara leah jess leo dan mia zac zoe".split()


def test_what_an_adapter_learnt_stays_when_merged(base, tmp_path):
    """Its tags, and that its texts had digits where the base wants words."""
    adapter = save_adapter(tmp_path / "adapter", base, str(base))
    write_description(adapter, taught(describe(base), ("mara",), {"happy": 30, "slip": 1}, normalize_text=False))
    merge(tmp_path / "merged", base, adapter)
    apart = OrpheusInference(str(base), lora=str(adapter))
    whole = OrpheusInference(str(tmp_path / "merged"), lora="none")
    assert as_json(whole.model.description) == as_json(apart.model.description) | {"default_voice": "mara"}
    assert whole.voices == ("mara", "ann", "bob") and whole.model.normalize_text is False
    assert whole.model.description.tags["happy"] == 30 and "slip" not in whole.model.description.taught
    assert prompts(apart) == prompts(whole) and whole.model.piece_seconds == 5


def test_a_merged_model_is_what_its_base_was_said_to_be_like(base, tmp_path):
    adapter = save_adapter(tmp_path / "adapter", base, str(base))
    merge(tmp_path / "merged", base, adapter, like="3b-de-ft")
    found = describe(tmp_path / "merged")
    assert (found.name, found.language, found.voices, found.default_voice) == (
        "3b-de-ft",
        "de",
        ("jana", "thomas", "max"),
        None,
    )


def test_what_the_base_says_of_itself_stays(base, nameless):
    _, merged = nameless
    before, after = config_of(base), config_of(merged)
    changed = {name for name in before if after.get(name) != before[name]}
    assert changed == {"dtype"} and after["accent"] == {"of": "Galway"}
    tts = OrpheusInference(str(merged), lora="none")
    assert tts.model.piece_seconds == 5 and tts.model.normalize_text is True


def test_what_is_16_bit_under_the_older_name_stays_so(base, tmp_path, nameless):
    adapter, _ = nameless
    old = shutil.copytree(base, tmp_path / "old")
    config = {name: value for name, value in config_of(base).items() if name != "dtype"}
    (old / "config.json").write_text(json.dumps(config | {"torch_dtype": "float16"}))
    merge(tmp_path / "merged", old, adapter)
    assert config_of(tmp_path / "merged")["dtype"] == config_of(tmp_path / "merged")["torch_dtype"] == "float16"


def test_head_and_embeddings_that_an_adapter_parted(base, tmp_path):
    adapter = train_adapter(tmp_path / "adapter", base, target_modules=["q_proj", "embed_tokens"])
    merge(tmp_path / "merged", base, adapter)
    assert config_of(tmp_path / "merged")["tie_word_embeddings"] is False
    ids = torch.arange(40)[None]
    with torch.inference_mode():
        expected = unmerged(base, adapter)(ids).logits
        found = load_language_model(tmp_path / "merged", "cpu")(ids).logits
        without = load_language_model(base, "cpu")(ids).logits
    assert (expected - found).abs().max() < 0.1 < (expected - without).abs().max() / 5  # it is saved in 16 bits


def test_tokens_that_an_adapter_added(base, tmp_path):
    adapter = add_tokens(train_adapter(tmp_path / "adapter", base, more_tokens=2), base, "<happy>", "<sad>")
    merge(tmp_path / "merged", base, adapter)
    whole = OrpheusInference(str(tmp_path / "merged"), lora="none")
    rows = whole.engine.model.get_input_embeddings().weight.shape[0]
    assert whole.prompts.tokenizer.convert_tokens_to_ids(["<happy>", "<sad>"]) == [rows - 2, rows - 1] == [492, 493]
    assert prompts(whole) == prompts(OrpheusInference(str(base), lora=str(adapter)))


# --- what transformers 4 and 5 read ----------------------------------------------------------------------------------


def test_the_rotary_embedding_stands_under_both_names(nameless):
    config, rope = config_of(nameless[1]), SMALL_CONFIG["rope_parameters"]
    assert config["rope_parameters"] == rope
    assert config["rope_theta"] == 500_000
    assert config["rope_scaling"] == {name: value for name, value in rope.items() if name != "rope_theta"}
    assert config["dtype"] == config["torch_dtype"] == "bfloat16"


def test_the_tokenizer_is_of_a_class_that_both_know(nameless):
    config = config_of(nameless[1], "tokenizer_config.json")
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert not {"backend", "is_local", "local_files_only"} & {*config}


def test_transformers_5_reads_what_it_wrote(nameless):
    from transformers import AutoConfig, AutoTokenizer

    _, merged = nameless
    config = AutoConfig.from_pretrained(merged)
    assert config.rope_parameters == SMALL_CONFIG["rope_parameters"] and config.dtype == torch.bfloat16
    assert AutoTokenizer.from_pretrained(merged)("Hi <custom_token_3>")["input_ids"] == [256, 39, 72, 220, 261]


@pytest.mark.parametrize(
    "written, read",
    [
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}, {"rope_theta": 1e4, "rope_scaling": None}),
        ({"rope_parameters": {"full_attention": {"rope_theta": 1e4}}}, {}),  # nothing that 4 could say
        ({"dtype": "float16"}, {"torch_dtype": "float16"}),
        ({"model_type": "gpt2"}, {}),
    ],
)
def test_other_models_configurations(tmp_path, written, read):
    (tmp_path / "config.json").write_text(json.dumps(written))
    for_both_generations(tmp_path)
    assert config_of(tmp_path) == written | read
    assert not (tmp_path / "tokenizer_config.json").exists()


@pytest.mark.parametrize(
    "written, read",
    [
        ({"tokenizer_class": "Qwen2Tokenizer"}, {"tokenizer_class": "Qwen2Tokenizer"}),
        ({"extra_special_tokens": ["<a>"]}, {"additional_special_tokens": ["<a>"]}),
        ({"extra_special_tokens": {"image_token": "<i>"}}, {"extra_special_tokens": {"image_token": "<i>"}}),
    ],
)
def test_other_tokenizers(tmp_path, written, read):
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(written))
    for_both_generations(tmp_path)
    assert config_of(tmp_path, "tokenizer_config.json") == read
