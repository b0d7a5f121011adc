"""kill -9 at random moments of a short run, then --resume: the adapter has to be the uninterrupted one, byte for byte. And two runs
at once in one folder, whose adapters have to be those of runs alone; and one run of two ranks, whose adapter has to be that of one.

    python -m tests.scripts.kill_and_resume --times 30        (make kills)

Every second kill, the first among them, waits for a save to be under way. Around the run lie files of the user's, in every folder that it writes:
none may change. The last line is JSON with what was found; the exit status is 1 where a run was not the same.
"""

import argparse
import contextlib
import hashlib
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

FLAGS = (
    "--model voice --device cpu --backend transformers --dataset data --report-to none --epochs 6 --tokens-per-step 300 "
    "--save-steps 1 --eval-steps 3 --sample-steps 5 --lora-rank 4 --lora-alpha 4 --keep-worse --code-cache ../codes"
).split()
USERS = ("lora_model/notes.txt", "outputs/run_000/own.txt", "generated_audio/story.wav", "data/own.txt", "own.txt")


def start(folder, *flags):
    """Runs the recipe in `folder` in a process of its own; returns its id. A fork, because importing takes the longest."""
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        status = run(folder, *flags)
    finally:
        os._exit(status)


def run(folder, *flags):
    """Runs the recipe in `folder`, for this process' last act: what it says goes into said.txt. Returns its exit status."""
    with open(folder / "said.txt", "a") as said:
        os.chdir(folder)
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    import orpheus_sft_unsloth

    status = orpheus_sft_unsloth.main([*FLAGS, *flags])
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def ended(process):
    """The exit status of a process, negative after a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def finish(folder, *flags):
    status = ended(start(folder, *flags))
    if status:
        raise SystemExit(f"exit status {status}:\n{(folder / 'said.txt').read_text()[-3000:]}")


def saves(folder):
    """Whether something is being written as a whole just now."""
    return any(folder.glob("outputs/run_*/states/*/.orpheus/[nr]e*")) or any(folder.glob("lora_model/.orpheus/[nr]e*"))


def kill(folder, after, in_save):
    """Kills a run `after` seconds of its folder's being there; returns (whether that was in time, whether in a save)."""
    process = start(folder)
    while not list(folder.glob("outputs/run_*/.orpheus/files.json")):
        time.sleep(0.001)
    time.sleep(after)
    deadline = time.monotonic() + 5
    while in_save and not saves(folder) and time.monotonic() < deadline:
        time.sleep(0.0002)
    time.sleep(random.uniform(0, 0.003) if in_save else 0)
    os.kill(process, signal.SIGKILL)
    return ended(process) == -signal.SIGKILL, saves(folder)


def adapter(folder):
    return (folder / "lora_model/adapter_model.safetensors").read_bytes()


def users_files(folder):
    paths = [folder / name for name in USERS] + list((folder / "data").glob("*"))
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def prepare(folder):
    """A folder with a voice, recordings, an adapter of an earlier run, and files of the user's."""
    import torch

    import orpheus_sft_unsloth
    from tests.fakes.checkpoints import save_voice
    from tests.fakes.recordings import folder_of_twelve

    torch.set_num_threads(1)
    save_voice(folder / "voice", frames=8, margin=10.0)
    folder_of_twelve(folder / "data")
    here = os.getcwd()
    os.chdir(folder)
    with contextlib.redirect_stdout(io.StringIO()) as said:
        # Not a fork: all the later ones have what this one imports.
        if status := orpheus_sft_unsloth.main([*FLAGS, "--seed", "1"]):
            raise SystemExit(f"exit status {status}:\n{said.getvalue()[-3000:]}")
    os.chdir(here)
    shutil.rmtree(folder / "outputs/run_001")
    for name in USERS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"mine: {name}")


def at_once(folder):
    """Whether two runs at once in one folder make the adapters that they make alone, each in a run folder of its own."""
    short = ("--max-steps", "2", "--out")
    both = [start(folder, *short, f"lora_{seed}", "--seed", str(seed)) for seed in (1, 2)]
    if any([ended(process) for process in both]):
        raise SystemExit(f"two runs at once:\n{(folder / 'said.txt').read_text()[-3000:]}")
    finish(folder, *short, "alone", "--seed", "1")
    first, second, alone = (
        (folder / name / "adapter_model.safetensors").read_bytes() for name in ("lora_1", "lora_2", "alone")
    )
    return first == alone != second and len(list(folder.glob("outputs/run_*/log.jsonl"))) == 3


def two_ranks(folder):
    """Whether two processes under torchrun's launcher train the adapter that one trains, but for rounding, and say so once."""
    import numpy as np
    from safetensors.numpy import load_file
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    short = ("--max-steps", "3", "--tokens-per-step", "700", "--learning-rate", "1e-3", "--out")
    finish(folder, *short, "lora_1")
    (folder / "said.txt").unlink()
    launch = LaunchConfig(1, 1, 2, run_id="two", rdzv_backend="c10d", rdzv_endpoint="localhost:0", start_method="fork")
    statuses = elastic_launch(launch, run)(folder, *short, "lora_2")  # what --standalone --nproc-per-node 2 does
    said = (folder / "said.txt").read_text()
    if any(statuses.values()) or len(statuses) != 2 or said.count("The adapter is in") != 1:
        raise SystemExit(f"two ranks, exit statuses {statuses}:\n{said[-3000:]}")
    one, two = (load_file(folder / name / "adapter_model.safetensors") for name in ("lora_1", "lora_2"))
    apart = {name: np.abs(two[name] - one[name]) for name in one}  # Adam makes much of a small gradient's rounding
    lines = [map(json.loads, path.read_text().splitlines()) for path in sorted(folder.glob("outputs/run_*/log.jsonl"))]
    first, second = ([line["loss"] for line in each if "loss" in line] for each in lines)
    return (
        one.keys() == two.keys()
        and all(bool(each.max() < 1e-4 and each.mean() < 1e-6) for each in apart.values())
        and len(first) == len(second) == 3
        and bool(np.abs(np.subtract(first, second)).max() < 1e-4)
    )


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    random.seed(arguments.seed)
    found = {"kills": 0, "in_saves": 0, "same": 0, "users_files_changed": 0, "ended_before_the_kill": 0}
    with tempfile.TemporaryDirectory() as root:
        first, whole, two, ranks, cut = (Path(root) / name for name in ("first", "whole", "two", "ranks", "cut"))
        first.mkdir()
        prepare(first)
        shutil.copytree(first, whole)
        shutil.copytree(first, two)
        shutil.copytree(first, ranks)
        found["two_at_once"] = at_once(two)
        found["two_ranks"] = two_ranks(ranks)
        began = time.monotonic()
        finish(whole)
        seconds, wanted = time.monotonic() - began, adapter(whole)
        assert wanted != adapter(first)
        while found["kills"] < arguments.times:
            shutil.copytree(first, cut)
            before = users_files(cut)
            in_time, in_save = kill(cut, random.uniform(0, 0.9 * seconds), found["kills"] % 2 == 0)
            if in_time:
                finish(cut, "--resume")
                found["kills"] += 1
                found["in_saves"] += in_save
                found["same"] += adapter(cut) == wanted and not saves(cut)
                found["users_files_changed"] += users_files(cut) != before
                print(f"{found}", file=sys.stderr, flush=True)
            else:
                found["ended_before_the_kill"] += 1
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(cut)
    print(json.dumps(found))
    right = found["same"] == found["kills"] and found["users_files_changed"] == 0
    return int(not (right and found["two_at_once"] and found["two_ranks"]))


if __name__ == "__main__":
    sys.exit(main())
