"""OrpheusInference on a small voice with random weights, and on engines that follow a script."""

import sys
import time

import numpy as np
import pytest
import soundfile
import torch

from orpheus.common.errors import InputError, OrpheusError, OrpheusWarning
from orpheus.engines import ENDED
from orpheus.speech.synthesis import OrpheusInference, Speech
from tests.fakes.checkpoints import save_voice

LONG_TEXT = (
    "The first sentence stands here. The second one follows it closely. A third is on its way.\n\nA new paragraph. " * 3
)


class ScriptedEngine:
    """Emits given tokens whatever the prompts: one list per row, the last for all further rows."""

    def __init__(self, layout, *scripts):
        self.layout, self.scripts, self.prompts, self.steps = layout, scripts, [], 0

    def generate(self, prompts, sampling, seeds):
        self.prompts += prompts
        rows = [self.scripts[min(index, len(self.scripts) - 1)] for index in range(len(prompts))]
        for step in range(min(max(map(len, rows)), sampling.max_new_tokens)):
            self.steps += 1
            yield np.array([row[step] if step < len(row) else ENDED for row in rows])


@pytest.fixture
def scripted(small_voice, monkeypatch):
    """small_voice with an engine that emits the tokens given to it."""

    def use(*scripts):
        engine = ScriptedEngine(small_voice.engine.layout, *scripts)
        monkeypatch.setattr(small_voice, "engine", engine)
        return small_voice

    return use


@pytest.fixture
def layout(small_voice):
    return small_voice.engine.layout


def frames(layout, count):
    return layout.to_tokens(np.arange(7 * count).reshape(count, 7) % layout.codebook_size).tolist()


# --- speech and why it ended ---


def test_a_speech_knows_itself(small_voice):
    speech = small_voice.synthesize("Hello there.", "bob", seed=1)
    assert speech.audio.dtype == np.float32 and speech.audio.ndim == 1
    assert len(speech.audio) % 2048 == 0 and np.abs(speech.audio).max() <= 1
    assert (speech.sample_rate, speech.text, speech.voice, speech.seed) == (24_000, "Hello there.", "bob", 1)
    assert speech.seconds == len(speech.audio) / 24_000
    assert speech.finish_reason == "end_of_speech"
    assert speech.real_time_factor == speech.seconds_taken / speech.seconds > 0


def test_it_saves_and_plays_itself(small_voice, tmp_path):
    speech = small_voice.synthesize("Hello there.", seed=1)
    path = speech.save(tmp_path / "deep" / "hello.wav")
    samples, rate = soundfile.read(path, dtype="float32")
    assert rate == 24_000 and np.abs(samples - speech.audio).max() < 1 / 16_000
    assert speech._repr_html_().startswith('<audio controls src="data:audio/wav;base64,UklGR')


