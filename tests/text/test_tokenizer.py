"""The tokenizer without transformers: the same ids, or none of its business."""

import json
import shutil

import pytest
from transformers import AutoTokenizer

from orpheus.speech.adapters import DEMO_VOICE
from orpheus.text.prompt import PromptBuilder, layout_of
from orpheus.text.tokenizer import plain_tokenizer
from tests.fakes.checkpoints import SMALL_LAYOUT, save_tokenizer

# First and last letters of scripts, and pieces that tokenizers treat in their own ways.
SCRIPTS = (
    "az",
    "AZ",
    "àÿ",
    "αω",
    "ая",
    "את",
    "ءي",
    "अह",
    "กฮ",
    "ᄀᇂ",
    "가힣",
    "ぁん",
    "ァン",
    "一龥",
    "აჰ",
    "\U0001f600\U0001f64f",
)
PIECES = (
    *(
        " ",
        "  ",
        "\t",
        "\n",
        "\r\n",
        "\u00a0",
        "\u200b",
        "\u200d",
        "\u2028",
        "\u3000",
        "\ufeff",
        "\x00",
        "\x7f",
        "\ufffd",
    ),
    *(
        "<laugh>",
        "<sigh>",
        "<LAUGH>",
        "<custom_token_3>",
        "<custom_token_10>",
        "<custom_token_",
        "<|begin_of_text|>",
        "<|eot_id|>",
    ),
    *(
        "<|",
        "|>",
        "<spk_kavya>",
        "<|audio|>",
        "it's",
        "WE'LL",
        "12345",
        "3.14",
        "e\u0301",
        "\u0327",
        "👩‍👩‍👧",
        "🇮🇳",
        "½",
        "ﬁ",
        "...",
        "?!",
    ),
)
MORE = ("<laugh>", "<spk_kavya>", "<|audio|>", " spaced ")


@pytest.fixture(scope="module")
def orpheus_like(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(folder, SMALL_LAYOUT, MORE)
    return folder


@pytest.fixture
def folder(orpheus_like, tmp_path):
    return shutil.copytree(orpheus_like, tmp_path / "tokenizer")


def texts(random, count):
    """So many different texts."""
    made = {}
    while len(made) < count:
        parts = []
        for _ in range(random.integers(1, 12)):
            if random.random() < 0.5:
                parts.append(PIECES[random.integers(len(PIECES))])
            else:
                first, last = map(ord, SCRIPTS[random.integers(len(SCRIPTS))])
                parts.append("".join(map(chr, random.integers(first, last + 1, random.integers(1, 9)))))
        made["".join(parts)] = True
    return list(made)


def same(folder, random, codebook_size, count=1000):
    """Holds the plain tokenizer to transformers'."""
    plain, theirs = plain_tokenizer(folder), AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    assert plain.get_added_vocab() == theirs.get_added_vocab()
    for name in ("bos_token", "eos_token", "pad_token", "unk_token", "unk_token_id"):
        assert getattr(plain, name) == getattr(theirs, name), name
    assert len(plain) == len(theirs)
    layout = layout_of(plain, codebook_size)
    assert layout == layout_of(theirs, codebook_size)
    builders = [PromptBuilder(tokenizer, layout) for tokenizer in (plain, theirs)]
    for text in texts(random, count):
        ours, expected = (t(text, add_special_tokens=False, return_offsets_mapping=True) for t in (plain, theirs))
        assert ours["input_ids"] == expected["input_ids"], text
        assert ours["offset_mapping"] == [tuple(pair) for pair in expected["offset_mapping"]], text
        assert builders[0].prompt(text, "ann") == builders[1].prompt(text, "ann"), text
        assert plain.decode(ours["input_ids"]) == theirs.decode(ours["input_ids"])


def test_the_demo_voices_ids_are_those_of_transformers(random):
    same(DEMO_VOICE, random, 1024)


def test_an_orpheus_like_tokenizers_ids_are_those_of_transformers(orpheus_like, random):
    same(orpheus_like, random, SMALL_LAYOUT.codebook_size)


def change(folder, name="tokenizer_config.json", **changes):
    path = folder / name
    path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | changes))


def added(folder, **flags):
    listed = json.loads((folder / "tokenizer.json").read_text())["added_tokens"]
    return {str(token["id"]): {k: v for k, v in token.items() if k != "id"} | flags for token in listed}


@pytest.mark.parametrize(
    "prepare",
    [
        lambda folder: change(folder, unk_token="<custom_token_9>", pad_token="<custom_token_7>"),
        lambda folder: change(folder, eos_token={"content": "<laugh>", "lstrip": False, "__type": "AddedToken"}),
        lambda folder: change(folder, added_tokens_decoder=added(folder)),
        lambda folder: change(folder, additional_special_tokens=["<laugh>"], model_max_length=7),
        lambda folder: change(folder, "special_tokens_map.json", bos_token="<|eot_id|>"),
        lambda folder: change(folder, "added_tokens.json", **{"<laugh>": 492}),
        lambda folder: change(folder, "config.json", model_type="llama") or change(folder, tokenizer_class="PreTrainedTokenizer"),
        lambda folder: change(folder, add_bos_token=True, chat_template="{{ x }}"),
        lambda folder: change(folder, "tokenizer.json", truncation={"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}),
    ],
)  # fmt: skip
def test_what_a_tokenizers_files_may_say_besides(folder, random, prepare):
    prepare(folder)
    same(folder, random, SMALL_LAYOUT.codebook_size, 100)


@pytest.mark.parametrize(
    "prepare",
    [
        lambda folder: (folder / "tokenizer.json").unlink(),
        lambda folder: (folder / "tokenizer.json").write_text('{"version": "1.0"'),
        lambda folder: (folder / "tokenizer_config.json").unlink(),
        lambda folder: (folder / "tokenizer_config.json").write_text("[]"),
        lambda folder: change(folder, tokenizer_class="LlamaTokenizerFast"),
        lambda folder: change(folder, tokenizer_class="PreTrainedTokenizer"),
        lambda folder: change(folder, auto_map={"AutoTokenizer": ["own.Any", None]}),
        lambda folder: change(folder, "config.json", model_type="qwen2"),
        lambda folder: change(folder, eos_token="<not there>"),
        lambda folder: change(folder, extra_special_tokens={"audio": "<not there>"}),
        lambda folder: change(folder, added_tokens_decoder={"900": {"content": "<not there>", "special": True}}),
        lambda folder: change(folder, added_tokens_decoder=added(folder, lstrip=True)),
        lambda folder: change(folder, added_tokens_decoder=[1]),
        lambda folder: change(folder, split_special_tokens=True),
        lambda folder: change(folder, add_prefix_space=True),
        lambda folder: change(folder, "added_tokens.json", **{"<not there>": 900}),
    ],
)  # fmt: skip
def test_what_is_left_to_transformers(folder, prepare):
    assert plain_tokenizer(folder) is not None
    prepare(folder)
    assert plain_tokenizer(folder) is None


def test_a_tokenizer_beside_an_adapter(folder, tmp_path):
    """There is no config.json."""
    assert not (folder / "config.json").exists()
    assert plain_tokenizer(folder).convert_tokens_to_ids("<laugh>") == SMALL_LAYOUT.last_audio + 1
    assert plain_tokenizer(folder).convert_tokens_to_ids(["<|eot_id|>", "<nowhere>"]) == [257, None]
