"""Recordings to shards of codes in one process: what is in them, how they are read again, and how a run goes on."""

import json
import os
from pathlib import Path

import pyarrow.parquet
import pytest
import soundfile

from orpheus.common.errors import InputError
from orpheus.data.examples import make_examples
from orpheus.data.options import DataOptions
from orpheus.data.recordings import read_recordings
from orpheus.prepare import shards
from orpheus.prepare.cli import main
from orpheus.prepare.options import PrepareOptions
from orpheus.prepare.run import Preparation
from tests.fakes.recordings import TEXTS, everything, folder_of, speech, talk, twelve_recordings, write, write_csv

SHARD = 4.1 / 60  # minutes: three, then two of the twelve recordings of 1.0, 1.1, ... 2.1 s


def prepare(voice_folder, data, out, minutes=SHARD, **options):
    """Runs it; returns what it says."""
    data = DataOptions(dataset=str(data), **options)
    return Preparation(str(voice_folder), None, None, "cpu", data, PrepareOptions(out, minutes)).run()


def rows_of(out):
    """The rows of all shards, in their order."""
    return [row for path in sorted((out / "shards").iterdir()) for row in pyarrow.parquet.read_table(path).to_pylist()]


def files_of(out):
    return {path.name: path.read_bytes() for path in (out / "shards").iterdir()}


@pytest.fixture(scope="module")
def twelve(tmp_path_factory):
    return twelve_recordings(tmp_path_factory.mktemp("twelve"))


@pytest.fixture(scope="module")
def prepared(small_voice_folder, twelve, tmp_path_factory):
    out = tmp_path_factory.mktemp("prepared") / "out"
    return out, prepare(small_voice_folder, twelve, out)


