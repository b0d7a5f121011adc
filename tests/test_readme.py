"""The README is true: its commands parse, its Python runs, its links lead somewhere, its figures are the code's."""

import contextlib
import io
import re
import shlex

import pytest
from conftest import ROOT

import inference
from orpheus.common.options import ORPHEUS_3B, ORPHEUS_3B_VOICES
from orpheus.common.tokens import TokenLayout
from orpheus.text.tags import TAGS

README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.M | re.S)


def commands():
    """Every `python inference.py` line, without comment, input and pipe."""
    for line in "\n".join(blocks("bash")).splitlines():
        words = shlex.split(line, comments=True)
        if "inference.py" in words:
            words = words[words.index("inference.py") + 1 :]
            yield words[: words.index("|")] if "|" in words else words


@pytest.mark.parametrize("arguments", list(commands()), ids=" ".join)
def test_every_command_parses(arguments):
    with contextlib.redirect_stdout(io.StringIO()) as shown:
        try:
            inference._parse(arguments)
        except SystemExit as exit:
            assert exit.code == 0, shown.getvalue()  # --help


def training_commands():
    for line in "\n".join(blocks("bash")).splitlines():
        words = shlex.split(line, comments=True)
        if "orpheus_sft_unsloth.py" in words:
            yield words[words.index("orpheus_sft_unsloth.py") + 1 :]


@pytest.mark.parametrize("arguments", list(training_commands()), ids=" ".join)
def test_every_training_command_parses(arguments, tmp_path, monkeypatch):
    import orpheus_sft_unsloth

    if "lora_model/config.yaml" in arguments:  # the file of an earlier run
        monkeypatch.chdir(tmp_path)
        (tmp_path / "lora_model").mkdir()
        (tmp_path / "lora_model" / "config.yaml").write_text("learning_rate: 0.0001")
    orpheus_sft_unsloth.parse(arguments)


def evaluation_commands():
    for line in "\n".join(blocks("bash")).splitlines():
        words = shlex.split(line, comments=True)
        if "orpheus.evaluate.cli" in words:
            yield words[words.index("orpheus.evaluate.cli") + 1 :]


@pytest.mark.parametrize("arguments", list(evaluation_commands()), ids=" ".join)
def test_every_evaluation_command_parses(arguments):
    from orpheus.evaluate import cli as evaluate

    evaluate._systems(evaluate._parse(arguments))


def test_there_are_commands():
    assert len(list(evaluation_commands())) >= 5
    assert len(list(commands())) >= 10
    assert blocks("bash")[0].split()[:2] == ["make", "speak"] and "make test" in blocks("bash")[0]


@pytest.mark.parametrize("code", blocks("python"))
def test_every_python_block_runs(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    exec(compile(code, "README.md", "exec"), {})


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_tags_and_voices_are_those_of_the_code():
    for category, tags in TAGS.items():
        assert f"| {category} | {' '.join(f'`<{tag}>`' for tag in tags)} |" in README
    assert f"| `{ORPHEUS_3B}` | {', '.join(f'`{voice}`' for voice in ORPHEUS_3B_VOICES)} |" in README


def test_slot_ranges_are_those_of_the_code():
    layout = TokenLayout()
    for slot in range(7):
        first = layout.slot_start(slot)
        assert re.search(rf"^\| {slot} \|.*\| {first:,} to {first + 4095:,} \|$", README, flags=re.M)


def test_the_users_own_install_line():
    assert (
        'pip install sentencepiece protobuf "datasets>=3.4.1,<4.0.0" "huggingface_hub>=0.34.0" hf_transfer\n' in README
    )
