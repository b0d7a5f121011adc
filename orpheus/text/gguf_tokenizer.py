"""The tokenizer that a GGUF file carries, by the package `tokenizers` alone."""

import json
from pathlib import Path

from orpheus.common.errors import CheckpointError
from orpheus.common.hub import brief
from orpheus.text.tokenizer import PlainTokenizer

# How text is cut before merges: `pretokenize` of Llama 3's tokenizer.json, which llama.cpp calls llama-bpe.
_LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_PRE = ("llama-bpe", "llama3", "llama-v3")
_GPT2 = "gpt-2"  # cut as by the byte level's own pattern; merges are always followed
_CONTROL, _DEFINED = 3, 4  # kinds of tokens that are matched as they are spelled
_CURE = "put the tokenizer.json of the model that it was made from beside it"


def _build(values):
    """A `tokenizers.Tokenizer` of a GGUF's metadata. Raises ValueError, KeyError."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

    if isinstance(whole := values.get("tokenizer.huggingface.json"), str):
        return Tokenizer.from_str(whole)
    model, pre = values.get("tokenizer.ggml.model"), values.get("tokenizer.ggml.pre", "default")
    tokens, kinds = values.get("tokenizer.ggml.tokens"), values.get("tokenizer.ggml.token_type")
    if model != "gpt2" or not isinstance(tokens, list) or not isinstance(kinds, list) or len(tokens) != len(kinds):
        raise ValueError(f"its tokenizer is {model!r:.40}, not the byte-level one of Llama 3")
    added = [i for i, kind in enumerate(kinds) if kind in (_CONTROL, _DEFINED)]
    apart = set(added)
    vocabulary = {token: i for i, token in enumerate(tokens) if i not in apart}
    merges = [tuple(merge.split(" ")) for merge in values.get("tokenizer.ggml.merges", ())]
    merges = [
        m for m in merges if len(m) == 2 and {*m, "".join(m)} <= vocabulary.keys()
    ]  # some hold one to please llama.cpp
    if pre not in (*_PRE, _GPT2) and merges:
        raise ValueError(f"its way of cutting text is {pre!r:.40}; known are {_PRE[0]} and {_GPT2}")
    as_gpt2 = bool(merges) and pre == _GPT2
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, ignore_merges=bool(merges) and not as_gpt2))
    cut = [pre_tokenizers.Split(Regex(_LLAMA3), "isolated")] if merges and not as_gpt2 else []
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [*cut, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=as_gpt2)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens([AddedToken(tokens[i], normalized=False, special=kinds[i] == _CONTROL) for i in added])
    wrong = next((tokens[i] for i in added if tokenizer.token_to_id(tokens[i]) != i), None)
    if wrong is None:
        return tokenizer
    # Ids that were not given in one run: written out, each token keeps its own.
    stored = json.loads(tokenizer.to_str())
    for token in stored["added_tokens"]:
        token["id"] = tokens.index(token["content"])
    return Tokenizer.from_str(json.dumps(stored))


def tokenizer_of(gguf):
    """The PlainTokenizer of a GgufFile: of tokenizer.json beside the file, else of what its metadata holds. Raises CheckpointError."""
    from tokenizers import Tokenizer

    beside, values = Path(gguf.path).parent / "tokenizer.json", gguf.values
    try:
        tokenizer = Tokenizer.from_file(str(beside)) if beside.is_file() else _build(values)
    except Exception as error:  # tokenizers raises plain Exceptions
        raise CheckpointError(f"the tokenizer in {gguf.path} cannot be used ({brief(error)}): {_CURE}") from error
    tokens = values.get("tokenizer.ggml.tokens") or ()
    marks = {
        f"{mark}_token": tokens[index]
        for mark, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding"))
        if isinstance(index := values.get(f"tokenizer.ggml.{key}_token_id"), int) and 0 <= index < len(tokens)
    }
    tokenizer.add_special_tokens([mark for mark in marks.values() if tokenizer.token_to_id(mark) is not None])
    return PlainTokenizer(tokenizer, marks, gguf.path)
