"""Every run has a folder of its own in --run-dir: run_001, run_002 ... It is locked for as long as the run's process lives."""

import contextlib
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from orpheus.common.errors import InputError, OrpheusError, OutputError
from orpheus.common.files import atomic_file, lock, restore
from orpheus.common.hub import read_json
from orpheus.common.options import check
from orpheus.common.places import (
    OURS,
    Place,
    Written,
    check_places,
    check_room,
    claim,
    list_written,
    remove_empty,
    written_in,
)
from orpheus.training.options import LORA_TARGETS
from orpheus.training.states import remove_state, saved_states, step_of

_NAME = re.compile(r"run_(\d+)")
_LOCK = f"{OURS}/lock"
_DONE = "done.json"  # what a run that came to its end leaves
# What a run writes into its folder besides its states: all that is removed when it goes.
_WRITTEN = (
    _DONE,
    "data_report.md",
    "log.jsonl",
    "evaluation_base.npz",
    "tensorboard/events.out.tfevents.*",
    "samples/step_*/output_[0-9]*.wav",
)


@dataclass(frozen=True)
class Run:
    """A run's folder, held by this process."""

    folder: Path
    has_state: bool  # whether it goes on from one
    _held: contextlib.ExitStack  # the lock; it ends with the process at the latest

    def close(self):
        """Lets go of the folder."""
        self._held.close()

    def done(self, **facts):
        """Notes that the run came to its end. Raises OutputError."""
        with atomic_file(self.folder / _DONE) as file:
            file.write(json.dumps(facts).encode() + b"\n")


def runs_in(run_dir):
    """Folders of runs, oldest first."""
    found = [path for path in Path(run_dir).glob("run_*") if _NAME.fullmatch(path.name) and _is_run(path)]
    return sorted(found, key=_number)


def _is_run(path):
    written = written_in(path)
    return written is not None and written.kind == "run"


def _number(path):
    return int(_NAME.fullmatch(path.name)[1])


def _hold(folder):
    """The lock of a run's folder, or None where another process has it."""
    held = contextlib.ExitStack()
    return held if held.enter_context(lock(folder / _LOCK, wait=False)) else None


def check_written(run, code_cache, dataset, base):
    """Looks at every folder that a run will write, before anything is loaded. Raises InputError.

    run: the recipe's RunOptions; dataset, base: what is read
    """
    places = [
        Place("--out", run.out, "adapter"),
        Place("--run-dir", run.run_dir, "runs"),
        Place("--samples", run.samples, "samples"),
        Place("--code-cache", Path(code_cache).expanduser(), "codes"),
    ]
    places += [Place("--merge", run.merge, "merged")] if run.merge else []
    check_places(places, [("--dataset", dataset), ("--model", base), ("--codec", run.codec)])


def check_runs(run_dir, resume, name):
    """Refuses what cannot be gone on with, before anything is loaded. Raises InputError."""
    known = [path.name for path in runs_in(run_dir)]
    if name is not None:
        listed = f"there are {', '.join(known)}" if known else "there is none"
        check(name in known, f"--resume-from {name}: there is no such run in {run_dir}/; {listed}")
    elif resume and not known:
        earlier = (
            " (states of an earlier version cannot be gone on with)" if (Path(run_dir) / "states").is_dir() else ""
        )
        raise InputError(f"--resume: there is no run in {run_dir}/{earlier}; start without --resume")


def open_run(run_dir, resume, name, say):
    """A new run, or where `resume` or a name says so, an earlier one to go on with. Raises InputError where it is in use."""
    run_dir = Path(run_dir)
    claim(run_dir, "runs")
    try:
        return _go_on(run_dir, name, say) if resume or name is not None else _begin(run_dir, say)
    except OSError as error:
        if isinstance(error, OrpheusError):
            raise
        raise OutputError(
            f"{run_dir} cannot be written: {error.strerror or error}. Free space or name another --run-dir"
        ) from error


