"""Rows that are SNAC codes already: checked, never encoded, and learnt as they are."""

import json

import numpy as np
import pytest

from orpheus.codec.snac import Codec
from orpheus.common.errors import InputError
from orpheus.common.tokens import TokenLayout, deinterleave
from orpheus.data.examples import make_examples
from orpheus.data.model_tokens import ModelTokens
from orpheus.data.options import DataOptions
from orpheus.data.recordings import read_recordings
from orpheus.data.sources import codes as coding
from orpheus.data.sources.codes import checked, form_of, numbers, split_example
from orpheus.data.sources.folders import open_source

OFFSETS = 4096 * np.arange(7)


def codes(frames=30, seed=0, size=4096):
    return np.random.default_rng(seed).integers(0, size, (frames, 7))


WRITTEN = {
    "plain": lambda c: c.reshape(-1).tolist(),
    "with offsets": lambda c: (c + OFFSETS).reshape(-1).tolist(),
    "numbers of custom tokens": lambda c: (c + OFFSETS + 10).reshape(-1).tolist(),
    "token ids": lambda c: (c + OFFSETS + 128_266).reshape(-1).tolist(),
}
OTHERS = {
    "custom tokens": lambda c: "".join(f"<custom_token_{n}>" for n in (c + OFFSETS + 10).reshape(-1)),
    "three levels": lambda c: [level.tolist() for level in deinterleave(c)],
    "JSON in a cell": lambda c: json.dumps((c + OFFSETS + 128_266).reshape(-1).tolist()),
    "words in a cell": lambda c: " ".join(map(str, c.reshape(-1))),
}


def rows_of(tmp_path, rows, name="rows.jsonl"):
    path = tmp_path / "data" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def read(dataset, model=None, **options):
    options = DataOptions(dataset=str(dataset), max_rejected=1, **options)
    return read_recordings(options, progress=False, keep=False, model=model)


@pytest.mark.parametrize("how", [*WRITTEN, *OTHERS])
@pytest.mark.parametrize("stored", ["jsonl", "saved", "parquet"])
def test_codes_however_they_are_written(tmp_path, how, stored):
    write = (WRITTEN | OTHERS)[how]
    rows = [{"codes_list": write(codes(seed=n)), "text": f"This is {n}.", "source": "anna"} for n in range(3)]
    path = rows_of(tmp_path, rows)
    if stored != "jsonl":
        import datasets

        made = datasets.Dataset.from_list(rows)
        path = tmp_path / stored
        made.save_to_disk(path) if stored == "saved" else made.to_parquet(path := tmp_path / "a.parquet")
    found = read(path)
    assert [(r.text, r.speaker, r.frames) for r in found.kept] == [(f"This is {n}.", "anna", 30) for n in range(3)]
    assert all(np.array_equal(r.audio.codes(), codes(seed=n)) for n, r in enumerate(found.kept))
    assert "3 rows are codes already, and are learnt as they are." in found.report().notes
    assert found.source.columns == {"audio": "codes_list", "text": "text", "source": "source"}


@pytest.mark.parametrize(
    "how, place, value, reason",
    [
        ("plain", 9, 4096, "frame 1, position 2 holds 4096; 0 to 4095 are valid there (plain)"),
        ("plain", 0, -1, "frame 0, position 0 holds -1; 0 to 4095 are valid there (plain)"),
        ("with offsets", 8, 4095, "frame 1, position 1 holds 4095; 4096 to 8191 are valid there (with offsets)"),
        ("token ids", 13, 128_266, "frame 1, position 6 holds 128266; 152842 to 156937 are valid there (token ids)"),
        ("token ids", 3, 128_258, "frame 0, position 3 holds 128258; 140554 to 144649 are valid there (token ids)"),
    ],
)
def test_a_code_out_of_its_positions_range_is_named(tmp_path, how, place, value, reason):
    rows = [{"codes_list": WRITTEN[how](codes(seed=n)), "text": f"This is {n}."} for n in range(4)]
    rows[2]["codes_list"][place] = value
    assert read(rows_of(tmp_path, rows)).rejected == [("rows.jsonl:3", f"codes out of range: {reason}")]


@pytest.mark.parametrize(
    "cell, reason",
    [
        ([], "empty: no codes"),
        ([1] * 13, "codes: 13 are no whole frames of 7"),
        (None, "codes: the row has none"),
        ("seven", "codes: not a list of whole numbers"),
        (["a"] * 7, "codes: not a list of whole numbers"),
        ([[1], [1, 2], [1, 2, 3]], "codes: three levels of 1, 2, 3 codes; SNAC's have 1, 2 and 4 a frame"),
        ([1e400] * 7, "codes: not a list of whole numbers"),
        ("[" * 100_000, "codes: '[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[' is no list of numbers"),
        (5, "codes: the row has none"),
    ],
)
def test_what_is_no_list_of_codes(tmp_path, cell, reason):
    rows = [{"codes_list": WRITTEN["plain"](codes(seed=n)), "text": "Fine."} for n in range(2)]
    path = rows_of(tmp_path, [*rows, {"codes_list": cell, "text": "Odd."}])
    assert [why for _, why in read(path).rejected] == [reason]


def test_the_form_is_that_of_most_rows():
    rows = [np.array(WRITTEN["token ids"](codes(seed=n))) for n in range(3)]
    assert form_of([rows[0] - 1, *rows]).name == "token ids"
    assert np.array_equal(checked(rows[1], form_of(rows)), codes(seed=1))
    assert numbers("[[1, 2]]").tolist() == [1, 2]


# --- whole examples ---------------------------------------------------------------------------------------------------


