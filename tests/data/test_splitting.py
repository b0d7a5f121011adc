"""Long rows are split where a pause agrees with a sentence's end, or left out whole; none is ever cut."""

import numpy as np
import pytest

from orpheus.data.alignment import units_of
from orpheus.data.examples import encode_missing, make_examples
from orpheus.data.measure import measure
from orpheus.data.options import DataOptions
from orpheus.data.recordings import Recordings, read_recordings
from orpheus.data.splitting import split_recording
from tests.fakes.recordings import encoded, folder_of, talk, write


def sentence(seconds, word="word"):
    """A sentence that takes about `seconds` to say, at 15 characters a second."""
    length = round(seconds * 15) - 2  # the full stop and the space after it are the rest
    words = (f"{word} " * length)[:length].rsplit(" ", 1)[0]
    return words.capitalize().ljust(length, "h") + "."


def split_and_lost(seconds, parts, text, limit=6.0, least=0.5):
    """Splits a recording of `parts` (speech and pauses in turn, in seconds)."""
    found = measure(talk(*parts), 24_000)
    assert found.seconds == pytest.approx(seconds)
    return split_recording(text, found, 0.0, found.seconds, lambda _, length: least <= length <= limit, limit)


def split(*arguments, **limits):
    parts, lost = split_and_lost(*arguments, **limits)
    assert not lost
    return parts


THREE = [sentence(3, "alpha"), sentence(4, "beta"), sentence(3, "gamma")]


def test_parts_are_cut_in_the_middle_of_the_pauses_between_sentences():
    assert split(11, (3, 0.5, 4, 0.5, 3), " ".join(THREE)) == [
        (THREE[0], 0.0, 3.25),
        (THREE[1], 3.25, 7.75),
        (THREE[2], 7.75, 11.0),
    ]


def test_parts_of_a_script_without_spaces_get_none():
    text = "今天的天气非常好。我们去公园看看吧！你觉得这样好吗？"
    parts, lost = split_and_lost(8.0, (2.2, 0.6, 2.2, 0.6, 2.4), text, limit=6.0)
    assert not lost and "".join(part for part, _, _ in parts) == text
    assert all(" " not in part for part, _, _ in parts)


def test_parts_end_where_sentences_of_the_language_end():
    text = "Das war am 12. April in Bonn, wo es lange regnete. Danach gingen wir alle nach Hause und schliefen."
    starts = [unit.start for unit in units_of(text, "de")]
    assert [text[start:].split()[0] for start in starts] == ["Das", "Danach"]
    assert len(units_of(text)) == 3  # as English: "April" begins a sentence


def test_parts_hold_as_many_sentences_as_fit_and_what_fits_stays_whole():
    text = " ".join(THREE)
    assert split(11, (3, 0.5, 4, 0.5, 3), text, limit=8) == [(" ".join(THREE[:2]), 0.0, 7.75), (THREE[2], 7.75, 11.0)]
    assert split(11, (3, 0.5, 4, 0.5, 3), text, limit=11) == [(text, 0.0, 11.0)]


def test_pauses_inside_sentences_are_not_mistaken_for_their_ends():
    """Every sentence has a pause inside, as long as the one at its end here and there."""
    inside = [(1.2, 0.2, 1.8), (1.5, 0.5, 2.5), (2, 0.3, 1), (1, 0.25, 3), (2, 0.5, 1.5), (1.1, 0.3, 2.9)]
    texts = [sentence(first + second, word) for (first, _, second), word in zip(inside, "abcdef", strict=True)]
    parts = [value for clip in inside for value in (*clip, 0.6)][:-1]
    found = split(sum(parts), parts, " ".join(texts))
    ends = np.cumsum([sum(clip) + 0.6 for clip in inside]) - 0.3
    assert [text for text, *_ in found] == texts
    assert [end for *_, end in found[:-1]] == pytest.approx(ends[:-1], abs=0.02)


def test_long_silences_do_not_shift_what_is_expected():
    found = split(16, (3, 3.0, 4, 3.0, 3), " ".join(THREE), limit=8)
    assert [start for _, start, _ in found] == [0.0, 4.5, 11.5]


@pytest.mark.parametrize(
    "parts, text",
    [
        ((10,), " ".join(THREE)),  # no pause at all
        ((5, 0.5, 5), " ".join([sentence(2), sentence(8)])),  # the pause is where no sentence ends
        ((5, 0.5, 5), sentence(10)),  # one sentence
        ((2.9, 0.5, 0.3, 0.5, 6.8), " ".join([sentence(3), sentence(7)])),  # two pauses alike: either may be it
        ((3, 0.2, 7), " ".join([sentence(3), sentence(7)])),  # too short a pause
    ],
)
def test_where_pauses_and_sentences_do_not_agree_there_is_no_split(parts, text):
    assert split_and_lost(sum(parts), parts, text) == ([], [(text, 0.0, pytest.approx(sum(parts)))])


def test_a_sentence_that_is_too_long_itself_is_lost_alone():
    texts = [sentence(3), sentence(7), sentence(4)]
    found, lost = split_and_lost(15, (3, 0.5, 7, 0.5, 4), " ".join(texts))
    assert found == [(texts[0], 0.0, 3.25), (texts[2], 10.75, 15.0)] and lost == [(texts[1], 3.25, 10.75)]


