"""What a run saves: states to resume from, each with the best adapter so far. And the signals upon which it saves and ends."""

import hashlib
import math
import signal
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from orpheus.common.errors import CheckpointError, OutputError
from orpheus.common.files import restore, whole_folder
from orpheus.common.places import damage, discard, written_in
from orpheus.training.optimizer import LossScale

_KEPT = 2  # states: where the newest turns out to be damaged, there is one more
_CONTENT = {"master", "optimizer", "progress", "fingerprint", "best"}
# What may differ between a run and its resumption.
_FREE = (
    "micro_batch_tokens",
    "report_to",
    "eval_steps",
    "sample_steps",
    "save_steps",
    "compile",
    "fp8",
    "gradient_checkpointing",
    "adapter_strength",
    "keep_worse",
    "evaluate_sentences",
    "evaluate_asr",
)


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


class Best:
    """The best adapter so far, in memory; every state has a copy of it, so that the two always fit together."""

    def __init__(self, adapter):
        self.adapter, self.master = adapter, None

    def save(self, step):
        self.master = self.adapter.master.data.to("cpu", copy=True)

    def load(self):
        if self.master is not None:
            self.adapter.master.data.copy_(self.master)
            self.adapter.refresh()


# --- what decides a result -------------------------------------------------------------------------------------------

# Of a file of weights: enough to tell models of one shape apart without reading 6 GB.
_PROBES, _PROBE_BYTES = 16, 1 << 16


def identity_of(folder):
    """Hash of a model's folder: its configuration and samples of its weights, wherever the folder lies."""
    folder, digest = Path(folder), hashlib.sha256()
    for path in sorted([folder / "config.json", *folder.glob("*.safetensors*")]):
        size = path.stat().st_size
        digest.update(f"{path.name} {size} ".encode())
        with open(path, "rb") as file:
            for probe in range(_PROBES):
                file.seek(size * probe // _PROBES)
                digest.update(file.read(_PROBE_BYTES))
    return digest.hexdigest()


def fingerprint(examples, options, plan, base="", codec=""):
    """What decides a run's result: base model, codec, the examples in their order, the plan's steps, the options."""
    digest = hashlib.sha256()
    for example in examples:
        digest.update(example.input_ids.tobytes())
    chosen = {name: value for name, value in asdict(options).items() if name not in _FREE}
    facts = {"base model": base, "codec": codec, "examples": digest.hexdigest(), "options": chosen}
    return facts | {"plan": [len(plan.steps), *plan.rounds]}


def _differences(saved, now):
    """What two fingerprints differ in, in words."""
    names = {"base model": "another base model", "codec": "another codec", "examples": "other examples"}
    names["plan"] = "another number of steps, or other rounds"
    others = [words for name, words in names.items() if saved.get(name) != now[name]]
    was = saved.get("options", {})
    changed = [
        f"{name} {was.get(name)!r}, now {now['options'].get(name)!r}"
        for name in sorted(was.keys() | now["options"].keys())
        if was.get(name) != now["options"].get(name)
    ]
    return "; ".join([*others, *changed])


# --- states ----------------------------------------------------------------------------------------------------------


def saved_states(folder):
    """Finished states, oldest first."""
    return [path for path in _states(folder) if written_in(path)]


def _states(folder):
    return sorted(path for path in Path(folder).glob("step_*") if path.name.removeprefix("step_").isdigit())


def step_of(state):
    """The step after which a state was saved."""
    return int(state.name.removeprefix("step_"))


def save_state(folder, step, content):
    """Saves a state; the older ones but one go once it is there. Raises OutputError, the former states untouched."""
    path = Path(folder) / f"step_{step:06d}"
    for later in _states(folder):
        if step_of(later) >= step:  # not one that could be gone on from, or this would not be the step now
            remove_state(later)
    try:
        with whole_folder(path, "state") as new, open(new / "state.pt", "wb") as file:
            torch.save(content, file)
    except OutputError:
        discard(path)
        raise
    keep = saved_states(folder)[-_KEPT:]
    for former in _states(folder):
        if former not in keep:
            remove_state(former)


def remove_state(path):
    """Removes a state, damaged or not; another's file in its folder stays."""
    if written_in(path):
        (path / "state.pt").unlink(missing_ok=True)
    discard(path)


def load_state(folder, now, device, say):
    """The newest state that is sound: what `save_state` was given. Those that are not are named.

    now: the fingerprint of the run that goes on. Raises CheckpointError where there is no state, or it is of another run
    """
    found = _states(folder)[::-1]
    if not found:
        raise CheckpointError(f"--resume: there is no state in {folder}; start without --resume")
    problems = []
    for path in found:
        content, problem = _read_state(path, device)
        if problem is None:
            if content["fingerprint"] != now:
                raise CheckpointError(
                    f"--resume: {path} is of a run with another base model, other examples or options "
                    f"({_differences(content['fingerprint'], now)}). Give the same ones, name another run with --resume-from, "
                    "or start without --resume"
                )
            for unusable, reason in problems:
                say(f"{unusable} cannot be used: {reason}. Going on from the state before it, {path.name}")
            return content
        problems.append((path, problem))
    reasons = "; ".join(f"{path.name}: {problem}" for path, problem in problems)
    raise CheckpointError(
        f"--resume: there is no state in {folder} that can be used ({reasons}). Name another run with --resume-from, or "
        "start without --resume: that begins a run of its own and leaves this one alone"
    )


def _read_state(path, device):
    """(what a state holds, None) or (None, what is wrong with it)."""
    restore(path)
    problem = damage(path)
    if problem:
        return None, problem
    try:
        content = torch.load(path / "state.pt", map_location=device, weights_only=True)
    except Exception as error:  # zip, pickle and PyTorch have errors of their own
        return None, f"state.pt cannot be read ({' '.join(str(error).split())[:200]})"
    if not isinstance(content, dict) or not content.keys() >= _CONTENT:
        return None, "state.pt is not a state of this program"
    return content, None


# --- signals ---------------------------------------------------------------------------------------------------------


@contextmanager
def stop_on_signals(trainer):
    """The first Ctrl-C, and SIGTERM as clusters send it, ends the run after the step, its state saved.

    A second Ctrl-C ends it at once.
    """

    def stop(number, _):
        trainer.stop = True
        again = ""
        if number == signal.SIGINT:
            again = "; Ctrl-C again stops at once, without saving"
            signal.signal(signal.SIGINT, signal.default_int_handler)
        trainer.log.say(f"stopping after this step{again}")

    former = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