def test_where_the_parts_of_an_example_are():
    layout = TokenLayout()
    ids = [
        128259,
        128000,
        40,
        41,
        128009,
        128260,
        128261,
        128257,
        *WRITTEN["token ids"](codes(2)),
        128258,
        128262,
        128263,
        128263,
    ]
    text, audio = split_example(np.array(ids), layout)
    assert text == [40, 41] and audio.tolist() == WRITTEN["token ids"](codes(2))
    with pytest.raises(InputError, match="no end-of-speech token, 128258: the example was cut short"):
        split_example(np.array(ids[:-4]), layout)
    with pytest.raises(InputError, match="no start-of-speech token, 128257; they were made for another model"):
        split_example(np.array(ids[:7]), layout)


@pytest.fixture
def examples(tmp_path, small_voice):
    """A data set of input_ids as the Orpheus recipe makes them, of two speakers."""
    rows = []
    size = small_voice.codec.codebook_size
    for n in range(4):
        ids, labels = small_voice.prompts.training_example(f"This is {n}.", codes(seed=n, size=size), "ab"[n % 2])
        rows.append({"input_ids": ids.tolist(), "labels": labels.tolist(), "attention_mask": [1] * len(ids)})
    return rows_of(tmp_path, rows)


def test_whole_examples_are_read_with_the_models_tokenizer(examples, small_voice, small_voice_folder):
    found = read(examples, small_voice_folder)
    assert [(r.text, r.speaker) for r in found.kept] == [(f"This is {n}.", "ab"[n % 2]) for n in range(4)]
    size = small_voice.codec.codebook_size
    assert all(np.array_equal(r.audio.codes(), codes(seed=n, size=size)) for n, r in enumerate(found.kept))
    assert "Every transcript begins with a name (a, b)" in " ".join(found.report().notes)


def test_without_a_tokenizer_it_is_said_what_to_do(examples, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        InputError, match="the tokenizer that reads them is not to be had: .*--model, or give codes and texts"
    ):
        read(examples, tmp_path / "empty")
    with pytest.raises(InputError, match="made for another model|no model is there whose tokenizer reads them"):
        read(examples)


def test_they_become_the_same_examples_again_and_nothing_is_encoded(
    examples, small_voice, small_voice_folder, monkeypatch, tmp_path
):
    monkeypatch.setattr(Codec, "encode", lambda *_: pytest.fail("encoded"))
    options = DataOptions(dataset=str(examples), code_cache=tmp_path / "cache", held_out=0, keep_repeated_frames=True)
    recordings = read_recordings(options, progress=False, model=small_voice_folder)
    prepared = make_examples(recordings, small_voice.codec, small_voice.prompts, options, progress=False)
    rows = [json.loads(line)["input_ids"] for line in examples.read_text().splitlines()]
    assert [example.input_ids.tolist() for example in prepared.train] == rows
    assert prepared.voices == ("a", "b")


def test_codes_of_a_larger_codec_are_refused_by_a_smaller_one(tmp_path, small_voice):
    size = small_voice.codec.codebook_size
    rows = [{"codes": WRITTEN["plain"](codes(seed=n, size=size)), "text": f"This is {n}."} for n in range(9)]
    rows[4]["codes"] = WRITTEN["plain"](np.full((30, 7), size) + np.arange(30)[:, None] % 2)
    options = DataOptions(dataset=str(rows_of(tmp_path, rows)), code_cache=tmp_path / "cache")
    recordings = read_recordings(options, progress=False)
    prepared = make_examples(recordings, small_voice.codec, small_voice.prompts, options, progress=False)
    assert prepared.report.rejected == [
        (
            "rows.jsonl:5",
            f"codes out of range: up to {size + 1}, and the codec has {size}: they were made with another one",
        )
    ]


def test_the_models_own_codec_says_how_many_codes_there_are(tmp_path, small_voice_folder):
    size = ModelTokens(small_voice_folder).codebook_size
    rows = [{"codes": WRITTEN["plain"](codes(seed=n, size=size)), "text": f"This is {n}."} for n in range(3)]
    rows[1]["codes"][5] = size
    assert read(rows_of(tmp_path, rows), small_voice_folder).rejected == [
        ("rows.jsonl:2", f"codes out of range: up to {size}, and the codec has {size}: they were made with another one")
    ]
    assert ModelTokens("nobody/nothing").codebook_size == 4096


def test_recordings_come_before_codes(tmp_path):
    rows = [{"path": f"{n}.wav", "codes_list": [1] * 7, "text": "Fine."} for n in range(2)]
    path = rows_of(tmp_path, rows)
    assert open_source(DataOptions(dataset=str(path))).columns["audio"] == "codes_list"  # none of them is there
    (path.parent / "0.wav").write_bytes(b"x")
    assert open_source(DataOptions(dataset=str(path))).columns["audio"] == "path"


def test_flags_that_do_nothing_to_codes_are_said(tmp_path):
    path = rows_of(tmp_path, [{"codes_list": WRITTEN["plain"](codes()), "text": "This is it."}])
    notes = read(path, trim_silence=True, level_loudness=True).report().notes
    assert (
        "1 rows are codes already, and are learnt as they are; --trim-silence does nothing to them; --level-loudness does"
        in notes[-1]
    )


def test_rows_are_looked_at_one_at_a_time(tmp_path, monkeypatch):
    """A data set of codes is not held in memory twice."""
    path = rows_of(
        tmp_path, [{"codes_list": WRITTEN["plain"](codes(seed=n)), "text": f"This is {n}."} for n in range(3)]
    )
    source = open_source(DataOptions(dataset=str(path)))
    monkeypatch.setattr(coding, "numbers", lambda cell: pytest.fail("read before it is asked for"))
    assert len(source.entries) == 3
