"""Every reason for which a row is left out, with its exact words, and every row that must not be."""

import subprocess
import sys

import numpy as np
import pytest
import soundfile

from orpheus.common.errors import InputError
from orpheus.common.options import ROOT
from orpheus.data.options import DataOptions
from orpheus.data.recordings import read_recordings
from tests.fakes.recordings import encoded, folder_of, speech, write, write_csv

GOOD = [f"This is sentence number {n}." for n in range(5)]


def options(folder, **changes):
    defaults = {"max_rejected": 1.0, "code_cache": folder.parent / "cache"}
    return DataOptions(dataset=str(folder), **defaults | changes)


def rejected(tmp_path, audio=None, text="A text.", rate=24_000, name="odd.wav", data=None, **changes):
    """The reason for which one odd row among good ones is left out, or None."""
    folder = folder_of(tmp_path / "data", GOOD, seconds=2)
    if data is not None:
        (folder / name).write_bytes(data)
    elif audio is not None:
        write(folder / name, audio, rate, subtype="FLOAT")
    with open(folder / "metadata.csv", "a") as file:
        file.write(f'{name},"{text}"\n')
    rows = read_recordings(options(folder, **changes), progress=False)
    assert len(rows.kept) + len(rows.rejected) == rows.read == 6
    assert [row.text for row in rows.kept][:5] == GOOD
    if not rows.rejected:
        return None
    where, reason = rows.rejected[0]
    assert where == f"metadata.csv:7 ({name})"
    return reason


# --- recordings ---


def test_a_file_that_is_missing(tmp_path):
    assert rejected(tmp_path) == f"missing file: {tmp_path / 'data' / 'odd.wav'}"


def test_a_folder_in_place_of_a_file(tmp_path):
    (tmp_path / "data" / "odd.wav").mkdir(parents=True)
    assert rejected(tmp_path).startswith("unreadable: ")


@pytest.mark.parametrize(
    "data, reason",
    [
        (b"", "empty: the file has no bytes"),
        (b"not audio", "unreadable: the file cannot be read as audio: Format not recognised"),
        (encoded(speech(0), 24_000), "empty: no samples"),
        (encoded(speech(1))[:20], "unreadable: the file cannot be read as audio"),
    ],
)
def test_files_that_are_no_recordings(tmp_path, data, reason):
    assert rejected(tmp_path, data=data).startswith(reason)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite(tmp_path, value):
    audio = speech(1)
    audio[1000] = value
    assert (
        rejected(tmp_path, audio)
        == "unreadable: samples that are not finite (NaN or infinity); export it again as 16 or 24 bit"
    )


def test_samples_of_another_scale(tmp_path):
    assert rejected(tmp_path, speech(1, level=20_000)).startswith("unreadable: peak 20000, samples are not in -1..1")


def test_silence_and_a_click_are_silent(tmp_path):
    click = speech(2, level=0.0002)
    click[500] = 0.9
    assert rejected(tmp_path, click) == "silent: nothing louder than -60 dBFS in 2.0 s (peak 0.9000)"


def test_digital_silence(tmp_path):
    assert rejected(tmp_path, np.zeros((24_000, 1))).startswith("silent: ")


def test_quiet_speech_is_not(tmp_path):
    assert rejected(tmp_path, speech(1, level=0.01)) is None


@pytest.mark.parametrize("channels", [1, 2])
def test_clipped(tmp_path, channels):
    loud = np.clip(speech(2, channels=channels, level=1.0) + np.sin(np.arange(48_000) / 50)[:, None] * 0.9, -1, 1)
    assert rejected(tmp_path, loud).startswith("clipped: ")
    assert rejected(tmp_path, loud).endswith("of the samples stand at the ceiling, more than 0.2%")


def test_loud_is_not_clipped(tmp_path):
    assert rejected(tmp_path, speech(2, level=1.0)) is None
    assert rejected(tmp_path, np.sin(np.arange(48_000) / 30)[:, None]) is None


def test_too_short_and_too_long(tmp_path):
    assert rejected(tmp_path, speech(0.3), "Hm.") == "too short: 0.30 s, min_seconds is 0.5"
    assert rejected(tmp_path, speech(0.3), "Hm.", min_seconds=0.2) is None
    reason = "too long: 3.5 s, max_seconds is 3; --long-rows split cuts at pauses"
    assert rejected(tmp_path, speech(3.5), max_seconds=3) == reason


