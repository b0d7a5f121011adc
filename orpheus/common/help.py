"""What `--help`, `--help-all` and `--version` print, from the dataclasses that the flags are made from. Needs no package.

`--help` has what most people use, on one screen of 80 columns; `--help-all` every option with its default.
"""

import ast
import inspect
import re
import shutil
import sys
import textwrap
import types
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, Union, get_args, get_origin, get_type_hints

VERSION = "1.0.0"
ASK = {"-h": "help", "--help": "help", "--help-all": "help-all", "--version": "version"}
_SHOWN = ("torch", "transformers", "peft", "datasets", "unsloth")  # whose versions a report of a fault should have
_COLUMN = 26  # where explanations begin
_NARROWEST, _WIDEST = 60, 100


@dataclass(frozen=True)
class Flag:
    """One option of a command line."""

    name: str  # of the field
    value: str  # what it takes, in words; "" for one that is on or off
    default: object
    text: str  # its explanation
    positional: bool = False

    @property
    def written(self):
        """As it is typed."""
        if self.positional:
            return self.value
        name = self.name.replace("_", "-")
        if self.value:
            return f"--{name} {self.value}"
        return f"--no-{name}" if self.default is True else f"--{name}"


def flags_of(options, default=None):
    """[(heading, [Flag])] of a dataclass of options: its own fields, then those of each group in it.

    default: an instance whose values are the defaults; None for those of the class
    """
    hints, texts = _hints(options), _texts(options)
    own, groups = [], []
    for f in fields(options):
        kind, marks = _plain(hints[f.name])
        value = getattr(default, f.name) if default is not None else _default(f)
        if is_dataclass(kind):
            groups += [
                (_first_sentence(inspect.getdoc(kind) or f.name), flags)
                for _, flags in flags_of(kind, value if is_dataclass(value) else None)
            ]
        else:
            own.append(
                Flag(
                    f.name, _value(kind, "Append" in marks, f.name), value, texts.get(f.name, ""), "Positional" in marks
                )
            )
    return [("Options", own), *groups] if own else groups


def names_of(options):
    """Names of all options; quicker than `flags_of`."""
    kinds = {name: _plain(kind)[0] for name, kind in _hints(options).items()}
    return {n for name, kind in kinds.items() for n in (names_of(kind) if is_dataclass(kind) else {name})}


def wants(argv):
    """Which of "help", "help-all" and "version" is asked for, if any."""
    words = argv[: argv.index("--")] if "--" in argv else argv
    return next((ASK[word] for word in words if word in ASK), None)


def answer(asked, options, description, program, common=None, default=None):
    """The text for `asked`; see `help_text`."""
    if asked == "version":
        return version_text()
    return help_text(options, description, program, None if asked == "help-all" else common, default)


def help_text(options, description, program, common=None, default=None, width=None):
    """The help of a command line.

    description: what it does, then its examples as an indented block, each `command   # or two spaces, then what it does`;
    common: {heading: {name of an option: what it does, in a few words}}, those to be shown; None for all
    """
    width = width or max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size().columns))
    groups = flags_of(options, default)
    known = {flag.name: flag for _, flags in groups for flag in flags}
    positional = [f"[{flag.value}]" for flag in known.values() if flag.positional]
    lines = [*_description(description, width, common is None), ""]
    lines += [f"usage: {' '.join([program, *positional, '[options]'])}"]
    if common is None:
        shown = {heading: [(flag.written, _explanation(flag)) for flag in flags] for heading, flags in groups}
    else:
        shown = {
            heading: [(_brief(known[name]), text) for name, text in rows.items()] for heading, rows in common.items()
        }
    for heading, rows in shown.items():
        lines += ["", f"{heading}:", *(line for row in rows for line in _rows(*row, width))]
    last = {"--version": "versions of this program and of what it runs on"}
    if common is not None:
        last = {"--help-all": f"all {len(known)} options, with their defaults", **last}
    lines += ["", *(row for name, text in last.items() for row in _rows(name, text, width))]
    return "\n".join(lines)


def version_text():
    """Versions of the program, of Python, and of the packages that are installed."""
    from importlib.metadata import PackageNotFoundError, version

    found = []
    for package in _SHOWN:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return f"orpheus {VERSION} (Python {sys.version.split()[0]}{''.join(f', {one}' for one in found)})"


# --- reading the classes ---------------------------------------------------------------------------------------------


def _hints(options):
    if not any(isinstance(f.type, str) for f in fields(options)):
        return {f.name: f.type for f in fields(options)}
    return get_type_hints(options, include_extras=True)


