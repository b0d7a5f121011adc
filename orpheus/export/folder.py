"""The folder of an export: looked at, measured, and written whole or not at all."""

import math
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from orpheus.common.checkpoints import quantization
from orpheus.common.command import say
from orpheus.common.errors import InputError
from orpheus.common.files import whole_folder
from orpheus.common.hub import locate, read_json
from orpheus.common.places import Place, check_places, check_room, in_words
from orpheus.engines.loading import check_model, load_tokenizer
from orpheus.export.card import write_card
from orpheus.export.generations import for_both_generations
from orpheus.export.gguf import plan, require_gguf, write_gguf
from orpheus.export.gguf_metadata import EXAMPLE, Facts
from orpheus.export.llama import check_llama
from orpheus.export.merged import write_merged
from orpheus.export.options import K_QUANTS, OWN_KINDS
from orpheus.export.quantizer import find_quantizer
from orpheus.export.weights import open_weights
from orpheus.speech.adapters import DEMO_VOICE, check_adapter_fits, tokenizer_folder
from orpheus.speech.model import MODEL_FILES, resolve
from orpheus.text.description import write_description
from orpheus.text.identify import describe
from orpheus.text.prompt import PromptBuilder, layout_of

_LARGEST_K = 0.85  # bytes a value of q6_k, the largest kind with a k
_SPARE = 64_000_000  # bytes for tokenizer, codec and card


@dataclass(frozen=True)
class Source:
    """What is exported: names resolved, files here."""

    name: str  # of the model, as it was given
    folder: Path
    adapter: Path | None
    config: dict
    description: object
    tokenizer: Path  # the folder with the tokenizer to use
    tokens: int  # how many it knows, if it is the adapter's own
    codec: Path | None


def find_source(model, lora="none", lora_anyway=False, like=None, codec=None):
    """Resolves the names of a model and an adapter as speaking does, and checks that they fit. Raises InputError, CheckpointError."""
    resolved = resolve(model, lora, "auto", lora_anyway)
    if resolved.note:
        say(resolved.note)
    checkpoint, adapter = resolved.checkpoint, resolved.adapter
    description = describe(checkpoint, adapter, like)
    folder = locate(checkpoint, MODEL_FILES)
    config = read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
    if kind := quantization(config):
        raise InputError(
            f"{checkpoint} is a quantised copy of a model ({kind}): export the one in 16 bits that it was made from"
        )
    check_model(folder, "cpu", checkpoint)
    if not resolved.compared:
        check_adapter_fits(adapter, checkpoint, lora_anyway, folder)
    if description.guessed:
        from orpheus.speech.model import guess_of

        say(guess_of(description))
    tokenizer, tokens = tokenizer_folder(folder, adapter)
    name = DEMO_VOICE.name if checkpoint == str(DEMO_VOICE) else checkpoint
    return Source(name, folder, adapter, config, description, tokenizer, tokens, _codec(codec, folder))


def _codec(codec, folder):
    if codec is not None:
        return locate(codec, ("config.json", "model.safetensors", "pytorch_model.bin"))
    return folder / "codec" if (folder / "codec").is_dir() else None


def file_name(source):
    """What an export is called, of letters that every disk takes."""
    parts = [Path(source.name).name, *([Path(source.adapter).resolve().name] if source.adapter else [])]
    return re.sub(r"[^\w.-]+", "_", "-".join(parts)).strip("._")[:100] or "voice"


def gguf_name(name, kind):
    return f"{name}-{kind.upper()}.gguf"


