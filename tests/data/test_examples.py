"""From checked rows to examples: codes, training rows, what is held out."""

import hashlib

import numpy as np
import pytest

from orpheus.codec.snac import Codec
from orpheus.common.audio import read_audio
from orpheus.common.errors import InputError
from orpheus.common.options import ROOT
from orpheus.data.examples import Example, drop_repeated_frames, make_examples, split_held_out
from orpheus.data.options import DataOptions
from orpheus.data.recordings import read_recordings
from orpheus.speech.model import DEMO_VOICE
from tests.fakes.recordings import TEXTS, everything, speech, write, write_csv

# --- examples ---


def test_examples_are_the_rows_that_the_prompt_builder_makes(make, folder, small_voice):
    prepared = make(keep_repeated_frames=True)
    examples = {example.text: example for example in prepared.train + prepared.held_out}
    assert sorted(examples) == sorted(TEXTS) and prepared.voices == ("ann", "bob")
    for n, text in enumerate(TEXTS):
        example = examples[text]
        codes = small_voice.codec.encode([read_audio(folder / f"{n}.wav")])[0]
        input_ids, labels = small_voice.prompts.training_example(text, codes, example.speaker)
        assert example.input_ids.dtype == np.int32 and np.array_equal(example.input_ids, input_ids)
        assert example.prompt_tokens == (labels == -100).sum()
        assert (example.speaker, example.where) == ("ann" if n % 4 else "bob", f"metadata.csv:{n + 2} ({n}.wav)")


def test_no_row_is_cut_and_every_row_ends_its_speech(make, small_voice):
    """Rows cut at a length limit lose their end-of-speech, and the model then never stops."""
    layout = small_voice.prompts.layout
    whole = make(keep_repeated_frames=True)
    limit = 140  # tokens: the rows of 1 and 1.5 s fit, the others do not
    some = make(keep_repeated_frames=True, max_tokens=limit, max_rejected=1)
    assert 0 < len(everything(some)) < len(everything(whole))
    for prepared in (whole, some):
        for example in prepared.train + prepared.held_out:
            assert example.input_ids[-2:].tolist() == [layout.end_of_speech, layout.end_of_ai]
            assert (len(example.input_ids) - example.prompt_tokens - 2) % 7 == 0
            assert everything(whole)[example.key][0] == example.input_ids.tolist()
    rejected = [reason for _, reason in some.report.rejected]
    assert all(reason.startswith("too many tokens: ") and f"max_tokens is {limit}" in reason for reason in rejected)
    assert len(rejected) + len(everything(some)) == 12


def test_too_many_rows_over_max_tokens_stop_with_the_report(make):
    with pytest.raises(InputError, match="4 of 12 recordings .*\n  4 x too many tokens, as in") as caught:
        make(keep_repeated_frames=True, max_tokens=182)
    assert len(caught.value.report.rejected) == 4


@pytest.mark.parametrize(
    "coarse, kept",
    [([], []), ([5], [0]), ([5, 5, 5], [0]), ([1, 1, 2, 2, 1, 3, 3], [0, 2, 4, 5]), ([0, 1, 0, 1], [0, 1, 2, 3])],
)
def test_repeated_frames_are_dropped_as_the_base_models_recipe_does(coarse, kept):
    codes = np.arange(7 * len(coarse)).reshape(-1, 7)
    codes[:, 0] = coarse
    assert np.array_equal(drop_repeated_frames(codes), codes[kept])


def test_the_share_of_dropped_frames_is_reported_and_can_be_kept(tmp_path, small_voice):
    """On a real recording with the demo codec."""
    codec = Codec.from_folder(DEMO_VOICE / "codec")
    audio = np.concatenate([read_audio(ROOT / "docs" / "hello.wav")[:24_000], np.zeros(24_000, np.float32)])
    write(tmp_path / "data" / "a.wav", audio)
    write_csv(tmp_path / "data" / "metadata.csv", ["file_name", "text"], [["a.wav", "Hello."]])
    options = DataOptions(dataset=str(tmp_path / "data"), code_cache=tmp_path / "cache")
    rows = read_recordings(options, progress=False)
    tokens = 0

    class Prompts:
        def training_example(self, text, codes, voice):
            nonlocal tokens
            tokens = codes.size
            return np.zeros(codes.size + 3, np.int64), np.append([-100] * 3, codes.reshape(-1))

    prepared = make_examples(rows, codec, Prompts(), options, progress=False)
    codes = codec.encode([read_audio(tmp_path / "data" / "a.wav")])[0]
    shorter = drop_repeated_frames(codes)
    assert tokens == shorter.size and 5 < len(codes) - len(shorter) < len(codes) - 5
    training = prepared.report.training
    assert (training.frames, training.dropped) == (len(codes), len(codes) - len(shorter))
    assert f"{training.dropped / training.frames:.1%} of the frames dropped as repeats" in prepared.report.markdown()
    kept = DataOptions(dataset=str(tmp_path / "data"), code_cache=tmp_path / "cache", keep_repeated_frames=True)
    codec.encode = None  # the cache holds the codes undropped
    assert make_examples(rows, codec, Prompts(), kept, progress=False).report.training.dropped == 0
    assert tokens == codes.size