@pytest.mark.parametrize("position", [7, 9, 13, 14, 20])
def test_speech_ends_before_the_first_token_out_of_range_and_keeps_what_was_decoded(scripted, layout, position):
    tokens = frames(layout, 4)
    tokens[position] = layout.range_start(position) + layout.codebook_size  # clamping it would sound: it must not
    speech = scripted(tokens).synthesize("Hello.", seed=4)
    kept = layout.to_codes(frames(layout, 4))[: position // 7]
    assert speech.finish_reason == "out_of_range"
    assert np.array_equal(speech.audio, scripted(tokens).codec.decode(kept, seed=4))


@pytest.mark.parametrize(
    "tokens, came",
    [
        (lambda t: [t.end_of_speech], r"end-of-speech\) at position 0"),
        (lambda t: [t.range_start(0), 65], r"65 \(text\) at position 1"),
        (lambda t: [t.end_of_ai], "end-of-AI"),
    ],
)
def test_no_valid_frame_is_a_short_silence_and_a_warning(scripted, layout, tokens, came):
    with pytest.warns(OrpheusWarning, match=f"no valid audio for 'Hello.'.*{came}.*--seed"):
        speech = scripted(tokens(layout)).synthesize("Hello.")
    assert np.array_equal(speech.audio, np.zeros(1000, np.float32))


def test_the_cap_warns_with_the_seconds_and_the_cure(scripted, layout):
    with pytest.warns(OrpheusWarning, match="cut off after 0.2 s by max_new_tokens = 20.*--max-new-tokens"):
        speech = scripted(frames(layout, 9)).synthesize("Hello.", max_new_tokens=20)
    assert speech.finish_reason == "max_new_tokens" and len(speech.audio) == 2 * 2048


# --- batches and files ---


def test_generate_writes_one_file_per_prompt(small_voice, tmp_path):
    paths = small_voice.generate(["One.", "Two <laugh> here."], output_dir=tmp_path / "out")
    assert [p.removeprefix(str(tmp_path)) for p in paths] == ["/out/output_0.wav", "/out/output_1.wav"]
    assert soundfile.info(paths[1]).samplerate == 24_000
    assert small_voice.generate("One.", output_dir=tmp_path / "one")[0].endswith("output_0.wav")
    assert small_voice.generate([]) == []


def test_a_batch_gives_each_text_what_it_gets_alone(small_voice):
    texts = ["Short.", "A good deal longer than the first, is it not?", LONG_TEXT, "Short."]
    together = list(small_voice.synthesize_all(texts, seed=3, batch_size=3))
    for text, speech in zip(texts, together, strict=True):
        alone = small_voice.synthesize(text, seed=3)
        assert speech.text == text and speech.finish_reasons == alone.finish_reasons
        assert np.array_equal(speech.audio, alone.audio)


def test_all_texts_are_checked_before_the_first_is_spoken(scripted, layout):
    speaker = scripted(frames(layout, 1))
    with pytest.raises(InputError, match="nothing to speak"):
        speaker.synthesize_all(["Fine.", "..."])
    assert speaker.engine.prompts == []


def test_same_seed_same_audio(small_voice):
    first, again, other = (small_voice.synthesize("Hello there.", seed=seed).audio for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first[:2048], other[:2048])


# --- long text ---


def test_long_text_is_spoken_in_pieces_with_pauses(scripted, layout):
    speaker = scripted([*frames(layout, 2), layout.end_of_speech])
    speech = speaker.synthesize(LONG_TEXT, sentence_pause=0.25, paragraph_pause=1.0)
    pieces = len(speech.finish_reasons)
    assert pieces > 3
    inner = len(speech.audio) - pieces * 2 * 2048
    paragraphs = LONG_TEXT.strip().count("\n\n")
    assert inner == paragraphs * 24_000 + (pieces - 1 - paragraphs) * 6_000
    spoken = [bytes(prompt[2:-4]).decode() for prompt in map(letters, speaker.engine.prompts)]
    assert " ".join(piece.removeprefix("ann: ") for piece in spoken) == " ".join(LONG_TEXT.split())


def letters(prompt):
    """Byte-level ids of the test tokenizer to ASCII: it numbers its byte symbols in order, from "!" = 0 on."""
    return [*prompt[:2], *(32 if token > 93 else token + 33 for token in prompt[2:-4]), *prompt[-4:]]


def test_a_model_may_ask_for_shorter_pieces_and_the_user_decides(tmp_path):
    speaker = OrpheusInference(str(save_voice(tmp_path / "short", piece_seconds=3.0)), lora="none")
    text = "The first sentence stands here. The second one follows it closely. A third is on its way."
    assert [len(list(speaker.synthesize(text, **o).finish_reasons)) for o in ({}, {"piece_seconds": 10.0})] == [3, 1]


def test_pieces_have_seeds_of_their_own(small_voice):
    speech = small_voice.synthesize("Say it again, please do.\n\nSay it again, please do.", paragraph_pause=0)
    half = small_voice.synthesize("Say it again, please do.").audio
    assert np.array_equal(speech.audio[: len(half)], half)
    assert not np.array_equal(speech.audio[len(half) :][: len(half)], half)


def test_a_piece_in_trouble_shows_in_the_reason(scripted, layout):
    speaker = scripted([*frames(layout, 2), layout.end_of_speech], [*frames(layout, 1), 65])
    speech = speaker.synthesize("One.\n\nTwo.")
    assert speech.finish_reasons == ("end_of_speech", "out_of_range")
    assert speech.finish_reason == "out_of_range"


# --- streaming ---


@pytest.mark.parametrize("text", ["Hello there, you.", LONG_TEXT])
@pytest.mark.parametrize("max_chunk_frames", [1, 5])
def test_streamed_equals_whole(small_voice, text, max_chunk_frames):
    whole = small_voice.synthesize(text, seed=2)
    stream = small_voice.stream(text, seed=2, max_chunk_frames=max_chunk_frames)
    assert stream.finish_reason is None
    chunks = list(stream)
    assert max(len(chunk) for chunk in chunks if not len(chunk) % 2048) <= 2048 * max_chunk_frames
    assert len(chunks) > 1 and all(chunk.dtype == np.float32 for chunk in chunks)
    assert np.abs(np.concatenate(chunks) - whole.audio).max() < 1e-5
    assert stream.finish_reason == whole.finish_reason


@pytest.mark.parametrize("lookahead, tokens", [(3, 21), (2, 21), (0, 7)])
def test_the_first_chunk_waits_for_its_lookahead_alone(scripted, layout, lookahead, tokens):
    speaker = scripted([*frames(layout, 9), layout.end_of_speech])
    next(speaker.stream("Hello.", lookahead=lookahead))
    assert speaker.engine.steps == tokens


def test_a_batch_shares_out_its_time(small_voice):
    began = time.perf_counter()
    speeches = list(small_voice.synthesize_all(["One.", "Two.", "Three."]))
    assert sum(speech.seconds_taken for speech in speeches) <= time.perf_counter() - began


def test_a_stream_checks_its_input_at_once(small_voice):
    """Public servers raise inside the generator, after the headers went out."""
    for text, options in (("", {}), ("Hi.", {"temperature": -1}), ("Hi.", {"speed": 2}), ("Hi.", {"voice": "carol"})):
        with pytest.raises(InputError):
            small_voice.stream(text, **options)


def test_a_closed_stream_stops_generating(small_voice):
    stream = small_voice.stream(LONG_TEXT)
    next(stream)
    stream.close()
    assert list(stream) == []


def test_an_empty_stream_is_silence_too(scripted, layout):
    with pytest.warns(OrpheusWarning, match="no valid audio"):
        chunks = list(scripted([layout.end_of_speech]).stream("Hello."))
    assert [len(chunk) for chunk in chunks] == [1000]


# --- voices, tags, options ---


def test_voices(small_voice):
    assert small_voice.voices == ("ann", "bob") and small_voice.default_voice == "ann"
    assert small_voice.synthesize("Hi.").voice == "ann"
    with pytest.raises(InputError, match="unknown voice 'carol'; .* knows ann, bob"):
        small_voice.synthesize("Hi.", "carol")


def test_the_voice_matters(small_voice):
    assert not np.array_equal(small_voice.synthesize("Hi.", "ann").audio, small_voice.synthesize("Hi.", "bob").audio)


def test_out_of_memory_says_what_to_lower(small_voice, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(small_voice.engine, "_open", full)
    monkeypatch.setattr(small_voice.engine, "_idle", None)
    with pytest.raises(OrpheusError, match="out of GPU memory with 2 pieces side by side: lower --batch-size"):
        list(small_voice.synthesize_all(["One.", "Two."]))
    with pytest.raises(OrpheusError, match="out of GPU memory with 1 pieces"):
        list(small_voice.stream("One."))


def test_numbers_of_numpy_are_numbers(small_voice):
    plain = small_voice.synthesize("Hi.", seed=3, temperature=0.5)
    assert np.array_equal(
        small_voice.synthesize("Hi.", seed=np.int64(3), temperature=np.float64(0.5)).audio, plain.audio
    )
    with pytest.raises(InputError, match="seed must be a whole number, not True"):
        small_voice.synthesize("Hi.", seed=True)


def test_an_unknown_tag_warns_and_lists_the_known_ones(small_voice):
    with pytest.warns(OrpheusWarning, match="unknown tag <laguh> .*did you mean <laugh>.*<groan>"):
        small_voice.synthesize("Ha <laguh> ha.")


def test_an_unknown_option_is_refused_and_not_ignored(small_voice):
    with pytest.raises(InputError, match="unknown option 'speed'; did you mean seed?"):
        small_voice.synthesize("Hi.", speed=1.5)


@pytest.mark.parametrize("terminal, shown", [(False, "speaking: 0 %, 0 of 15 pieces"), (True, "piece")])
def test_progress_goes_to_stderr(small_voice, capsys, monkeypatch, terminal, shown):
    monkeypatch.setattr("orpheus.common.progress._LINE_SECONDS", 0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    small_voice.synthesize(LONG_TEXT, progress=True, piece_seconds=2)
    captured = capsys.readouterr()
    assert captured.out == "" and shown in captured.err


def test_import_from_the_script():
    from inference import OrpheusInference as exported

    assert exported is OrpheusInference and Speech.__module__ == "orpheus.speech.synthesis"
