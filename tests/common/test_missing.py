"""A package that is not installed: one line with what to do, from every entry point."""

import subprocess
import sys

import pytest

from orpheus.common.missing import advice, misfit, package_of, require
from orpheus.common.options import ROOT

CPU = "torch==2.13.0\ntyro\npyyaml\nhf_transfer\n"
COMMANDS = (
    "inference.py",
    "inference.py Hello. --out a.wav",
    "inference.py --list-voices",
    "orpheus_sft_unsloth.py --demo",
    "-m orpheus.evaluate",
    "-m orpheus.export --gguf f32",
    "-m benchmarks.decode",
    "-m benchmarks.start",
    "-m recipes.demo_voice.codec.train",
    "-m recipes.demo_speaker.make",
    "-m recipes.how_much_data.judge",
    "-m recipes.tag_detector.make",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_entry_point_says_what_to_do(command):
    """A Python without any packages."""
    done = subprocess.run([sys.executable, "-S", *command.split()], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: the package ") and len(done.stderr.splitlines()) == 1
    assert "source .venv/bin/activate" in done.stderr or "pip install" in done.stderr


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "requirements-cpu.txt").write_text(CPU)
    (tmp_path / "requirements.txt").write_text(CPU + "unsloth\n")
    (tmp_path / "requirements-eval.txt").write_text("faster-whisper  # hears\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def missing(name):
    return ModuleNotFoundError(f"No module named {name!r}", name=name)


def with_environment(root, windows=False):
    python = root / ".venv" / ("Scripts/python.exe" if windows else "bin/python")
    python.parent.mkdir(parents=True)
    python.touch()


def test_an_environment_that_is_there_is_to_be_activated(project):
    with_environment(project)
    said = advice(missing("tyro"), project, sys.base_prefix, windows=False)
    assert said.startswith("the package tyro is not installed in this Python (")
    assert said.endswith("then try again: source .venv/bin/activate")


def test_on_windows(project):
    with_environment(project, windows=True)
    assert advice(missing("tyro"), project, sys.base_prefix, windows=True).endswith(r": .venv\Scripts\activate")


def test_from_another_folder_the_whole_path_is_told(project, monkeypatch):
    with_environment(project)
    (project / "deep").mkdir()
    monkeypatch.chdir(project / "deep")
    assert advice(missing("torch"), project, sys.base_prefix, False).endswith(f": source {project}/.venv/bin/activate")


def test_without_an_environment_make_makes_one(project):
    said = advice(missing("yaml.nodes"), project, sys.base_prefix, windows=False)
    assert "the package pyyaml is not" in said and "`make speak`" in said
    assert "source .venv/bin/activate" in said and "pip install -r requirements-cpu.txt" in said


@pytest.mark.parametrize("prefix", [".venv", "another"])
def test_in_an_environment_already_it_is_installed_there(project, prefix):
    with_environment(project)
    if prefix == "another":
        (project / ".venv" / "bin" / "python").unlink()
    said = advice(missing("torch"), project, project / prefix, windows=False)
    assert said.endswith("): pip install -r requirements-cpu.txt")


@pytest.mark.parametrize(
    "module, cure",
    [
        ("unsloth", "pip install -r requirements.txt"),
        ("faster_whisper", "pip install -r requirements-eval.txt"),
        ("cv2", "pip install cv2"),
        ("hf_transfer", "pip install -r requirements-cpu.txt"),
    ],
)
def test_where_a_package_stands(project, module, cure):
    assert advice(missing(module), project, project / "own").endswith(f": {cure}")


@pytest.mark.parametrize(
    "error",
    [
        missing("orpheus.speech.nowhere"),
        ImportError("cannot import name x", name="torch"),
        ValueError("no"),
        missing("tests"),
    ],
)
def test_other_errors_are_none_of_its(error):
    assert package_of(error) is None and advice(error) is None


def test_what_is_required_is_looked_for_and_not_imported():
    require("json", "this")
    assert "this" not in sys.modules  # it would print
    with pytest.raises(ModuleNotFoundError) as error:
        require("json", "no_such_package", "nor_this")
    assert error.value.name == "no_such_package"


# --- packages that are there but do not fit together --------------------------------------------------------------------


def raised_in(folder, text):
    """The error of importing a module with this text that lies in `folder`."""
    folder.mkdir(parents=True)
    (folder / "library.py").write_text(text)
    try:
        exec(compile(text, str(folder / "library.py"), "exec"), {})
    except ImportError as error:
        return error


@pytest.mark.parametrize(
    "error, said",
    [
        (ImportError("cannot import name 'varlen_attn' from 'torch.nn'", name="torch.nn"), "cannot import name 'varlen_attn'"),
        (ImportError("cannot import name 'PreTrainedModel'", name="transformers"), "(cannot import name 'PreTrainedModel')"),
    ],
)  # fmt: skip
def test_a_name_that_a_package_lacks(error, said):
    assert said in misfit(error) and misfit(error).startswith("packages here do not fit together (")
    assert misfit(error).endswith("pip install -r requirements.txt, or requirements-cpu.txt without CUDA")


def test_what_a_library_finds_out_about_another_itself(tmp_path):
    text = "raise ImportError('tokenizers>=0.21,<0.22 is required,\\nbut found tokenizers==0.23.3')"
    found = misfit(raised_in(tmp_path / "site-packages", text))
    assert "(tokenizers>=0.21,<0.22 is required, but found tokenizers==0.23.3)" in found
    assert misfit(raised_in(tmp_path / "own", text)) is None


@pytest.mark.parametrize(
    "error", [ImportError("cannot import name 'x'", name="orpheus.speech"), ValueError("no"), ImportError("no")]
)
def test_faults_of_our_own_are_seen_in_full(error):
    assert misfit(error) is None