def test_trimming_and_levelling_change_what_is_encoded(make, folder, monkeypatch):
    padded = np.concatenate([np.zeros((12_000, 1)), speech(1, seed=3, level=0.3), np.zeros((12_000, 1))])
    write(folder / "1.wav", padded)
    seen, encode = [], Codec.encode
    monkeypatch.setattr(Codec, "encode", lambda codec, clips: seen.extend(clips) or encode(codec, clips))
    plain = make()
    make(trim_silence=True)
    leveled = make(level_loudness=True)
    assert {e.key for e in plain.train} == {e.key for e in leveled.train} and len(
        seen
    ) == 12 + 1 + 12  # trimming left the others as they are
    assert sum(len(clip) == 28_800 for clip in seen) == 1  # a second, and a tenth at either end
    levels = [20 * np.log10(np.sqrt(np.mean(clip**2))) for clip in seen[13:] if len(clip) == 36_000]
    assert levels == pytest.approx([-23] * 3, abs=0.01)


def test_a_file_that_changes_after_the_checks_is_refused(folder, small_voice):
    options = DataOptions(dataset=str(folder), code_cache=folder.parent / "cache")
    rows = read_recordings(options, progress=False)
    write(folder / "3.wav", speech(1, seed=99))
    with pytest.raises(InputError, match=r"metadata.csv:5 \(3.wav\) changed while it was being read: start again"):
        make_examples(rows, small_voice.codec, small_voice.prompts, options, progress=False)


# --- held out ---


def fake(key, n=0):
    return Example(np.zeros(1, np.int32), 1, key.ljust(64, "0"), "", None, str(n))


def fakes(count):
    return [fake(hashlib.sha256(str(n).encode()).hexdigest(), n) for n in range(count)]


def test_held_out_is_decided_by_each_rows_own_hash():
    """Rows that come or go leave the others where they are."""
    examples = fakes(2000)
    train, held_out = split_held_out(examples, 0.02)
    assert 20 < len(held_out) < 60 and len(train) + len(held_out) == 2000
    assert not {id(e) for e in train} & {id(e) for e in held_out}
    fewer = examples[::3]
    assert split_held_out(fewer, 0.02)[1] == [e for e in fewer if e in held_out]
    wider = split_held_out(examples, 0.04)[1]
    assert set(held_out) < set(wider)


@pytest.mark.parametrize("count, share, held", [(9, 0.02, 0), (10, 0.02, 1), (40, 0.0, 0), (1, 0.5, 0)])
def test_where_no_hash_falls_below_the_smallest_is_held_out(count, share, held):
    examples = [fake(f"{0x8000 + n:04x}", n) for n in reversed(range(count))]
    train, held_out = split_held_out(examples, share)
    assert len(held_out) == held and len(train) == count - held
    if held:
        assert held_out[0].key == min(e.key for e in examples)


def test_something_is_always_left_to_train_on():
    examples = [fake("0001"), fake("0002")]
    assert split_held_out(examples, 0.5) == (examples, [])


def test_keys_are_of_the_content_wherever_it_lies(make, folder, tmp_path):
    first = make(held_out=0.2)
    (tmp_path / "moved").mkdir()
    for path in folder.glob("*.wav"):
        (tmp_path / "moved" / path.name).write_bytes(path.read_bytes())
    lines = (folder / "metadata.csv").read_text().splitlines()
    (tmp_path / "moved" / "metadata.csv").write_text("\n".join([lines[0], *reversed(lines[1:])]))
    second = make(held_out=0.2, dataset=tmp_path / "moved")
    assert {e.key for e in first.held_out} == {e.key for e in second.held_out}
    assert everything(first) == everything(second)
    assert set(everything(first)).isdisjoint(everything(make(source_column="none")))  # another text, another key


def test_hello_is_one_row(tmp_path, small_voice):
    """The smallest data set: one recording and its text."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "hello.wav").write_bytes((ROOT / "docs" / "hello.wav").read_bytes())
    (tmp_path / "data" / "hello.txt").write_text("Good morning, how did you sleep last night? I slept very well.")
    options = DataOptions(dataset=str(tmp_path / "data"), code_cache=tmp_path / "cache")
    prepared = make_examples(
        read_recordings(options, progress=False), small_voice.codec, small_voice.prompts, options, progress=False
    )
    assert len(prepared.train) == 1 and prepared.held_out == [] and prepared.voices == ()
