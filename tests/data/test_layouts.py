"""Data sets in the layouts that people have: the right text, speaker and file, and every guess said."""

import json

import pytest

from orpheus.common.errors import InputError
from orpheus.data.options import DataOptions
from orpheus.data.sources.folders import open_source


def source(dataset, **options):
    return open_source(DataOptions(dataset=str(dataset), **options))


def put(folder, *names, data=b"x"):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())


def facts(found, folder):
    return [(e.audio.path.relative_to(folder).as_posix(), e.text, e.speaker) for e in found.entries]


# --- transcripts of their own -----------------------------------------------------------------------------------------


def libri(folder, part="train-clean-100", readers=("84", "174")):
    for reader in readers:
        name = f"{part}/{reader}/{reader}1/{reader}_{reader}1_000001_000000"
        put(folder, f"{name}.wav")
        put(folder, f"{name}.normalized.txt", data=f"Reader {reader} spoke.")
        put(folder, f"{name}.original.txt", data=f"Reader No. {reader} spoke.")
        put(folder, f"{part}/{reader}/{reader}1/{reader}_{reader}1.trans.tsv", data="id\tone\ttwo\n")
    put(folder, "SPEAKERS.txt", data="84 | F | train-clean-100 | 25 | Somebody\n")


def test_libritts(tmp_path):
    libri(tmp_path)
    libri(tmp_path, "dev-clean", ("2277",))
    found = source(tmp_path)
    assert found.kind == "LibriTTS"
    assert facts(found, tmp_path) == [
        ("train-clean-100/174/1741/174_1741_000001_000000.wav", "Reader 174 spoke.", "174"),
        ("train-clean-100/84/841/84_841_000001_000000.wav", "Reader 84 spoke.", "84"),
    ]
    assert found.notes == (
        "not read, for they look like other parts: dev-clean; --split chooses one",
        "The 2 readers' numbers are taken for the speakers' names. --source-column none trains without names.",
    )
    assert [speaker for *_, speaker in facts(source(tmp_path, split="dev"), tmp_path)] == ["2277"]
    assert [speaker for *_, speaker in facts(source(tmp_path, source_column="none"), tmp_path)] == [None, None]
    assert len(source(tmp_path, subset="dev-clean").entries) == 1


def test_libritts_of_one_other_part_is_read_and_said(tmp_path):
    libri(tmp_path / "LibriTTS", "test-clean", ("61", "121", "237"))
    found = source(tmp_path)
    assert [entry.speaker for entry in found.entries] == ["121", "237", "61"]
    assert found.notes[0] == "there is no part train: all is read, test-clean"
    libri(tmp_path / "LibriTTS", "dev-clean", ("84",))
    with pytest.raises(InputError, match="has no part 'train'; choose with --split: test, dev|dev, test"):
        source(tmp_path)


def test_a_libritts_recording_without_its_text_is_an_entry(tmp_path):
    libri(tmp_path)
    put(tmp_path, "train-clean-100/84/841/84_841_000009_000000.wav")
    lone = source(tmp_path).entries[-1]
    assert (lone.where, lone.text) == ("train-clean-100/84/841/84_841_000009_000000.wav", None)


def test_librispeech(tmp_path):
    put(tmp_path, "train-clean-100/19/198/19-198-0000.flac", "train-clean-100/19/198/19-198-0001.flac")
    put(tmp_path, "train-clean-100/19/198/19-198.trans.txt", data="19-198-0000 NORTHANGER\n19-198-0001 ABBEY THIS\n")
    found = source(tmp_path)
    assert [entry[1:] for entry in facts(found, tmp_path)] == [("NORTHANGER", "19"), ("ABBEY THIS", "19")]
    assert found.kind == "LibriSpeech"