def _begin(run_dir, say):
    there = runs_in(run_dir)
    if unfinished := [path for path in there if saved_states(path / "states") and not (path / _DONE).exists()]:
        last = unfinished[-1]
        step = step_of(saved_states(last / "states")[-1])
        say(
            f"{last} has not come to its end: --resume-from {last.name} goes on with it after step {step}. A new run begins."
        )
    if there and not _has_begun(there[-1]):  # its folder is as good as new
        held = _hold(there[-1])
        if held and not _has_begun(there[-1]):
            return Run(there[-1], False, held)
    number = max([_number(path) for path in run_dir.glob("run_*") if _NAME.fullmatch(path.name)], default=0)
    while True:
        number += 1
        folder = run_dir / f"run_{number:03d}"
        with contextlib.suppress(FileExistsError):  # another process began it just now
            folder.mkdir()
            held = _hold(folder)
            list_written(folder, Written("run"))
            return Run(folder, False, held)


def _has_begun(folder):
    """Whether a run came as far as training."""
    return (folder / "log.jsonl").exists() or _has_state(folder)


def _go_on(run_dir, name, say):
    """The named run, or the last one that has a state and did not come to its end, or else the last."""
    if name is not None:
        candidates = [run_dir / name]
    else:
        last_first = runs_in(run_dir)[::-1]
        candidates = sorted(last_first, key=lambda path: (not _has_state(path), (path / _DONE).exists()))
    for folder in candidates:
        held = _hold(folder)
        if held:
            if not _has_state(folder):
                say(f"{folder} was stopped before it saved a state: it begins again")
            return Run(folder, _has_state(folder), held)
        say(f"{folder} is in use by another process")
    raise InputError(
        f"{candidates[0]} is in use: wait for its end, or start without --resume, which begins a run of its own"
    )


def _has_state(folder):
    """Whether there is something to go on from, or to be told about."""
    for path in (folder / "states").glob("step_*"):
        restore(path)
    return bool(saved_states(folder / "states"))


def prune_runs(run_dir, keep, say):
    """Removes all but the newest `keep` runs; those in use stay, and so do files that are not a run's own."""
    for folder in runs_in(run_dir)[:-keep]:
        with lock(folder / _LOCK, wait=False) as free:
            if not free:
                continue
            for state in saved_states(folder / "states"):
                remove_state(state)
            for pattern in _WRITTEN:
                for path in folder.glob(pattern):
                    path.unlink()
        shutil.rmtree(folder / OURS, ignore_errors=True)
        remove_empty(folder)
        say(
            f"removed {folder}"
            if not folder.exists()
            else f"removed {folder} but for the files in it that no run wrote"
        )


# --- room ------------------------------------------------------------------------------------------------------------

_SAMPLES_BYTES = 10_000_000  # of a few sample sentences, logs and reports


def adapter_bytes(config, rank):
    """Of an adapter in float32; config: the base model's config.json."""
    if not config.keys() >= {"hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers"}:
        return 0  # no Llama: loading it says so
    hidden, inner, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    size = config.get("head_dim") or hidden // heads
    queries, keys = heads * size, config.get("num_key_value_heads", heads) * size
    ends = {"q": (hidden, queries), "k": (hidden, keys), "v": (hidden, keys), "o": (queries, hidden)}
    ends |= {"gate": (hidden, inner), "up": (hidden, inner), "down": (inner, hidden)}
    return 4 * config["num_hidden_layers"] * rank * sum(sum(ends[name.split("_")[0]]) for name in LORA_TARGETS)


def check_run_room(run, folder, base, rank):
    """Refuses a run that the disks have no room for; returns {"adapter": bytes, "merged": bytes}. Raises InputError.

    run: the recipe's RunOptions; folder: of this run; base: the base model's folder
    """
    adapter = adapter_bytes(read_json(base / "config.json"), rank)
    merged = sum(path.stat().st_size for path in base.glob("*.safetensors"))
    states = 3 * 4 * adapter  # two and one on its way, each with weights, AdamW's two moments and the best adapter
    needs = [("--out", run.out, adapter), ("--run-dir", folder, states + _SAMPLES_BYTES)]
    check_room(needs + ([("--merge", run.merge, merged)] if run.merge else []))
    return {"adapter": adapter, "merged": merged}