def test_rates_and_channels_are_each_rows_own(tmp_path):
    rows = []
    for n, (rate, channels) in enumerate([(16_000, 1), (48_000, 2), (22_050, 1), (24_000, 6)]):
        write(tmp_path / "data" / f"{n}.wav", speech(2, rate, channels, seed=n), rate)
        rows.append([f"{n}.wav", "Some text."])
    write_csv(tmp_path / "data" / "metadata.csv", ["file_name", "text"], rows)
    found = read_recordings(options(tmp_path / "data"), progress=False)
    assert [row.seconds for row in found.kept] == [2.0] * 4 and [row.samples for row in found.kept] == [48_000] * 4
    assert [row.measure.rate for row in found.kept] == [16_000, 48_000, 22_050, 24_000]


# --- texts ---


def test_text_that_is_missing_empty_or_unspeakable(tmp_path):
    assert rejected(tmp_path, speech(2), " ") == "empty text (add --transcribe)"
    assert rejected(tmp_path, speech(2), "...!") == "nothing to speak: '...!' has no letter, digit or tag"
    assert rejected(tmp_path, speech(2), "\U0001f600") == "nothing to speak: '' has no letter, digit or tag"
    assert rejected(tmp_path, speech(2), "<laugh>") is None


def test_a_recording_without_a_transcript(tmp_path):
    write(tmp_path / "data" / "a.wav", speech(1, seed=1))
    write(tmp_path / "data" / "b.wav", speech(1, seed=2))
    (tmp_path / "data" / "a.txt").write_text("A.")
    rows = read_recordings(options(tmp_path / "data"), progress=False)
    assert rows.rejected == [("b.wav", "no transcript (add --transcribe)")]


def test_text_far_too_long_for_its_recording(tmp_path):
    text = "word " * 40  # 200 characters: 13.3 s at 15 a second
    assert rejected(tmp_path, speech(4), text).startswith("text too long: about 13.3 s of text for 4.0 s of audio")
    assert rejected(tmp_path, speech(7), text) is None


@pytest.mark.parametrize(
    "text, seconds", [("12345", 0.9), ("<laugh> Hi! <sigh>", 1.0), ("NASA, FBI", 0.7), ("日本語です", 0.6)]
)
def test_short_rows_with_numbers_and_tags_are_not_too_long(tmp_path, text, seconds):
    assert rejected(tmp_path, speech(seconds), text) is None


def test_texts_are_cleaned_and_put_on_one_line(tmp_path):
    folder = folder_of(
        tmp_path / "data", ["“Hello\n\n\nthere…” \U0001f600\U0001f600 <LAUGH>", "Fine.\u200b"], seconds=3
    )
    rows = read_recordings(options(folder), progress=False)
    assert [row.text for row in rows.kept] == ['"Hello there..." <laugh>', "Fine."]
    assert rows.removed == {"\U0001f600": 2, "\u200b": 1}


# --- duplicates ---


def test_the_same_recording_twice_even_in_another_format(tmp_path):
    folder = folder_of(tmp_path / "data", GOOD[:3])
    write(folder / "copy.flac", soundfile.read(folder / "1.wav", dtype="int16")[0])
    (folder / "copy.wav").write_bytes((folder / "2.wav").read_bytes())
    with open(folder / "metadata.csv", "a") as file:
        file.write("copy.flac,Another text.\ncopy.wav,Another one.\n")
    rows = read_recordings(options(folder), progress=False)
    assert rows.rejected == [
        ("metadata.csv:5 (copy.flac)", "duplicate: the same recording as metadata.csv:3 (1.wav)"),
        ("metadata.csv:6 (copy.wav)", "duplicate: the same recording as metadata.csv:4 (2.wav)"),
    ]


def test_the_copy_is_kept_where_the_first_is_unfit_for_another_reason(tmp_path):
    folder = folder_of(tmp_path / "data", ["...", "Fine."])
    (folder / "1.wav").write_bytes((folder / "0.wav").read_bytes())
    rows = read_recordings(options(folder), progress=False)
    assert [row.text for row in rows.kept] == ["Fine."] and rows.rejected[0][1].startswith("nothing to speak")


# --- speakers ---


def test_speakers_by_frequency(tmp_path):
    folder = folder_of(tmp_path / "data", GOOD, source=["bob", "ann", " ann\n", "", "zoe"])
    rows = read_recordings(options(folder), progress=False)
    assert [row.speaker for row in rows.kept] == ["bob", "ann", "ann", None, "zoe"]
    assert rows.voices == ("ann", "bob", "zoe")
    assert rows.report().notes == ["1 recordings name no speaker and are trained without a name."]
    with pytest.raises(InputError, match="names its speakers in the column 'source': leave --speaker out"):
        read_recordings(options(folder, speaker="eve"), progress=False)
    assert read_recordings(options(folder, speaker="eve", source_column="none"), progress=False).voices == ("eve",)