@pytest.mark.parametrize("audio, ends", [("wav48", [".wav"]), ("wav48_silence_trimmed", ["_mic1.flac", "_mic2.flac"])])
@pytest.mark.parametrize("speakers", [("p225", "p226"), ("p301",)])
def test_vctk(tmp_path, audio, ends, speakers):
    for speaker in speakers:
        put(tmp_path, *(f"{audio}/{speaker}/{speaker}_001{end}" for end in ends))
        put(tmp_path, f"txt/{speaker}/{speaker}_001.txt", data=f"Please call {speaker}.\n")
    put(tmp_path, "speaker-info.txt", data="ID  AGE  GENDER  ACCENTS\np225  23  F  English\n")
    put(tmp_path, f"{audio}/{speakers[0]}/{speakers[0]}_002{ends[0]}")
    found = source(tmp_path)
    texts = {entry.audio.path.name: (entry.text, entry.speaker) for entry in found.entries}
    expected = {f"{speaker}_001{ends[0]}": (f"Please call {speaker}.\n", speaker) for speaker in speakers}
    assert texts == expected | {f"{speakers[0]}_002{ends[0]}": (None, speakers[0])}
    assert found.kind == "recordings with transcripts in folders of their own"
    assert "--source-column none trains without names" in found.notes[0]
    second = [note for note in found.notes if "second microphone" in note]
    assert len(second) == len(ends) - 1 and all(f"{len(speakers)} recordings" in note for note in second)


@pytest.mark.parametrize("audio, text", [("wavs", "txt"), ("audio", "transcripts"), ("WAV", "lab")])
def test_recordings_and_transcripts_in_folders_beside_each_other(tmp_path, audio, text):
    for speaker in ("anna", "ben"):
        put(tmp_path, f"{audio}/{speaker}/1.wav")
        put(tmp_path, f"{text}/{speaker}/1.{'lab' if text == 'lab' else 'txt'}", data=f"{speaker} speaks.")
    found = facts(source(tmp_path), tmp_path)
    assert found == [(f"{audio}/anna/1.wav", "anna speaks.", "anna"), (f"{audio}/ben/1.wav", "ben speaks.", "ben")]


def test_a_folder_for_each_speaker_inside_of_one_that_says_nothing(tmp_path):
    for name in ("wavs/anna/1", "wavs/ben/1"):
        put(tmp_path, f"{name}.mp3")
        put(tmp_path, f"{name}.lab", data="Text.")
    assert [entry.speaker for entry in source(tmp_path).entries] == ["anna", "ben"]


# --- tables beside the recordings ---------------------------------------------------------------------------------------

CLIENTS = ["a3f" * 40, "9be" * 40]


def common_voice(folder, names=("validated",)):
    header = "client_id\tpath\tsentence_id\tsentence\tup_votes\tdown_votes\tage\tgender\taccents\tlocale"
    for name in names:
        count = {"validated": 3, "train": 2}.get(name, 1)
        rows = [
            f'{CLIENTS[n % 2]}\tcommon_voice_en_{n}.mp3\t{n:08x}\tHe said "go" {n}.\t2\t0\t\t\t\ten'
            for n in range(count)
        ]
        put(folder, f"{name}.tsv", data="\n".join([header, *rows]) + "\n")
        put(folder, *(f"clips/common_voice_en_{n}.mp3" for n in range(count)))
    put(folder, "clip_durations.tsv", data="clip\tduration[ms]\ncommon_voice_en_0.mp3\t4000\n")
    put(folder, "validated_sentences.tsv", data="sentence_id\tsentence\tsource\n00000000\tHe said.\tnews\n")


@pytest.mark.parametrize("where", ["", "cv-corpus-17.0/en/"])
def test_common_voice(tmp_path, where):
    common_voice(tmp_path / where)
    found = source(tmp_path)
    assert facts(found, tmp_path) == [
        (f"{where}clips/common_voice_en_{n}.mp3", f'He said "go" {n}.', CLIENTS[n % 2]) for n in range(3)
    ]
    assert found.columns == {"audio": "path", "text": "sentence", "source": "client_id"}
    assert "columns that are not used: sentence_id, up_votes, down_votes" in found.notes[0]


def test_common_voice_is_what_was_validated_and_a_split_on_demand(tmp_path):
    common_voice(tmp_path, ("validated", "train", "dev", "test", "invalidated", "other"))
    found = source(tmp_path)
    assert len(found.entries) == 3
    assert "validated.tsv was read; dev.tsv, invalidated.tsv, other.tsv, test.tsv, train.tsv not" in found.notes[-1]
    assert len(source(tmp_path, split="test").entries) == 1
    assert len(source(tmp_path / "train.tsv").entries) == 2


