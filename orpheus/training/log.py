"""What a run says while it trains: a progress line, a log file, and the curves where the user wants them."""

import json
import os
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from orpheus.common.command import say
from orpheus.common.errors import InputError
from orpheus.common.figures import rounded
from orpheus.common.hub import brief
from orpheus.common.progress import Bar, State, in_time

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


class TrainingBar(Bar):
    """How far training is, over the steps of the whole run; of a resumed one too.

    done: steps that were made before; at_most: whether the run may end sooner
    """

    def __init__(self, shown, total, done=0, at_most=False):
        super().__init__(shown, total, "training", "step")
        self.done, self.at_most, self._values, self._doing, self._since = done, at_most, "", None, None

    def step(self, step, loss=None, tokens_per_second=None):
        if self._since is None:  # the first step prepares and compiles: those after it tell the speed
            self._since = time.monotonic(), step
        self.done, values = step, []
        if loss is not None:
            values.append(f"loss {rounded(loss)}")
        if tokens_per_second is not None:
            values.append(f"{rounded(tokens_per_second)} tok/s")
        self._values = "".join(f", {value}" for value in values)
        self.show()

    @contextmanager
    def doing(self, what):
        """Says what is done between two steps."""
        self._doing = what
        self.show(now=True)
        try:
            yield
        finally:
            self._doing = None

    def words(self):
        return f"step {self.done:,}/{self.total:,}" + (f", {self._doing}" if self._doing else self._values)

    def left(self):
        made = self.done - self._since[1] if self._since else 0
        if not made or self.done >= self.total or self._doing:
            return ""
        seconds = (time.monotonic() - self._since[0]) * (self.total - self.done) / made
        return f", {'up to ' if self.at_most else ''}{in_time(seconds)} left"


class TrainingLog:
    """Shows a bar on a terminal (elsewhere a line now and then) and, if `recorded`, appends every step to log.jsonl."""

    def __init__(self, folder, report_to="none", settings=None, shown=True, recorded=True):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.shown, self.recorded = shown, recorded
        self.reporter = _reporter(report_to, self.folder, settings or {})
        self.path = self.folder / "log.jsonl"
        self.bar, self.failed = None, False

    def begin(self, total, done=0, at_most=False):
        """Training begins, or goes on after `done` steps, and has `total` of them, `at_most` or surely."""
        self.bar = TrainingBar(self.shown, total, done, at_most)
        self.bar.open()

    def expect(self, total, at_most=False):
        """Tells how many steps there will be now."""
        if self.bar is not None:
            self.bar.total, self.bar.at_most = total, at_most
            self.bar.show(now=True)

    def doing(self, what):
        """A context in which something other than a step is done, as "measuring the held-out loss"."""
        return State(what, self.shown) if self.bar is None else self.bar.doing(what)

    def step(self, step, **values):
        self._write(step, values)
        if self.bar is not None:
            self.bar.step(step, values.get("loss"), values.get("tokens_per_second"))

    def event(self, step, message, **values):
        """Something that happens now and then: said in a line of its own."""
        self._write(step, values)
        self.say(f"{f'step {step}' if step else 'before training'}: {message}")

    def say(self, message):
        if self.shown:
            say(message)

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

    def end(self):
        """Training is over: the bar goes."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def close(self):
        self.end()
        if self.reporter:
            self.reporter.close()