def test_one_speaker_has_no_name_unless_given(tmp_path):
    folder = folder_of(tmp_path / "data", GOOD)
    assert read_recordings(options(folder), progress=False).voices == ()
    rows = read_recordings(options(folder, speaker="eve"), progress=False)
    assert rows.voices == ("eve",) and {row.speaker for row in rows.kept} == {"eve"}


# --- too many ---


@pytest.mark.parametrize("bad, fits", [(1, True), (2, False), (5, False)])
def test_more_than_a_fifth_left_out_stops_with_the_reasons(tmp_path, bad, fits):
    folder = folder_of(tmp_path / "data", ["..."] * bad + GOOD[bad:])
    if fits:
        assert len(read_recordings(options(folder, max_rejected=0.2), progress=False).kept) == 4
        return
    with pytest.raises(InputError) as caught:
        read_recordings(
            options(folder, max_rejected=0.2), progress=False, report_path=tmp_path / "out" / "data_report.md"
        )
    message = str(caught.value)
    assert f"{bad} x nothing to speak, as in metadata.csv:2 (0.wav): nothing to speak: '...'" in message
    if bad == 2:
        assert (
            "2 of 5 recordings (40%) cannot be used, more than max_rejected 20%" in message
            and "--max-rejected 0.41" in message
        )
    else:
        assert "none of the 5 recordings can be used" in message
    assert caught.value.report.rejected[0][0] == "metadata.csv:2 (0.wav)"
    assert "metadata.csv:3 (1.wav)" in (tmp_path / "out" / "data_report.md").read_text()


def test_nothing_left_is_an_error_whatever_the_limit(tmp_path):
    with pytest.raises(InputError, match="none of the 2 recordings can be used"):
        read_recordings(options(folder_of(tmp_path / "data", ["...", "!"])), progress=False)


# --- transcribing ---


class FakeWhisper:
    loaded = []

    def __init__(self, name, device, compute_type):
        self.loaded.append(name)

    def transcribe(self, audio):
        assert audio.shape == (32_000,) and audio.dtype == np.float32
        segment = type("Segment", (), {"text": " Written by machine. "})
        return iter([segment, segment]), None


def test_transcribe_fills_what_is_missing_and_marks_it(tmp_path, monkeypatch):
    module = type(sys)("faster_whisper")
    module.WhisperModel = FakeWhisper
    monkeypatch.setitem(sys.modules, "faster_whisper", module)
    folder = folder_of(tmp_path / "data", ["Said.", "", ""], seconds=2)
    (folder / "2.wav").write_bytes(b"")
    for _ in range(2):  # the second time out of the cache
        rows = read_recordings(options(folder, transcribe=True), progress=False)
        assert [row.text for row in rows.kept] == ["Said.", "Written by machine. Written by machine."]
        assert [row.transcribed for row in rows.kept] == [False, True]
        assert len(rows.rejected) == 1
        assert rows.report().transcribed() == ["metadata.csv:3 (1.wav)"]
    assert FakeWhisper.loaded == ["base.en"]


def test_transcribe_listens_for_the_language(tmp_path, monkeypatch, capsys):
    asked = []

    class Whisper(FakeWhisper):
        def transcribe(self, audio, **how):
            asked.append(how)
            return super().transcribe(audio)

    module = type(sys)("faster_whisper")
    module.WhisperModel = Whisper
    monkeypatch.setitem(sys.modules, "faster_whisper", module)
    folder = folder_of(tmp_path / "data", ["Gesagt.", ""], seconds=2)
    FakeWhisper.loaded.clear()
    for language in ("German", "de"):  # the second time out of the cache
        rows = read_recordings(options(folder, transcribe=True, language=language), progress=False)
        assert [row.text for row in rows.kept] == ["Gesagt.", "Written by machine. Written by machine."]
    assert FakeWhisper.loaded == ["base"] and asked == [{"language": "de"}]
    assert capsys.readouterr().err == "transcribing with base, listening for german (--language)\n"
    with pytest.raises(InputError, match="--transcribe: base.en hears only English, not 'de'"):
        read_recordings(options(folder, transcribe=True, transcribe_model="base.en", language="de"), progress=False)
    with pytest.raises(InputError, match="did you mean ja"):
        options(folder, language="jp")


def test_transcribe_without_faster_whisper_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(InputError, match="pip install faster-whisper"):
        read_recordings(options(folder_of(tmp_path / "data", GOOD), transcribe=True), progress=False)


# --- light ---


def test_the_checks_need_no_torch(tmp_path):
    folder_of(tmp_path / "data", GOOD)
    program = (
        "import sys\n"
        "from orpheus.data.options import DataOptions\n"
        "from orpheus.data.recordings import read_recordings\n"
        f"read_recordings(DataOptions(dataset={str(tmp_path / 'data')!r}, code_cache={str(tmp_path / 'cache')!r}))\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
