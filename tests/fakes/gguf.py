"""GGUF files of our own making, without the package `gguf` and without weights that mean anything."""

import struct

TYPES = {bool: (7, "?"), int: (4, "I"), float: (6, "f")}


def _text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value):
    if isinstance(value, str):
        return struct.pack("<I", 8) + _text(value)
    if isinstance(value, list):
        kind, rest = (
            (8, b"".join(map(_text, value)))
            if isinstance(value[0], str)
            else (4, struct.pack(f"<{len(value)}I", *value))
        )
        return struct.pack("<IIQ", 9, kind, len(value)) + rest
    kind, code = TYPES[type(value)]
    return struct.pack(f"<I{code}", kind, value)


def gguf_bytes(values, tensors=(("token_embd.weight", 0),), version=3):
    """A file with this metadata, {key: value}, and tensors, (name, kind) each, of one element."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(values))
    pairs = b"".join(_text(key) + _value(value) for key, value in values.items())
    return (
        head + pairs + b"".join(_text(name) + struct.pack("<IQIQ", 1, 1, kind, 0) for name, kind in tensors) + bytes(64)
    )


def tokenizer_values(folder):
    """The metadata of a tokenizer.json like the demo voice's: bytes and added tokens."""
    import json

    stored = json.loads((folder / "tokenizer.json").read_text())
    texts = {index: text for text, index in stored["model"]["vocab"].items()}
    kinds = dict.fromkeys(texts, 1)
    for token in stored["added_tokens"]:
        texts[token["id"]], kinds[token["id"]] = token["content"], 3 if token["special"] else 4
    count = 1 + max(texts)
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "llama-bpe",
        "tokenizer.ggml.tokens": [texts.get(i, f"[PAD{i}]") for i in range(count)],
        "tokenizer.ggml.token_type": [kinds.get(i, 5) for i in range(count)],
        "tokenizer.ggml.merges": ["\u0120 \u0120"],
    }
