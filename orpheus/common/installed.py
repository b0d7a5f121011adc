"""Which packages a task needs, and from which version on: said before the task begins, not where it fails.

The requirements files say what to install; this says what cannot work. docs/installation.md tells what was tried.
"""

import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from orpheus.common.errors import InputError


@dataclass(frozen=True)
class Need:
    """A package and the versions of it that work: from `least` on, below `below`."""

    package: str
    least: str
    below: str | None = None

    @property
    def range(self):
        """As pip writes it: >=2.6,<3"""
        return f">={self.least}" + (f",<{self.below}" if self.below else "")

    def fits(self, found):
        """Whether the version `found` is one of them."""
        return parts_of(self.least) <= parts_of(found) and (
            self.below is None or parts_of(found) < parts_of(self.below)
        )


TORCH = Need("torch", "2.6")  # before, torch.load could run code out of a file
TRANSFORMERS = Need("transformers", "4.56")  # the first that takes a model's `dtype` by this name
DATASETS = Need("datasets", "3.4.1", "4")  # 4 decodes audio with another library, and differently
TRAINING = (TORCH, TRANSFORMERS, Need("peft", "0.17"), DATASETS)


def parts_of(text):
    """The numbers that a version begins with: (2, 13, 0) of 2.13.0+cpu and of 2.13.0rc1."""
    return tuple(map(int, re.match(r"\d+(?:\.\d+)*", text)[0].split("."))) if re.match(r"\d", text) else ()


def check_installed(task, *needs):
    """Refuses a task for which packages are too old or too new. Raises InputError with the pip line; ModuleNotFoundError for one
    that is not there, which `command.run` answers.

    task: as in "training"; needs: Need
    """
    unfit = []
    for need in needs:
        try:
            found = version(need.package)
        except PackageNotFoundError:
            raise ModuleNotFoundError(f"No module named {need.package!r}", name=need.package) from None
        if not need.fits(found):
            unfit.append((need, found))
    if unfit:
        listed = ", ".join(f"{need.package} {need.range}, and {found} is installed" for need, found in unfit)
        install = " ".join(f'"{need.package}{need.range}"' for need, _ in unfit)
        raise InputError(f"{task} needs {listed}: pip install {install}")
