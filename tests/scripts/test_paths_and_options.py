"""Paths, texts and options of any kind: each is used as it was meant, or refused with a clear message."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import inference
import orpheus_sft_unsloth
from orpheus.common.command import cure_of, say
from orpheus.common.errors import InputError
from orpheus.common.options import ROOT
from orpheus.speech.model import choose_device
from orpheus.speech.synthesis import OrpheusInference

pytestmark = pytest.mark.filterwarnings("ignore:speech was cut off")
SHORT = {"max_new_tokens": 70}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def test_tilde_is_the_users_folder(home, run, small_voice_folder):
    (home / "story.txt").write_text("Hi.")
    (home / "voice").symlink_to(small_voice_folder)
    named = ["--text-file=~/story.txt", "--out=~/speech/a.wav", "--codec=~/voice/codec", "--max-new-tokens=70"]
    status, _, err = run(*named, "--model", "~/voice")
    assert status == 0, err
    assert (home / "speech" / "a.wav").is_file() and not Path("~").exists()


def test_tilde_in_the_recipe(home):
    (home / "run.yaml").write_text("out: ~/adapter\ndataset: ~/mine\n")
    found = orpheus_sft_unsloth.parse(["--config=~/run.yaml", "--run-dir=~/runs", "--code-cache=~/codes"])
    assert (found.run.run_dir, found.data.code_cache) == (home / "runs", home / "codes")
    assert found.run.out == home / "adapter"


def test_links_stay_links(run):
    Path("elsewhere").mkdir()
    Path("folder").symlink_to("elsewhere")
    Path("late").symlink_to("not_there_yet")
    Path("sound.wav").symlink_to("elsewhere/real.wav")
    for out, written in (
        ("folder", "elsewhere/output_0.wav"),
        ("late", "not_there_yet/output_0.wav"),
        ("sound.wav", "elsewhere/real.wav"),
    ):
        status, _, err = run("Hi.", "--max-new-tokens", 70, "--out", out)
        assert status == 0, err
        assert Path(out).is_symlink() and Path(written).is_file()


def test_texts_from_files_that_are_none(run):
    os.mkfifo("pipe")
    os.mkfifo("pipe.wav")
    Path("folder").mkdir()
    Path("binary").write_bytes(b"abc\0\1")
    with open("large", "wb") as file:
        file.truncate(1_000_000_000)
    for name, message in (
        ("/dev/zero", "it has more than 10 MB, the most that is read"),
        ("large", "it has more than 10 MB"),
        ("folder", "it is a folder, not an ordinary file"),
        ("binary", "it has NUL characters"),
        ("none", "No such file"),
    ):
        status, _, err = run("--text-file", name)
        assert status == 2 and f"--text-file {name} cannot be read as UTF-8 text: {message}" in err
    for name in ("pipe", "/dev/null"):  # empty, and nobody is waited for
        status, _, err = run("--text-file", name)
        assert status == 2 and "nothing to speak" in err
    status, _, err = run("Hi.", "--out", "pipe.wav")
    assert status == 2 and "is a device or a pipe; to send sound through one, use --stream wav > pipe.wav" in err


def test_a_text_through_a_pipe():
    reader, writer = os.pipe()
    os.write(writer, "Grüße.".encode())
    os.close(writer)
    found = inference._texts(inference._parse(["--text-file", f"/dev/fd/{reader}"]))
    os.close(reader)
    assert found == ["Grüße."]


def test_standard_input_without_an_end(run):
    status, _, err = run("-", stdin=b"y\n" * 5_000_001)
    assert status == 2 and "it has more than 10 MB" in err
    status, _, err = run("-", stdin=b"a\0b")
    assert status == 2 and "NUL characters" in err


@pytest.mark.parametrize(
    "options",
    [
        {"seed": np.int64(3), "temperature": np.float32(0.6)},
        {"batch_size": np.uint8(3), "top_p": np.float64(0.9)},
        {"language": np.str_("en"), "sentence_pause": np.float16(0.5)},
    ],
)
def test_numbers_of_numpy(small_voice, options):
    plain = {name: value.item() for name, value in options.items()}
    one, other = (small_voice.synthesize("Hi.", **SHORT | given) for given in (options, plain))
    assert np.array_equal(one.audio, other.audio)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"seed": True}, "seed must be a whole number, not True"),
        ({"seed": 3.0}, "seed must be a whole number, not 3.0"),
        ({"seed": np.array([3])}, "seed must be a whole number"),
        ({"temperature": None}, "temperature must be a number, not None"),
        ({"line_voices": True}, "line_voices must be on or off, not True"),
        ({"voice": 5}, "unknown voice 5"),
        ({"voice": ["ann"]}, "unknown voice"),
    ],
)
def test_options_of_another_type(small_voice, options, message):
    with pytest.raises(InputError, match=message):
        small_voice.synthesize("Hi.", **options)


def test_texts_and_folders_of_another_type(small_voice, tmp_path):
    for texts in (5, None, b"Hi.", Path("a")):
        with pytest.raises(InputError, match="must be a list of strings"):
            small_voice.synthesize_all(texts)
    assert len(list(small_voice.synthesize_all("Hi there.", **SHORT))) == 1
    for folder in (5, None, "a\0b", "x" * 300):
        with pytest.raises(InputError, match="output_dir"):
            small_voice.generate("Hi.", output_dir=folder)
    with pytest.warns(UserWarning, match="cannot be spoken were left out"):
        small_voice.synthesize("One \ud800 two \0 three.", **SHORT)


@pytest.mark.parametrize(
    "names, message",
    [
        ({"model": 5}, "model must be a name or a folder, not 5"),
        ({"model": "a\0b"}, "model must be a name or a folder without a NUL"),
        ({"model": "x" * 5000}, "model is longer than any path can be"),
        ({"lora": "a\0b"}, "lora must be"),
        ({"codec": 5}, "codec must be"),
        ({"like": 5}, "like must be"),
        ({"lora_anyway": "yes"}, "lora_anyway must be true or false, not 'yes'"),
        ({"device": 5}, "there is no device '5' here"),
        ({"device": "cpu:7x"}, "there is no device 'cpu:7x' here"),
    ],
)
def test_names_of_another_type(small_voice_folder, names, message):
    with pytest.raises(InputError, match=message):
        OrpheusInference(**{"model": small_voice_folder, "lora": "none"} | names)
    assert choose_device("cpu") == "cpu"


def test_nothing_on_a_terminal_is_obeyed(capsys):
    say("error: \x1b[2Jname \x07\u202e")
    assert capsys.readouterr().err == "error: \\x1b[2Jname \\x07\\u202e\n"


def test_a_folder_of_the_name_of_a_model(run, demo_voice):
    Path("demo").mkdir()
    assert run("Hi.", "--model", "demo", "--lora", "none", "--max-new-tokens", 70)[0] == 0


@pytest.mark.parametrize(
    "error, cure",
    [
        (ModuleNotFoundError("No module named 'x'", name="x"), r"A package is missing or broken \(x\): pip install"),
        (MemoryError(), "too little memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "too little memory"),
    ],
)
def test_cures(error, cure):
    import re

    wrapped = ValueError("it failed")
    wrapped.__cause__ = error
    assert re.search(cure, cure_of(wrapped))
    assert cure_of(ValueError("it failed")) is None


@pytest.mark.parametrize("script", ["inference.py", "orpheus_sft_unsloth.py"])
def test_without_docstrings(script):
    """Help works with -OO."""
    command = [sys.executable, "-OO", ROOT / script, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "--model" in done.stdout
