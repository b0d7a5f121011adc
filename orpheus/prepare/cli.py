"""Turns recordings into shards of SNAC codes: what `orpheus_sft_unsloth.py --dataset` learns from without encoding anything again.

    python -m orpheus.prepare --dataset my_recordings --out outputs/prepared
    python -m orpheus.prepare --dataset my_recordings --out /shared/prepared --ray      on every machine of a Ray cluster
    python orpheus_sft_unsloth.py --dataset outputs/prepared

A run that was stopped goes on when it is started again. docs/data.md tells the rest.
"""

import sys
from dataclasses import dataclass, field, fields
from typing import Annotated, Literal

from orpheus.common.command import at_home, run
from orpheus.common.options import check
from orpheus.data.options import DataOptions
from orpheus.prepare.options import PrepareOptions

_LATER = ("keep_repeated_frames", "held_out")  # decided when the codes are learnt


def parse(argv):
    import tyro

    @dataclass(frozen=True)
    class Arguments:
        model: str = "auto"
        """The model that is to learn: auto (Orpheus-3B with CUDA, the demo voice without), demo, a folder or a hub id. Its codec makes
        the codes, its language and tags decide how texts are read; no weights of it are loaded."""
        codec: str | None = None
        """Folder or hub id of a SNAC to use instead of the model's own."""
        like: str | None = None
        """A known model that the model is like, as in inference.py."""
        device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
        """Where codes are made."""
        work: Annotated[PrepareOptions, tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff] = field(
            default_factory=PrepareOptions
        )
        data: Annotated[DataOptions, tyro.conf.OmitArgPrefixes] = field(default_factory=DataOptions)

    return at_home(tyro.cli(Arguments, description=__doc__, args=argv, prog="python -m orpheus.prepare"))


def _run(argv):
    arguments = parse(argv)
    defaults = {one.name: one.default for one in fields(DataOptions)}
    for name in _LATER:
        check(
            getattr(arguments.data, name) == defaults[name],
            f"--{name.replace('_', '-')} is decided when the codes are learnt: give it to orpheus_sft_unsloth.py",
        )
    if arguments.work.ray:
        from orpheus.prepare.on_ray import check_ray

        check_ray()  # before anything is read
    from orpheus.prepare.run import Preparation

    preparation = Preparation(
        arguments.model, arguments.codec, arguments.like, arguments.device, arguments.data, arguments.work
    )
    print(preparation.run())


def main(argv=None):
    """Runs the command line; returns the exit status."""
    return run(_run, argv)


if __name__ == "__main__":
    sys.exit(main())
