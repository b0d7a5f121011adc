"""python inference.py: what it prints, what it writes, and how it ends."""

import io
import os
import re
import subprocess
import sys
import wave
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

import inference
from orpheus.common.options import ROOT

SCRIPT = ROOT / "inference.py"


def wavs(folder="generated_audio"):
    return sorted(path.name for path in Path(folder).glob("*"))


def test_importing_it_imports_nothing_heavy():
    heavy = "import sys; import inference; print([m for m in ('torch', 'transformers', 'numpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, cwd=ROOT).stdout == "[]\n"


# --- texts ---


def test_without_a_text_it_speaks_five_examples(run):
    status, out, _ = run("--max-new-tokens", 70)
    assert status == 0
    assert wavs() == [f"output_{n}.wav" for n in range(5)]
    assert inference.EXAMPLES[0].startswith("Hey there my name is Elise, <giggles> and I'm a speech generation model")
    lines = out.splitlines()
    assert len(lines) == 5
    for number, line in enumerate(lines):
        seconds = soundfile.info(f"generated_audio/output_{number}.wav").duration
        assert line.startswith(f"generated_audio/output_{number}.wav: {seconds:.1f} s of speech in ")
        assert re.search(
            r" in \d+\.\d s \(\d*\.?\d+ x real time\)(, cut off by --max-new-tokens \(max_new_tokens\))?$", line
        )


def test_several_texts(run):
    assert run("One.", "Two.", "--out", "here")[0] == 0
    assert wavs("here") == ["output_0.wav", "output_1.wav"]


def test_one_text_into_a_named_file(run):
    assert run("One.", "--out", "deep/one.wav")[0] == 0
    assert wavs("deep") == ["one.wav"]


def test_standard_input_and_text_file_say_the_same(run):
    Path("story.txt").write_text("Once upon a time.\n\nThe end.", encoding="utf-8")
    assert run("-", "--out", "a.wav", stdin="Once upon a time.\n\nThe end.")[0] == 0
    assert run("--text-file", "story.txt", "--out", "b.wav")[0] == 0
    assert Path("a.wav").read_bytes() == Path("b.wav").read_bytes()


def test_options_reach_the_engine(run, small_voice):
    run("Hello there.", "--seed", 9, "--temperature", 0.9, "--voice", "bob", "--out", "a.wav")
    expected = small_voice.synthesize("Hello there.", "bob", seed=9, temperature=0.9)
    assert np.abs(soundfile.read("a.wav", dtype="float32")[0] - expected.audio).max() < 1 / 16_000


# --- streams ---


@pytest.fixture
def run_into(run, monkeypatch):
    """Runs the command line with standard output into a file or descriptor, then closes it, as a process's end does."""

    def run_into(target, *arguments, mode="wb"):
        with monkeypatch.context() as patch, open(target, mode) as file, io.TextIOWrapper(file) as stdout:
            patch.setattr(sys, "stdout", stdout)
            status, _, err = run(*arguments)
        return status, err

    return run_into


@pytest.mark.parametrize("kind", ["wav", "pcm"])
def test_streams_hold_what_files_hold(run, run_into, kind):
    run("Hello there.", "--out", "whole.wav")
    reading, writing = os.pipe()
    with ThreadPoolExecutor(1) as player, open(reading, "rb") as pipe:
        heard = player.submit(pipe.read)
        assert run_into(writing, "Hello there.", "--stream", kind)[0] == 0
        piped = heard.result()
    assert run_into("streamed", "Hello there.", "--stream", kind)[0] == 0
    data = Path("streamed").read_bytes()
    header = 44 if kind == "wav" else 0
    assert data[header:] == piped[header:]
    whole = soundfile.read("whole.wav", dtype="int16")[0].astype(int)
    assert np.abs(np.frombuffer(data[header:], "<i2") - whole).max() <= 1
    if kind == "wav":
        with wave.open("streamed") as file:  # strict, where libsndfile forgives a wrong header
            assert file.getnframes() == len(whole)
        assert piped[40:44] == b"\xff" * 4


def test_a_stream_appended_to_a_file_leaves_it_whole(run_into):
    for name, mode in (("new.wav", "wb"), ("appended.wav", "wb"), ("appended.wav", "ab")):
        assert run_into(name, "Hello there.", "--stream", "wav", mode=mode)[0] == 0
    new, appended = Path("new.wav").read_bytes(), Path("appended.wav").read_bytes()
    assert appended[: len(new)] == new and appended[len(new) + 44 :] == new[44:]


@pytest.mark.parametrize("flags", [["--stream", "wav"], ["--list-voices"]])
def test_a_full_disk_behind_standard_output(run_into, flags):
    status, err = run_into("/dev/full", "Hello there.", *flags)
    assert status == 2 and "standard output cannot be written: No space left" in err


def test_a_closed_player_is_no_error(run_into):
    reading, writing = os.pipe()
    os.close(reading)
    status, err = run_into(writing, "Hello there.", "--stream", "wav")
    assert status == 0 and err.splitlines()[1:] == ["loading"]


@pytest.mark.parametrize(
    "target, expected",
    [("| head -c 10 > /dev/null", (0, "")), ("> /dev/full", (2, "standard output cannot be written: No space left"))],
)
def test_a_process_whose_output_goes_nowhere_ends_in_peace(small_voice_folder, in_empty_folder, target, expected):
    """As above, and Python itself has nothing to say while it exits."""
    command = f"{sys.executable} {SCRIPT} 'Hello there.' --stream wav --model {small_voice_folder} {target}"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True)
    assert done.returncode == expected[0] and expected[1] in done.stderr
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr


def test_list_voices(run):
    status, out, _ = run("--list-voices")
    assert status == 0
    assert out.splitlines()[:2] == ["ann (English, default)", "bob (English)"]
    assert "<laugh>" in out and "<groan>" in out
