"""A model's tokenizer by the package `tokenizers` alone: `transformers` takes seconds to import, and copies every added token.

Only what is plain is read here, and exactly as `transformers` reads it; everything else is left to it, faults included.
"""

from pathlib import Path

from orpheus.common.hub import read_json

_ANY = ("PreTrainedTokenizerFast", "TokenizersBackend")  # the classes that take tokenizer.json as it is
_OF_A_LLAMA = (*_ANY, "PreTrainedTokenizer")  # beside a Llama's config.json this one means the same
_MARKS = ("bos_token", "eos_token", "pad_token", "unk_token")
# What tokenizer_config.json may say without a change to a text's ids.
_WITHOUT_EFFECT = {
    *("tokenizer_class", "processor_class", "name_or_path", "tokenizer_file", "special_tokens_map_file", "backend"),
    *("is_local", "local_files_only", "use_fast", "legacy", "chat_template", "clean_up_tokenization_spaces"),
    *("model_max_length", "model_input_names", "padding_side", "truncation_side", "truncation_strategy", "max_length"),
    *("stride", "pad_to_multiple_of", "pad_token_type_id", "add_bos_token", "add_eos_token"),
}
_READ = {"added_tokens_decoder", "extra_special_tokens", "additional_special_tokens"}
_FLAGS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": True}


class PlainTokenizer:
    """What PromptBuilder needs of a tokenizer, with transformers' names. Text becomes ids without any tokens around it.

    tokenizer: tokenizers.Tokenizer; marks: {"bos_token": "<s>", ...}; name: for messages
    """

    def __init__(self, tokenizer, marks, name):
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self.name_or_path, self._tokenizer = str(name), tokenizer
        self.bos_token, self.eos_token, self.pad_token, self.unk_token = (marks.get(mark) for mark in _MARKS)
        self.unk_token_id = None if self.unk_token is None else tokenizer.token_to_id(self.unk_token)

    def __call__(self, text, add_special_tokens=False, return_offsets_mapping=False):
        """{"input_ids": [int], "offset_mapping": [(first character, end)]} of a text."""
        encoded = self._tokenizer.encode(text, add_special_tokens=add_special_tokens)
        found = {"input_ids": encoded.ids}
        return found | {"offset_mapping": encoded.offsets} if return_offsets_mapping else found

    def __len__(self):
        return self._tokenizer.get_vocab_size(with_added_tokens=True)

    def convert_tokens_to_ids(self, token):
        """A token's id, else that of the unknown token, else None; of several, a list."""
        if not isinstance(token, str):
            return [self.convert_tokens_to_ids(one) for one in token]
        index = self._tokenizer.token_to_id(token)
        return self.unk_token_id if index is None else index

    def get_added_vocab(self):
        """{token: id} of the added tokens, in the order of their ids."""
        added = self._tokenizer.get_added_tokens_decoder()
        return {token.content: index for index, token in sorted(added.items(), key=lambda item: item[0])}

    def decode(self, ids, skip_special_tokens=False):
        """The text of ids."""
        return self._tokenizer.decode(list(map(int, ids)), skip_special_tokens=skip_special_tokens)


def plain_tokenizer(folder):
    """The PlainTokenizer of a folder; None where there is anything that takes `transformers` to load or to complain about."""
    from tokenizers import Tokenizer

    folder = Path(folder)
    if not (folder / "tokenizer.json").is_file():
        return None
    try:
        config = read_json(folder / "tokenizer_config.json")
        if not _is_plain(config, folder):
            return None
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        marks = _marks(config, folder, tokenizer.get_added_tokens_decoder())
    except Exception:  # tokenizers raises bare Exceptions; what transformers says of the same folder is shown
        return None
    return None if marks is None else PlainTokenizer(tokenizer, marks, folder)


def _is_plain(config, folder):
    """Whether a tokenizer_config.json asks for nothing but tokenizer.json."""
    of_a_llama = False
    if (folder / "config.json").is_file():
        of_a_llama = read_json(folder / "config.json").get("model_type") == "llama"
        if not of_a_llama:
            return False
    if config.get("tokenizer_class") not in (_OF_A_LLAMA if of_a_llama else _ANY):
        return False
    others = {
        name: value
        for name, value in config.items()
        if name not in _WITHOUT_EFFECT | _READ and not name.endswith("_token")
    }
    return not any(others.values())


def _content(token):
    """A special token as it is written in a configuration: text, or an object with its `content`."""
    return token.get("content") if isinstance(token, dict) else token


def _marks(config, folder, added):
    """{"bos_token": token, ...}; None where the files name tokens that tokenizer.json does not have, or has otherwise.

    added: {id: AddedToken} of tokenizer.json
    """
    contents, named = {token.content for token in added.values()}, dict(config)
    if "added_tokens_decoder" in config:
        for index, token in config["added_tokens_decoder"].items():
            there = added.get(int(index))
            if there is None or there.content != token["content"]:
                return None
            if any(getattr(there, flag) != token.get(flag, usual) for flag, usual in _FLAGS.items()):
                return None
    else:
        if (folder / "special_tokens_map.json").is_file():
            named |= read_json(folder / "special_tokens_map.json")
        if (folder / "added_tokens.json").is_file() and not contents >= read_json(folder / "added_tokens.json").keys():
            return None
    marks = {name: _content(token) for name, token in named.items() if name.endswith("_token") and token is not None}
    marks = {name: token for name, token in marks.items() if not isinstance(token, bool)}  # add_bos_token
    more = [named.get(name) or [] for name in ("extra_special_tokens", "additional_special_tokens")]
    wanted = [*marks.values(), *(_content(t) for m in more for t in (m.values() if isinstance(m, dict) else m))]
    return marks if all(isinstance(token, str) and token in contents for token in wanted) else None
