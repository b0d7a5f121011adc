"""Writes the demo voice's tokenizer: bytes, and the control and audio tokens by Orpheus' names."""

from __future__ import annotations

import argparse
import json
import os

from orpheus.common.frame import CODES_PER_FRAME
from orpheus.common.tokens import CONTROL_TOKENS, TokenLayout

BYTES = 256
BEGIN_OF_TEXT, END_OF_TURN = "<|begin_of_text|>", "<|eot_id|>"


def demo_layout(codebook_size: int) -> TokenLayout:
    """Ids 0-255 are bytes, then <|begin_of_text|>, <|eot_id|>, <custom_token_0>, ..."""
    return TokenLayout(codebook_size, base=BYTES + 2, begin_of_text=BYTES, end_of_turn=BYTES + 1)


def vocabulary_size(codebook_size: int) -> int:
    return demo_layout(codebook_size).last_audio + 1


def byte_symbols() -> list[str]:
    """The printable characters that stand for the bytes 0-255 in a byte-level vocabulary (GPT-2's table)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    symbols, spare = [], 256
    for byte in range(256):
        if byte in printable:
            symbols.append(chr(byte))
        else:
            symbols.append(chr(spare))
            spare += 1
    return symbols


def write_tokenizer(folder: str, codebook_size: int) -> None:
    """tokenizer.json and tokenizer_config.json, without the spaces that would double their size."""
    layout = demo_layout(codebook_size)
    names = [(BEGIN_OF_TEXT, True), (END_OF_TURN, True)]
    names += [(f"<custom_token_{n}>", False) for n in range(CONTROL_TOKENS + CODES_PER_FRAME * codebook_size)]
    added = [
        dict(
            id=BYTES + n, content=name, single_word=False, lstrip=False, rstrip=False, normalized=False, special=special
        )
        for n, (name, special) in enumerate(names)
    ]
    level = dict(type="ByteLevel", add_prefix_space=False, trim_offsets=False, use_regex=False)
    tokenizer = dict(
        version="1.0",
        truncation=None,
        padding=None,
        added_tokens=added,
        normalizer=None,
        pre_tokenizer=level,
        post_processor=None,
        decoder=level,
        model=dict(
            type="BPE",
            dropout=None,
            unk_token=None,
            continuing_subword_prefix=None,
            end_of_word_suffix=None,
            fuse_unk=False,
            byte_fallback=False,
            ignore_merges=False,
            vocab={symbol: byte for byte, symbol in enumerate(byte_symbols())},
            merges=[],
        ),
    )
    config = dict(
        tokenizer_class="PreTrainedTokenizerFast",
        bos_token=BEGIN_OF_TEXT,
        eos_token=f"<custom_token_{layout.end_of_speech - layout.base}>",
        pad_token=f"<custom_token_{layout.pad - layout.base}>",
        clean_up_tokenization_spaces=False,
        model_max_length=2048,
    )
    os.makedirs(folder, exist_ok=True)
    for name, content in (("tokenizer.json", tokenizer), ("tokenizer_config.json", config)):
        with open(f"{folder}/{name}", "w", encoding="utf-8") as file:
            json.dump(content, file, ensure_ascii=False, separators=(",", ":"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--codebook-size", type=int, default=1024)
    options = parser.parse_args()
    write_tokenizer(options.folder, options.codebook_size)


if __name__ == "__main__":
    main()
