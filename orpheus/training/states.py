"""What a run saves: states to resume from, and the best adapter so far."""

import math
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import torch

from orpheus.common.files import restore, whole_folder
from orpheus.training.hardware import barrier
from orpheus.training.optimizer import LossScale


@dataclass
class TrainerState:
    """What a state keeps besides weights and optimizer."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    best: float = math.inf  # held-out loss of the best adapter
    best_wer: float = math.inf  # its word error rate, where that decides
    best_step: int = 0
    first: float | None = None  # held-out loss before training
    first_wer: float = math.inf
    last: float | None = None  # held-out loss after the last step
    written: float | None = None  # held-out loss of the adapter that comes out
    falls_from: int | None = 0  # step from which the learning rate falls; None: not yet
    to_beat: float = math.inf  # held-out loss that counts as a gain, and how many rounds have brought none
    rounds_without_gain: int = 0
    loss_scale: LossScale = field(default_factory=LossScale)

    def __post_init__(self):
        if isinstance(self.loss_scale, dict):  # out of a saved state
            self.loss_scale = LossScale(**self.loss_scale)


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
