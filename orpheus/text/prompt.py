"""Prompts and training examples: the only file that knows their layout.

    prompt    SOH BOS text EOT EOH SOA SOS
    example   SOH BOS text EOT EOH SOA SOS codes EOS EOA

`text` is "voice: text" if there are several speakers, else the plain text. Everything is built from ids: decoding a
prompt and tokenizing it again adds a second BOS, and would turn a control string typed by a user into a control token.
"""

import numpy as np

from orpheus.common.errors import CheckpointError
from orpheus.common.frame import CODES_PER_FRAME
from orpheus.common.tokens import CONTROL_TOKENS, TokenLayout

IGNORE = -100  # a label that the loss ignores


def layout_of(tokenizer, codebook_size):
    """The TokenLayout of a tokenizer with Orpheus' `<custom_token_N>`. Raises CheckpointError if it has none."""
    ids = {}
    last = CONTROL_TOKENS + CODES_PER_FRAME * codebook_size - 1
    for token in ("<|begin_of_text|>", "<|eot_id|>", "<custom_token_0>", f"<custom_token_{last}>"):
        ids[token] = tokenizer.convert_tokens_to_ids(token)
        if ids[token] is None or ids[token] == tokenizer.unk_token_id:
            raise CheckpointError(
                f"the tokenizer {tokenizer.name_or_path!r} has no {token}: it is not an Orpheus tokenizer for a codec with "
                f"{codebook_size} codes per level. Use the tokenizer that belongs to the model"
            )
    base = ids["<custom_token_0>"]
    if ids[f"<custom_token_{last}>"] != base + last:
        raise CheckpointError(
            f"the tokenizer {tokenizer.name_or_path!r} has gaps in the ids of <custom_token_0..{last}>. "
            "Use the tokenizer that belongs to the model"
        )
    return TokenLayout(codebook_size, base, ids["<|begin_of_text|>"], ids["<|eot_id|>"])


def _encode_plain(tokenizer, text, control_ids):
    """Ids of `text`, with every control string in it treated as plain text.

    The tokenizer matches an added token wherever its spelling appears; cutting the text after the first character of
    the spelling leaves two halves that only ordinary merges can touch.
    """
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    tokens = zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
    cuts = [start + 1 for token, (start, _) in tokens if token in control_ids]
    if not cuts:
        return encoded["input_ids"]
    parts = (text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True))
    return [token for part in parts for token in _encode_plain(tokenizer, part, control_ids)]


class PromptBuilder:
    """Builds ids for one tokenizer and layout."""

    def __init__(self, tokenizer, layout):
        self.tokenizer, self.layout = tokenizer, layout
        self._control_ids = frozenset(tokenizer.get_added_vocab().values())

    def text_ids(self, text, voice=None):
        return _encode_plain(self.tokenizer, text if voice is None else f"{voice}: {text}", self._control_ids)

    def prompt(self, text, voice=None):
        """The prompt's ids, a list ending with start-of-speech: the next token is the first audio code."""
        t = self.layout
        text_ids = self.text_ids(text, voice)
        return [
            t.start_of_human,
            t.begin_of_text,
            *text_ids,
            t.end_of_turn,
            t.end_of_human,
            t.start_of_ai,
            t.start_of_speech,
        ]

    def training_example(self, text, codes, voice=None):
        """One example for training.

        codes: (frames, 7) in frame order
        returns: (input_ids, labels), int64 of equal length; labels are IGNORE on the prompt, so that the loss covers
        the audio and the two tokens that end it
        """
        t = self.layout
        prompt = self.prompt(text, voice)
        audio = [*t.to_tokens(codes).tolist(), t.end_of_speech, t.end_of_ai]
        input_ids = np.array(prompt + audio, dtype=np.int64)
        labels = input_ids.copy()
        labels[: len(prompt)] = IGNORE
        return input_ids, labels
