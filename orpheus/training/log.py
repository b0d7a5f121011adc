"""What a run says while it trains: a progress line, a log file, and the curves where the user wants them."""

import json
import os
import sys
import time
from pathlib import Path

from orpheus.common.errors import InputError
from orpheus.common.hub import brief

_INSTALL = {"tensorboard": "tensorboard", "wandb": "wandb", "trackio": "trackio"}


def check_reporter(name):
    """Refuses a reporter that is not installed, before anything expensive."""
    from importlib.util import find_spec

    if name != "none" and find_spec(_INSTALL[name]) is None:
        raise InputError(f"--report-to {name} needs the package: pip install {_INSTALL[name]}, or --report-to none")


class _Tensorboard:
    def __init__(self, folder, settings):
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder / "tensorboard"))
        self.writer.add_text("settings", json.dumps(settings, indent=1, default=str))

    def log(self, step, values):
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def close(self):
        self.writer.close()


class _Tracker:
    """wandb, or trackio, which has the same face."""

    def __init__(self, module, settings):
        import importlib

        self.run, terminal = importlib.import_module(module), sys.stdin
        with open(os.devnull) as nothing:  # else wandb asks for an account, and waits
            sys.stdin = nothing
            try:
                self.run.init(project="orpheus", config=settings)
            except Exception as error:  # each has its own
                raise InputError(
                    f"--report-to {module} cannot begin: {brief(error)}. Log in first ({module} login), or set WANDB_MODE=offline, "
                    "or use --report-to none"
                ) from error
            finally:
                sys.stdin = terminal

    def log(self, step, values):
        self.run.log(values, step=step)

    def close(self):
        self.run.finish()


def _reporter(name, folder, settings):
    if name == "none":
        return None
    return _Tensorboard(folder, settings) if name == "tensorboard" else _Tracker(name, settings)


class TrainingLog:
    """Shows a bar on a terminal (elsewhere a line now and then) and, if `recorded`, appends every step to log.jsonl."""

    def __init__(self, folder, report_to="none", settings=None, total=0, done=0, shown=True, recorded=True):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.total, self.shown, self.recorded, self.shown_at = total, shown, recorded, 0.0
        self.reporter = _reporter(report_to, self.folder, settings or {})
        self.path = self.folder / "log.jsonl"
        self.bar, self.failed = None, False
        if shown and sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(total=total, initial=done, desc="training", unit="step")

    def expect(self, total):
        """Tells how many steps there will be."""
        self.total = total
        if self.bar is not None:
            self.bar.total = total
            self.bar.refresh()

    def step(self, step, **values):
        self._write(step, values)
        words = " ".join(f"{name} {value:.4g}" for name, value in values.items())
        if self.bar is not None:
            self.bar.update(1)
            self.bar.set_postfix_str(words)
        elif self.shown and (time.monotonic() - self.shown_at > 10 or step == self.total):
            self.shown_at = time.monotonic()
            print(f"step {step} of {self.total}: {words}", file=sys.stderr, flush=True)

    def event(self, step, message, **values):
        """Something that happens now and then: said in a line of its own."""
        self._write(step, values)
        self.say(f"step {step}: {message}")

    def say(self, message):
        if self.bar is not None:
            self.bar.write(message, file=sys.stderr)
        elif self.shown:
            print(message, file=sys.stderr, flush=True)

    def _write(self, step, values):
        if not values or not self.recorded:
            return
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **values}) + "\n")
            if self.reporter:
                self.reporter.log(step, values)
        except OSError as error:  # a full disk: training does not need it
            if not self.failed:
                self.say(
                    f"{self.folder} cannot be written: {error.strerror or error}. Training goes on; its curves have a gap"
                )
            self.failed = True

    def close(self):
        if self.bar is not None:
            self.bar.close()
        if self.reporter:
            self.reporter.close()
