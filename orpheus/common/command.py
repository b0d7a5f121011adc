"""How a command line begins and ends: the same warnings, messages and exit statuses for every entry point. And options by
name, from YAML or as keywords: held to the annotations of their class, which the flags are made from.

Light on purpose: `--help` needs no more than this.
"""

import contextlib
import os
import re
import sys
import warnings
from dataclasses import asdict, fields, is_dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Literal, Union, get_args, get_origin, get_type_hints

from orpheus.common import help as helping
from orpheus.common import missing
from orpheus.common.errors import InputError, OrpheusError, OrpheusWarning
from orpheus.common.options import is_number, is_whole, shown
from orpheus.common.progress import apart
from orpheus.common.stored import LARGEST_CONFIG, read_text_file


def say(message):
    """A line on standard error. What a terminal would obey, such as an escape sequence in a file's name, is written out."""
    with apart():
        print(_plain(message), file=sys.stderr, flush=True)


def tell(result):
    """A line on standard output, which no bar shares."""
    with apart():
        print(_plain(result), file=sys.stdout, flush=True)


def _plain(message):
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in str(message))


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
        except Exception as error:
            cure = _DOCSTRINGS if needs_docstrings(error) else missing.advice(error) or missing.misfit(error)
            if cure is None:
                raise
            say(f"error: {cure}")
            return 2
    return 0


_DOCSTRINGS = (
    "Python runs without docstrings here (PYTHONOPTIMIZE=2, or -OO), and transformers needs them: unset PYTHONOPTIMIZE, or "
    "use PYTHONOPTIMIZE=1"
)


def parse(options, description, argv=None, program=None, common=None, default=None):
    """An object of the dataclass `options` out of flags. `--help`, `--help-all`, `--version` and wrong flags end the program.

    description: what the program does, with examples; see orpheus.common.help; argv: by default the process's; program: as it is called;
    common: {heading: {option: a few words}} that --help shows, None for all; default: an instance with the defaults
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    program = program or _program()
    if asked := helping.wants(argv):
        print(helping.answer(asked, options, description, program, common, default))
        raise SystemExit(0)
    import tyro

    kinds = helping.kinds_of(options)
    words = argv[: argv.index("--")] if "--" in argv else argv
    for word, after in zip(words, [*words[1:], None]):
        _check_flag(word, kinds, program)
        _check_value(word, after, kinds)
    return at_home(tyro.cli(options, description=description, args=argv, prog=program, default=default, add_help=False))


def peek(argv, *names):
    """{name: value} of the options with these names, as they stand in `argv`: for what is said before it is read in full.

    One without a value, a flag, is True.
    """
    words, found = list(argv[: argv.index("--")] if "--" in argv else argv), {}
    for word, after in zip(words, [*words[1:], "-"]):
        name, given, value = word.partition("=")
        name = name.lstrip("-").replace("_", "-")
        if word.startswith("-") and name in names:
            found[name.replace("-", "_")] = value if given else True if after.startswith("-") else after
    return found


def _program():
    """`inference.py`, or `python -m orpheus.evaluate`."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return f"python -m {spec.name.removesuffix('.__main__')}" if spec else f"python {Path(sys.argv[0]).name}"


def _check_flag(word, known, program):
    """Ends the program where a word is a flag that there is not."""
    name = word.partition("=")[0]
    if not re.fullmatch(r"--[A-Za-z][\w-]*", name) or {
        plain := name[2:].replace("-", "_"),
        plain.removeprefix("no_"),
    } & {*known}:
        return
    near = get_close_matches(plain, known, 1)
    hint = f"did you mean --{near[0].replace('_', '-')}? " if near else ""
    say(f"error: there is no option {shown(name)}; {hint}{program} --help-all lists them all")
    raise SystemExit(2)


def _check_value(word, after, kinds):
    """Ends the program where a flag lacks its value, or has one that is no number or none of its words."""
    name, given, value = word.partition("=")
    kind = kinds.get(name[2:].replace("-", "_")) if name.startswith("--") else None
    if kind in (None, bool) or get_origin(kind) is tuple:
        return
    value = value if given else after
    allowed = list(_allowed(kind))
    if value is None or (not given and value.startswith("--")):
        say(f"error: {name} needs a value: {_listed(allowed)}")
        raise SystemExit(2)
    if {"text", "a path"} & {*allowed} or value in (*allowed, "None"):
        return
    for number, convert in (("a number", float), ("a whole number", int)):
        with contextlib.suppress(ValueError):
            if number in allowed:
                convert(value)
                return
    say(f"error: {name} must be {_listed(allowed)}, not {shown(value)}")
    raise SystemExit(2)


def needs_docstrings(error):
    """Whether an error comes from Python's leaving out docstrings."""
    return sys.flags.optimize > 1 and "docstring" in str(error).lower()