def test_every_recording_is_there_once_and_in_order(prepared, small_voice):
    out, said = prepared
    rows = rows_of(out)
    assert [row["text"] for row in rows] == TEXTS
    assert [row["source"] for row in rows] == ["ann" if n % 4 else "bob" for n in range(12)]
    assert [row["samples"] for row in rows] == [24_000 + 2_400 * n for n in range(12)]
    assert [len(row["codes_list"]) for row in rows] == [7 * -(-(24_000 + 2_400 * n) // 2048) for n in range(12)]
    assert len(files_of(out)) == 6
    assert "12 of 12 recordings, 0.01 hours, in 6 shards" in said


def test_the_codes_are_those_of_each_recording_alone(prepared, twelve, small_voice):
    from orpheus.common.audio import read_audio

    for n in (0, 5, 11):
        codes = small_voice.codec.encode([read_audio(twelve / f"{n}.wav")])[0]
        assert rows_of(prepared[0])[n]["codes_list"] == codes.reshape(-1).tolist()


def test_training_learns_the_same_from_the_shards_as_from_the_recordings(prepared, twelve, small_voice, tmp_path):
    def learnt(dataset, **options):
        options = DataOptions(dataset=str(dataset), code_cache=tmp_path / "cache", **options)
        found = make_examples(
            read_recordings(options, False), small_voice.codec, small_voice.prompts, options, progress=False
        )
        examples = everything(found).values()
        return sorted(examples, key=lambda example: example[2]), {example.text for example in found.held_out}

    examples, held_out = learnt(twelve)
    assert len(examples) == 12 and held_out
    assert learnt(prepared[0] / "shards") == (examples, held_out)
    assert learnt(prepared[0]) == (examples, held_out)  # of the folder above as well


def test_lengths_are_those_of_the_sound_not_of_its_frames(small_voice_folder, tmp_path):
    """So that the same limits leave the same out: 2.99 s are 36 frames of 3.07 s; and long pauses are no speech."""
    write(tmp_path / "data" / "0.wav", speech(2.99))
    write(tmp_path / "data" / "1.wav", talk(0.5, 8, 0.5))
    write_csv(
        tmp_path / "data" / "metadata.csv",
        ["file_name", "text"],
        [["0.wav", "Three seconds of it."], ["1.wav", "Well."]],
    )
    prepare(small_voice_folder, tmp_path / "data", tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    assert rows[0]["samples"] == 71_760 and rows[1]["speech_seconds"] == pytest.approx(1.0, abs=0.05)
    read = {}
    for limit in (3.0, 30.0):
        options = DataOptions(
            dataset=str(tmp_path / "out"), max_seconds=limit, max_rejected=1, code_cache=tmp_path / "cache"
        )
        read[limit] = [recording.text for recording in read_recordings(options, False).kept]
    assert read == {3.0: ["Three seconds of it."], 30.0: ["Three seconds of it.", "Well."]}


def test_lengths_of_somebody_elses_columns_are_left_aside(tmp_path):
    """A column `samples` that is not the codes' says nothing."""
    table = {
        "codes_list": [[n % 4096 for n in range(70)]],
        "text": ["Ten frames."],
        "samples": [5],
        "speech_seconds": [1.0],
    }
    pyarrow.parquet.write_table(pyarrow.table(table), tmp_path / "rows.parquet")
    kept = read_recordings(DataOptions(dataset=str(tmp_path), code_cache=tmp_path / "cache"), False).kept
    assert kept[0].samples == 20_480


def test_codes_of_another_codec_are_refused(prepared, small_voice, tmp_path):
    class Other:
        fingerprint, device, codebook_size = "0" * 64, small_voice.codec.device, small_voice.codec.codebook_size

    options = DataOptions(dataset=str(prepared[0]), code_cache=tmp_path / "cache")
    with pytest.raises(InputError, match="row 0: its codes were made with another codec .*--model of the model"):
        make_examples(read_recordings(options, False), Other(), small_voice.prompts, options, progress=False)


def test_what_is_left_out_is_counted_and_named(small_voice_folder, tmp_path):
    data = folder_of(tmp_path / "data", TEXTS[:6], seconds=1.5)
    (data / "1.wav").write_bytes(b"no sound")
    soundfile.write(data / "2.wav", speech(0.2), 24_000)
    (data / "3.wav").unlink()
    said = prepare(small_voice_folder, data, tmp_path / "out", max_rejected=0.6)
    assert "3 of 6 recordings" in said and "3 left out (" in said
    assert all(f"1 {kind}" in said for kind in ("unreadable", "too short", "missing file"))
    assert [row["text"] for row in rows_of(tmp_path / "out")] == [TEXTS[n] for n in (0, 4, 5)]
    report = (tmp_path / "out" / "data_report.md").read_text()
    assert "metadata.csv:3 (1.wav)`: unreadable" in report and "metadata.csv:4 (2.wav)`: too short" in report


def test_too_much_left_out_stops_before_anything_is_encoded(small_voice_folder, tmp_path, monkeypatch):
    data = folder_of(tmp_path / "data", TEXTS[:6])
    for n in range(3):
        (data / f"{n}.wav").write_bytes(b"no sound")
    monkeypatch.setattr(shards.Encoding, "__call__", None)
    with pytest.raises(InputError, match="3 of 6 recordings .50%. cannot be used"):
        prepare(small_voice_folder, data, tmp_path / "out")
    assert not (tmp_path / "out" / "shards").exists()


# --- a run that goes on ---


class Killed(BaseException):
    pass


def stop_after(monkeypatch, count):
    """Ends the process, as it seems, in the write of a shard: what comes before its name is there does not count."""
    made, write = [], shards._file

    def file(shard, codes):
        if len(made) == count:
            raise Killed
        made.append(shard.number)
        return write(shard, codes)

    monkeypatch.setattr(shards, "_file", file)
    return made


@pytest.mark.parametrize("before", [0, 1, 5])
def test_a_run_that_was_stopped_goes_on(before, prepared, small_voice_folder, twelve, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch, pytest.raises(Killed):
        stop_after(patch, before)
        prepare(small_voice_folder, twelve, tmp_path / "out")
    with pytest.raises(InputError, match="holds no recordings"):  # half a data set is none
        read_recordings(DataOptions(dataset=str(tmp_path / "out")), False)
    made = stop_after(monkeypatch, 6)
    read = []
    monkeypatch.setattr("orpheus.prepare.checked.measure_entries", lambda *entries, **_: read.append(entries))
    prepare(small_voice_folder, twelve, tmp_path / "out")
    assert made == list(range(before, 6)) and read == []  # no shard twice, no recording measured twice
    assert files_of(tmp_path / "out") == files_of(prepared[0])
    assert (f"{before} of 6 shards are there already" in capsys.readouterr().err) == (before > 0)


def test_a_run_that_is_over_does_nothing(prepared, small_voice_folder, twelve, monkeypatch):
    before = files_of(prepared[0])
    made = stop_after(monkeypatch, 0)
    assert "in 6 shards" in prepare(small_voice_folder, twelve, prepared[0])
    assert made == [] and files_of(prepared[0]) == before


@pytest.mark.parametrize(
    "options, named",
    [
        ({"minutes": 1}, "shard_minutes 0.0683"),
        ({"level_loudness": True}, "level_loudness False, now True"),
        ({"max_seconds": 10}, "max_seconds 30.0, now 10"),
    ],
)
def test_other_options_are_refused_by_name(options, named, prepared, small_voice_folder, twelve):
    with pytest.raises(InputError, match=named):
        prepare(small_voice_folder, twelve, prepared[0], **options)


def test_options_that_change_no_row_may_differ(prepared, small_voice_folder, twelve, tmp_path):
    prepare(small_voice_folder, twelve, prepared[0], max_rejected=0.5, code_cache=tmp_path)


def test_recordings_that_changed_since_are_not_mixed_with_those_that_were(small_voice_folder, tmp_path):
    data = folder_of(tmp_path / "data", TEXTS[:4])
    prepare(small_voice_folder, data, tmp_path / "out")
    write(data / "2.wav", speech(1.0, seed=99))
    with pytest.raises(InputError, match=r"1 of 1 shards were made from other recordings.*codes-000000-of-000001"):
        prepare(small_voice_folder, data, tmp_path / "out", minutes=SHARD)


def test_a_damaged_shard_is_named(small_voice_folder, twelve, tmp_path):
    prepare(small_voice_folder, twelve, tmp_path / "out")
    path = tmp_path / "out" / "shards" / "codes-000003-of-000006.parquet"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="1 of 6 shards .*codes-000003-of-000006"):
        prepare(small_voice_folder, twelve, tmp_path / "out")


def test_a_recording_that_could_not_be_read_is_tried_again(small_voice_folder, tmp_path):
    data = folder_of(tmp_path / "data", TEXTS[:3])
    moved = tmp_path / "away.wav"
    os.rename(data / "1.wav", moved)
    with pytest.raises(InputError, match="missing file"):
        prepare(small_voice_folder, data, tmp_path / "out")
    os.rename(moved, data / "1.wav")
    assert "3 of 3 recordings" in prepare(small_voice_folder, data, tmp_path / "out")


def test_what_is_somebody_elses_is_left_alone(small_voice_folder, twelve, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="holds thesis.txt"):
        prepare(small_voice_folder, twelve, tmp_path / "out")
    with pytest.raises(InputError, match="inside of what --dataset reads"):
        prepare(small_voice_folder, twelve, twelve / "out")


# --- forms of data ---


def test_long_recordings_are_split_as_in_training(small_voice_folder, tmp_path):
    text = "This is the first sentence of it. And here comes another one, the second. The third one is the last of all."
    write(tmp_path / "data" / "0.wav", talk(2.2, 0.6, 2.6, 0.6, 2.5))
    write_csv(tmp_path / "data" / "metadata.csv", ["file_name", "text"], [["0.wav", text]])
    prepare(small_voice_folder, tmp_path / "data", tmp_path / "out", long_rows="split", max_seconds=4)
    rows = rows_of(tmp_path / "out")
    assert " ".join(row["text"] for row in rows) == text and len(rows) == 3
    assert sum(row["samples"] for row in rows) == pytest.approx(8.5 * 24_000, abs=2)
    assert [row["where"][-11:] for row in rows] == ["part 1 of 3", "part 2 of 3", "part 3 of 3"]


def test_rows_that_are_codes_already_stay_as_they_are(prepared, small_voice_folder, tmp_path):
    prepare(small_voice_folder, prepared[0] / "shards", tmp_path / "again", minutes=60)
    again, first = rows_of(tmp_path / "again"), rows_of(prepared[0])
    assert [row["codes_list"] for row in again] == [row["codes_list"] for row in first]
    assert [row["samples"] for row in again] == [row["samples"] for row in first]


# --- the command line ---


def test_workers_are_given_no_relative_path(small_voice_folder, twelve, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(twelve.parent)
    relative = os.path.relpath(tmp_path / "out", twelve.parent)
    arguments = ["--model", str(small_voice_folder), "--dataset", twelve.name, "--out", relative]
    assert main(arguments) == 0
    out = Path(capsys.readouterr().out.split(": ")[0]).parent
    assert out == tmp_path / "out" and (out / "shards").is_dir()
    (checked,) = (out / ".orpheus" / "checked").iterdir()
    paths = [json.loads(row[0])[0] for row in json.loads(checked.read_text())["measured"]]
    assert paths == [str(twelve / f"{n}.wav") for n in range(12)]


def test_the_command_line(small_voice_folder, twelve, tmp_path, capsys):
    arguments = ["--model", str(small_voice_folder), "--dataset", str(twelve), "--out", str(tmp_path / "out")]
    assert main(arguments) == 0
    assert capsys.readouterr().out.endswith(f"python orpheus_sft_unsloth.py --dataset {tmp_path / 'out' / 'shards'}\n")
    assert json.loads((tmp_path / "out" / ".orpheus" / "plan.json").read_text())["shard_minutes"] == 60


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--held-out", "0.1"], "--held-out is decided when the codes are learnt"),
        (["--keep-repeated-frames"], "--keep-repeated-frames is decided when"),
        (["--shard-minutes", "0"], "shard_minutes must be between 0.01 and 6,000, not 0.0"),
        (["--workers", "2"], "--workers 2 is of --ray"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, message, capsys, in_empty_folder):
    try:
        status = main(arguments)
    except SystemExit as exit:  # of what a single flag is
        status = exit.code
    assert status == 2
    assert message in " ".join(capsys.readouterr().err.replace("|", " ").split())


def test_without_ray_the_install_line_is_told(monkeypatch, capsys, in_empty_folder):
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["--ray"]) == 2
    assert "pip install -r requirements-ray.txt" in capsys.readouterr().err
