"""Folders in folders: with a table each, or named after their speakers."""

import pytest

from orpheus.common.errors import InputError
from orpheus.data.options import DataOptions
from orpheus.data.recordings import read_recordings
from orpheus.data.sources.folders import open_source
from tests.fakes.recordings import facts, folder_of, speech, write, write_csv


def source(dataset, **options):
    return open_source(DataOptions(dataset=str(dataset), **options))


def speakers(found):
    return [(entry.where, entry.speaker) for entry in found.entries]


@pytest.fixture
def tables(tmp_path):
    """Two speakers, each with a folder and a metadata.csv in it."""
    for name, texts in (("anna", ["First.", "Second."]), ("ben", ["Third."])):
        folder_of(tmp_path / "data" / name, texts)
    return tmp_path / "data"


@pytest.fixture
def pairs(tmp_path):
    for n, name in enumerate(["anna/1", "anna/deep/2", "ben/1"]):
        write(tmp_path / "data" / f"{name}.wav", speech(1, seed=n))
        (tmp_path / "data" / f"{name}.txt").write_text(f"Text {n}.")
    return tmp_path / "data"


# --- a table in each --------------------------------------------------------------------------------------------------


def test_subfolders_with_a_table_each_are_one_data_set(tables):
    found = source(tables)
    assert facts(found) == [("First.", "anna", 24_000), ("Second.", "anna", 24_000), ("Third.", "ben", 24_000)]
    assert [entry.where for entry in found.entries] == [
        "anna/metadata.csv:2 (0.wav)",
        "anna/metadata.csv:3 (1.wav)",
        "ben/metadata.csv:2 (0.wav)",
    ]
    assert found.kind == "2 folders, each with a table: CSV file"
    assert "The 2 folders are taken for the speakers' names: anna, ben. --source-column none" in found.notes[0]
    assert found.notes[0] in read_recordings(
        DataOptions(dataset=str(tables), code_cache=tables.parent / "cache", max_rejected=1), progress=False
    ).report().table().replace("note         ", "")


def test_a_table_that_names_its_speakers_knows_better(tables):
    folder_of(tables / "ben", ["Third."], source=["benjamin"])
    assert [name for _, name in speakers(source(tables))] == ["anna", "anna", "benjamin"]
    folder_of(tables / "anna", ["First."], source=["ann"])
    found = source(tables)
    assert [name for _, name in speakers(found)] == ["ann", "benjamin"] and found.notes == ()


@pytest.mark.parametrize("options", [{"source_column": "none"}, {"speaker": "eve"}])
def test_the_names_of_folders_can_be_overridden(tables, pairs, options):
    for folder in (tables, pairs):
        found = source(folder, **options)
        assert {name for _, name in speakers(found)} == {None} and not [n for n in found.notes if "speakers'" in n]
    read = DataOptions(dataset=str(tables), code_cache=tables.parent / "cache", max_rejected=1, **options)
    assert read_recordings(read, progress=False).voices == ((options["speaker"],) if "speaker" in options else ())


def test_one_folder_alone_names_nobody(tmp_path):
    folder_of(tmp_path / "data" / "session", ["First."])
    found = source(tmp_path / "data")
    assert speakers(found) == [("session/metadata.csv:2 (0.wav)", None)]


def test_parts_of_a_data_set_are_no_speakers(tmp_path):
    for name in ("test", "validation"):
        folder_of(tmp_path / "data" / name, ["First."])
    with pytest.raises(InputError, match="has no part 'train'; choose with --split: test, validation"):
        source(tmp_path / "data")
    assert len(source(tmp_path / "data", split="test").entries) == 1
    for name in ("anna", "ben"):
        folder_of(tmp_path / "data" / name, ["First."])
    found = source(tmp_path / "data")
    assert {name for _, name in speakers(found)} == {"anna", "ben"}
    assert found.notes[-1].startswith("not read, for they look like other parts: test, validation")


def test_the_speakers_of_a_part(tmp_path):
    for name in ("train/anna", "train/ben", "test/carl"):
        folder_of(tmp_path / "data" / name, ["First."])
    assert {name for _, name in speakers(source(tmp_path / "data"))} == {"anna", "ben"}


def test_tables_with_columns_of_other_names(tables):
    write_csv(tables / "ben" / "metadata.csv", ["path", "sentence"], [["0.wav", "Third."]])
    found = source(tables)
    assert [text for text, *_ in facts(found)] == ["First.", "Second.", "Third."]
    assert found.columns == {"audio": "file_name or path", "text": "text or sentence", "source": None}


# --- pairs ------------------------------------------------------------------------------------------------------------


def test_folders_named_after_their_speakers(pairs):
    found = source(pairs)
    assert speakers(found) == [("anna/1.wav", "anna"), ("anna/deep/2.wav", "anna"), ("ben/1.wav", "ben")]
    assert found.notes[0].startswith("The 2 folders are taken for the speakers' names: anna, ben.")


@pytest.mark.parametrize("name", ["0", "wavs/0", "TEST/0"])
def test_recordings_beside_them_or_usual_names_make_them_folders_like_any(pairs, name):
    write(pairs / f"{name}.wav", speech(1, seed=7))
    found = source(pairs)
    assert {speaker for _, speaker in speakers(found)} == {None} and found.notes == ()
