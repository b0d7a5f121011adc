"""Every setting of the preparation with its default and the reason for it."""

from dataclasses import dataclass
from pathlib import Path

from orpheus.common.options import check, check_range, check_whole

OUT = "outputs/prepared"


@dataclass(frozen=True)
class PrepareOptions:
    """What is written, and who does the work."""

    out: Path = Path(OUT)
    """Folder for the shards and data_report.md: new, empty, or with an earlier run of the same, which goes on. On a cluster: a folder
    that every machine sees under this path."""
    shard_minutes: float = 60
    """Sound in a shard. A shard is what a kill costs; 60 minutes are 0.6 MB. For 100,000 hours take 600: 10,000 files of 6 MB."""
    ray: bool = False
    """Spreads the work over the machines of a Ray cluster (RAY_ADDRESS, or the one that runs here; else over this machine).
    Needs requirements-ray.txt. The codes are the same."""
    workers: int | None = None
    """Of --ray: how many. Default: one for each GPU of the cluster, or where it has none, one for each CPU."""

    def __post_init__(self):
        check_range(self, "shard_minutes", 0.01, 6000, "; 60 are usual")
        if self.workers is not None:
            check_whole(self, "workers", 1, 100_000)
        check(self.ray or self.workers is None, f"--workers {self.workers} is of --ray: add it, or leave --workers out")
