"""Lists of speech toolkits, transcripts with times, and tables with lines above or a colon: the right text, speaker and file."""

import pytest

from orpheus.common.errors import InputError
from orpheus.data.sources.timed import words_of
from tests.data.test_layouts import facts, put, source

# --- Kaldi, ESPnet, Festival -----------------------------------------------------------------------------------------


def kaldi(folder, part, names, speaker="ines"):
    put(folder, *(f"audio/{name}.flac" for name in names))
    put(folder, f"{part}/wav.scp", data="".join(f"{speaker}-{name} audio/{name}.flac\n" for name in names))
    put(folder, f"{part}/text", data="".join(f"{speaker}-{name} Line {name}, read aloud.\n" for name in names))
    put(folder, f"{part}/utt2spk", data="".join(f"{speaker}-{name} {speaker}\n" for name in names))


def test_kaldi(tmp_path):
    kaldi(tmp_path, "data/train", ("c1", "c2"))
    kaldi(tmp_path, "data/dev", ("c3",), "otto")
    found = source(tmp_path)
    assert found.kind == "Kaldi's wav.scp and text"
    assert facts(found, tmp_path) == [
        ("audio/c1.flac", "Line c1, read aloud.", "ines"),
        ("audio/c2.flac", "Line c2, read aloud.", "ines"),
    ]
    assert found.notes == (
        "The speakers' names are those of utt2spk. --source-column none trains without names.",
        "not read, for they look like other parts: data/dev; --split chooses one",
    )
    assert facts(source(tmp_path, split="dev"), tmp_path) == [("audio/c3.flac", "Line c3, read aloud.", "otto")]
    assert [e.speaker for e in source(tmp_path, source_column="none").entries] == [None, None]


def test_kaldi_says_what_it_cannot_take(tmp_path):
    put(tmp_path, "a.wav", "b.wav")
    put(tmp_path, "text", data="u1 One.\nu2 Two.\nu3 Three.\n")
    put(tmp_path, "wav.scp", data="u1 /old/place/a.wav\nu2 sox b.sph -t wav - |\nu3 gone.wav\nu4 b.wav\n")
    first, piped, gone, untold = source(tmp_path).entries
    assert (first.audio.path, first.text, first.problem) == (tmp_path / "a.wav", "One.", None)
    assert (
        piped.problem
        == "bad line: wav.scp gives a command, sox b.sph -t wav - |, not a file; run it and write the file's name"
    )
    assert gone.audio.path == tmp_path / "gone.wav" and untold.text is None
    put(tmp_path, "segments", data="u1 rec 0.5 2.5\n")
    assert source(tmp_path).entries[0].problem == (
        "bad line: it is a part of a recording (rec 0.5 2.5); cut it out: ffmpeg -ss START -to END -i FILE PART.wav"
    )


def test_kaldi_without_the_part(tmp_path):
    kaldi(tmp_path, "dev", ("a",))
    kaldi(tmp_path, "test", ("b",))
    with pytest.raises(InputError, match="has no part 'train'; choose with --split: dev, test"):
        source(tmp_path)


def test_festival(tmp_path):
    put(tmp_path, "wav/arc_1.wav", "wav/arc_2.wav")
    put(
        tmp_path,
        "etc/txt.done.data",
        data='( arc_1 "Author of the trail, he said." )\n( arc_2 "A \\"short\\" one." )\n',
    )
    assert facts(source(tmp_path), tmp_path) == [
        ("wav/arc_1.wav", "Author of the trail, he said.", None),
        ("wav/arc_2.wav", 'A "short" one.', None),
    ]


# --- transcripts with times ------------------------------------------------------------------------------------------

SRT = "1\r\n00:00:00,000 --> 00:00:02,100\r\nThe <i>first</i> line\r\nof two. <laugh>\r\n\r\n2\r\n00:00:02,500 --> 00:00:04,000\r\n12 more.\r\n"
VTT = "WEBVTT\n\nNOTE made by hand\n\nintro\n00:01.000 --> 00:02.000 align:start\n<v Anna>Hello <00:01.500><c>there</c>.</v>\n"
LABELS = "0.000000\t2.100000\tSaid first.\n2.500000\t4.000000\tSaid second.\n4.000000\t4.5\t\n"
GRID = '''File type = "ooTextFile"
item []:
    item [1]:
        name = "phones"
            text = "HH"
    item [2]:
        name = "words"
        intervals [1]:
            text = ""
        intervals [2]:
            text = "say ""yes"""
        intervals [3]:
            text = "now"
'''