def test_a_chapter_does_not_drift(random):
    """Sentences read at paces that differ by a third: every cut is at the end of its sentence all the same."""
    lengths = random.uniform(2, 6, 60)
    paces = random.uniform(0.85, 1.15, 60)
    sentences = [sentence(length, word) for length, word in zip(lengths, ["one", "two", "three"] * 20, strict=True)]
    said = [length * pace for length, pace in zip(lengths, paces, strict=True)]
    parts = [value for length in said for value in (round(length, 2), 0.5)][:-1]
    found = split(sum(parts), parts, " ".join(sentences), limit=20)
    ends = np.cumsum([length + 0.5 for length in np.round(said, 2)]) - 0.25
    done = 0
    for text, _, end in found[:-1]:
        done += text.count(".")
        assert end == pytest.approx(ends[done - 1], abs=0.02)
    assert " ".join(text for text, *_ in found) == " ".join(sentences) and max(e - s for _, s, e in found) <= 20


# --- in the pipeline ---


def long_folder(tmp_path):
    folder = folder_of(tmp_path / "data", [f"Sentence number {n}." for n in range(9)], seconds=2)
    write(folder / "long.wav", talk(3, 0.5, 4, 0.5, 3))
    with open(folder / "metadata.csv", "a") as file:
        file.write(f"long.wav,{' '.join(THREE)}\n")
    return folder


def prepare(tmp_path, voice, folder, **changes):
    options = DataOptions(dataset=str(folder), code_cache=tmp_path / "cache", keep_repeated_frames=True, **changes)
    rows = read_recordings(options, progress=False)
    return rows, make_examples(rows, voice.codec, voice.prompts, options, progress=False)


def of_long(prepared):
    return [example for example in prepared.train + prepared.held_out if "long.wav" in example.where]


@pytest.mark.parametrize("limit", [{"max_seconds": 6}, {"max_tokens": 600}])
def test_rows_over_either_limit_are_split(tmp_path, small_voice, limit):
    rows, prepared = prepare(tmp_path, small_voice, long_folder(tmp_path), long_rows="split", **limit)
    parts = of_long(prepared)
    assert [part.text for part in parts] == THREE
    assert [part.where for part in parts] == [f"metadata.csv:11 (long.wav), part {n} of 3" for n in (1, 2, 3)]
    assert len({part.key for part in parts}) == 3 and len({part.key[:56] for part in parts}) == 1
    assert prepared.report.training.parts == 3 and not prepared.report.rejected
    layout = small_voice.prompts.layout
    for part, (start, end) in zip(parts, [(0, 3.25), (3.25, 7.75), (7.75, 11)], strict=True):
        assert part.input_ids[-2:].tolist() == [layout.end_of_speech, layout.end_of_ai]
        audio = talk(3, 0.5, 4, 0.5, 3)[round(start * 24_000) : round(end * 24_000), 0]
        codes = small_voice.codec.encode([np.frombuffer(as_read(audio), np.float32)])[0]
        assert np.array_equal(part.input_ids[part.prompt_tokens : -2], layout.to_tokens(codes))


def as_read(audio):
    """The samples as a 16-bit WAV file gives them back."""
    from orpheus.common.audio import decode_audio

    return decode_audio(encoded(audio), "")[0].tobytes()


def test_by_default_long_rows_are_left_out_whole(tmp_path, small_voice):
    _, prepared = prepare(tmp_path, small_voice, long_folder(tmp_path), max_tokens=600)
    assert of_long(prepared) == []
    (rejected,) = prepared.report.rejected
    assert rejected[0] == "metadata.csv:11 (long.wav)"
    assert rejected[1].startswith("too many tokens: ") and rejected[1].endswith(
        "for 11.0 s, max_tokens is 600; --long-rows split cuts at pauses"
    )


def test_of_a_recording_only_the_stretch_that_cannot_be_split_is_left_out(tmp_path, small_voice):
    _, prepared = prepare(tmp_path, small_voice, long_folder(tmp_path), long_rows="split", max_seconds=3.4)
    assert [part.text for part in of_long(prepared)] == [THREE[0], THREE[2]]
    ((where, reason),) = prepared.report.rejected
    assert where == "metadata.csv:11 (long.wav), 0:03.2 to 0:07.8"
    assert reason.startswith(
        "too long: 4.5 s, over max_seconds 3.4 or max_tokens 2048, and no pauses in it are surely ends"
    )


@pytest.mark.parametrize(
    "limit, name", [({"max_seconds": 3.1}, "max_seconds 3.1"), ({"max_tokens": 300}, "max_tokens 300")]
)
def test_rows_that_cannot_be_split_are_left_out_whole(tmp_path, small_voice, limit, name):
    _, prepared = prepare(tmp_path, small_voice, long_folder(tmp_path), long_rows="split", **limit)
    assert of_long(prepared) == []
    ((where, reason),) = prepared.report.rejected
    assert where == "metadata.csv:11 (long.wav)" and reason.startswith("too long: 11.0 s, over ") and name in reason


def test_the_parts_of_a_row_are_held_out_together(tmp_path, small_voice):
    folder = long_folder(tmp_path)
    for share in (0.0, 0.1, 0.25, 0.5):
        _, prepared = prepare(tmp_path, small_voice, folder, long_rows="split", max_seconds=6, held_out=share)
        sides = {example in prepared.train for example in of_long(prepared)}
        assert len(sides) == 1


def test_parts_are_encoded_before_the_barrier_too(tmp_path, small_voice, monkeypatch):
    options = DataOptions(
        dataset=str(long_folder(tmp_path)), code_cache=tmp_path / "cache", long_rows="split", max_seconds=6
    )
    rows = read_recordings(options, progress=False)
    assert isinstance(rows, Recordings)
    encode_missing(rows, small_voice.codec, small_voice.prompts, options, progress=False)
    monkeypatch.setattr(type(small_voice.codec), "encode", None)
    assert len(of_long(make_examples(rows, small_voice.codec, small_voice.prompts, options, progress=False))) == 3
