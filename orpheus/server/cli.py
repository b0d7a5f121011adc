"""Speaks over HTTP as OpenAI's clients expect it, sound while it is made. Without arguments: with the demo voice, where there is no GPU.

python -m orpheus.server
python -m orpheus.server --model unsloth/orpheus-3b-0.1-ft --max-streams 64
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from orpheus.common.command import at_home, run
from orpheus.common.errors import InputError
from orpheus.engines.options import ENGINES, EndpointOptions
from orpheus.server.options import ServerOptions, check_reach, read_keys

INSTALL = "pip install -r requirements-serve.txt"


def parse(argv):
    import tyro

    @dataclass(frozen=True)
    class Arguments:
        model: str = "auto"
        """auto (an adapter's own base; else Orpheus-3B on CUDA, the demo voice without), demo, a folder, a hub id, or a GGUF file."""
        lora: str = "auto"
        """auto (lora_model/ if it exists), none, a folder or a hub id."""
        codec: str | None = None
        """Folder or hub id of a SNAC to use instead of the model's own."""
        device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
        """Where to run."""
        engine: Literal[ENGINES] = "auto"
        """As for inference.py."""
        like: str | None = None
        """A known model that this one is like, such as orpheus-3b-ft, where its files don't say."""
        lora_anyway: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
        """Takes an adapter of the right shapes for a model that it was not made for."""
        server: Annotated[EndpointOptions, tyro.conf.OmitArgPrefixes] = field(default_factory=EndpointOptions)
        serving: Annotated[ServerOptions, tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff] = field(
            default_factory=ServerOptions
        )

    return at_home(tyro.cli(Arguments, description=__doc__, args=argv))


def models_of(arguments):
    """What EngineSpec.models takes."""
    names = ("model", "lora", "codec", "device", "engine", "like", "lora_anyway")
    endpoint = {name: getattr(arguments.server, name) for name in ("url", "dialect", "served_model")}
    first = {name: getattr(arguments, name) for name in names} | endpoint
    more = ((name, first | {"lora": adapter}) for name, adapter in arguments.serving.voice_models.items())
    return ((None, first), *more)


def _work(argv):
    arguments = parse(argv)
    options = arguments.serving
    keys = read_keys(options.keys)
    check_reach(options, keys)
    try:
        from orpheus.server.running import Running
    except ImportError as error:
        raise InputError(f"the server needs more packages ({error.name} is missing): {INSTALL}") from error
    from orpheus.server.engine_process import EngineSpec
    from orpheus.server.words import listener_of

    spec = EngineSpec(models_of(arguments), options.max_streams, options.length, options.queue, options.cache)
    voices = {name: name for name in options.voice_models}
    Running(options, keys, spec, voice_models=voices, listener=listener_of(options)).run()


def main(argv=None):
    """Runs the command line; returns the exit status."""
    return run(_work, argv)
