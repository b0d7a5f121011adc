"""A voice from clips: exact ids, whole, streamed and in a pool, and what is refused."""

import warnings

import numpy as np
import pytest
import soundfile

from orpheus.common.errors import InputError, OrpheusWarning
from orpheus.server.pool import StreamPool
from orpheus.speech.request import plan_stream
from orpheus.speech.synthesis import OrpheusInference

MEANT = "ignore:.*not among the models that are meant to take a voice from clips:orpheus.common.errors.OrpheusWarning"
pytestmark = pytest.mark.filterwarnings(MEANT)


def clip(path, seconds, rate=24_000, pitch=220):
    time = np.arange(round(seconds * rate)) / rate
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * pitch * time), rate)
    return path


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    return clip(folder / "a.wav", 1.5), clip(folder / "b.flac", 1.1, rate=16_000, pitch=330)


def prompts(tts, text, voice=None, **options):
    return [u.prompt for u in plan_stream(tts.model, text, voice, options)[0].utterances]


def test_a_clip_is_an_example_before_the_prompt(small_voice, clips):
    codes = small_voice.codec.encode([soundfile.read(clips[0], dtype="float32")[0]])[0]
    layout, plain = small_voice.prompts.layout, small_voice.prompts.text_ids
    t = layout
    found = prompts(small_voice, "Go on.", reference=clips[0], reference_text="It is late.")
    assert found == [
        [
            *(t.start_of_human, t.begin_of_text, *plain("It is late."), t.end_of_turn, t.end_of_human, t.start_of_ai),
            *(t.start_of_speech, *layout.to_tokens(codes).tolist(), t.end_of_speech, t.end_of_ai),
            *(t.start_of_human, t.begin_of_text, *plain("Go on."), t.end_of_turn, t.end_of_human, t.start_of_ai),
            t.start_of_speech,
        ]
    ]
    assert len(codes) == 18  # 1.5 s of frames of 2,048 samples: nothing is dropped


def test_several_clips_stand_before_every_piece(small_voice, clips):
    options = {"reference": [str(c) for c in clips], "reference_text": ["One <Laugh>.", "Two [laughs]."]}
    with pytest.warns(OrpheusWarning, match="tags are read"):
        first, second = prompts(
            small_voice, "A sentence stands here. Another stands there.", piece_seconds=1.8, **options
        )
    alone = small_voice.prompts.prompt("A sentence stands here.")
    start = first[: len(first) - len(alone)]
    assert first[len(start) :] == alone and second[: len(start)] == start
    text = small_voice.prompts.text_ids("Two <laugh>.")
    assert any(start[n : n + len(text)] == text for n in range(len(start)))


def test_a_voice_that_is_asked_for_stands_before_both_texts(small_voice, clips):
    (found,) = prompts(small_voice, "Go on.", "bob", reference=clips[0], reference_text="It is late.")
    named, plain = small_voice.prompts.prompt("Go on.", "bob"), small_voice.prompts.prompt("It is late.", "bob")
    assert found[: len(plain)] == plain and found[-len(named) :] == named


def test_speech_streams_and_pools_alike(small_voice_folder, clips):
    tts = OrpheusInference(str(small_voice_folder), lora="none")
    options = {"reference": clips[0], "reference_text": "It is late.", "seed": 4}
    whole = tts.synthesize("One more.", **options).audio
    assert not np.array_equal(whole, tts.synthesize("One more.", "none", seed=4).audio)
    assert np.abs(np.concatenate(list(tts.stream("One more.", **options))) - whole).max() < 1e-4
    with StreamPool(tts, slots=1) as pool:
        assert np.abs(np.concatenate(list(pool.submit("One more.", **options))) - whole).max() < 1e-4
        with pytest.raises(InputError, match="exceed the pool's length 1536: .*give shorter reference clips"):
            pool.submit("One more.", **options | {"max_new_tokens": 1400})
    assert len(tts.model.clips) == 1  # encoded once for all three


def test_it_is_said_for_which_models_it_is_meant(small_voice, small_voice_folder, clips):
    with pytest.warns(OrpheusWarning, match="not among the models that are meant to take a voice from clips"):
        prompts(small_voice, "Hi.", reference=clips[0], reference_text="Hm.")
    pretrained = OrpheusInference(str(small_voice_folder), lora="none", like="orpheus-3b-pretrained")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prompts(pretrained, "Hi.", reference=clips[0], reference_text="Hm.")


@pytest.mark.parametrize(
    "options, message",
    [
        ({"reference": "{a}"}, "go in pairs, but there are 1 and 0"),
        ({"reference_text": "Hm."}, "go in pairs, but there are 0 and 1"),
        ({"reference": ["{a}", "{b}"], "reference_text": ["Hm."]}, "go in pairs, but there are 2 and 1"),
        ({"reference": "{a}", "reference_text": " "}, "reference_text of .*a.wav is empty: say what is said in it"),
        ({"reference": "{a}", "reference_text": "...!"}, "has nothing that can be said"),
        ({"reference": "none.wav", "reference_text": "Hm."}, "none.wav is not there"),
        ({"reference": "{folder}", "reference_text": "Hm."}, "is a folder: name a recording"),
        ({"reference": "{noise}", "reference_text": "Hm."}, "noise.wav cannot be read as audio"),
        ({"reference": "{short}", "reference_text": "Hm."}, "short.wav has 0.5 s; 1 to 30 s are taken"),
        ({"reference": "{long}", "reference_text": "Hm."}, "long.wav has 31.0 s; 1 to 30 s .* 8,192 tokens"),
        ({"reference": "{silent}", "reference_text": "Hm."}, "silent.wav is silent or broken"),
        ({"reference": 5, "reference_text": "Hm."}, "reference must be a list of a path, not 5"),
        (
            {"reference": "{a}", "reference_text": "Hm.", "max_new_tokens": 9000},
            "more than the 8,192 .*fewer or shorter clips",
        ),
    ],
)
def test_what_is_refused(small_voice, clips, tmp_path, options, message):
    (tmp_path / "noise.wav").write_bytes(b"RIFF of no kind")
    places = {"a": clips[0], "b": clips[1], "folder": tmp_path, "noise": tmp_path / "noise.wav"}
    places |= {"short": clip(tmp_path / "short.wav", 0.5), "long": clip(tmp_path / "long.wav", 31, rate=8000)}
    soundfile.write(tmp_path / "silent.wav", np.zeros(48_000), 24_000)
    places["silent"] = tmp_path / "silent.wav"

    def filled(value):
        return (
            [filled(one) for one in value]
            if isinstance(value, list)
            else value.format(**places)
            if isinstance(value, str)
            else value
        )

    with pytest.raises(InputError, match=message):
        prompts(small_voice, "Hi.", **{name: filled(value) for name, value in options.items()})


def test_the_command_line_takes_pairs(run, clips):
    pair = ("--reference", clips[0], "--reference-text", "It is late.")
    more = ("--reference", clips[1], "--reference-text", "So it is.")
    assert run(*pair, *more, "Hello.", "--max-new-tokens", 70, "--out", "two.wav")[0] == 0
    status, _, err = run("Hello.", "--reference", "none.wav", "--reference-text", "Hm.", "--model", "./nowhere")
    assert status == 2 and "none.wav is not there" in err  # before the model is looked for
    status, _, err = run("Hello.", "--reference", clips[0])
    assert status == 2 and "go in pairs" in " ".join(err.replace("│", " ").split())