def _texts(options):
    """{field: the text in quotes below it}, on one line each; those of a class that this one inherits from as well."""
    found = {}
    for cls in reversed(options.__mro__):
        if not is_dataclass(cls):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0].body
        for node, after in zip(body, body[1:]):
            if (
                isinstance(node, ast.AnnAssign)
                and isinstance(after, ast.Expr)
                and isinstance(after.value, ast.Constant)
            ):
                found[node.target.id] = " ".join(str(after.value.value).split())
    return found


def _plain(kind):
    """(a type without its annotations, the annotations' names as one text)"""
    if get_origin(kind) is Annotated:
        return kind.__origin__, " ".join(map(str, kind.__metadata__))
    return kind, ""


def _default(field):
    return (
        field.default
        if field.default is not MISSING
        else field.default_factory()
        if field.default_factory is not MISSING
        else None
    )


def _value(kind, one_by_one=False, name=""):
    """What an option of the type `kind` takes: "N", "a|b", "FILE"."""
    kind, _ = _plain(kind)
    inner = get_args(kind)
    if kind is bool:
        return ""
    if get_origin(kind) in (Union, types.UnionType):
        return "|".join(word for one in inner if one is not type(None) and (word := _value(one, name=name)))
    if get_origin(kind) is Literal:
        return "|".join(map(str, inner))
    if get_origin(kind) is tuple:
        word = _value(inner[0], name=name)
        return word if one_by_one else f"{word} ..."
    return {int: "N", float: "N", Path: "PATH", str: "TEXT" if "text" in name else "NAME"}.get(kind, "VALUE")


# --- writing ---------------------------------------------------------------------------------------------------------


def _first_sentence(text):
    text = " ".join(text.split())
    found = re.match(r"(.*?[^.\s]{2}\.)(?=\s+[A-Z]|$)", text)
    return (found[1] if found else text).rstrip(".")


def _brief(flag):
    """As it is typed, with a word in place of a long list of choices."""
    long = len(flag.written) + 4 > _COLUMN
    return replace(flag, value=flag.name.split("_")[-1].upper()).written if long and flag.value else flag.written


def _explanation(flag):
    text, value = flag.text, flag.default
    if any(value is unsaid for unsaid in (None, False, True)) or value in ("", ()) or "default" in text.lower():
        return text
    words = (
        " ".join(map(str, value))
        if isinstance(value, tuple)
        else _short_path(value)
        if isinstance(value, Path)
        else value
    )
    return f"{text} Default: {words}."


def _short_path(path):
    """Without the place where the project lies."""
    root = Path(__file__).resolve().parents[2]
    return path.relative_to(root) if path.is_relative_to(root) else path


def _rows(name, text, width):
    """Lines of an option: its name, and its explanation in a column beside or below it."""
    indent = " " * _COLUMN
    wrapped = textwrap.wrap(text, width - _COLUMN, break_long_words=False, break_on_hyphens=False) or [""]
    names = [name]
    if len(name) + 2 > width:  # a list of many choices
        names = textwrap.wrap(name.replace("|", "| "), width - 2, subsequent_indent="    ", break_long_words=False)
        names = [line.replace("| ", "|") for line in names]
    if len(names) == 1 and len(name) + 4 <= _COLUMN:
        return [f"  {name}".ljust(_COLUMN) + wrapped[0], *(indent + line for line in wrapped[1:])]
    return [*(f"  {line}".rstrip() for line in names), *(indent + line for line in wrapped if line)]


def _description(text, width, whole):
    """The lines of a description: what it does and its examples; the rest only where it is wanted whole."""
    blocks = re.split(r"\n\s*\n", inspect.cleandoc(text or ""))
    last = max((n for n, block in enumerate(blocks) if block.startswith("    ")), default=0)
    kept = blocks if whole else blocks[: last + 1]
    for number, block in enumerate(kept):
        if number:
            yield ""
        if block.startswith("    "):
            yield from _examples(block, width)
        else:
            yield from textwrap.wrap(" ".join(block.split()), width, break_long_words=False, break_on_hyphens=False)


def _examples(block, width):
    """Commands with what they do beside them, or below where there is no room."""
    pairs = [re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in block.splitlines()]
    column = max(
        (len(pair[0]) for pair in pairs if len(pair) > 1 and len(pair[0]) + len(pair[1]) + 4 <= width), default=0
    )
    for command, *said in pairs:
        if not said or len(command) > column or column + 4 + len(said[0]) > width:
            yield f"  {command}"
            yield from (f"      {line}" for one in said for line in textwrap.wrap(one, width - 6))
        else:
            yield f"  {command.ljust(column)}  {said[0]}"
