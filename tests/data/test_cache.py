"""Codes and measurements are made once, whatever happens: kills, damaged files, several processes."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from orpheus.codec.snac import Codec
from orpheus.common.options import ROOT
from orpheus.data import examples as data
from orpheus.data import measure as clips
from orpheus.data.examples import CodeCache, encode_missing, make_examples
from orpheus.data.options import DataOptions
from orpheus.data.recordings import read_recordings
from tests.fakes.recordings import everything


def count_calls(monkeypatch, owner, name):
    calls, original = [], getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *arguments, **named: calls.append(1) or original(*arguments, **named))
    return calls


# --- the cache ---


def test_a_second_run_neither_decodes_nor_encodes(make, small_voice, monkeypatch):
    first = everything(make())
    decoded = count_calls(monkeypatch, clips, "open_sound")
    encodings = count_calls(monkeypatch, Codec, "encode")
    assert everything(make()) == first
    assert (decoded, encodings) == ([], [])
    make(cache="other")
    assert len(decoded) == 24 and encodings  # the counters do count: 12 measured, 12 encoded


def test_what_changes_the_samples_or_the_codec_is_encoded_again(make, small_voice, small_voice_folder, monkeypatch):
    make()
    encodings = count_calls(monkeypatch, Codec, "encode")
    other = Codec.from_folder(small_voice_folder / "codec")
    make(codec=other, keep_repeated_frames=True, max_tokens=1000, held_out=0.3, source_column="none")
    assert encodings == []  # the same weights; nothing else has to do with codes
    make(level_loudness=True)
    assert len(encodings) == 1
    next(other.model.encoder.parameters()).mul_(1.5)
    del other.fingerprint
    make(codec=other)
    assert len(encodings) == 2


def test_the_fingerprint_is_of_what_makes_codes(small_voice_folder):
    first, second = (Codec.from_folder(small_voice_folder / "codec") for _ in range(2))
    assert first.fingerprint == second.fingerprint and len(first.fingerprint) == 64
    for part, same in ((second.model.decoder, True), (second.model.quantizer, False)):
        next(part.parameters()).add_(1)
        del second.fingerprint
        assert (first.fingerprint == second.fingerprint) is same


@pytest.mark.parametrize("damage", [b"", b"x" * 10, None])
def test_damaged_entries_are_made_again(make, folder, damage, monkeypatch):
    first = everything(make())
    entries = sorted(path for path in (folder.parent / "cache").rglob("*") if path.is_file())
    assert len(entries) == 24
    for path in entries:
        path.write_bytes(path.read_bytes()[:-1] + b"\xff" if damage is None else damage)
    encodings = count_calls(monkeypatch, Codec, "encode")
    assert everything(make()) == first and encodings
    encodings.clear()
    assert everything(make()) == first and not encodings


def test_codes_that_the_codec_does_not_have_are_no_entry(tmp_path, small_codec):
    cache = CodeCache(tmp_path, small_codec)
    codes = np.arange(14).reshape(2, 7)
    cache.put(("a",), codes)
    found = cache.get(("a",))
    assert np.array_equal(found, codes) and found.dtype == np.int64
    cache.put(("a",), codes + small_codec.codebook_size)
    assert cache.get(("a",)) is None and cache.get(("b",)) is None


def test_steps_bound_the_audio_in_memory(folder, small_voice, monkeypatch):
    """Rows of equal frame count come together, and no step holds more seconds than allowed."""
    monkeypatch.setattr(data, "_STEP_SECONDS", {"cpu": 4})
    seen, encode = [], Codec.encode
    monkeypatch.setattr(
        Codec, "encode", lambda codec, clips: seen.append([len(c) for c in clips]) or encode(codec, clips)
    )
    options = DataOptions(dataset=str(folder), code_cache=folder.parent / "cache")
    encode_missing(
        read_recordings(options, progress=False), small_voice.codec, small_voice.prompts, options, progress=False
    )
    assert seen == [[24_000] * 4, [36_000] * 2, [36_000] * 2, [48_000] * 2, [48_000] * 2]


# --- accidents ---

PROGRAM = """
import sys, time
from orpheus.codec.snac import Codec
from orpheus.data import examples
from orpheus.data.options import DataOptions
from orpheus.data.recordings import read_recordings

voice, folder, cache = sys.argv[1:]
codec = Codec.from_folder(voice + "/codec")
encode, steps = codec.encode, []
codec.encode = lambda clips: steps.append(1) or (encode(clips) if len(steps) < 5 else time.sleep(1000))  # where it is killed
examples._STEP_SECONDS = {"cpu": 2}
options = DataOptions(dataset=folder, code_cache=cache)
rows = read_recordings(options, progress=False)
examples.encode_missing(rows, codec, None, options, progress=False)
"""


def test_encoding_goes_on_after_a_kill(make, folder, small_voice_folder, monkeypatch):
    """kill -9 in the fifth of ten steps: what was done stays done, and the result is that of a run that nobody stopped."""
    cache = folder.parent / "killed"
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, small_voice_folder, folder, cache], cwd=ROOT)
    done = []
    while process.poll() is None and len(done) < 4:
        done = [path for path in (cache / "codes").rglob("*") if path.is_file() and not path.name.startswith(".")]
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    done = [path for path in (cache / "codes").rglob("*") if path.is_file() and not path.name.startswith(".")]
    assert 4 <= len(done) < 12
    seen, encode = [], Codec.encode
    monkeypatch.setattr(Codec, "encode", lambda codec, clips: seen.extend(clips) or encode(codec, clips))
    resumed = everything(make(cache="killed"))
    assert len(seen) == 12 - len(done)
    assert resumed == everything(make(cache="fresh"))


@pytest.mark.parametrize("barrier", [True, False])
def test_ranks_share_the_encoding(folder, small_voice, make, monkeypatch, barrier):
    monkeypatch.setattr(data, "_STEP_SECONDS", {"cpu": 2})
    options = DataOptions(dataset=str(folder), code_cache=folder.parent / "cache")
    seen, encode = [], Codec.encode
    monkeypatch.setattr(Codec, "encode", lambda codec, clips: seen.extend(clips) or encode(codec, clips))
    rows = [read_recordings(options, progress=False) for _ in range(2)]
    shares = []
    if barrier:
        for rank in range(2):
            encode_missing(
                rows[rank], small_voice.codec, small_voice.prompts, options, rank=rank, world=2, progress=False
            )
            shares.append(len(seen))
        assert 4 <= shares[0] <= 8
    found = [
        make_examples(rows[rank], small_voice.codec, small_voice.prompts, options, rank=rank, world=2, progress=False)
        for rank in range(2)
    ]
    assert len(seen) == 12  # each once
    assert everything(found[0]) == everything(found[1]) == everything(make(cache="alone"))
    assert [e.key for e in found[0].train] == [e.key for e in found[1].train]