@pytest.mark.parametrize("path", ["output/slicer_opt/{}.wav", "D:\\GPT-SoVITS\\output\\slicer_opt\\{}.wav", "{}.wav"])
@pytest.mark.parametrize("table", ["voice.list", "asr_opt/slicer_opt.list"])
def test_gpt_sovits(tmp_path, path, table):
    rows = [
        ("a_0", "nora", "en", "Hello there."),
        ("a_1", "nora", "en", "What is it, then?"),
        ("a_2", "nora", "EN", "No."),
    ]
    put(tmp_path, *(f"slicer_opt/{name}.wav" for name, *_ in rows))
    lines = ["|".join((path.format(name), *rest)) for name, *rest in rows]
    put(tmp_path, table, data="\n".join(lines))
    found = source(tmp_path)
    assert facts(found, tmp_path) == [(f"slicer_opt/{name}.wav", text, "nora") for name, _, _, text in rows]
    assert (
        "has no header: column 1 names the recordings, column 4 is the text, column 2 is the speaker" in found.notes[0]
    )
    if len(path) > 6:  # the list alone: its recordings are in a folder beside its own
        assert facts(source(tmp_path / table), tmp_path)[0] == ("slicer_opt/a_0.wav", "Hello there.", "nora")


def test_xtts(tmp_path):
    put(tmp_path, *(f"wavs/u_{n}.wav" for n in range(5)))
    header = "audio_file|text|speaker_name\n"
    rows = [
        f'wavs/u_{n}.wav|"He said ""go"" {n}."|coqui\n' if n == 1 else f"wavs/u_{n}.wav|Text {n}.|coqui\n"
        for n in range(5)
    ]
    put(tmp_path, "metadata_train.csv", data=header + "".join(rows[:4]))
    put(tmp_path, "metadata_eval.csv", data=header + rows[4])
    put(tmp_path, "lang.txt", data="en\n")
    found = source(tmp_path)
    texts = ["Text 0.", 'He said "go" 1.', "Text 2.", "Text 3."]
    assert facts(found, tmp_path) == [(f"wavs/u_{n}.wav", text, "coqui") for n, text in enumerate(texts)]
    assert "metadata_train.csv was read; metadata_eval.csv not: --split NAME chooses" in found.notes[-1]
    assert facts(source(tmp_path, split="eval"), tmp_path) == [("wavs/u_4.wav", "Text 4.", "coqui")]


@pytest.mark.parametrize("name", ["train_manifest.json", "manifest.jsonl", "metadata.jsonl", "data.manifest"])
def test_nemo_manifests(tmp_path, name):
    put(tmp_path, "wav/a.wav", "wav/b.wav", "wav/c.wav")
    rows = [
        {"audio_filepath": "/data/corpus/wav/a.wav", "duration": 2.5, "text": "first", "speaker": 3},
        {"audio_filepath": "wav/b.wav", "duration": 1.5, "text": "second", "speaker": 7},
        {"audio_filepath": "wav/c.wav", "duration": 1.5, "offset": 3.25, "text": "third", "speaker": 7},
    ]
    put(tmp_path, name, data="\n".join(map(json.dumps, rows)))
    found = source(tmp_path)
    assert facts(found, tmp_path)[:2] == [("wav/a.wav", "first", "3"), ("wav/b.wav", "second", "7")]
    assert found.entries[2].problem == (
        "bad line: it is a part of a recording, from 3.25 s on; cut it out: ffmpeg -ss 3.25 -t 1.5 -i FILE PART.wav"
    )


