import json

import pytest

from orpheus.common.audio import decode_audio
from orpheus.common.errors import InputError
from orpheus.data.options import DataOptions
from orpheus.data.sources.folders import open_source
from tests.fakes.recordings import facts, folder_of, speech, two_recordings, write, write_csv


@pytest.fixture
def two(tmp_path):
    return two_recordings(tmp_path / "two")


def source(dataset, **options):
    return open_source(DataOptions(dataset=str(dataset), **options))


EXPECTED = [("First.", None, 16_000), ("Second.", None, 48_000)]
NAMED = [("First.", "ann", 16_000), ("Second.", "bob", 48_000)]


# --- tables ---


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_metadata_csv_with_any_separator_and_byte_order_mark(two, encoding, delimiter):
    rows = [["a.wav", "First."], ["b.wav", "Second."]]
    write_csv(two / "metadata.csv", ["file_name", "text"], rows, encoding, delimiter)
    found = source(two)
    assert facts(found) == EXPECTED
    assert found.columns == {"audio": "file_name", "text": "text", "source": None} and found.kind == "CSV file"
    assert [row.where for row in found.entries] == ["metadata.csv:2 (a.wav)", "metadata.csv:3 (b.wav)"]


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_metadata_jsonl_with_transcription(two, mark):
    lines = [{"file_name": "a.wav", "transcription": "First."}, {"file_name": "b.wav", "transcription": "Second."}]
    (two / "metadata.jsonl").write_text(mark + "\n".join(map(json.dumps, lines)), encoding="utf-8")
    assert facts(source(two)) == EXPECTED


def test_a_jsonl_file_with_speakers_and_odd_line_separators(two):
    lines = [
        {"audio": "a.wav", "text": "First.\u2028Line.", "source": "ann"},
        {"audio": str(two / "b.wav"), "text": "Second.", "source": 7},
    ]
    path = two / "rows.jsonl"
    path.write_text("\n\n".join(json.dumps(line, ensure_ascii=False) for line in lines), encoding="utf-8")
    found = source(path)
    assert facts(found) == [("First.\u2028Line.", "ann", 16_000), ("Second.", "7", 48_000)]
    assert [row.where.split(" ")[0] for row in found.entries] == ["rows.jsonl:1", "rows.jsonl:3"]


def test_a_csv_file_whose_texts_hold_line_breaks_keeps_its_numbers(two):
    rows = [["two/a.wav", "First\nline, and more\u2028."], ["two/b.wav", "Second."]]
    path = write_csv(two.parent / "list.csv", ["Path", "Sentence"], rows)
    found = source(path)
    assert [row.text for row in found.entries] == ["First\nline, and more\u2028.", "Second."]
    assert [row.where for row in found.entries] == ["list.csv:2 (two/a.wav)", "list.csv:4 (two/b.wav)"]


def test_audio_may_lie_in_subfolders_and_the_table_in_the_splits_folder(two):
    write_csv(two / "train" / "metadata.csv", ["file_name", "text"], [["../a.wav", "First."]])
    assert facts(source(two)) == EXPECTED[:1]


def test_ljspeech(tmp_path):
    for name, rate in (("LJ001-0001.wav", 22_050), ("LJ001-0002.flac", 16_000)):
        write(tmp_path / "wavs" / name, speech(0.3, rate), rate)
    lines = [
        'LJ001-0001|In 1455, "a, b, c", d|In fourteen fifty-five, "a, b, c", d',
        "LJ001-0002|Plain.|",
        "LJ001-0003",
    ]
    (tmp_path / "metadata.csv").write_text("\n".join(lines))
    found = source(tmp_path)
    assert [row.text for row in found.entries] == ['In fourteen fifty-five, "a, b, c", d', "Plain.", None]
    assert [decode_audio(row.audio.load(), "")[1] for row in found.entries[:2]] == [22_050, 16_000]
    assert found.kind == "LJSpeech's metadata.csv"
    assert found.entries[2].where == "metadata.csv:3" and found.entries[2].problem.startswith("bad line: 1 fields")


def test_bad_lines_are_named_and_the_others_kept(two):
    (two / "metadata.csv").write_text("file_name,text\na.wav,First.\nb.wav,Second, third.\n,Nothing.\n")
    found = source(two)
    assert [row.where for row in found.entries] == ["metadata.csv:2 (a.wav)", "metadata.csv:3", "metadata.csv:4"]
    assert [row.problem for row in found.entries] == [
        None,
        "bad line: 3 fields, the header names 2; put a text with separators in quotes",
        "bad line: file_name is '', not a file's name",
    ]
    (two / "rows.jsonl").write_text(
        '{"audio": "a.wav", "text": "First."}\n{"audio": \n[1]\n{"audio": "a.wav", "text": {}}'
    )
    found = source(two / "rows.jsonl")
    assert [(row.problem or "ok").split(" (")[0] for row in found.entries] == [
        "ok",
        "bad line: not JSON",
        "bad line: a JSON list, not an object",
        "bad line: the text is a dict, not a string",
    ]


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
def test_a_file_that_is_not_utf8_is_named_with_its_line(two, name):
    (two / name).write_bytes(b"file_name,text\na.wav,caf\xe9\n")
    with pytest.raises(InputError, match=rf"{name}:2 is not UTF-8.*save the file as UTF-8"):
        source(two)


