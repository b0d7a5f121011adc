"""A tokenizer of Orpheus-3B's size, which takes seconds to make and to load."""

import pytest
from transformers import AutoTokenizer

from tests.fakes.checkpoints import ORPHEUS_LAYOUT, save_tokenizer


@pytest.fixture(scope="session")
def relatives_tokenizer(tmp_path_factory):
    """Orpheus-3B's vocabulary and, after its 28,684 added tokens, those that its relatives have."""
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(folder, ORPHEUS_LAYOUT, ("<|audio|>", "<laugh>", "<spk_kavya>", "<spk_agastya>"))
    return AutoTokenizer.from_pretrained(folder)