@pytest.mark.parametrize(
    "whole",
    [
        [{"path": "0.wav", "text": "First."}, {"path": "1.wav", "text": "Second."}],
        {"data": [{"path": "0.wav", "text": "First."}, {"path": "1.wav", "text": "Second."}]},
        {"0.wav": {"text": "First."}, "1.wav": {"text": "Second."}},
        {"0.wav": "First.", "1.wav": "Second."},
        [{"audio": {"path": "0.wav"}, "text": "First."}, {"audio": {"path": "1.wav"}, "text": "Second."}],
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_one_json_value(tmp_path, whole, indent):
    put(tmp_path, "0.wav", "1.wav")
    put(tmp_path, "list.json", data=json.dumps(whole, indent=indent))
    for dataset in (tmp_path, tmp_path / "list.json"):
        assert facts(source(dataset), tmp_path) == [("0.wav", "First.", None), ("1.wav", "Second.", None)]


def test_piper(tmp_path):
    put(tmp_path, "wav/1234.wav", "wav/1235.wav", "wav/1236.wav")
    put(tmp_path, "metadata.csv", data="1234|anna|Hello.\n1235|ben|Good morning to you.\n1236|anna|Well.\n")
    expected = [
        ("wav/1234.wav", "Hello.", "anna"),
        ("wav/1235.wav", "Good morning to you.", "ben"),
        ("wav/1236.wav", "Well.", "anna"),
    ]
    assert facts(source(tmp_path), tmp_path) == expected


@pytest.mark.parametrize("name", ["meta.csv", "transcripts.txt", "filelist.psv", "deep/list.tsv"])
def test_a_table_of_any_name_is_used_and_the_others_are_named(tmp_path, name):
    put(tmp_path, "clips/a.wav", "clips/b.wav")
    put(tmp_path, name, data="recording\twords spoken\na.wav\tThis is one.\nb.wav\tThis is two.\n")
    put(tmp_path, "readme.txt", data="A data set.\nOf two clips.\n")
    found = source(tmp_path)
    assert facts(found, tmp_path) == [("clips/a.wav", "This is one.", None), ("clips/b.wav", "This is two.", None)]
    assert "column words spoken is the text, by what is in it; --audio-column" in " ".join(found.notes)


def test_tables_side_by_side_are_one_data_set_where_they_do_not_overlap(tmp_path):
    for speaker in ("anna", "ben"):
        put(tmp_path, f"{speaker}/1.wav", f"{speaker}/2.wav")
        put(tmp_path, f"{speaker}.list", data="".join(f"{speaker}/{n}.wav|{speaker}|en|Text {n}.\n" for n in (1, 2)))
    found = source(tmp_path)
    assert [speaker for *_, speaker in facts(found, tmp_path)] == ["anna", "anna", "ben", "ben"]
    assert found.kind == "2 tables: anna.list, ben.list"


def test_a_table_of_any_name_in_each_speakers_folder(tmp_path):
    for speaker in ("anna", "ben"):
        put(tmp_path, f"{speaker}/wavs/1.wav", f"{speaker}/wavs/2.wav")
        put(tmp_path, f"{speaker}/lines.csv", data="file,text\n1.wav,One.\n2.wav,Two.\n")
    found = source(tmp_path)
    assert facts(found, tmp_path)[1:3] == [("anna/wavs/2.wav", "Two.", "anna"), ("ben/wavs/1.wav", "One.", "ben")]


def test_folders_that_a_table_names_are_speakers_where_they_look_so(tmp_path):
    for speaker in ("anna", "ben"):
        put(tmp_path, f"{speaker}/1.wav")
    put(tmp_path, "metadata.csv", data="file_name,text\nanna/1.wav,One.\nben/1.wav,Two.\n")
    assert [entry.speaker for entry in source(tmp_path).entries] == ["anna", "ben"]
    assert [entry.speaker for entry in source(tmp_path, source_column="none").entries] == [None, None]
    put(tmp_path, "chapter1/1.wav", "chapter2/1.wav")
    put(tmp_path, "metadata.csv", data="file_name,text\nchapter1/1.wav,One.\nchapter2/1.wav,Two.\n")
    assert [entry.speaker for entry in source(tmp_path).entries] == [None, None]


def test_a_subset_that_is_not_there_names_those_that_are(tmp_path):
    put(tmp_path, "en/a.wav", "de/a.wav")
    with pytest.raises(InputError, match="has no sub-folder 'fr' for --subset; it has: de, en"):
        source(tmp_path, subset="fr")