def _layout(tokenizer, codec):
    """The TokenLayout, with the codec's number of codes; without a codec, with what the tokenizer has tokens for."""
    if codec is not None and (codec / "config.json").is_file():
        return layout_of(tokenizer, read_json(codec / "config.json").get("codebook_size"))
    known = sum(token.startswith("<custom_token_") for token in tokenizer.get_added_vocab())
    return layout_of(tokenizer, max(1, (known - 10) // 7))


def export(source, options):
    """Writes what ExportOptions ask for; returns the paths of the GGUF files, by kind.

    source: what `find_source` returns
    Raises InputError and CheckpointError before anything is written, OutputError.
    """
    options.check_something()
    name = options.name or file_name(source)
    read = [("--model", source.folder), ("--lora", source.adapter), ("--codec", source.codec)]
    check_places([Place("--out", options.out, "export")], read)
    quantize = None
    if options.gguf:
        require_gguf()
        check_llama(source.config, source.name)
        if set(options.gguf) & set(K_QUANTS):
            quantize, whose = find_quantizer()
            say(f"quantizing with {whose}")
    tokenizer = load_tokenizer(source.tokenizer)
    layout = _layout(tokenizer, source.codec)
    prompts = PromptBuilder(tokenizer, layout, source.description.prompt)
    example = tuple(prompts.prompt(EXAMPLE, source.description.default_voice))
    path = _tokenizer_json(source, options)
    facts = Facts(name, source.description, layout, path, base=_base(source), example=example)
    _check_room(source, options, name)
    weights = open_weights(source.folder, source.adapter, source.tokens)
    if weights.whole:
        say(f"this kind of adapter is merged with the whole model in memory: {in_words(weights.whole)}")
    with whole_folder(options.out, "export") as new:
        if options.merged:
            write_merged(new, source, weights)
        _write_ggufs(new, weights, source.config, options.gguf, facts, quantize)
        tokenizer.save_pretrained(new)
        for_both_generations(new)
        write_description(new, source.description)
        if source.codec:
            shutil.copytree(source.codec, new / "codec", ignore=shutil.ignore_patterns(".*"))
        write_card(new, source, facts, [gguf_name(name, kind) for kind in options.gguf], options.merged)
    return {kind: Path(options.out) / gguf_name(name, kind) for kind in options.gguf}


def _write_ggufs(folder, weights, config, kinds, facts, quantize):
    own = [kind for kind in kinds if kind in OWN_KINDS]
    for kind in own:
        write_gguf(folder / gguf_name(facts.name, kind), weights, config, kind, facts, True)
    others = [kind for kind in kinds if kind in K_QUANTS]
    if not others:
        return
    finest = next((kind for kind in ("f32", "bf16", "f16") if kind in own), None)
    source = folder / (gguf_name(facts.name, finest) if finest else ".source.gguf")
    if finest is None:
        write_gguf(source, weights, config, "bf16", facts, True)
    for kind in others:
        say(f"writing {gguf_name(facts.name, kind)}")
        quantize(source, folder / gguf_name(facts.name, kind), kind)
    if finest is None:
        source.unlink()


def _tokenizer_json(source, options):
    path = Path(source.tokenizer) / "tokenizer.json"
    if options.gguf and not path.is_file():
        raise InputError(
            f"{source.tokenizer} has no tokenizer.json, which a GGUF file's vocabulary is made from. Load it once with "
            "transformers' AutoTokenizer, and save it there with save_pretrained"
        )
    return path


def _base(source):
    return source.name if source.adapter is None else f"{source.name} with the adapter {Path(source.adapter).name}"


def _check_room(source, options, name):
    """Refuses an export that would fill the disk."""
    weights = open_weights(source.folder)  # an adapter adds nothing to speak of
    values = sum(math.prod(shape) for shape in weights.shapes.values())
    needed = _SPARE + (2 * values if options.merged else 0)
    for kind in options.gguf:
        needed += plan(weights, source.config, kind, name).size if kind in OWN_KINDS else int(_LARGEST_K * values)
    if set(options.gguf) & set(K_QUANTS) and not {"f32", "bf16", "f16"} & set(options.gguf):
        needed += 2 * values  # the source of the quantizer
    check_room([("--out", options.out, needed)])
