"""Recordings to training examples: read_recordings, encode_missing, make_examples.

recordings = read_recordings(options)                                      checked; no model is needed yet
encode_missing(recordings, codec, prompts, options, rank, world)     codes of this rank's share, into the cache
prepared = make_examples(recordings, codec, prompts, options)        token ids, train and held out, and the report
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from orpheus.common.errors import InputError
from orpheus.common.files import Cache, key_of
from orpheus.common.frame import CODES_PER_FRAME, FRAMES_PER_SECOND, TOKENS_PER_SECOND
from orpheus.common.progress import progress_bar  # noqa: F401 (Recordings and read_recordings are part of this module's face)
from orpheus.data.held_out import split_held_out
from orpheus.data.measure import content_hash, prepare
from orpheus.data.measuring import threads
from orpheus.data.recordings import no_place_to_split, parts_of, stop_if_unfit, within_seconds
from orpheus.data.report import DataReport, Training
from orpheus.data.sources.codes import CodedAudio, too_large
from orpheus.data.sources.entries import stamp
from orpheus.text.prompt import IGNORE

# Audio per step of encoding, in seconds: two steps are in memory at once, a step is what a kill may cost, and how far the bar jumps.
_STEP_SECONDS = {"cpu": 20, "cuda": 640}


@dataclass(frozen=True, eq=False)  # arrays have no single truth of equality
class Example:
    """One example."""

    input_ids: np.ndarray  # int32 (tokens,)
    prompt_tokens: int  # before the first audio token
    key: str  # hex hash of audio, text and speaker: the same on every machine
    text: str
    speaker: str | None
    where: str  # for messages


@dataclass(frozen=True)
class Prepared:
    train: list  # of Example
    held_out: list  # of Example; none of it is in train
    report: DataReport
    voices: tuple  # speakers, most recordings first


def drop_repeated_frames(codes):
    """Codes (frames, 7) without the frames whose coarse code equals that of the frame before, as the base model was trained."""
    keep = np.ones(len(codes), dtype=bool)
    keep[1:] = codes[1:, 0] != codes[:-1, 0]  # of a run of equal coarse codes the first frame stays
    return codes[keep]


# --- what is encoded -------------------------------------------------------------------------------------------------


def planned(recordings, prompts, options):
    """(recordings to encode, [(where, reason)]): long recordings split where that is asked for and needed."""
    if options.long_rows == "drop":
        return recordings.kept, []

    def tokens(text, seconds, speaker):
        frames = int(seconds * FRAMES_PER_SECOND) + 2  # an upper bound: codes are not known yet, nor repeats among them
        return len(prompts.prompt(text, speaker)) + frames * CODES_PER_FRAME + 2

    fitting, rejected = [], []
    for recording in recordings.kept:

        def fits(text, seconds, speaker=recording.speaker):
            return within_seconds(seconds, options) and tokens(text, seconds, speaker) <= options.max_tokens

        if fits(recording.text, recording.seconds):
            fitting.append(recording)
            continue
        parts, lost = parts_of(
            recording, fits, min(options.max_seconds, options.max_tokens / TOKENS_PER_SECOND), options.spoken
        )
        fitting += parts
        limit = f"max_seconds {options.max_seconds:g} or max_tokens {options.max_tokens}"
        if not parts:
            lost = [(recording.where, recording.seconds)]
        rejected += [(where, no_place_to_split(seconds, limit)) for where, seconds in lost]
    return fitting, rejected


def _content(recording, options):
    """The facts that a recording's samples follow from."""
    return recording.content, recording.start, recording.end, options.level_loudness


def _steps(chosen, device):
    """The recordings in steps of encoding, recordings of equal frame count together: the same on every rank and in every run."""
    limit, steps, seconds = _STEP_SECONDS.get(device, 640), [], 0.0
    for recording in sorted(chosen, key=lambda recording: (recording.frames, recording.key)):
        if not steps or seconds + recording.seconds > limit:
            steps.append([])
            seconds = 0.0
        steps[-1].append(recording)
        seconds += recording.seconds
    return steps


# --- encoding --------------------------------------------------------------------------------------------------------


def _samples(recording, options, known):
    """float32 (samples,) of a recording. Raises InputError where its file is no longer the one that was checked.

    known: {stamp: content} of files whose content was compared before: of a long one, every part asks
    """
    with recording.audio.open() as file:
        found = stamp(file)
        content = known.get(found) if found else None
        if content is None:
            content = content_hash(file)
            if found:
                known[found] = content
        if content != recording.content:
            raise InputError(f"{recording.where} changed while it was being read: start again")
        level = recording.measure.level if options.level_loudness else None
        return prepare(file, (recording.start, recording.end), level)


def _codes(recording, cache, options):
    """int64 (frames, 7): the recording's own, where it is codes already, or the cache's; None where it lacks them."""
    if isinstance(recording.audio, CodedAudio):
        return recording.audio.codes().astype(np.int64)
    return cache.get(_content(recording, options))


def _encoded(steps, codec, options, known=lambda recording: None):
    """Encodes step by step; while one is encoded the next is decoded. Yields for each step [(recording, codes)] of those that lack them.

    known: gives the codes of a recording that need not be made
    """
    compared = {}

    def load(step, pool):
        lacking = [recording for recording in step if known(recording) is None]
        return lacking, [pool.submit(_samples, recording, options, compared) for recording in lacking]

    with ThreadPoolExecutor(threads()) as pool:
        following = load(steps[0], pool) if steps else None
        for number in range(len(steps)):
            lacking, futures = following
            following = load(steps[number + 1], pool) if number + 1 < len(steps) else None
            clips = [future.result() for future in futures]
            yield list(zip(lacking, codec.encode(clips) if clips else (), strict=True))


