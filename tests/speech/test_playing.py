"""--play: what plays, in which order, and how it ends. The players are scripts that keep what they are given."""

import os
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest
import soundfile

from orpheus.common.audio import to_pcm16
from orpheus.common.errors import InputError
from orpheus.common.options import ROOT
from orpheus.speech import playing

KEEP = 'echo "$0 $@" >> "$KEPT/calls"; cat >> "$KEPT/raw"'
CHUNKS = [np.full(n, value, np.float32) for n, value in ((2400, 0.1), (1, -0.5), (4800, 0.25))]
WHOLE = np.concatenate(CHUNKS)


@pytest.fixture
def players(tmp_path, monkeypatch):
    """A PATH of its own; returns what puts a player on it."""
    places = tmp_path / "bin"
    places.mkdir()
    monkeypatch.setenv("PATH", f"{places}{os.pathsep}/usr/bin{os.pathsep}/bin")
    monkeypatch.setenv("KEPT", str(tmp_path))
    monkeypatch.setitem(sys.modules, "sounddevice", None)  # importing it fails
    monkeypatch.setattr(playing.shutil, "which", lambda name: str(places / name) if (places / name).exists() else None)

    def put(name, script=KEEP):
        (places / name).write_text(f"#!/bin/sh\n{script}\n")
        (places / name).chmod(0o755)

    return put


class PortAudioError(Exception):
    pass


def sounddevice(heard, fails=False):
    """A module that keeps what it plays."""

    class OutputStream:
        def __init__(self, **how):
            heard.append(how["samplerate"])

        def start(self):
            pass

        def write(self, samples):
            heard.extend(samples[:, 0])

        def stop(self):
            heard.append("stopped")

        def abort(self):
            heard.append("aborted")

        def close(self):
            heard.append("closed")

    def check_output_settings(**how):
        if fails:
            raise PortAudioError("Error querying device -1")

    return types.SimpleNamespace(
        OutputStream=OutputStream, PortAudioError=PortAudioError, check_output_settings=check_output_settings
    )


def play(player, chunks=CHUNKS):
    with player() as loudspeakers:
        return playing.play_stream(loudspeakers, iter(chunks))


# --- which ---


def test_sounddevice_comes_first(players, monkeypatch, tmp_path):
    players("ffplay")
    heard = []
    monkeypatch.setitem(sys.modules, "sounddevice", sounddevice(heard))
    assert np.array_equal(play(playing.find_player()), WHOLE)
    assert heard == [24_000, *WHOLE, "stopped", "closed"] and not (tmp_path / "calls").exists()


@pytest.mark.parametrize("name", ["ffplay", "aplay"])
def test_a_player_that_reads_a_pipe_gets_the_samples(players, tmp_path, name):
    players(name)
    assert np.array_equal(play(playing.find_player()), WHOLE)
    assert (tmp_path / "raw").read_bytes() == to_pcm16(WHOLE)
    called = (tmp_path / "calls").read_text()
    assert "s16le" in called.lower().replace("_", "") and "24000" in called


