"""Works on the machines of a Ray cluster, through Ray Data. Every work writes its own file, whole or not at all, so that one that is done
twice, because its worker died or was taken for dead, is there once."""

import logging
import os
import pickle
import warnings

from orpheus.common.errors import InputError, OrpheusError
from orpheus.common.hub import brief
from orpheus.common.options import ROOT

INSTALL = "pip install -r requirements-ray.txt"
_RETRIES = 3  # of a work whose worker died: a machine may go at any time, but a work that always kills is to be told
_WAVE = 1000  # works that are given out at a time: their recordings are in Ray's memory


def check_ray():
    """Raises InputError where Ray is not installed."""
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        raise InputError(f"--ray needs Ray Data, and it cannot be imported ({error}): {INSTALL}") from error


class Cluster:
    """The machines that work. workers: how many, or None for one on each GPU or CPU; device: "auto", "cuda" or "cpu" """

    def __init__(self, workers=None, device="auto"):
        self.workers, self.device, self._started = workers, device, False

    def start(self):
        """Joins the cluster, or starts one on this machine, and settles `workers` and `device`; once. Raises InputError."""
        if self._started:
            return
        self._started = True
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault(
            "RAY_BACKEND_LOG_LEVEL", "fatal"
        )  # it calls it an error that a worker may be started again
        import ray

        if not ray.is_initialized():
            path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
            runtime = {"env_vars": {"PYTHONPATH": path}}
            try:
                ray.init(runtime_env=runtime, logging_level="error", log_to_driver=False)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise InputError(
                    f"the Ray cluster cannot be joined: {error}. RAY_ADDRESS names it; without one, this machine works alone"
                ) from error
        there = ray.cluster_resources()
        gpus, cpus = int(there.get("GPU", 0)), int(there.get("CPU", 1))
        if self.device == "auto":
            self.device = "cuda" if gpus else "cpu"
        most = gpus if self.device == "cuda" else cpus
        if not most:
            raise InputError(f"--device {self.device}: the Ray cluster has no GPU, and {cpus} CPUs; use --device cpu")
        if (self.workers or 1) > most:
            kind = "GPUs" if self.device == "cuda" else "CPUs"
            raise InputError(f"--workers {self.workers}: the Ray cluster has {most} {kind}, one for each worker")
        self.workers = self.workers or most

    def work(self, doing, works):
        """Yields what `doing` returns for each of `works`, in any order. Raises InputError with what went wrong in a worker."""
        for first in range(0, len(works), _WAVE):
            yield from self._wave(doing, works[first : first + _WAVE])

    def _wave(self, doing, works):
        import ray

        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False  # there is one for all of it
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        rows = [{"work": pickle.dumps(work)} for work in works]
        needs = {"num_gpus": 1} if self.device == "cuda" else {"num_cpus": 1}
        workers = ray.data.ActorPoolStrategy(size=min(self.workers, len(rows)))
        given = {"fn_constructor_args": (pickle.dumps(doing),), "compute": workers, "max_task_retries": _RETRIES}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated")  # by 2.64: see requirements-ray.txt
            results = ray.data.from_items(rows, override_num_blocks=len(rows)).map(_Worker, **given, **needs)
        try:
            for row in results.iter_rows():
                if row["error"]:
                    raise InputError(row["error"])
                yield row["number"], row["count"]
        except _lost(ray.exceptions) as error:
            raise InputError(
                f"workers of the Ray cluster end at the same work, {_RETRIES + 1} times now: {brief(error)}. What is done is kept. Where "
                "memory is short, give --shard-minutes a smaller number and another --out, or take fewer --workers"
            ) from error


def _lost(kinds):
    """What Ray raises where it gives up on processes and machines that die: other errors are faults of this program."""
    return kinds.RayActorError, kinds.WorkerCrashedError, kinds.OutOfMemoryError, kinds.NodeDiedError


class _Worker:
    """One process of the cluster."""

    def __init__(self, doing):
        self.doing = pickle.loads(doing)

    def __call__(self, row):
        try:
            number, count = self.doing(pickle.loads(row["work"]))
        except OrpheusError as error:  # for the user; of all others Ray tells
            return {"number": -1, "count": 0, "error": str(error)}
        return {"number": number, "count": count, "error": ""}
