"""Where recordings are that a table names otherwise; and that nothing is taken for something else."""

import unicodedata

import pytest

from orpheus.data.options import DataOptions
from orpheus.data.recordings import read_recordings
from orpheus.data.sources.folders import open_source
from orpheus.data.sources.places import Finder, Found, parts_of
from tests.fakes.recordings import speech, write, write_csv


def put(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def found(folder, name, **named):
    place = Finder(folder, **named).find(name)
    return place.path.relative_to(folder).as_posix() if isinstance(place, Found) else place


@pytest.mark.parametrize(
    "name, there",
    [
        ("0.wav", "0.wav"),
        ("clips\\0.wav", "clips/0.wav"),
        (".\\clips\\deep\\0.wav", "clips/deep/0.wav"),
        ("Wav/0.wav", "wav/0.wav"),
        ("wav/0.WAV", "wav/0.wav"),
        ("0", "0.flac"),
        ("0", "wavs/0.wav"),
        ("0.wav", "audio/0.wav"),
        ("0.wav", "takes of may/0.wav"),
        ("C:\\Users\\me\\set\\wavs\\0.wav", "wavs/0.wav"),
        ("/home/me/set/anna/0.wav", "anna/0.wav"),
        ("/home/me/set/anna/0.wav", "0.wav"),
        ("file:" + "///home/me/my%20set/0.wav", "0.wav"),
        ("clips/0.mp3", "clips/0.wav"),
        ("DUMMY1/0.wav", "wavs/0.wav"),
        ("set.v2/0.1.2", "set.v2/0.1.2.wav"),
        (unicodedata.normalize("NFD", "Möwe/Füße.wav"), unicodedata.normalize("NFC", "Möwe/Füße.wav")),
        (unicodedata.normalize("NFC", "Möwe/Füße"), unicodedata.normalize("NFD", "Möwe/Füße.ogg")),
    ],
)
def test_found(tmp_path, name, there):
    put(tmp_path, there, "other/1.wav", "wavs/2.wav", "notes.md")
    assert found(tmp_path, name) == there


@pytest.mark.parametrize(
    "name, there, chosen",
    [
        ("0", ("wavs/0.wav", "clips/0.wav"), "wavs/0.wav"),
        ("0", ("0.wav", "wavs/0.wav"), "0.wav"),
        ("0", ("wavs/0.wav", "wavs/0.mp3"), "wavs/0.wav"),
        ("/x/anna/0.wav", ("anna/0.wav", "ben/0.wav"), "anna/0.wav"),
        ("/x/anna/wavs/0.wav", ("anna/wavs/0.wav", "wavs/0.wav"), "anna/wavs/0.wav"),
        ("0.mp3", ("a/0.wav", "b/0.mp3"), "b/0.mp3"),
        ("A/0.Wav", ("a/0.Wav", "a/0.wav"), "a/0.Wav"),
    ],
)
def test_what_fits_best_counts(tmp_path, name, there, chosen):
    put(tmp_path, *there)
    assert found(tmp_path, name) == chosen


@pytest.mark.parametrize("name", ["0.wav", "0", "wavs/0.wav", "C:\\wavs\\0.wav"])
def test_what_may_be_several_is_refused_with_their_names(tmp_path, name):
    put(tmp_path, "anna/0.wav", "ben/0.wav")
    assert found(tmp_path, name) == "2 files may be meant: anna/0.wav and ben/0.wav; write the folder into the table"


@pytest.mark.parametrize(
    "name", ["anna/0.wav", "/home/me/anna/0.wav", "anna\\0", "01.wav", "", " ", "\0", "..", "x" * 5000]
)
def test_another_ones_recording_is_not_taken(tmp_path, name):
    put(tmp_path, "ben/0.wav")
    assert found(tmp_path, name) is None


def test_nor_that_of_another_folder_where_the_tables_own_has_recordings(tmp_path):
    put(tmp_path, "anna/0.wav", "ben/0.wav", "ben/1.wav")
    assert Finder(tmp_path / "anna", tmp_path).find("1.wav") is None
    assert found(tmp_path, "0.wav").startswith("2 files")
    assert Finder(tmp_path / "anna", tmp_path).find("0").path == tmp_path / "anna" / "0.wav"


def test_parts_of_a_name():
    assert parts_of('"D:\\a b\\.\\c.wav"') == ["a b", "c.wav"] and parts_of("../x/./y.mp3 ") == ["x", "y.mp3"]


# --- in a table -------------------------------------------------------------------------------------------------------


def read(folder, names, **options):
    write_csv(folder / "metadata.csv", ["file_name", "text"], [[name, f"This is {n}."] for n, name in enumerate(names)])
    return open_source(DataOptions(dataset=str(folder), **options))


def test_what_was_found_elsewhere_is_said(tmp_path):
    put(tmp_path, *(f"clips/{n}.wav" for n in range(5)))
    source = read(tmp_path, [f"clips\\{n}.wav" for n in range(5)])
    assert source.notes == (
        "metadata.csv: 5 recordings are not where it says, and were found by their names: clips\\0.wav is clips/0.wav; clips\\1.wav is "
        "clips/1.wav; clips\\2.wav is clips/2.wav ...",
    )
    assert read(tmp_path, [f"{n}" for n in range(5)]).notes == ()  # without folder and suffix, as LJSpeech has them
    assert read(tmp_path, [f"clips/{n}.wav" for n in range(5)]).notes == ()


def test_one_file_is_not_taken_for_two_names(tmp_path):
    put(tmp_path, "wavs/0.wav", "wavs/1.wav")
    source = read(tmp_path, ["/x/wavs/0.wav", "/x/wavs/0.mp3", "1", "wavs/1.wav"])
    taken = [entry.audio.path if not entry.problem else None for entry in source.entries]
    assert taken == [tmp_path / "wavs/0.wav", None, tmp_path / "wavs/1.wav", tmp_path / "wavs/1.wav"]
    assert source.entries[1].problem.startswith("missing file: ")


@pytest.mark.parametrize(
    "name, nearest",
    [
        ("clip_0O1.wav", "clips/clip_001.wav"),
        ("clip-001.wav", "clips/clip_001.wav"),
        ("takes/clip_02.wav", "clips/clip_002.wav"),
    ],
)
def test_the_nearest_name_is_said_of_a_missing_one(tmp_path, name, nearest):
    write(tmp_path / "data" / "clips" / "clip_001.wav", speech(1, seed=1))
    write(tmp_path / "data" / "clips" / "clip_002.wav", speech(1, seed=2))
    write_csv(
        tmp_path / "data" / "metadata.csv", ["file_name", "text"], [["clips/clip_001.wav", "Here."], [name, "Gone."]]
    )
    options = DataOptions(dataset=str(tmp_path / "data"), code_cache=tmp_path / "cache", max_rejected=1)
    rejected = read_recordings(options, progress=False).rejected
    assert rejected == [
        (f"metadata.csv:3 ({name})", f"missing file: {tmp_path / 'data' / name}; the nearest name is {nearest}")
    ]


def test_many_missing_files_take_no_long_time(tmp_path):
    put(tmp_path, *(f"clips/recording_{n:05}.wav" for n in range(2000)))
    source = read(tmp_path, [f"recording-{n:06}x.wav" for n in range(2000)])
    assert sum("the nearest name is" in (entry.problem or "") for entry in source.entries) == 20
