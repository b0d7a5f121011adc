"""The tokenizer of a GGUF without transformers: the ids that transformers gives with the files it was made from."""

import json

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from orpheus.common.errors import CheckpointError
from orpheus.common.gguf import read_gguf
from orpheus.text import gguf_tokenizer
from orpheus.text.tokenizer import PlainTokenizer
from tests.fakes.gguf import gguf_bytes
from tests.text.test_tokenizer import texts

SPECIAL = ("<|begin_of_text|>", "<|eot_id|>", "<|audio|>")
DEFINED = ("<custom_token_3>", "<custom_token_10>", "<laugh>")
# From tokenizer.json of meta-llama/Llama-3.2-3B.
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def trained(folder, random, like_gpt2):
    """A folder with a byte-level tokenizer that has learnt merges in many scripts; returns what a GGUF holds of it."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=not like_gpt2))
    cut = [] if like_gpt2 else [pre_tokenizers.Split(Regex(LLAMA3), "isolated")]
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=like_gpt2)
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Sequence([*cut, byte_level]), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    corpus = texts(random, 400) + ["It's late, isn't it? We'll meet at 10:30 by the museum's door."] * 3
    trainer = trainers.BpeTrainer(vocab_size=1500, initial_alphabet=alphabet, show_progress=False, min_frequency=2)
    tokenizer.train_from_iterator(corpus, trainer)
    added = [AddedToken(token, normalized=False, special=token in SPECIAL) for token in SPECIAL + DEFINED]
    tokenizer.add_tokens(added)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=SPECIAL[0], eos_token=DEFINED[0]).save_pretrained(
        folder
    )
    stored = json.loads((folder / "tokenizer.json").read_text())
    kinds = {token["id"]: 3 if token["special"] else 4 for token in stored["added_tokens"]}
    tokens = sorted(
        stored["model"]["vocab"] | {token["content"]: token["id"] for token in stored["added_tokens"]},
        key=tokenizer.token_to_id,
    )
    merges = [" ".join(pair) for pair in stored["model"]["merges"]]
    assert len(merges) > 500
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2" if like_gpt2 else "llama-bpe",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [kinds.get(index, 1) for index in range(len(tokens))],
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.bos_token_id": tokens.index(SPECIAL[0]),
        "tokenizer.ggml.eos_token_id": tokens.index(DEFINED[0]),
    }


def gguf(folder, values):
    """A file with this metadata, and nothing beside it."""
    (folder / "alone").mkdir(exist_ok=True)
    path = folder / "alone" / "voice.gguf"
    path.write_bytes(gguf_bytes(values))
    return read_gguf(path)


@pytest.mark.parametrize("like_gpt2", [False, True])
def test_a_thousand_texts_in_many_scripts(like_gpt2, tmp_path, random):
    values = trained(tmp_path, random, like_gpt2)
    plain, theirs = gguf_tokenizer.tokenizer_of(gguf(tmp_path, values)), AutoTokenizer.from_pretrained(tmp_path)
    assert isinstance(plain, PlainTokenizer)
    assert (len(plain), plain.bos_token, plain.eos_token, plain.pad_token) == (
        len(theirs),
        SPECIAL[0],
        DEFINED[0],
        None,
    )
    assert plain.get_added_vocab() == theirs.get_added_vocab()
    merged = 0
    for text in texts(random, 1000):
        ours = plain(text, return_offsets_mapping=True)
        expected = theirs(text, add_special_tokens=False, return_offsets_mapping=True)
        assert ours["input_ids"] == expected["input_ids"], text
        assert ours["offset_mapping"] == expected["offset_mapping"], text
        assert plain.decode(ours["input_ids"]) == theirs.decode(
            expected["input_ids"], clean_up_tokenization_spaces=False
        )
        merged += len(text.encode()) - len(ours["input_ids"])
    assert merged > 3000


def test_the_way_of_cutting_matters_and_others_are_refused(tmp_path, random):
    values = trained(tmp_path, random, False)
    ours = gguf_tokenizer.tokenizer_of(gguf(tmp_path, values))
    other = gguf_tokenizer.tokenizer_of(gguf(tmp_path, values | {"tokenizer.ggml.pre": "gpt-2"}))
    differ = [text for text in texts(random, 200) if ours(text)["input_ids"] != other(text)["input_ids"]]
    assert len(differ) > 5
    with pytest.raises(CheckpointError, match="cutting text is 'qwen2'; known are llama-bpe and gpt-2"):
        gguf_tokenizer.tokenizer_of(gguf(tmp_path, values | {"tokenizer.ggml.pre": "qwen2"}))


def test_a_mark_that_is_an_ordinary_token_is_matched_as_it_is_spelled(tmp_path, random):
    values = trained(tmp_path, random, False)
    kinds = values["tokenizer.ggml.token_type"]
    kinds[values["tokenizer.ggml.bos_token_id"]] = 1
    tokenizer = gguf_tokenizer.tokenizer_of(gguf(tmp_path, values))
    assert tokenizer(f"{SPECIAL[0]}a")["input_ids"][0] == values["tokenizer.ggml.bos_token_id"]
