"""Prompts and training examples: the only file that knows their layout.

    prompt    SOH BOS text EOT EOH SOA SOS
    example   SOH BOS text EOT EOH SOA SOS codes EOS EOA

`text` is "voice: text" if there are several speakers, else the plain text. Relatives of Orpheus-3B say the voice in another way,
each in a row of FORMATS. Everything is built from ids: decoding a prompt and tokenizing it again adds a second BOS, and would
turn a control string typed by a user into a control token. Other added tokens of a tokenizer (`<laugh>` of Maya1) reach the model
as what they are.
"""

import re
from dataclasses import dataclass

from orpheus.common.errors import CheckpointError, InputError
from orpheus.common.frame import CODES_PER_FRAME
from orpheus.text.tags import SPEAKER_TOKEN

IGNORE = -100  # a label that the loss ignores


@dataclass(frozen=True)
class PromptFormat:
    """How a model wants its text: names of TokenLayout's tokens, or tokens in their own spelling, around the voice and the text."""

    voiced: str  # voice and text; without a voice it is the text alone
    opening: tuple = ()  # before everything, references included
    human: tuple = ("start_of_human", "begin_of_text")
    after: tuple = ("end_of_turn", "end_of_human")
    speech: tuple = ("start_of_ai", "start_of_speech")
    ending: tuple = ("end_of_speech", "end_of_ai")  # after the codes
    voice_token: bool = False  # whether a token, `<spk_name>`, stands for the voice, before the text
    free_voice: bool = False  # whether a voice is any words, not one of a list


FORMATS = {
    "orpheus": PromptFormat("{voice}: {text}"),
    # kenpath/svara-tts-v1, after the encoder of github.com/Kenpath/svara-tts-inference. Voices are "Hindi (Female)" and the like.
    "svara": PromptFormat(
        "{voice}: {text}",
        opening=("begin_of_text",),
        human=("start_of_human", "<|audio|>"),
        after=("end_of_human", "end_of_turn"),
        ending=("end_of_speech", "end_of_ai", "end_of_turn"),
    ),
    # maya-research/maya1, after build_prompt of its model card: the voice is described in words.
    "description": PromptFormat('<description="{voice}"> {text}', free_voice=True),
    # maya-research/Veena, after generate_speech of its model card: the voice is a token, there is neither BOS nor EOT.
    "speaker_token": PromptFormat("{text}", human=("start_of_human",), after=("end_of_human",), voice_token=True),
}


def layout_of(tokenizer, codebook_size):
    """The TokenLayout of a tokenizer with Orpheus' `<custom_token_N>`. Raises CheckpointError if it has none."""
    from orpheus.common.tokens import (
        CONTROL_TOKENS,
        TokenLayout,
    )  # late, as numpy below: speaking says at once who speaks

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


_CONTROL = re.compile(r"<\|.*\|>|<custom_token_\d+>", re.S)


def _never_typed(tokenizer):
    """Ids of the tokens that a text can't ask for: Orpheus' control strings, a tokenizer's own marks, and speakers."""
    marks = (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token, tokenizer.unk_token)
    return frozenset(
        index
        for token, index in tokenizer.get_added_vocab().items()
        if _CONTROL.fullmatch(token) or SPEAKER_TOKEN.fullmatch(token) or token in marks
    )


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
    """Builds ids for one tokenizer and layout, in a format of FORMATS."""

    def __init__(self, tokenizer, layout, format="orpheus"):
        self.tokenizer, self.layout, self.format = tokenizer, layout, FORMATS[format]
        self._control_ids = _never_typed(tokenizer)
        ids = tokenizer.get_added_vocab() if self.format.voice_token else {}
        self._voices = {
            match[1]: ids[token] for token in sorted(ids, key=ids.get) if (match := SPEAKER_TOKEN.fullmatch(token))
        }
        self._opening, self._human, self._after, self._speech, self._ending = (
            self._ids(names)
            for names in (
                self.format.opening,
                self.format.human,
                self.format.after,
                self.format.speech,
                self.format.ending,
            )
        )

    def _ids(self, names):
        return [self._token(name) if name.startswith("<") else getattr(self.layout, name) for name in names]

    def _token(self, token):
        index = self.tokenizer.convert_tokens_to_ids(token)
        if index is None or index == self.tokenizer.unk_token_id:
            raise CheckpointError(
                f"the tokenizer {self.tokenizer.name_or_path!r} has no {token}, which this model's prompts need: use the tokenizer "
                "that belongs to the model, or say what the model is like: --like orpheus-3b-ft"
            )
        return index

    def voice_tokens(self):
        """Names of the voices that the tokenizer has a token for, in the order of their ids; () where voices are no tokens."""
        return tuple(self._voices)

    def text_ids(self, text, voice=None):
        """Ids of a text with its voice, without the tokens around them. Raises InputError for a voice that has no token."""
        if voice is None:
            return self._plain(text)
        if not self.format.voice_token:
            return self._plain(self.format.voiced.format(voice=self._written(voice), text=text))
        if voice not in self._voices:
            raise InputError(
                f"the voice {voice!r} has no token in the model's vocabulary; it has {', '.join(self._voices) or 'none'}: voices of this "
                "model are tokens, so no other name can be spoken or learnt"
            )
        return [self._voices[voice], *self._plain(f" {text}")]

    def _plain(self, text):
        return _encode_plain(self.tokenizer, text, self._control_ids)

    def _written(self, voice):
        """A description stands in quotes on one line."""
        return " ".join(voice.split()).replace('"', "'") if self.format.free_voice else voice

    def _turn(self, text, voice):
        return [*self._human, *self.text_ids(text, voice), *self._after, *self._speech]

    def prompt(self, text, voice=None, references=()):
        """The prompt's ids, a list ending with start-of-speech: the next token is the first audio code.

        references: [(text, codes)] of clips whose voice is to be taken, in their order: complete examples before the prompt
        """
        before = [
            token
            for said, codes in references
            for token in (*self._turn(said, voice), *self.layout.to_tokens(codes).tolist(), *self._ending)
        ]
        return [*self._opening, *before, *self._turn(text, voice)]

    def training_example(self, text, codes, voice=None):
        """One example for training.

        codes: (frames, 7) in frame order
        returns: (input_ids, labels), int64 of equal length; labels are IGNORE on the prompt, so that the loss covers
        the audio and the tokens that end it
        """
        import numpy as np

        prompt = self.prompt(text, voice)
        audio = [*self.layout.to_tokens(codes).tolist(), *self._ending]
        input_ids = np.array(prompt + audio, dtype=np.int64)
        labels = input_ids.copy()
        labels[: len(prompt)] = IGNORE
        return input_ids, labels
