"""Which column is what: by name however it is written, by content where there is no name, by an option in any case."""

import itertools
import random

import pytest

from orpheus.common.errors import InputError
from orpheus.data.options import DataOptions
from orpheus.data.sources.folders import open_source

RAW = [
    "Dr. Lee paid $5 in 1999.",
    "Hello there, friend.",
    "It is 7 o'clock already.",
    "Nothing was left of it.",
    "We met in 2001, I think.",
    "Good morning to you.",
]
WRITTEN = [
    "Doctor Lee paid five dollars in nineteen ninety-nine.",
    "Hello there, friend.",
    "It is seven o'clock already.",
    "Nothing was left of it.",
    "We met in two thousand one, I think.",
    "Good morning to you.",
]
CELLS = {
    "file": [f"K_{n}" for n in range(6)],
    "raw": RAW,
    "written": WRITTEN,
    "phonemes": ["ˈdɑktɚ liː", "hɛˈloʊ ðɛɹ fɹɛnd", "ɪt ɪz ˈsɛvən", "ˈnʌθɪŋ wʌz lɛft", "wiː ˈmɛt ɪn", "ɡʊd ˈmɔɹnɪŋ"],
    "speaker": ["anna", "ben", "anna", "anna", "ben", "ben"],
    "number": ["3", "7", "3", "3", "7", "7"],
    "language": ["en"] * 6,
    "seconds": ["1.50", "2.25", "1.75", "3.10", "2.00", "1.05"],
    "mood": ["happy", "neutral", "sad", "neutral", "happy", "sad"],
}
SETS = [
    ("file", "raw"),
    ("file", "raw", "written"),
    ("file", "raw", "speaker"),
    ("file", "speaker", "language", "raw"),
    ("file", "raw", "written", "number"),
    ("file", "raw", "seconds", "speaker"),
    ("file", "phonemes", "raw", "speaker"),
    ("file", "speaker", "raw", "mood", "seconds"),
    ("file", "raw", "written", "speaker", "language"),
]
STYLES = ["K_{}", "wavs/K_{}.wav", "D:\\set\\wavs\\K_{}.wav", "/home/me/set/wavs/K_{}.wav"]


def source(dataset, **options):
    return open_source(DataOptions(dataset=str(dataset), **options))


def folder_with(folder, lines, name="metadata.csv", count=6):
    (folder / "wavs").mkdir(exist_ok=True)
    for n in range(count):
        (folder / "wavs" / f"K_{n}.wav").write_bytes(b"x")
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def facts(found):
    return [(entry.audio.path.name, entry.text, entry.speaker) for entry in found.entries]


@pytest.mark.parametrize("names", SETS, ids="-".join)
@pytest.mark.parametrize("rows", [3, 6])
def test_any_order_and_separator_without_a_header(tmp_path, names, rows):
    choose = random.Random("-".join(names))
    for order in itertools.islice(itertools.permutations(names), 0, 120, 1 if len(names) < 4 else 7):
        delimiter, style = choose.choice("|\t;,~^"), choose.choice(STYLES)
        cells = CELLS | {"file": [style.format(n) for n in range(6)]}

        def quoted(cell, delimiter=delimiter):
            return f'"{cell}"' if delimiter == "," and "," in cell else cell

        lines = [delimiter.join(quoted(cells[name][n]) for name in order) for n in range(rows)]
        found = source(folder_with(tmp_path, lines))
        texts = WRITTEN if "written" in names else RAW
        who = next((CELLS[name] for name in ("speaker", "number") if name in names), [None] * 6)
        assert facts(found) == [(f"K_{n}.wav", texts[n], who[n]) for n in range(rows)], (order, delimiter, style)


def test_the_guess_is_said_and_can_be_overridden(tmp_path):
    lines = ["K_0|Hello there, friend.|anna", "K_1|How are you today?|ben", "K_2|Fine.|anna"]
    found = source(folder_with(tmp_path, lines))
    assert found.notes == (
        "metadata.csv has no header: column 1 names the recordings, column 2 is the text, column 3 is the speaker, by what is in it; "
        "--audio-column, --text-column, --source-column say otherwise",
    )
    assert found.kind == "CSV file without a header" and found.columns == {"audio": "1", "text": "2", "source": "3"}
    assert [text for _, text, _ in facts(source(tmp_path, text_column="3", source_column="none"))] == [
        "anna",
        "ben",
        "anna",
    ]
    assert [name for *_, name in facts(source(tmp_path, source_column="none"))] == [None] * 3
    with pytest.raises(InputError, match="no column named '4': the columns are '1', '2', '3'"):
        source(tmp_path, source_column="4")


def test_one_speaker_throughout(tmp_path):
    lines = [f"K_{n}|{text}|anna" for n, text in enumerate(RAW)]
    assert {name for *_, name in facts(source(folder_with(tmp_path, lines)))} == {"anna"}


