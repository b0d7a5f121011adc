"""Memory and processor time of a server's processes, as Linux tells them."""

import os

import numpy as np

PROCESSES = ("front", "engine", "readers")


class Watched:
    """The server's processes. fronts, engines: lists of their ids; what the fronts started as well reads texts"""

    def __init__(self, fronts, engines):
        self._fronts, self._engines = fronts, engines

    def _groups(self):
        """Process ids for each of PROCESSES."""
        children = []
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    with open(f"/proc/{name}/stat") as stat, open(f"/proc/{name}/cmdline") as command:
                        theirs = int(stat.read().rpartition(")")[2].split()[1]) in self._fronts
                        known = int(name) in (*self._fronts, *self._engines)
                        if theirs and not known and "resource_tracker" not in command.read():
                            children.append(int(name))
                except OSError:  # it has ended
                    continue
        return self._fronts, self._engines, children

    def memory(self):
        """MB of each of PROCESSES."""
        return [round(sum(map(_resident, group)) / 1024, 1) for group in self._groups()]

    def processor(self):
        """Seconds of processor time that each of PROCESSES has taken."""
        return np.array([sum(map(_seconds, group)) for group in self._groups()])


def _resident(process):
    with open(f"/proc/{process}/status") as status:
        return int(next(line for line in status if line.startswith("VmRSS")).split()[1])


def _seconds(process):
    with open(f"/proc/{process}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
