"""Models whose weights another program runs: a server at an address, or llama.cpp with a GGUF. What is loaded here is the tokenizer and
the codec.
"""

import warnings
from dataclasses import replace
from pathlib import Path

from orpheus.common.checkpoints import check_within, explain
from orpheus.common.command import say
from orpheus.common.errors import InputError, OrpheusWarning
from orpheus.common.gguf import is_gguf, read_gguf
from orpheus.common.hub import locate
from orpheus.common.options import LORA_DIR, ORPHEUS_3B
from orpheus.engines.loading import load_tokenizer
from orpheus.engines.options import EndpointOptions
from orpheus.speech.adapters import DEMO_VOICE
from orpheus.speech.model import MODEL_FILES, LoadedModel, choose_device, find_codec, guess_of
from orpheus.text.identify import describe

_FILES = tuple(pattern for pattern in MODEL_FILES if "safetensors" not in pattern and not pattern.startswith("adapter"))


def refuse_adapter(lora, runs):
    """An adapter's weights are not ours to add. runs: who has the weights, in words. Raises InputError for one that was named."""
    if lora not in (None, "none", "", "auto"):
        raise InputError(
            f"--lora {lora} cannot be added to weights that {runs}: merge it into its model first, and have that run. Leave --lora out"
        )
    if lora == "auto" and (Path(LORA_DIR) / "adapter_config.json").exists():
        say(f"{LORA_DIR}/ is not used: {runs}")


def load_endpoint(model, lora, codec, device, like, options):
    """A LoadedModel that a server runs. options: EndpointOptions; the others as for load_model.

    Raises InputError, CheckpointError, EndpointError.
    """
    if options.url is None:
        raise InputError("--engine endpoint needs the server's address: --url http://localhost:8080")
    from orpheus.engines.endpoint.client import Client, key_from_environment
    from orpheus.engines.endpoint.engine import EndpointEngine
    from orpheus.engines.endpoint.finding import find
    from orpheus.engines.endpoint.spelling import Spelling

    refuse_adapter(lora, f"{options.url} runs")
    device = choose_device(device)
    checkpoint = _named(model)
    client = Client(options.url, key_from_environment())
    found = find(client, options.dialect, options.served_model)
    told = [f"{client.url} speaks {found.dialect.name}"] if options.dialect == "auto" else []
    told += [f"it runs {found.model}"] if found.model else []
    told += [f"tokenizer, voices and codec are those of {checkpoint} (--model names others)"] if model == "auto" else []
    if told:
        say("; ".join(told))
    if found.dialect.differs:
        say(found.dialect.differs)
    parts = _load_parts(checkpoint, codec, device, like)
    tokenizer, prompts = parts[0], parts[1]
    spelling = Spelling(tokenizer, prompts.layout)
    engine = EndpointEngine(client, found, prompts.layout, spelling, len(tokenizer))
    return LoadedModel(f"{_shown(checkpoint)} at {client.url}", engine, *parts[1:])


def _named(model):
    """The checkpoint whose tokenizer and codec are meant."""
    if model in ("auto", None):
        return ORPHEUS_3B
    return str(DEMO_VOICE) if model == "demo" else str(model)


def _shown(checkpoint):
    return DEMO_VOICE.name if checkpoint == str(DEMO_VOICE) else checkpoint


def load_gguf(path, lora, codec, device, like, engine="auto"):
    """A LoadedModel of a GGUF file, which llama.cpp runs in this process; the arguments as for load_model.

    Raises InputError, CheckpointError.
    """
    if engine not in ("auto", "llama.cpp"):
        raise InputError(f"{path} is a GGUF file, which --engine {engine} does not read: --engine llama.cpp does")
    from orpheus.engines.llama_cpp import LlamaCppEngine, load_package

    load_package()  # before anything is read
    refuse_adapter(lora, "are in a GGUF")
    device = choose_device(device)
    parts = _load_parts(path, codec, device, like)
    gguf = read_gguf(path)
    engine = LlamaCppEngine(gguf.path, parts[1].layout, len(parts[0]), gguf.full, gpu=not device.startswith("cpu"))
    return LoadedModel(str(path), engine, *parts[1:])


def refuse_no_gguf(model):
    """The error for --engine llama.cpp with something that is no GGUF file."""
    found = sorted(Path(model).expanduser().glob("*.gguf")) if str(model) and Path(model).expanduser().is_dir() else []
    cure = f"--model {found[0]}" if found else "--model voice.gguf; python -m orpheus.export writes one"
    return InputError(f"--engine llama.cpp runs GGUF files, and {model!r} is none: {cure}")


def _load_parts(checkpoint, codec, device, like):
    """(tokenizer, prompts, codec, description) of a model whose weights are not read: a folder, a hub id or a GGUF file."""
    from orpheus.codec.snac import Codec
    from orpheus.text.gguf_tokenizer import tokenizer_of
    from orpheus.text.prompt import PromptBuilder, layout_of
    from orpheus.text.tokenizer import plain_tokenizer

    path = Path(checkpoint).expanduser()
    if path.is_file() and not is_gguf(path):
        raise InputError(f"--model: {explain(path, '--model')}")
    description = describe(checkpoint, None, like)
    if is_gguf(path):
        folder, tokenizer = path.parent, None
    else:
        folder = locate(checkpoint, _FILES)
        check_within(folder, weights=False)
        tokenizer = plain_tokenizer(folder) or load_tokenizer(folder)
    codec_folder = find_codec(codec, folder)
    if description.guessed:
        warnings.warn(guess_of(description), OrpheusWarning, stacklevel=4)
    sound = Codec.from_folder(codec_folder, device)
    tokenizer = tokenizer or tokenizer_of(read_gguf(path))
    prompts = PromptBuilder(tokenizer, layout_of(tokenizer, sound.codebook_size), description.prompt)
    voices = tuple(dict.fromkeys((*description.voices, *prompts.voice_tokens())))
    return tokenizer, prompts, sound, replace(description, voices=voices)


def options_of(engine, url, dialect, served_model):
    """(engine, EndpointOptions): an address means the endpoint engine. Raises InputError for an address with another engine."""
    options = EndpointOptions(url, dialect, served_model)
    if url is not None and engine not in ("auto", "endpoint"):
        raise InputError(f"--url is for --engine endpoint, not for --engine {engine}: leave one of them out")
    if url is None and (dialect != "auto" or served_model):
        raise InputError("--dialect and --served-model say more of a server: give its address with --url")
    return ("endpoint" if url is not None else engine), options