def test_ljspeech_stays_what_it_was(tmp_path):
    lines = [f"K_{n}|{raw}|{written}" for n, (raw, written) in enumerate(zip(RAW, WRITTEN, strict=True))]
    lines[1] = "K_1|Hello there, friend."  # without the third field
    found = source(folder_with(tmp_path, lines))
    assert facts(found) == [(f"K_{n}.wav", WRITTEN[n], None) for n in range(6)]
    assert (found.kind, found.notes) == ("LJSpeech's metadata.csv", ())
    missing = source(folder_with(tmp_path, [line.replace("K_", "M_") for line in lines]))
    assert [text for _, text, _ in facts(missing)] == WRITTEN and missing.kind == "LJSpeech's metadata.csv"


@pytest.mark.parametrize(
    "lines, texts",
    [
        (
            ["K_0|你好，朋友。|小明", "K_1|今天天气怎么样？|小红", "K_2|很好。|小明"],
            ["你好，朋友。", "今天天气怎么样？", "很好。"],
        ),
        (["K_0|anna|Yes.", "K_1|ben|No, not at all.", "K_2|anna|Well."], ["Yes.", "No, not at all.", "Well."]),
        (["K_0 Hello there.", "K_1 How are you?", "K_2 Fine."], ["Hello there.", "How are you?", "Fine."]),
    ],
)
def test_other_scripts_short_texts_and_a_space_that_parts(tmp_path, lines, texts):
    assert [text for _, text, _ in facts(source(folder_with(tmp_path, lines)))] == texts


def test_a_line_with_more_fields_is_named(tmp_path):
    lines = ["K_0,anna,First one.", "K_1,ben,Second, and more.", "K_2,anna,Third one.", "K_3,ben,Fourth one."]
    problems = [entry.problem for entry in source(folder_with(tmp_path, lines)).entries]
    assert problems == [None, "bad line: 4 fields, the others have 3; put a text with separators in quotes", None, None]


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", "speakerID|spk|spk_id|client_id|narrator|Voice_Name|SPEAKER-NAME|Speaker Id|reader|Sprecher".split("|")
)
def test_names_of_the_speakers_column(tmp_path, name):
    lines = [f"Audio File;{name};Sentence", *(f"K_{n}.wav;{CELLS['speaker'][n]};{text}" for n, text in enumerate(RAW))]
    found = source(folder_with(tmp_path, lines))
    known = name != "Sprecher"
    assert facts(found) == [(f"K_{n}.wav", RAW[n], CELLS["speaker"][n] if known else None) for n in range(6)]
    if not known:
        note = "metadata.csv: columns that are not used: Sprecher; --source-column Sprecher would take its 2 values for speakers' names"
        assert note in found.notes
        assert facts(source(tmp_path, source_column="sprecher"))[0] == ("K_0.wav", RAW[0], "anna")


@pytest.mark.parametrize("audio", "File-Name AUDIO_FILEPATH wavPath audio_file recording Clip".split())
@pytest.mark.parametrize("text", ["Normalized Text", "transcription", "raw-text", "Utterance"])
def test_names_of_audio_and_text(tmp_path, audio, text):
    lines = [f"{text}\tx\t{audio}", *(f"{line}\t{n}\tK_{n}.wav" for n, line in enumerate(RAW))]
    found = source(folder_with(tmp_path, lines))
    assert facts(found) == [(f"K_{n}.wav", RAW[n], None) for n in range(6)]
    assert found.notes[0] == "metadata.csv: columns that are not used: x"


def test_names_that_nobody_knows_are_told_by_content(tmp_path):
    lines = ["Datei,Dauer,Gesagtes", *(f'K_{n},{n}.25,"{line}"' for n, line in enumerate(RAW))]
    found = source(folder_with(tmp_path, lines))
    assert facts(found) == [(f"K_{n}.wav", RAW[n], None) for n in range(6)]
    assert found.columns == {"audio": "Datei", "text": "Gesagtes", "source": None}
    assert found.notes[0].startswith(
        "metadata.csv: column Datei names the recordings, column Gesagtes is the text, by what is in it"
    )


def test_of_two_audio_columns_the_one_whose_recordings_are_there(tmp_path):
    lines = ["audio,path,text", *(f'https://example.org/{n},wavs/K_{n}.wav,"{line}"' for n, line in enumerate(RAW))]
    assert facts(source(folder_with(tmp_path, lines)))[5] == ("K_5.wav", RAW[5], None)


def test_a_first_row_that_is_a_recordings_is_no_header(tmp_path):
    lines = ["K_0.wav|speech|anna", "K_1.wav|What is the text?|ben", "K_2.wav|This is.|anna"]
    assert facts(source(folder_with(tmp_path, lines)))[0] == ("K_0.wav", "speech", "anna")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_what_spreadsheets_save_as_unicode_text(tmp_path, encoding):
    folder_with(tmp_path, ["x"])
    (tmp_path / "metadata.tsv").write_text("file\ttext\nK_0.wav\tÄhm, ja.\n", encoding=encoding)
    (tmp_path / "metadata.csv").unlink()
    assert facts(source(tmp_path)) == [("K_0.wav", "Ähm, ja.", None)]
