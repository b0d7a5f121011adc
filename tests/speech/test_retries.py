"""Speaking again: what is suspect, which attempt is kept, and what the user is told."""

import sys

import numpy as np
import pytest

from orpheus.common.errors import InputError
from orpheus.engines import ENDED
from orpheus.speech.options import RetryOptions
from orpheus.speech.retries import Attempt, attempt_seed, loops, rank, why_again
from orpheus.speech.streaming import FrameAssembler

TEXT = "This sentence has forty-five characters in it."  # 46, so an estimate of 3.07 s or 36 frames
VARIED = np.random.default_rng(0).integers(0, 32, 400)


class SeededEngine:
    """Emits what `script(seed)` says for each row, and notes the seeds of each batch."""

    def __init__(self, layout, script):
        self.layout, self.script, self.batches = layout, script, []

    def generate(self, prompts, sampling, seeds):
        self.batches.append(list(seeds))
        rows = [self.script(seed) for seed in seeds]
        for step in range(min(max(map(len, rows)), sampling.max_new_tokens)):
            yield np.array([row[step] if step < len(row) else ENDED for row in rows])


@pytest.fixture
def seeded(small_voice, monkeypatch):
    def use(script):
        monkeypatch.setattr(small_voice, "engine", SeededEngine(small_voice.engine.layout, script))
        return small_voice

    return use


def spoken(layout, count, end=None):
    """Tokens of `count` varied frames, and the end."""
    codes = VARIED[: 7 * count].reshape(count, 7)
    return layout.to_tokens(codes).tolist() + [layout.end_of_speech if end is None else end]


# --- what is suspect ---


@pytest.mark.parametrize(
    "coarse, looping",
    [
        (VARIED[:100], False),
        ([], False),
        ([5] * 20, False),  # a pause of 1.7 s
        ([5] * 30, True),
        ([*VARIED[:40], *[1, 2, 3] * 12], True),
        ([*VARIED[:20], *list(VARIED[50:60]) * 2], False),  # said twice
        ([*VARIED[:20], *list(VARIED[50:60]) * 4], True),
    ],
)
def test_loops(coarse, looping):
    assert loops(coarse) is looping


@pytest.mark.parametrize(
    "count, end, reason",
    [
        (36, "end_of_speech", None),
        (36, "out_of_range", "out_of_range"),
        (36, "max_new_tokens", "max_new_tokens"),
        (19, "end_of_speech", None),
        (17, "end_of_speech", "too_short"),
        (0, "end_of_speech", "too_short"),
        (64, "end_of_speech", None),
        (65, "end_of_speech", "too_long"),
    ],
)
def test_why_again(count, end, reason):
    codes = np.resize(VARIED, (count, 7)) if count else np.zeros((0, 7), int)
    codes = np.random.default_rng(1).integers(0, 32, codes.shape)
    assert why_again(TEXT, codes, end) == reason


def test_a_loop_is_named():
    assert why_again(TEXT, np.ones((36, 7), int), "end_of_speech") == "loop"


def test_seeds_of_attempts():
    assert [attempt_seed(7, n) for n in (0, 1)] == [7, (7 + 0x9E3779B97F4A7C15) % 2**63]
    seeds = {attempt_seed(seed, n) for seed in range(100) for n in range(10)}
    assert len(seeds) == 1000 and all(0 <= seed < 2**63 for seed in seeds)


def test_the_order_of_attempts(small_voice):
    layout = small_voice.engine.layout

    def attempt(count, reason=None, end=None, errors=0.0):
        made = FrameAssembler(layout)
        for token in spoken(layout, count, end):
            made.push(token)
        return Attempt(0, made, reason, errors)

    heard_wrong = attempt(36, "misheard", errors=0.5)
    cut = attempt(36, "out_of_range", end=layout.end_of_ai)
    falling = [attempt(36), attempt(30), attempt(10, "too_short"), cut, heard_wrong]
    assert sorted(falling[::-1], key=lambda one: rank(TEXT, one)) == falling


# --- speaking again ---


def test_off_by_default_and_the_same_sound(small_voice):
    plain = small_voice.synthesize(TEXT, seed=3)
    assert (plain.attempts, plain.retried_for) == ((1,), ())
    assert np.array_equal(plain.audio, small_voice.synthesize(TEXT, seed=3, retries=0).audio)


