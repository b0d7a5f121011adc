"""Adapters that taught tokens: their tokenizer is used, and the model gets the rows that they need."""

import json

import pytest

from orpheus.common.errors import CheckpointError
from orpheus.speech import adapters
from orpheus.speech.synthesis import OrpheusInference
from tests.fakes.adapters import add_tokens, train_adapter
from tests.fakes.checkpoints import save_adapter

pytestmark = pytest.mark.usefixtures("in_empty_folder")


@pytest.fixture
def adapter(small_voice_folder, tmp_path):
    return lambda base: save_adapter(tmp_path / "adapter", small_voice_folder, str(base))


def test_a_tokenizer_of_its_own_is_used_where_it_knows_other_tokens(small_voice_folder, tmp_path):
    adapter = train_adapter(tmp_path / "adapter", small_voice_folder, more_tokens=2, size=0.001)
    add_tokens(adapter, small_voice_folder, "<happy>", "<sad>")
    tts = OrpheusInference(str(small_voice_folder), lora=str(adapter))
    assert tts.prompts.tokenizer.convert_tokens_to_ids(["<happy>", "<sad>"]) == [492, 493]
    assert tts.engine.layout.base == 258 and tts.engine.llama.embeddings.shape[0] == 494
    assert tts.synthesize("Hi there.", max_new_tokens=70).seconds > 0


def test_the_same_tokenizer_beside_the_adapter_changes_nothing(adapter, small_voice_folder):
    folder = add_tokens(adapter(small_voice_folder), small_voice_folder)
    assert adapters.tokenizer_folder(small_voice_folder, folder) == (small_voice_folder, 0)
    stored = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(stored, indent=8))  # written in another way
    assert adapters.tokenizer_folder(small_voice_folder, folder) == (small_voice_folder, 0)
    assert adapters.tokenizer_folder(small_voice_folder, None) == (small_voice_folder, 0)


def test_tokens_that_the_adapter_has_no_room_for(small_voice_folder, tmp_path):
    adapter = train_adapter(tmp_path / "adapter", small_voice_folder, more_tokens=1)
    add_tokens(adapter, small_voice_folder, "<happy>", "<sad>")
    with pytest.raises(
        CheckpointError, match="knows 494 tokens, but its weights are for 493.*Copy the tokenizer again"
    ):
        OrpheusInference(str(small_voice_folder), lora=str(adapter))


@pytest.mark.parametrize("text", ["{}", '{"model": {"vocab": 5}}', '{"model": []}'])
def test_a_damaged_tokenizer_beside_the_adapter(adapter, small_voice_folder, text):
    folder = adapter(small_voice_folder)
    (folder / "tokenizer.json").write_text(text)
    with pytest.raises(CheckpointError, match="is no tokenizer that this program knows"):
        adapters.tokenizer_folder(small_voice_folder, folder)
