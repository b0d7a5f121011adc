"""--help, --help-all and --version of every command line."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import pytest

from orpheus.common.command import parse
from orpheus.common.help import flags_of, help_text, wants
from orpheus.common.options import ROOT
from orpheus.data.options import DataOptions
from orpheus.engines.options import EndpointOptions, SamplingOptions
from orpheus.evaluate.options import JudgeOptions, ListOptions
from orpheus.export.options import ExportOptions
from orpheus.speech.options import LongTextOptions, ReferenceOptions, RetryOptions, StreamOptions, TextOptions
from orpheus.training.options import RunOptions, TrainingOptions

SPEAKING = (SamplingOptions, TextOptions, LongTextOptions, RetryOptions)
PROGRAMS = {
    "inference.py": (*SPEAKING, ReferenceOptions, StreamOptions, EndpointOptions),
    "orpheus_sft_unsloth.py": (RunOptions, DataOptions, TrainingOptions),
    "-m orpheus.evaluate": (*SPEAKING, JudgeOptions, ListOptions),
    "-m orpheus.export": (ExportOptions,),
}
HEAVY = {"torch", "transformers", "numpy", "soundfile"}


@dataclass(frozen=True)
class Group:
    """How it is drawn. More of it."""

    steps: int = 3
    """How many steps, e.g. 3. More are
    slower."""
    sizes: tuple[int, ...] = (1, 2)
    """Which sizes."""
    trim: bool = True
    """Cuts the silence."""


@dataclass(frozen=True)
class Arguments:
    text: Annotated[tuple[str, ...], "Positional"] = ()
    """What to say."""
    place: Path | None = None
    """Where it goes. Default: here."""
    often: float | Literal["auto"] = "auto"
    """How often."""
    kind: Literal["wav", "pcm"] = "wav"
    """What it is."""
    quiet: bool = False
    """Says nothing."""
    group: Group = field(default_factory=Group)


def show(common=None, width=80):
    return help_text(
        Arguments, "Does it.\n\n    do it        at once\n    do it again\n\nAnd more.", "do", common, None, width
    )


@cache
def run(program, *arguments):
    """What a process did, and what it imported, on its stderr."""
    environment = {**os.environ, "COLUMNS": "80"}
    command = [sys.executable, "-X", "importtime", *program.split(), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)


def test_all_of_a_command_line():
    assert show().splitlines() == [
        "Does it.",
        "",
        "  do it  at once",
        "  do it again",
        "",
        "And more.",
        "",
        "usage: do [TEXT ...] [options]",
        "",
        "Options:",
        "  TEXT ...                What to say.",
        "  --place PATH            Where it goes. Default: here.",
        "  --often N|auto          How often. Default: auto.",
        "  --kind wav|pcm          What it is. Default: wav.",
        "  --quiet                 Says nothing.",
        "",
        "How it is drawn:",
        "  --steps N               How many steps, e.g. 3. More are slower. Default: 3.",
        "  --sizes N ...           Which sizes. Default: 1 2.",
        "  --no-trim               Cuts the silence.",
        "",
        "  --version               versions of this program and of what it runs on",
    ]


def test_what_most_people_use():
    lines = show({"First": {"often": "how often", "steps": "how many"}}).splitlines()
    assert "And more." not in lines
    first = lines.index("First:")
    assert lines[first + 1 : first + 3] == ["  --often N|auto          how often", "  --steps N               how many"]
    assert "  --help-all              all 8 options, with their defaults" in lines


def test_defaults_may_be_those_of_an_object():
    groups = dict(flags_of(Arguments, Arguments(often=2.5, group=Group(steps=9))))
    assert {flag.name: flag.default for flags in groups.values() for flag in flags}["steps"] == 9
    assert [flag.default for flag in groups["Options"] if flag.name == "often"] == [2.5]


@pytest.mark.parametrize(
    "words, asked",
    [
        ("a --help", "help"),
        ("-h", "help"),
        ("--help-all x", "help-all"),
        ("--version", "version"),
        ("a", None),
        ("-- --help", None),
    ],
)
def test_what_is_asked_for(words, asked):
    assert wants(words.split()) == asked


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_is_one_screen_in_words_for_people(program):
    done = run(program, "--help")
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and len(lines) <= 40 and max(map(len, lines)) <= 80
    assert not re.search(r"\{None\}|\[\[|default: None|\(default", done.stdout)
    assert sum(line.startswith("  --") for line in lines) >= 9


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_all_has_every_option_with_its_default(program):
    shown = run(program, "--help-all").stdout
    assert max(map(len, shown.splitlines())) <= 80 and not re.search(r"\{None\}|\[\[|default: None|None\b", shown)
    rows = {
        row.split()[0].removeprefix("no-"): " ".join(row.split()) for row in re.split(r"^  --", shown, flags=re.M)[1:]
    }
    for options in PROGRAMS[program]:
        for one in fields(options):
            row = rows[one.name.replace("_", "-")]
            if isinstance(one.default, (int, float)) and not isinstance(one.default, bool):
                assert re.search(rf"Default: {re.escape(str(one.default))}\.|[Dd]efault", row), one.name


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_needs_nothing_heavy(program):
    done = run(program, "--help")
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    allowed = {"numpy", "soundfile"} if "evaluate" in program else set()  # its judges' counts
    assert not imported & (HEAVY - allowed)


def test_version():
    shown = run("inference.py", "--version").stdout
    assert re.fullmatch(r"orpheus \d+\.\d+\.\d+ \(Python \d+\.\d+\.\d+, torch [\w.+]+, transformers .*\)\n", shown)


@pytest.mark.parametrize(
    "word, hint",
    [
        ("--oftne", "did you mean --often? "),
        ("--group-steps", ""),
        ("--steps_=3", "did you mean --steps? "),
        ("--zzz", ""),
    ],
)
def test_a_wrong_flag_is_told_the_right_one(capsys, word, hint):
    with pytest.raises(SystemExit) as ended:
        parse(Arguments, "", [word], "do")
    assert ended.value.code == 2
    name = word.partition("=")[0]
    said = capsys.readouterr().err
    assert said.startswith(f"error: there is no option '{name}'; {hint}") and "do --help-all" in said


@pytest.mark.parametrize(
    "words, said",
    [
        ("--steps x", "--steps must be a whole number, not 'x'"),
        ("--steps=1.5", "--steps must be a whole number, not '1.5'"),
        ("--often never", "--often must be a number or auto, not 'never'"),
        ("--kind mp3", "--kind must be wav or pcm, not 'mp3'"),
        ("--place", "--place needs a value: a path"),
        ("--often --quiet", "--often needs a value: a number or auto"),
    ],
)
def test_a_wrong_value_is_told_the_right_ones_on_one_line(capsys, words, said):
    with pytest.raises(SystemExit) as ended:
        parse(Arguments, "", words.split(), "do")
    assert ended.value.code == 2 and capsys.readouterr().err == f"error: {said}\n"


@pytest.mark.parametrize("words", ["--often -1.5", "--often auto", "--place=-", "--quiet --kind=pcm", "--place None"])
def test_right_values_pass(words):
    assert parse(Arguments, "", words.split(), "do")