def cure_of(error):
    """What to do about an error of a library that tells of the machine, not of the files; None for all others."""
    while error is not None:
        if needs_docstrings(error):
            return _DOCSTRINGS
        if isinstance(error, ImportError):
            name = f" ({error.name})" if error.name else ""
            return f"A package is missing or broken{name}: pip install -r requirements.txt, or requirements-cpu.txt without CUDA"
        if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
            return "There is too little memory: close other programs, or use a smaller model, such as --model demo"
        error = error.__cause__ or error.__context__
    return None


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

    from orpheus.common.yaml12 import Loader

    try:
        values = yaml.load(read_text_file(path.expanduser(), LARGEST_CONFIG), Loader)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"--config {path} cannot be read as YAML: {' '.join(str(error).split())}") from error
    if values is None:  # an empty file
        return {}
    if not isinstance(values, dict):
        raise InputError(f"--config {path} must hold lines of `option: value`, not {shown(values)}")
    return values


def at_home(options):
    """The same options with `~` in all their paths replaced by the user's folder, as shells leave it in `--out=~/speech`."""
    if isinstance(options, Path):
        return options.expanduser()
    if isinstance(options, tuple):
        return tuple(map(at_home, options))
    if is_dataclass(options):
        changed = {f.name: at_home(getattr(options, f.name)) for f in fields(options)}
        return replace(options, **{n: v for n, v in changed.items() if v is not getattr(options, n)})
    return options


def write_config(path, settings):
    """Writes what `read_config` reads."""
    import yaml

    from orpheus.common.yaml12 import Dumper

    path.write_text(yaml.dump(settings, Dumper=Dumper, sort_keys=False, allow_unicode=True), encoding="utf-8")


def settings_of(*groups):
    """All options of several classes as one flat dictionary that YAML can write."""
    values = {name: value for group in groups for name, value in asdict(group).items()}
    return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}


def options_from(classes, values, source=""):
    """One object of each class of options, made of `values`, {option: value}, which are held to what a flag may be.

    source: where the values are from, for the message
    Raises InputError for an unknown option and for a value that its option does not take.
    """
    source = f"{source}: " if source else ""
    kinds = {name: kind for options in classes for name, kind in get_type_hints(options).items()}
    for name in values:
        if name not in kinds:
            near = get_close_matches(str(name), kinds, 1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(kinds)}"
            raise InputError(f"{source}unknown option {shown(name)}; {hint}")
    try:
        values = {name: checked(name, value, kinds[name]) for name, value in values.items()}
        return [cls(**{f.name: values[f.name] for f in fields(cls) if f.name in values}) for cls in classes]
    except InputError as error:
        raise InputError(f"{source}{error}") from error


def checked(name, value, kind):
    """`value` as an option of the type `kind` keeps it: a path for its text, a float for a whole number. Raises InputError."""
    kept = _keep(value, kind)
    if kept is _REFUSED:
        allowed = list(_allowed(kind))
        hint = f'; put it in quotes: "{shown(value)}"' if _is_bare(value) and {"text", "a path"} & {*allowed} else ""
        raise InputError(f"{name} must be {_listed(allowed)}, not {shown(value)}{hint}")
    return kept


_REFUSED = object()


def _keep(value, kind):
    """What an option of the type `kind` keeps of `value`, or _REFUSED."""
    inner = get_args(kind)
    if get_origin(kind) in (Union, UnionType):
        return next((kept for one in inner if (kept := _keep(value, one)) is not _REFUSED), _REFUSED)
    if get_origin(kind) is Literal:
        fits = isinstance(value, str) and value in inner
    elif get_origin(kind) is tuple:  # of any length
        kept = tuple(_keep(one, inner[0]) for one in value) if isinstance(value, (list, tuple)) else (_REFUSED,)
        return _REFUSED if _REFUSED in kept else kept
    elif kind is float:
        return float(value) if is_number(value) else _REFUSED
    elif kind is int:
        return int(value) if is_whole(value) else _REFUSED
    elif kind is Path:
        return Path(value) if isinstance(value, Path) or (_is_text(value) and value) else _REFUSED
    elif kind is str:
        fits = _is_text(value)
    else:
        fits = isinstance(value, {bool: bool, type(None): type(None)}[kind])
    return value if fits else _REFUSED


def _is_text(value):
    return isinstance(value, str) and "\0" not in value  # which no path and no flag can hold


def _is_bare(value):
    """Whether it would be a text in quotes."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _allowed(kind):
    """What an option of the type `kind` may be, in words. That it may be left out goes without saying."""
    if get_origin(kind) in (Union, UnionType):
        for one in get_args(kind):
            yield from _allowed(one)
    elif get_origin(kind) is Literal:
        yield from get_args(kind)
    elif get_origin(kind) is tuple:
        yield f"a list of {_listed(_allowed(get_args(kind)[0]))}"
    elif kind is bool:
        yield from ("true", "false")
    elif kind is not type(None):
        yield {float: "a number", int: "a whole number", Path: "a path", str: "text"}[kind]


def _listed(words):
    """a, b or c"""
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last