def test_it_speaks_until_nothing_is_suspect(seeded, small_voice):
    layout, good = small_voice.engine.layout, attempt_seed(5, 2)
    speaker = seeded(lambda seed: spoken(layout, 36) if seed == good else spoken(layout, 10))
    speech = speaker.synthesize(TEXT, seed=5, retries=4)
    assert speaker.engine.batches == [[5], [attempt_seed(5, 1)], [good]]
    assert (speech.attempts, speech.retried_for) == ((3,), ("too_short", "too_short"))
    assert (speech.finish_reason, speech.seed) == ("end_of_speech", 5)
    assert np.array_equal(speech.audio, speaker.synthesize(TEXT, seed=good).audio)


def test_the_best_of_bad_attempts_is_kept_without_a_warning_about_the_others(seeded, small_voice):
    layout = small_voice.engine.layout
    lengths = {attempt_seed(0, n): count for n, count in enumerate([3, 14, 8])}
    speech = seeded(lambda seed: spoken(layout, lengths[seed])).synthesize(TEXT, retries=2)
    assert len(speech.audio) == 14 * 2048 and speech.attempts == (3,)
    speech = seeded(lambda seed: spoken(layout, 36, layout.end_of_ai if seed == 0 else None)).synthesize(
        TEXT, retries=2
    )
    assert (speech.finish_reason, speech.retried_for) == ("end_of_speech", ("out_of_range",))


def test_suspect_pieces_of_a_batch_are_spoken_together(seeded, small_voice):
    layout = small_voice.engine.layout
    speaker = seeded(lambda seed: spoken(layout, 5 if seed in (0, 1) else 36))
    speeches = list(speaker.synthesize_all([TEXT, TEXT + " " + TEXT], retries=1, piece_seconds=4))
    assert speaker.engine.batches == [[0, 0, 1], [attempt_seed(0, 1)] * 2 + [attempt_seed(1, 1)]]
    assert [speech.attempts for speech in speeches] == [(2,), (2, 2)]


def test_streams_refuse_it(small_voice):
    with pytest.raises(InputError, match="a stream cannot take back what it has sent: leave out retries = 2"):
        small_voice.stream(TEXT, retries=2)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"retries": -1}, "retries -1 is not a whole number in 0..100"),
        ({"retries": True}, "retries True"),
        ({"choose_by_asr": "tiny.en"}, "give retries as well"),
        ({"choose_by_asr": "", "retries": 1}, "names no model"),
    ],
)
def test_options_that_make_no_sense(wrong, message):
    with pytest.raises(InputError, match=message):
        RetryOptions(**wrong)


# --- speech recognition chooses ---


def test_it_chooses_the_attempt_that_is_heard_best(seeded, small_voice, monkeypatch):
    layout, heard = small_voice.engine.layout, iter(["this is wrong", f"{TEXT}", "never asked"])

    class WhisperModel:
        def __init__(self, name, **_):
            assert name == "tiny.en"

        def transcribe(self, audio, **_):
            return [type("Segment", (), {"text": next(heard)})], None

    module = type(sys)("faster_whisper")
    module.WhisperModel = WhisperModel
    monkeypatch.setitem(sys.modules, "faster_whisper", module)
    speaker = seeded(lambda seed: spoken(layout, 36 if seed == 0 else 30))
    speech = speaker.synthesize(TEXT, retries=3, choose_by_asr="tiny.en")
    assert (speech.attempts, speech.retried_for, len(speech.audio)) == ((2,), ("misheard",), 30 * 2048)


def test_without_faster_whisper_the_message_has_the_cure(small_voice, monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(InputError, match="--choose-by-asr needs faster-whisper: pip install faster-whisper"):
        small_voice.synthesize(TEXT, retries=1, choose_by_asr="tiny.en")


# --- command line ---


def test_the_command_line_counts(run, small_voice):
    status, out, _ = run(TEXT, "--retries", 1, "--out", "a.wav")  # the small voice ends when it likes
    speech = small_voice.synthesize(TEXT, retries=1)
    counted = f", retries: 1 ({speech.retried_for[0]} x1)\n" if speech.retried_for else f"{speech.finish_reason}\n"
    assert status == 0 and out.endswith(counted)
