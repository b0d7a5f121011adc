"""A peer in a process of its own: it imports while others are measured, then waits for its turn."""

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from orpheus.common.options import ROOT

LOOK = 0.05  # seconds between two looks


class PeerProcess:
    """Starts a module, which takes --after FILE and --out FILE and calls `await_turn`. It runs in the project's folder: give
    paths as Path, not as text."""

    def __init__(self, module, *arguments):
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        self._turn, self._out, self._log = folder / "turn", folder / "out.json", folder / "log"
        words = [*arguments, "--after", self._turn, "--out", self._out]
        words = [str(word.resolve() if isinstance(word, Path) else word) for word in words]
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *words], stdout=log, stderr=subprocess.STDOUT, cwd=ROOT
            )

    def results(self, seconds):
        """What it wrote when it ended, or was ended after so many seconds: its report, the reason under "failed" by "all"
        where it did not come to its end."""
        new = self._turn.with_suffix(".new")
        new.write_text(str(seconds))
        new.rename(self._turn)
        try:
            status = self._process.wait(max(seconds, 0.1))
            reason = status and f"status {status}: {self.log()[-1200:]}"
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            reason = f"ended after {seconds:.0f} s: {self.log()[-600:]}"
        report = json.loads(self._out.read_text()) if self._out.exists() else {}
        if reason:
            report.setdefault("failed", {})["all"] = reason
        return report

    def log(self):
        return self._log.read_text(errors="replace")

    def close(self):
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()


def await_turn(path):
    """Returns once the file is there: the seconds that the benchmark gives. Ends the process when the benchmark is gone."""
    parent = os.getppid()
    while path and not Path(path).exists():
        if os.getppid() != parent:
            raise SystemExit("the benchmark is gone")
        time.sleep(LOOK)
    return float(Path(path).read_text()) if path else math.inf
