"""Quotation marks that open and never close: no line may end up in the transcript of another."""

import time

import pytest

from orpheus.data.options import DataOptions
from orpheus.data.recordings import read_recordings
from orpheus.data.sources.folders import open_source
from tests.fakes.recordings import folder_of, speech, write

NAMES = {",": "metadata.csv", "\t": "metadata.tsv", ";": "metadata.csv"}


def read(folder, lines, delimiter="\t", header=("file_name", "text"), end="\n"):
    """[(line's number, text or problem)], notes of a table with these lines of cells."""
    folder.mkdir(exist_ok=True)
    table = folder / NAMES[delimiter]
    table.write_text(end.join([delimiter.join(header), *(delimiter.join(line) for line in lines)]) + end, newline="")
    source = open_source(DataOptions(dataset=str(table)))
    found = [(int(entry.where.split(":")[1].split(" ")[0]), entry.problem or entry.text) for entry in source.entries]
    return found, source.notes


def clip(n):
    return f"clips/{n:02}.opus"


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_an_open_quote_swallows_no_line(tmp_path, delimiter, end):
    lines = [[clip(1), "First."], [clip(2), '"Go away'], [clip(3), "She answered."], [clip(4), "No."]]
    found, notes = read(tmp_path, lines, delimiter, end=end)
    assert found == [(2, "First."), (3, '"Go away'), (4, "She answered."), (5, "No.")]
    name = NAMES[delimiter]
    assert notes == (f"{name}: quotation marks that do not pair were read as part of the text, in 1 lines: 3",)


@pytest.mark.parametrize(
    "closing, text",
    [
        ('He said bye"', 'He said bye"'),  # closes at the end of a line, as a quoted field does
        ('"Bye," he said.', '"Bye," he said.'),
        ('"Bye"', "Bye"),
        ('She said "bye" again.', 'She said "bye" again.'),
        ('"', '"'),
    ],
)
def test_nor_where_a_later_line_closes_it(tmp_path, closing, text):
    lines = [[clip(1), '"Go away'], [clip(2), "She answered."], [clip(3), closing], [clip(4), "No."]]
    found, notes = read(tmp_path, lines)
    assert found == [(2, '"Go away'), (3, "She answered."), (4, text), (5, "No.")]
    assert "lines: 2" in notes[0]


def test_the_recording_may_be_named_after_the_text(tmp_path):
    lines = [['"Go away', clip(1)], ["She answered.", clip(2)], ['"Two\nlines"', clip(3)], ["No.", clip(4)]]
    found, _ = read(tmp_path, lines, ",", ("text", "file_name"))
    assert found == [(2, '"Go away'), (3, "She answered."), (4, "Two\nlines"), (6, "No.")]


def test_names_without_a_suffix_are_known_by_the_files_that_are_there(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(b"")
    found, _ = read(tmp_path, [["one", '"Go away'], ["two", "She answered."]])
    assert found == [(2, '"Go away'), (3, "She answered.")]


def test_direct_speech_keeps_its_quotation_marks(tmp_path):
    """They were taken out in silence."""
    found, notes = read(tmp_path, [[clip(1), '"Yes," she said.'], [clip(2), '"I will," he said, "go."']])
    assert found == [(2, '"Yes," she said.'), (3, '"I will," he said, "go."')]
    assert "in 2 lines: 2, 3" in notes[0]


def test_quotes_around_a_separator_with_text_after_them(tmp_path):
    found, _ = read(tmp_path, [[clip(1), '"Yes, I will," she said.']], ",")
    assert found == [(2, "Yes, I will, she said.")]


@pytest.mark.parametrize("text", ["He's 6\" tall.", "'Tis so.", 'She said "go".', "''Twas", "It's 5' 6\""])
def test_marks_inside_a_text_are_plain(tmp_path, text):
    assert read(tmp_path, [[clip(1), text], [clip(2), "Next."]]) == ([(2, text), (3, "Next.")], ())


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
def test_quoted_fields_of_several_lines_still_work(tmp_path, delimiter):
    lines = [[clip(1), '"First\nline, and ""more"";\n\nend."'], [clip(2), '"Second."'], [f'"{clip(3)}"', "Third."]]
    found, notes = read(tmp_path, lines, delimiter)
    assert found == [(2, 'First\nline, and "more";\n\nend.'), (6, "Second."), (7, "Third.")] and notes == ()


def test_what_cannot_be_told_apart_is_refused_with_its_lines(tmp_path):
    """A separator in the open text; a text of two lines with marks inside that are not written twice."""
    lines = [
        [clip(1), '"Go, she said'],
        [clip(2), "Fine."],
        [clip(3), '"First\nhe said "hi" there."'],
        [clip(4), "Last."],
    ]
    found, _ = read(tmp_path, lines, ",")
    assert [number for number, _ in found] == [2, 3, 4, 6] and found[1][1] == "Fine." and found[3][1] == "Last."
    assert found[0][1].startswith("bad line: the quotation marks in line 2 do not pair; close the one that opens")
    assert found[2][1].startswith("bad line: the quotation marks in line 4 to 5 do not pair")
    lines = [['"First\nhe said "hi" there."', clip(3)], ["Last.", clip(4)]]
    found, _ = read(tmp_path, lines, ",", ("text", "file_name"))
    assert [number for number, _ in found] == [2, 4] and "in line 2 to 3 do not pair" in found[0][1]


def test_an_open_quote_in_the_last_line(tmp_path):
    assert read(tmp_path, [[clip(1), "First."], [clip(2), '"Go away']])[0] == [(2, "First."), (3, '"Go away')]


def test_every_line_is_counted_once(tmp_path):
    """Marks at random: no line is lost, none is part of another's text."""
    import numpy as np

    random = np.random.default_rng(3)
    words = ["go", '"', 'say "no"', "it's", '""', '"Yes," he said', "away"]
    for _ in range(30):
        lines = [[clip(n), " ".join(random.choice(words, 3))] for n in range(20)]
        found, _ = read(tmp_path, lines)
        assert [number for number, _ in found] == list(range(2, 22))
        assert not [text for _, text in found if "opus" in text]


def test_the_time_does_not_grow_with_the_square_of_the_lines(tmp_path):
    lines = [[clip(n), '"Go away' if n % 2 else '"Yes," she said.'] for n in range(20_000)]
    began = time.process_time()
    assert len(read(tmp_path, lines)[0]) == 20_000
    assert time.process_time() - began < 5


def test_it_is_said_in_the_report(tmp_path):
    folder = folder_of(tmp_path / "data", ["First.", "Second."])
    write(folder / "2.wav", speech(1, seed=5))
    (folder / "metadata.csv").write_text('file_name,text\n0.wav,"First\n1.wav,Second.\n2.wav,Third.\n')
    options = DataOptions(dataset=str(folder), code_cache=tmp_path / "cache")
    found = read_recordings(options, progress=False)
    assert [recording.text for recording in found.kept] == ['"First', "Second.", "Third."]
    assert "metadata.csv: quotation marks that do not pair were read as part of the text" in found.report().markdown()
