"""What the ids of the model that is to learn mean, for data sets that are ids already. Loaded when somebody asks."""

from functools import cached_property
from pathlib import Path

from orpheus.common.errors import InputError, OrpheusError
from orpheus.common.hub import locate, read_json

TOKENIZER_FILES = ("config.json", "*token*", "vocab.json", "merges.txt")
_CODEBOOK = 4096  # of the hub's SNAC


class ModelTokens:
    """Layout and tokenizer of a checkpoint: a folder, or a hub id, of which only the tokenizer's files are fetched."""

    def __init__(self, checkpoint):
        self.checkpoint = checkpoint

    @cached_property
    def codebook_size(self):
        """Codes of each level of the model's own codec; of the hub's where it has none, or is not here."""
        config = Path(self.checkpoint).expanduser() / "codec" / "config.json"
        return read_json(config).get("codebook_size", _CODEBOOK) if config.is_file() else _CODEBOOK

    @cached_property
    def _prompts(self):
        try:
            return load_prompts(self.checkpoint, self.codebook_size)
        except OrpheusError as error:
            raise InputError(
                f"the data set's rows are token ids, and the tokenizer that reads them is not to be had: {error}. Name a model that is "
                "here with --model, or give codes and texts in columns of their own"
            ) from error

    @property
    def layout(self):
        return self._prompts.layout

    def text(self, ids):
        return self._prompts.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def load_prompts(checkpoint, codebook_size, *template):
    """PromptBuilder of a folder or a hub id, of which only the tokenizer's files are fetched. template: as PromptBuilder takes it"""
    from orpheus.engines.loading import load_tokenizer
    from orpheus.text.prompt import PromptBuilder, layout_of

    tokenizer = load_tokenizer(locate(checkpoint, TOKENIZER_FILES))
    return PromptBuilder(tokenizer, layout_of(tokenizer, codebook_size), *template)
