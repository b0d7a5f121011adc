"""Writes a voice as files that other programs speak with: a merged model in safetensors, GGUF files for llama.cpp.

    python -m orpheus.export --gguf q8_0 --out my_voice    what would speak now, for llama.cpp
    python -m orpheus.export --lora lora_model --gguf q8_0 q4_0 --out my_voice    an adapter on its own base
    python -m orpheus.export --merged --out my_voice       for transformers, vLLM, SGLang
    python -m orpheus.export --gguf f32 q8_0 --check       speaks with the files, and compares

docs/export.md tells how each is used in llama.cpp, LM Studio, Ollama and vLLM.
"""

import sys
from dataclasses import dataclass, field
from typing import Annotated, Literal

from orpheus.common.command import parse, run, say
from orpheus.common.places import in_words
from orpheus.export.options import ExportOptions

COMMON = {  # what --help shows
    "What is exported": {
        "model": "demo, a folder or a hub id",
        "lora": "adapter, which is merged: a folder or hub id; none for none",
    },
    "What is written": {
        "gguf": "GGUF files: f32, f16, bf16, q8_0, q4_0, q4_k_m ...",
        "merged": "one model in safetensors, 16 bits",
        "out": "folder for it all",
        "name": "what the files are called",
    },
    "Whether it is right": {
        "check": "speaks with each file through llama.cpp, and compares",
        "check_sentences": "how many",
    },
}


def _parse(argv):
    import tyro

    @dataclass(frozen=True)
    class Arguments:
        model: str = "auto"
        """auto (an adapter's own base; else Orpheus-3B on CUDA, the demo voice without), demo, a folder or a hub id."""
        lora: str = "auto"
        """auto (lora_model/ if it exists), none, a folder or a hub id. It is merged."""
        lora_anyway: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
        """Takes an adapter of the right shapes for a model that it was not made for."""
        codec: str | None = None
        """Folder or hub id of a SNAC to put beside the model instead of its own."""
        like: str | None = None
        """A known model that the model is like, as in inference.py."""
        device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
        """Where this project's engine runs for --check. Writing needs no GPU."""
        writing: Annotated[ExportOptions, tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff] = field(
            default_factory=ExportOptions
        )

    return parse(Arguments, __doc__, argv, "python -m orpheus.export", COMMON)


def _run(argv):
    arguments = _parse(argv)
    options = arguments.writing
    options.check_something()
    from orpheus.export.folder import export, find_source

    if options.check:
        from orpheus.export.check import require_llama_cpp

        require_llama_cpp()
    source = find_source(arguments.model, arguments.lora, arguments.lora_anyway, arguments.like, arguments.codec)
    say(f"exporting {source.name}{f' with the adapter {source.adapter}' if source.adapter else ''}")
    files = export(source, options)
    for path in sorted(options.out.glob("*")):
        if path.is_file() and (path.suffix in (".gguf", ".safetensors") or path.name == "README.md"):
            print(f"{path}: {in_words(path.stat().st_size)}" if path.suffix != ".md" else f"{path}: how to use it")
    if options.check:
        from orpheus.export.check import check

        check(source, files, options, arguments.device)


def main(argv=None):
    """Runs the command line; returns the exit status."""
    return run(_run, argv)


if __name__ == "__main__":
    sys.exit(main())
