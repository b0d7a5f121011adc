"""Nothing that Python 3.10 or 3.13 lacks is used: the oldest and the newest that docs/installation.md names."""

import ast

import pytest

from orpheus.common.options import ROOT

FOLDERS = ("orpheus", "recipes", "benchmarks", "tests")
FILES = sorted([*ROOT.glob("*.py"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))])
# Of the standard library, by "What's New": modules, and names of functions, classes and methods that no older class of ours has.
NEW = {
    "3.11": "tomllib file_digest TaskGroup StrEnum ReprEnum ExceptionGroup BaseExceptionGroup add_note assert_never assert_type "
    "LiteralString reveal_type getLevelNamesMapping",
    "3.12": "sumprod is_junction setprofile_all_threads",
    "3.13": "process_cpu_count full_match from_uri PythonFinalizationError",
}
NEW_IN = {  # of a module, where the name alone says too little
    "3.11": {
        ("contextlib", "chdir"),
        ("asyncio", "timeout"),
        ("asyncio", "Runner"),
        ("datetime", "UTC"),
        ("typing", "Self"),
    }
    | {
        ("typing", "Never"),
        ("typing", "Unpack"),
        ("operator", "call"),
        ("math", "cbrt"),
        ("math", "exp2"),
        ("enum", "verify"),
    },
    "3.12": {
        ("typing", "override"),
        ("itertools", "batched"),
        ("typing", "TypeAliasType"),
        ("os", "listdrives"),
        ("inspect", "getasyncgenstate"),
    },
    "3.13": {
        ("copy", "replace"),
        ("math", "fma"),
        ("warnings", "deprecated"),
        ("queue", "ShutDown"),
        ("typing", "ReadOnly"),
    },
}
GONE = set(
    "asynchat asyncore binhex distutils imp smtpd aifc audioop cgi cgitb chunk crypt imghdr lib2to3 mailcap msilib nis nntplib "
    "ossaudiodev pipes sndhdr spwd sunau telnetlib uu xdrlib".split()
)  # by 3.13


def faults(source):
    """What Python 3.10 or 3.13 would miss, as words."""
    try:
        tree = ast.parse(source, feature_version=(3, 10))
    except SyntaxError as error:
        return [f"syntax of line {error.lineno}"]
    found, plain = [], {name: version for version, names in NEW.items() for name in names.split()}
    of_module = {pair: version for version, pairs in NEW_IN.items() for pair in pairs}
    for node in ast.walk(tree):
        modules, pairs, names = [], [], []
        if isinstance(node, ast.Import):
            modules = [alias.name.split(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules = [node.module.split(".")[0]]
            pairs = [(node.module, alias.name) for alias in node.names]
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.Attribute):
            names = [node.attr]
            pairs = [(node.value.id, node.attr)] if isinstance(node.value, ast.Name) else []
        elif isinstance(node, ast.Name):
            names = [node.id]
        elif type(node).__name__ in ("TryStar", "TypeAlias"):
            found.append(f"syntax of line {node.lineno}")
        found += [f"{name} is gone by 3.13" for name in modules if name in GONE]
        found += [f"{name} is new in {plain[name]}" for name in (*names, *modules) if name in plain]
        found += [f"{'.'.join(pair)} is new in {of_module[pair]}" for pair in pairs if pair in of_module]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_suits_both(path):
    assert faults(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source, fault",
    [
        ("import hashlib\nhashlib.file_digest(f, 'sha256')", "file_digest is new in 3.11"),
        ("import tomllib", "tomllib is new in 3.11"),
        ("from itertools import batched", "itertools.batched is new in 3.12"),
        ("from typing import Self", "typing.Self is new in 3.11"),
        ("import contextlib\nwith contextlib.chdir('a'): pass", "contextlib.chdir is new in 3.11"),
        ("import audioop", "audioop is gone by 3.13"),
        ("from distutils.util import strtobool", "distutils is gone by 3.13"),
        ("try: pass\nexcept* ValueError: pass", "syntax"),
        ("def first[T](x: T) -> T: return x", "syntax"),
    ],
)
def test_what_one_of_them_lacks_is_found(source, fault):
    assert [found.split(" of line")[0] for found in faults(source)] == [fault]
