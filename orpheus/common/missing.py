"""What to do about a package that is not installed. Needs nothing but Python itself, and no later import of its own.

Every entry point answers so: `orpheus.common.command.run` for those that end through it; `from_here_on`, called before their imports,
for the scripts of benchmarks/ and recipes/.
"""

import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]  # of the project
OURS = ("orpheus", "benchmarks", "recipes", "tests", "inference", "orpheus_sft_unsloth")
_NAMED_OTHERWISE = {"yaml": "pyyaml", "google": "protobuf", "faster_whisper": "faster-whisper"}


def package_of(error):
    """The name under which pip knows what a ModuleNotFoundError misses; None for other errors and for modules of our own."""
    name = (getattr(error, "name", None) or "").split(".")[0]
    if not isinstance(error, ModuleNotFoundError) or not name or name in OURS:
        return None
    return _NAMED_OTHERWISE.get(name, name)


def advice(error, root=ROOT, prefix=None, windows=os.name == "nt"):
    """What to do about a missing package, on one line; None where the error is another.

    root: of the project; prefix: of the Python that runs, by default this one's
    """
    package = package_of(error)
    if package is None:
        return None
    prefix = Path(prefix or sys.prefix)
    said = f"the package {package} is not installed in this Python ({sys.executable or 'python'})"
    environment = root / ".venv"
    if not _is(environment, prefix) and any(
        (environment / place).exists() for place in ("bin/python", "Scripts/python.exe")
    ):
        return f"{said}. Activate the environment of this project, then try again: {_activate(root, windows)}"
    needed = _file_with(package, root)
    if needed is None:  # none of ours: a library's
        return f"{said}: pip install {package}"
    install = f"pip install -r {needed}"
    if _is(environment, prefix) or prefix != Path(sys.base_prefix):  # in an environment already
        return f"{said}: {install}"
    return f"{said}. `make speak` makes an environment with everything; then activate it: {_activate(root, windows)}. Or, in one of your own: {install}"


def misfit(error):
    """What to do about packages that are there but do not work together, on one line; None where the error is another."""
    if not isinstance(error, ImportError):
        return None
    of_ours = (error.name or "").split(".")[0] in ("", *OURS)
    if of_ours and not _from_a_library(error):
        return None
    said = " ".join(str(error).split())[:200]
    return f"packages here do not fit together ({said}): pip install -r requirements.txt, or requirements-cpu.txt without CUDA"


def _from_a_library(error):
    """Whether an error was raised outside of this project."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return trace is not None and "site-packages" in Path(trace.tb_frame.f_code.co_filename).parts


def _activate(root, windows):
    place = "" if Path.cwd().samefile(root) else f"{root}{chr(92) if windows else '/'}"
    return rf"{place}.venv\Scripts\activate" if windows else f"source {place}.venv/bin/activate"


def _is(environment, prefix):
    try:
        return environment.resolve() == prefix.resolve()
    except OSError:  # a loop of links
        return False


def _file_with(package, root):
    """The requirements file that has a package; the one for CPUs where both have it and no NVIDIA driver is here."""
    cpu = "requirements-cpu.txt"
    names = ["requirements.txt", cpu] if Path("/proc/driver/nvidia").exists() else [cpu, "requirements.txt"]
    for name in [*names, *sorted(path.name for path in root.glob("requirements-*.txt"))]:
        try:
            lines = (root / name).read_text(encoding="utf-8")
        except OSError:
            continue
        if re.search(rf"^{re.escape(package).replace('_', '[_-]')}(?![\w-])", lines, re.M | re.I):
            return name
    return None


def require(*modules):
    """Raises ModuleNotFoundError for the first that is not installed; imports none."""
    for name in modules:
        if find_spec(name) is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def from_here_on():
    """A package that is missing ends the program with one line and status 2, instead of a traceback."""
    before = sys.excepthook

    def hook(kind, error, traceback):
        said = advice(error)
        if said is None:
            return before(kind, error, traceback)
        print(f"error: {said}", file=sys.stderr, flush=True)
        raise SystemExit(2)  # Python takes it from a hook, too

    sys.excepthook = hook
