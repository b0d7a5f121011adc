"""How a command line begins and ends: the same warnings, messages and exit statuses for every entry point.

Light on purpose: `--help` needs no more than this.
"""

import os
import sys
import warnings
from dataclasses import asdict, fields, replace
from pathlib import Path

from orpheus.common.errors import InputError, OrpheusError, OrpheusWarning


def say(message):
    """A line on standard error."""
    print(message, file=sys.stderr, flush=True)


def run(work, argv=None):
    """Calls `work(argv)`, shows warnings and errors of this project as one line each; returns the exit status.

    0; 2 for what cannot be read, loaded or written; 3 for an adapter worse than its base model; 130 after Ctrl-C, or where a run was stopped and can go on
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a text may hold what the console cannot show
    with warnings.catch_warnings():
        warnings.filterwarnings("always", category=OrpheusWarning)
        warnings.showwarning = lambda message, *_: say(f"warning: {message}")
        try:
            work(argv)
            if sys.stdout is not None:
                sys.stdout.flush()
        except OrpheusError as error:
            say(f"error: {error}")
            return error.status
        except BrokenPipeError:  # the player was closed
            _abandon_stdout()
        except OSError as error:  # all other files have errors of their own
            if not _is_of_stdout(error):
                raise
            say(f"error: standard output cannot be written: {error.strerror or error}")
            _abandon_stdout()
            return 2
        except KeyboardInterrupt:
            return 130
    return 0


def _is_of_stdout(error):
    """Whether an error has no file's name: those of open files and folders have one."""
    return error.filename is None


def _abandon_stdout():
    """Nothing may be flushed into a closed pipe or a full disk at exit either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# --- options by name -------------------------------------------------------------------------------------------------


def read_config(path):
    """{option: value} of a YAML file. Raises InputError."""
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"--config {path} cannot be read as YAML: {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"--config {path} is not a list of `option: value`")
    return values


def with_values(options, values):
    """`options` with those of `values` that it has; paths come as strings out of YAML."""
    types = {f.name: f.type for f in fields(options)}
    chosen = {name: value for name, value in values.items() if name in types}
    chosen = {n: Path(v) if isinstance(v, str) and "Path" in str(types[n]) else v for n, v in chosen.items()}
    return replace(options, **chosen)


def settings_of(*groups):
    """All options of several classes as one flat dictionary that YAML can write."""
    values = {name: value for group in groups for name, value in asdict(group).items()}
    return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}