@pytest.mark.parametrize(
    "name, content, words, kind",
    [
        ("t.srt", SRT, "The first line of two. <laugh> 12 more.", "subtitles"),
        ("t.en.srt", SRT, "The first line of two. <laugh> 12 more.", "subtitles"),
        ("t.VTT", VTT, "Hello there.", "subtitles"),
        ("t.txt", LABELS, "Said first. Said second.", "labels"),
        ("t.TextGrid", GRID, 'say "yes" now', "TextGrids"),
    ],
)
def test_times_are_left_out(tmp_path, name, content, words, kind):
    put(tmp_path, "t.wav")
    put(tmp_path, name, data=content)
    found = source(tmp_path)
    assert facts(found, tmp_path) == [("t.wav", words, None)]
    assert found.notes == (f"1 transcripts are {kind}: their words were read, their times were not",)


def test_a_plain_transcript_comes_first_and_stays(tmp_path):
    put(tmp_path, "t.wav")
    put(tmp_path, "t.srt", data=SRT)
    text = "3.5 4.5 is a score.\n10 20 thirty forty"
    put(tmp_path, "t.txt", data=text)
    found = source(tmp_path)
    assert facts(found, tmp_path) == [("t.wav", text, None)] and found.notes == ()


def test_sounds_are_no_words(tmp_path):
    put(tmp_path, "t.wav")
    put(tmp_path, "t.lab", data="0 500000 sil\n500000 900000 hh\n")
    assert source(tmp_path).entries[0].problem == "bad transcript: t.lab: it lists sounds with their times, not words"
    with pytest.raises(ValueError, match="no tier of it holds words"):
        words_of(tmp_path / "a.TextGrid", GRID.split("    item [2]")[0])


def test_spreadsheets_are_named(tmp_path):
    put(tmp_path, "t.wav", "all.xlsx")
    assert source(tmp_path).notes == (
        "spreadsheets are not read: all.xlsx; save the table as CSV beside the recordings",
    )


# --- tables ------------------------------------------------------------------------------------------------------------


def test_a_colon_parts_the_name_from_the_text(tmp_path):
    put(tmp_path, "wav/B_01.wav", "wav/B_02.wav")
    put(tmp_path, "transcript_utf8.txt", data="B_01:また、東寺のように。\nB_02:時刻は12:30です。\n")
    assert facts(source(tmp_path), tmp_path) == [
        ("wav/B_01.wav", "また、東寺のように。", None),
        ("wav/B_02.wav", "時刻は12:30です。", None),
    ]


@pytest.mark.parametrize("above, count", [("# My voice, 2024\n\n", 1), ("#\n# take two | loud\n", 2)])
@pytest.mark.parametrize("header", ["", "file|text\n"])
def test_comments_above_a_table(tmp_path, above, count, header):
    put(tmp_path, "wavs/a.wav", "wavs/b.wav")
    put(tmp_path, "metadata.csv", data=f"{above}{header}a.wav|First of all.\nb.wav|# is a sign.\n")
    found = source(tmp_path)
    assert facts(found, tmp_path) == [("wavs/a.wav", "First of all.", None), ("wavs/b.wav", "# is a sign.", None)]
    assert f"metadata.csv: {count} comments above the table were not read: lines that begin with #" in found.notes
    assert found.entries[0].where.startswith(f"metadata.csv:{4 if header else 3}")


@pytest.mark.parametrize("first", ["#file|text\n", "# file_name|text\n"])
def test_a_header_that_begins_so_is_no_comment(tmp_path, first):
    put(tmp_path, "a.wav", "#b.wav")
    put(tmp_path, "metadata.csv", data=f"{first}#b.wav|First of all.\na.wav|And then.\n")
    found = source(tmp_path)
    assert facts(found, tmp_path) == [("#b.wav", "First of all.", None), ("a.wav", "And then.", None)]
    assert not any("comments" in note for note in found.notes)


def test_a_list_in_a_folder_of_its_own_names_files_from_the_root(tmp_path):
    put(tmp_path, *(f"DUMMY/{n}.wav" for n in range(6)))
    put(tmp_path, "filelists/all.txt", data="".join(f"DUMMY/{n}.wav|{n % 2}|This is line {n}.\n" for n in range(6)))
    found = source(tmp_path)
    assert facts(found, tmp_path) == [(f"DUMMY/{n}.wav", f"This is line {n}.", str(n % 2)) for n in range(6)]
    assert not any("found by their names" in note for note in found.notes)
