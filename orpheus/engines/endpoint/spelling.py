"""Ids as text and back, for servers that take and answer only text.

    sent        <|audio|>voice: text<|eot_id|>          where the model knows `<|audio|>`: how its published GGUFs are asked
                each token in its own spelling          else
    answered    <custom_token_4><custom_token_5><custom_token_1><custom_token_1234>...

What the prompt's end lacks, the model writes itself: those tokens are left out of what is answered.
"""

import re

from orpheus.common.errors import InputError
from orpheus.common.tokens import CONTROL_TOKENS

_TOKEN = re.compile(r"<custom_token_(\d{1,9})>")
_CONTROL = re.compile(r"<\|[^|<>]{0,60}\|>|<custom_token_\d+>")
_OPEN = re.compile(
    "<(?:custom_token_\\d{0,9}|" + "|".join("custom_token_"[:n] for n in range(13)) + ")"
)  # one that is cut off
_MARK = "<|audio|>"
_TEXT_ID = 0  # stands for text where a token was due: out of range for every position


class Spelling:
    """How a tokenizer's prompts are written. tokenizer: with `decode`, `convert_ids_to_tokens` and `get_added_vocab`."""

    def __init__(self, tokenizer, layout):
        self._tokenizer, self.layout = tokenizer, layout
        self._added = {index: token for token, index in tokenizer.get_added_vocab().items()}
        self._has_mark = _MARK in self._added.values()

    def prompt(self, ids):
        """A prompt's text. Raises InputError where the text to speak holds what a server would take for a control token."""
        layout = self.layout
        before = [layout.start_of_human, layout.begin_of_text]
        after = [layout.end_of_turn, layout.end_of_human, layout.start_of_ai, layout.start_of_speech]
        ids = list(ids)
        inner = ids[len(before) : -len(after)]
        plain = ids == [*before, *inner, *after] and not self._added.keys() & set(inner)
        if self._has_mark and plain:
            return f"{_MARK}{self._plain(inner)}{self._added[layout.end_of_turn]}"
        return self._spelled(ids)

    def so_far(self, prompt, done):
        """The prompt's text with the audio tokens that were answered already."""
        text = self.prompt(prompt)
        if not done:
            return text
        missing = "" if text.endswith(self._added[prompt[-1]]) else self._spelled(prompt[-3:])
        return text + missing + self._spelled(done)

    def _spelled(self, ids):
        parts, run = [], []
        for index in ids:
            if index in self._added:
                parts += [self._plain(run), self._added[index]]
                run = []
            else:
                run.append(index)
        return "".join([*parts, self._plain(run)])

    def _plain(self, ids):
        text = self._tokenizer.decode(list(ids), skip_special_tokens=False) if ids else ""
        if found := _CONTROL.search(text):
            raise InputError(
                f"the text holds {found[0]!r}, which a server that takes text would read as a control token: leave it out, or use "
                "a server that takes ids (llama.cpp, vLLM, SGLang)"
            )
        return text


class TokenReader:
    """Reads tokens out of text that comes in pieces, cut anywhere."""

    def __init__(self, layout, resumed=False):
        self._layout, self._rest, self._begun = layout, "", resumed
        self.other = ""  # text before the first audio token, which is none

    def read(self, text):
        """The ids of the tokens that are complete. Text after the first of them stands as an id that is out of range."""
        self._rest += text
        ids, place = [], 0
        for match in _TOKEN.finditer(self._rest):
            ids += self._between(self._rest[place : match.start()]) + self._of(int(match[1]))
            place = match.end()
        self._rest = self._rest[place:]
        cut = self._rest.rfind("<")
        keep = self._rest[cut:] if cut >= 0 and _OPEN.fullmatch(self._rest[cut:]) else ""
        ids += self._between(self._rest[: len(self._rest) - len(keep)])
        self._rest = keep
        return ids

    def _of(self, number):
        layout = self._layout
        skipped = (layout.end_of_human, layout.start_of_ai, layout.start_of_speech)
        if not self._begun and layout.base + number in skipped:
            return []
        self._begun = self._begun or number >= CONTROL_TOKENS
        return [layout.base + number]

    def _between(self, text):
        if not text.strip():
            return []
        if self._begun:
            return [_TEXT_ID]
        self.other += text
        return []
