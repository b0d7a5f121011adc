"""What a run saves: states to resume from, and the best adapter so far."""

import shutil
from pathlib import Path

import torch

from orpheus.common.files import restore, whole_folder
from orpheus.training.hardware import barrier


def saved_states(folder):
    """Complete states, oldest first."""
    for left in Path(folder).glob(".step_*"):
        restore(left.with_name(left.name.removeprefix(".").rsplit(".", 1)[0]))
    return sorted(Path(folder).glob("step_*"))


def restart_folder(run_dir):
    """Begins a run's folder anew: states and log of an earlier run would be mistaken for this one's."""

    run_dir = Path(run_dir)
    for name in ("states", "samples", "best"):
        shutil.rmtree(run_dir / name, ignore_errors=True)
    for name in ("log.jsonl", "evaluation_base.npz"):
        (run_dir / name).unlink(missing_ok=True)


class Best:
    """The adapter with the lowest held-out loss so far, on disk."""

    def __init__(self, folder, adapter, rank):
        self.folder, self.adapter, self.rank = Path(folder), adapter, rank

    def save(self, step):
        if self.rank == 0:
            with whole_folder(self.folder) as new:
                torch.save({"step": step, "master": self.adapter.master.data}, new / "adapter.pt")

    def load(self):
        path = self.folder / "adapter.pt"
        barrier()  # rank 0 has written it
        self.adapter.master.data.copy_(
            torch.load(path, map_location=self.adapter.master.device, weights_only=True)["master"]
        )
        self.adapter.refresh()