def test_an_empty_table_is_an_error(two):
    (two / "metadata.csv").write_text("file_name,text\n")
    with pytest.raises(InputError, match="holds no rows"):
        source(two)


# --- columns ---


def test_columns_are_found_whatever_their_case_or_set(two):
    header = ["Speaker_ID", "AUDIO", "Transcript", "other", "name"]
    rows = [["1", "a.wav", "First.", "Other.", "ann"], ["2", "b.wav", "Second.", "More.", "bob"]]
    path = write_csv(two / "metadata.csv", header, rows)
    assert facts(source(path)) == [("First.", "1", 16_000), ("Second.", "2", 48_000)]
    assert facts(source(path, source_column="none")) == EXPECTED
    assert facts(source(path, source_column="name")) == NAMED
    assert [text for text, *_ in facts(source(path, text_column="OTHER"))] == ["Other.", "More."]


def test_a_missing_column_is_an_error_that_names_those_present(two):
    path = write_csv(two / "metadata.csv", ["file_name", "seconds"], [["a.wav", "0.5"]])
    with pytest.raises(
        InputError, match=r"metadata.csv: .*no column for the text .*'file_name', 'seconds'.*--text-column"
    ):
        source(two)
    with pytest.raises(InputError, match=r"no column named 'voiced'.*'file_name', 'seconds'.*--source-column"):
        source(path, text_column="seconds", source_column="voiced")
    write_csv(path, ["seconds", "text"], [["0.5", "First one."]])
    with pytest.raises(InputError, match=r"no column for the audio \(such as audio, file_name.*--audio-column"):
        source(path)


def test_no_text_column_is_needed_where_transcripts_are_to_be_written(two):
    path = write_csv(two / "metadata.csv", ["file_name"], [["a.wav"], ["b.wav"]])
    assert [row.text for row in source(path, transcribe=True).entries] == [None, None]


# --- pairs ---


def test_pairs_of_recordings_and_transcripts_in_any_depth(tmp_path):
    write(tmp_path / "a.wav", speech(0.3, 8_000), 8_000)
    write(tmp_path / "deep" / "er" / "b.FLAC", speech(0.3, 44_100, 2), 44_100, format="FLAC")
    write(tmp_path / "c.ogg", speech(0.3, 24_000), 24_000)
    (tmp_path / "d.m4a").write_bytes(b"no libsndfile format")
    (tmp_path / "a.txt").write_text("\ufeffFirst\nline.\n", encoding="utf-8")
    (tmp_path / "deep" / "er" / "b.lab").write_text("Second.")
    (tmp_path / "d.txt").write_bytes(b"caf\xe9")
    (tmp_path / "readme.txt").write_text("What this is.")
    (tmp_path / ".hidden.wav").write_bytes(b"")
    found = source(tmp_path)
    assert [(row.where, row.text) for row in found.entries] == [
        ("a.wav", "First\nline.\n"),
        ("c.ogg", None),
        ("d.m4a", None),
        ("deep/er/b.FLAC", "Second."),
    ]
    assert "d.txt:1 is not UTF-8" in found.entries[2].problem
    assert found.notes == ("1 text files have no recording beside them: readme.txt",)


# --- what is no source ---


@pytest.mark.parametrize("name", ["./missing", "/no/such/folder", "missing", "a/b/c", "~/missing", "data/missing.csv"])
def test_a_missing_folder_is_no_hub_id(name):
    with pytest.raises(InputError, match="no folder or file .* no hub id like owner/name"):
        source(name)


def test_a_folder_or_file_of_something_else(tmp_path):
    (tmp_path / "notes.doc").write_text("x")
    with pytest.raises(InputError, match="holds no recordings that are understood. What can be read: a folder with"):
        source(tmp_path)
    with pytest.raises(InputError, match="notes.doc is not a data set"):
        source(tmp_path / "notes.doc")
    write_csv(tmp_path / "list.csv", ["audio", "text"], [["a.wav", "A."]])
    with pytest.raises(InputError, match="It does hold list.csv: give that file"):
        source(tmp_path)


def test_a_second_table_is_noted(tmp_path):
    folder_of(tmp_path, ["First."])
    (tmp_path / "metadata.jsonl").write_text("{}")
    assert source(tmp_path).notes == (f"{tmp_path / 'metadata.jsonl'} was not read: metadata.csv was",)