def _encode(steps, codec, options, progress):
    """Encodes what the cache lacks."""
    cache = CodeCache(options.code_cache, codec)
    with progress_bar(progress, sum(map(len, steps)), "encoding", "clip") as bar:
        encoded = _encoded(steps, codec, options, lambda recording: _codes(recording, cache, options))
        for step, made in zip(steps, encoded, strict=True):
            for recording, codes in made:
                cache.put(_content(recording, options), codes)
            bar.update(len(step))


def _check_codec(recording, codec):
    """Refuses codes that say that another codec made them. Raises InputError."""
    made_by = recording.audio.codec if isinstance(recording.audio, CodedAudio) else None
    if made_by not in (None, codec.fingerprint):
        raise InputError(
            f"{recording.where}: its codes were made with another codec ({made_by[:12]}) than the model's ({codec.fingerprint[:12]}): "
            "prepare the recordings with --model of the model that is to learn, or give its codec with --codec"
        )


def encode_recordings(recordings, codec, options):
    """[int64 (frames, 7)] of recordings, in their order, with no cache: for what is kept in another way. Of rows that are codes already,
    those. Raises InputError where a file is no longer the one that was checked, or codes are not of this codec."""
    own = {recording.key: recording.audio.codes().astype(np.int64)
           for recording in recordings if isinstance(recording.audio, CodedAudio)}  # fmt: skip
    for recording in recordings:
        _check_codec(recording, codec)
        if recording.key in own and own[recording.key].max() >= codec.codebook_size:
            raise InputError(f"{recording.where}: {too_large(own[recording.key], codec.codebook_size)}")
    steps = _steps([recording for recording in recordings if recording.key not in own], codec.device.type)
    made = {recording.key: codes for step in _encoded(steps, codec, options) for recording, codes in step}
    return [(own | made)[recording.key] for recording in recordings]


def encode_missing(recordings, codec, prompts, options, rank=0, world=1, progress=True):
    """Writes the codes of this rank's share of the recordings to the cache, where it lacks them. Rank by rank, or side by side."""
    chosen, _ = planned(recordings, prompts, options)
    _encode(_steps(chosen, codec.device.type)[rank::world], codec, options, progress and rank == 0)


# --- examples --------------------------------------------------------------------------------------------------------


def _example(recording, codes, prompts):
    input_ids, labels = prompts.training_example(recording.text, codes, recording.speaker)
    prompt_tokens = int((labels == IGNORE).sum())
    return Example(
        input_ids.astype(np.int32), prompt_tokens, recording.key, recording.text, recording.speaker, recording.where
    )


def make_examples(recordings, codec, prompts, options, rank=0, world=1, progress=True, report_path=None):
    """Builds the examples: codes out of the cache, or encoded now, this rank's share first.

    recordings: from read_recordings; report_path: where data_report.md is written, also where the data is then refused
    returns: Prepared. Raises InputError where too many recordings do not fit max_tokens (`error.report` says more)
    """
    chosen, rejected = planned(recordings, prompts, options)
    steps = _steps(chosen, codec.device.type)
    mine = steps[rank::world]
    others = [step for number, step in enumerate(steps) if number % world != rank]
    _encode(mine + others, codec, options, progress and rank == 0)
    cache = CodeCache(options.code_cache, codec)
    examples, kept, frames, used = [], [], 0, 0
    for recording in chosen:
        _check_codec(recording, codec)
        codes = _codes(recording, cache, options)
        if codes is not None and len(codes) and codes.max() >= codec.codebook_size:
            rejected.append((recording.where, too_large(codes, codec.codebook_size)))
            continue
        if codes is None:
            raise InputError(f"the codes of {recording.where} vanished from {options.code_cache}: start again")
        shorter = codes if options.keep_repeated_frames else drop_repeated_frames(codes)
        example = _example(recording, shorter, prompts)
        if len(example.input_ids) > options.max_tokens:
            rejected.append((recording.where, _too_many_tokens(example, recording, options)))
            continue
        examples.append(example)
        kept.append(recording)
        frames, used = frames + len(codes), used + len(shorter)
    train, held_out = split_held_out(examples, options.held_out)
    report = recordings.report()
    report.kept, report.rejected = kept, recordings.rejected + rejected
    lengths = [len(example.input_ids) for example in examples]
    report.training = Training(
        recordings=len(train),
        held_out=[example.where for example in held_out],
        tokens=sum(lengths),
        longest=max(lengths, default=0),
        frames=frames,
        dropped=frames - used,
        parts=sum(recording.part for recording in kept),
    )
    stop_if_unfit(report, options, report_path)
    return Prepared(train, held_out, report, recordings.voices)


def _too_many_tokens(example, recording, options):
    return (
        f"too many tokens: {len(example.input_ids)} for {recording.seconds:.1f} s, max_tokens is {options.max_tokens}; "
        "--long-rows split cuts at pauses"
    )


class CodeCache:
    """Codes of one codec, as 16-bit numbers."""

    def __init__(self, folder, codec):
        self._cache, self._codec = Cache(folder, "codes"), codec

    def _key(self, content):
        return key_of("codes", 1, self._codec.fingerprint, *content)

    def get(self, content):
        """int64 (frames, 7) in frame order, or None. content: facts that the samples follow from."""
        payload = self._cache.get(self._key(content))
        if not payload or len(payload) % (2 * CODES_PER_FRAME):
            return None
        codes = np.frombuffer(payload, "<u2").reshape(-1, CODES_PER_FRAME).astype(np.int64)
        return codes if codes.max() < self._codec.codebook_size else None

    def put(self, content, codes):
        self._cache.put(self._key(content), np.asarray(codes).astype("<u2").tobytes())
