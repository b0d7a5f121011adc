"""Workers that are killed."""

import os
import signal
from pathlib import Path

from orpheus.prepare import shards


class Fragile(shards.Encoding):
    """Encodes shards; whoever is given shard `fatal` is killed in the middle of its write, the first `times` times."""

    def __init__(self, *arguments, fatal, witness, times=1):
        """witness: a folder, where every shard that is begun leaves a file of its number and the worker's process id"""
        super().__init__(*arguments)
        self.fatal, self.witness, self.times = fatal, str(witness), times

    def __call__(self, shard):
        witness = Path(self.witness)
        before = len(list(witness.glob(f"{shard.number}.*")))
        (witness / f"{shard.number}.{os.getpid()}").touch()
        if before < self.times and shard.number == self.fatal:
            (Path(self.folder) / f".orpheus-{os.getpid()}").write_bytes(b"PAR1 and half of the rest")
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(shard)