def test_ffplay_comes_before_aplay_and_a_device_without_sound_is_passed_over(players, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", sounddevice([], fails=True))
    players("aplay")
    players("ffplay")
    play(playing.find_player())
    assert "ffplay" in (tmp_path / "calls").read_text()


def test_a_player_of_files_gets_them_one_after_the_other(players, tmp_path):
    players("afplay", 'echo "$1" >> "$KEPT/calls"; cp "$1" "$KEPT/$(basename "$1")"')
    player = playing.find_player()
    with player() as loudspeakers:
        loudspeakers.write(CHUNKS[0])
        while not (tmp_path / "0.wav").exists():
            time.sleep(0.01)
        for chunk in CHUNKS[1:]:
            loudspeakers.write(chunk)
    files = (tmp_path / "calls").read_text().split()
    heard = np.concatenate([soundfile.read(tmp_path / Path(file).name, dtype="float32")[0] for file in files])
    assert np.abs(heard - WHOLE).max() < 1 / 16_000
    assert not any(Path(file).parent.exists() for file in files)


def test_without_a_player_it_says_what_to_install(players):
    with pytest.raises(InputError, match="nothing to play with here: pip install sounddevice .*ffplay.*aplay.*--out"):
        playing.find_player()


def test_why_sounddevice_does_not_work_is_said(players, monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", sounddevice([], fails=True))
    with pytest.raises(InputError, match=r"here \(sounddevice: Error querying device -1\)"):
        playing.find_player()


# --- how it ends ---


def test_a_player_that_fails_is_told_with_its_words(players):
    players("aplay", "echo 'audio open error: No such device' >&2; exit 1")
    with pytest.raises(InputError, match="aplay ended with status 1: audio open error: No such device"):
        play(playing.find_player())


def test_writing_to_one_that_has_failed_is_an_error(players):
    players("aplay", "exit 3")
    with pytest.raises(InputError, match="aplay ended with status 3"), playing.find_player()() as loudspeakers:
        for _ in range(500):
            loudspeakers.write(np.zeros(48_000, np.float32))
            time.sleep(0.01)


@pytest.mark.parametrize("name", ["aplay", "afplay"])
def test_an_exception_stops_it_at_once(players, name):
    players(name, "exec sleep 60")
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), playing.find_player()() as loudspeakers:
        loudspeakers.write(np.zeros(240_000, np.float32))
        time.sleep(0.2)
        raise KeyboardInterrupt
    assert time.monotonic() - began < 40
    assert loudspeakers._process.returncode == -signal.SIGTERM


def test_an_exception_aborts_the_device(players, monkeypatch):
    heard = []
    monkeypatch.setitem(sys.modules, "sounddevice", sounddevice(heard))
    with pytest.raises(ValueError), playing.find_player()():
        raise ValueError
    assert heard[-2:] == ["aborted", "closed"]


# --- the command ---


def command(folder, *arguments):
    return [sys.executable, str(ROOT / "inference.py"), "Hello there.", "--model", str(folder), "--play", *arguments]


def test_it_plays_and_writes_only_what_is_asked_for(run, players, tmp_path):
    players("aplay")
    assert run("Hello there.", "--play")[:2] == (0, "")
    assert not Path("generated_audio").exists()
    played = (tmp_path / "raw").read_bytes()
    (tmp_path / "raw").unlink()
    status, out, _ = run("Hello there.", "--play", "--out", "a.wav")
    assert status == 0 and out.startswith("a.wav: ") and (tmp_path / "raw").read_bytes() == played
    run("Hello there.", "--out", "whole.wav")
    whole = np.frombuffer(Path("whole.wav").read_bytes()[44:], "<i2").astype(int)
    assert np.abs(np.frombuffer(played, "<i2") - whole).max() <= 1
    assert Path("a.wav").stat().st_size == Path("whole.wav").stat().st_size


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--subtitles"], "--play writes a file only with --out"),
        (["--format", "mp3"], "--play writes a file only with --out"),
        (["--stream", "wav"], "leave out --play"),
        (["--retries", "2"], "a stream cannot take back"),
    ],
)
def test_what_does_not_go_with_it(run, players, arguments, said):
    players("aplay")
    status, _, err = run("Hello there.", "--play", *arguments)
    assert status == 2 and said in err


def test_ctrl_c_stops_player_and_program(small_voice_folder, players, tmp_path):
    """A process of its own, 3 s: the signal must reach it."""
    players("aplay", 'echo $$ > "$KEPT/pid"; exec sleep 600')
    former = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # in a shell's background it is ignored, by children too
    try:
        process = subprocess.Popen(command(small_voice_folder), stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    finally:
        signal.signal(signal.SIGINT, former)
    try:
        while not (tmp_path / "pid").exists() and process.poll() is None:
            time.sleep(0.05)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
    finally:
        process.kill()
        process.communicate()  # else it is a later test that fails: for what this one left open
    assert process.returncode == 130 and "Traceback" not in err
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
