"""python inference.py: what it prints, what it writes, and how it ends."""

import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile

import inference
from orpheus.common import options
from orpheus.common.options import ROOT

SCRIPT = ROOT / "inference.py"


def wavs(folder="generated_audio"):
    return sorted(path.name for path in Path(folder).glob("*"))


# --- help ---


def test_help_shows_every_option_with_its_default_and_imports_nothing_heavy():
    shown = subprocess.run([sys.executable, SCRIPT, "--help"], capture_output=True, text=True, check=True).stdout
    groups = "SamplingOptions TextOptions LongTextOptions RetryOptions StreamOptions".split()
    for group in (getattr(options, name) for name in groups):
        for name, default in vars(group()).items():
            assert f"--{name.replace('_', '-')}" in shown and str(default) in shown
    for flag in "--text-file --voice --out --model --lora --codec --device --stream --list-voices".split():
        assert flag in shown
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
        assert line.startswith(f"generated_audio/output_{number}.wav: {seconds:.2f} s of speech in ")
        assert "real-time factor" in line and line.split(", ")[-1] in (
            "end_of_speech",
            "out_of_range",
            "max_new_tokens",
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


@pytest.mark.parametrize("kind", ["wav", "pcm"])
def test_streams_hold_what_files_hold(run, small_voice_folder, kind):
    run("Hello there.", "--out", "whole.wav")
    command = [sys.executable, SCRIPT, "Hello there.", "--stream", kind, "--model", small_voice_folder]
    piped = subprocess.run(command, capture_output=True, check=True).stdout
    with open("streamed", "wb") as file:
        subprocess.run(command, stdout=file, check=True, stderr=subprocess.DEVNULL)
    data = Path("streamed").read_bytes()
    header = 44 if kind == "wav" else 0
    assert data[header:] == piped[header:]
    whole = soundfile.read("whole.wav", dtype="int16")[0].astype(int)
    assert np.abs(np.frombuffer(data[header:], "<i2") - whole).max() <= 1
    if kind == "wav":
        with wave.open("streamed") as file:  # strict, where libsndfile forgives a wrong header
            assert file.getnframes() == len(whole)
        assert piped[40:44] == b"\xff" * 4


def test_a_stream_appended_to_a_file_leaves_it_whole(small_voice_folder, in_empty_folder):
    command = f"{sys.executable} {SCRIPT} 'Hello there.' --stream wav --model {small_voice_folder}"
    subprocess.run(f"{command} > new.wav; {command} >> appended.wav", shell=True, check=True, capture_output=True)
    new, appended = Path("new.wav").read_bytes(), Path("appended.wav").read_bytes()
    assert new[44:] == appended[44:]


def test_a_full_disk_behind_standard_output(small_voice_folder, in_empty_folder):
    for flags in ("--stream wav", "--list-voices"):
        command = f"{sys.executable} {SCRIPT} 'Hello there.' {flags} --model {small_voice_folder} > /dev/full"
        done = subprocess.run(command, shell=True, capture_output=True, text=True)
        assert done.returncode == 2 and "standard output cannot be written: No space left" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_closed_player_is_no_error(small_voice_folder, in_empty_folder):
    command = (
        f"{sys.executable} {SCRIPT} 'Hello there.' --stream wav --model {small_voice_folder} | head -c 10 >/dev/null"
    )
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True)
    assert done.returncode == 0 and "Traceback" not in done.stderr and "Error" not in done.stderr


def test_list_voices(run):
    status, out, _ = run("--list-voices")
    assert status == 0
    assert out.splitlines()[:2] == ["ann (default)", "bob"]
    assert "<laugh>" in out and "<groan>" in out
