"""Retries: which attempt at a piece is suspect, and which of several attempts is kept."""

import math
import time
from dataclasses import dataclass

import numpy as np

from orpheus.common.frame import FRAMES_PER_SECOND
from orpheus.text.comparison import distance, normalise
from orpheus.text.languages import ENGLISH
from orpheus.text.pace import estimate_seconds
from orpheus.text.recognition import EXACTLY, Recognizer

# Speech is implausible outside shortest..longest times the estimate, give or take the silence around it: slow and fast
# voices differ from the estimate by less than a factor of two, a dropped or repeated half by more.
_SHORTEST, _LONGEST = 0.5, 1.6  # times the estimated seconds
_FREE_SECONDS = 0.6  # on top of the longest: the silence before and after one word

_LOOP_FRAMES = 24  # 2 s; a pause or a held sound repeats its coarse code for less time
_LOOP_SHARE = 0.9  # the share of a loop's coarse codes that equal those one period earlier
_LONGEST_PERIOD = 36  # frames, 3 s
_SEED_STEP = 0x9E3779B97F4A7C15  # 2^64 / golden ratio: far from the other pieces' seeds, which are neighbours


def attempt_seed(seed, attempt):
    """The seed of attempt number `attempt` at an utterance with `seed`; attempt 0 has `seed` itself."""
    return (seed + attempt * _SEED_STEP) % 2**63


def loops(coarse):
    """Whether a stretch of coarse codes repeats itself, at any period up to 3 s, for 2 s after it was first heard.

    coarse: int (frames,), the first code of each frame
    """
    coarse = np.asarray(coarse)
    for period in range(1, min(_LONGEST_PERIOD, len(coarse) - 1) + 1):
        repeats = np.cumsum(np.concatenate(([0], coarse[period:] == coarse[:-period])))
        window = max(_LOOP_FRAMES, 2 * period)  # said at least three times
        if len(repeats) > window and (repeats[window:] - repeats[:-window]).max() >= _LOOP_SHARE * window:
            return True
    return False


def why_again(text, codes, finish_reason):
    """Why an attempt should be retried, or None if nothing is suspect.

    text: what was to be said; codes: int (frames, 7) in frame order; finish_reason: why generation ended
    returns: "max_new_tokens", "out_of_range", "loop", "too_short" or "too_long", the first that holds
    """
    if finish_reason != "end_of_speech":
        return finish_reason
    if loops(codes[:, 0]):
        return "loop"
    seconds, expected = len(codes) / FRAMES_PER_SECOND, estimate_seconds(text)
    if seconds < _SHORTEST * expected or not len(codes):
        return "too_short"
    return "too_long" if seconds > _LONGEST * expected + _FREE_SECONDS else None


# --- what is kept ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Attempt:
    """One try at a piece."""

    seed: int
    assembler: object  # its FrameAssembler
    reason: str | None  # of `why_again`, or "misheard"; None if nothing is suspect
    word_error_rate: float = 0.0  # if speech recognition chooses
    audio: np.ndarray | None = None  # if it was decoded for that: float32 (samples,)


def rank(text, attempt):
    """Sort key, best attempt first: heard correctly, not suspect, ended by itself, no loop, closest to the estimate."""
    made = attempt.assembler
    distance = abs(math.log(max(made.frames, 0.5) / FRAMES_PER_SECOND / max(estimate_seconds(text), 0.1)))
    suspect = attempt.reason not in (None, "misheard")
    ended_badly = made.finish_reason != "end_of_speech"
    return (attempt.word_error_rate, suspect, ended_badly, attempt.reason == "loop", distance)


class Retries:
    """Judges attempts and keeps the best of each utterance.

    options: RetryOptions; decode: utterance -> float32 (samples,), called only if speech recognition chooses; language: what it
    listens for
    Raises InputError if the speech recognition that was asked for is missing, or does not know the language.
    """

    def __init__(self, options, decode, language=ENGLISH):
        self.most, self._decode, self._language = options.retries, decode, language
        self._recognizer = _recognizer(options.choose_by_asr, language) if options.choose_by_asr else None

    def judge(self, utterance):
        """Judges the utterance as it is now and adds that to its attempts."""
        made = utterance.assembler
        reason = why_again(utterance.text, made.window(0, made.frames), made.finish_reason)
        heard, audio = 0.0, None
        if self._recognizer:
            began = time.perf_counter()
            audio = self._decode(utterance) if made.frames else None
            words = "" if audio is None else self._recognizer.listen(audio).text
            heard = word_error_rate(utterance.text, words, self._language)
            reason = reason or ("misheard" if heard else None)
            utterance.seconds_taken += time.perf_counter() - began
        utterance.attempts.append(Attempt(utterance.seed, made, reason, heard, audio))

    def speak_again(self, utterances, generate):
        """Retries suspect utterances side by side until none is left or `most` is reached; each keeps its best attempt.

        utterances: with text, seed, assembler, attempts and seconds_taken; generate: (utterances) -> None fills their assemblers
        """
        if not self.most:
            return
        for utterance in utterances:
            self.judge(utterance)
        for attempt in range(1, self.most + 1):
            suspect = [utterance for utterance in utterances if utterance.attempts[-1].reason]
            if not suspect:
                break
            for utterance in suspect:
                utterance.seed = attempt_seed(utterance.attempts[0].seed, attempt)
                utterance.assembler = utterance.assembler.fresh()
            generate(suspect)
            for utterance in suspect:
                self.judge(utterance)
        for utterance in utterances:
            best = min(utterance.attempts, key=lambda attempt: rank(utterance.text, attempt))
            utterance.seed, utterance.assembler, utterance.audio = best.seed, best.assembler, best.audio


def _recognizer(model, language):
    cure = "Give a size like tiny.en, or small for other languages than English, or a folder with the model"
    return Recognizer(model, "--choose-by-asr", cure, language=language, **EXACTLY)


def word_error_rate(text, heard, language=ENGLISH):
    """Word errors per word of `text`, without tags, after Whisper's own text normaliser."""
    said = normalise(text, language)
    return distance(said, normalise(heard, language)) / len(said) if said else 0.0
