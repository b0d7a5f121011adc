"""From a source to recordings that are fit to learn from. All on the CPU, before any model is loaded."""

from collections import Counter
from dataclasses import dataclass, field, replace

from orpheus.common.errors import InputError
from orpheus.common.files import key_of
from orpheus.common.frame import FRAME_SAMPLES, SAMPLE_RATE
from orpheus.common.progress import progress_bar
from orpheus.data import checks
from orpheus.data.measure import Measure, span_of
from orpheus.data.measuring import measure_entries
from orpheus.data.model_tokens import ModelTokens
from orpheus.data.naming import without_names
from orpheus.data.report import DataReport
from orpheus.data.sources.codes import CodedAudio
from orpheus.data.sources.folders import Source, open_source
from orpheus.data.splitting import split_recording
from orpheus.text.languages import ENGLISH
from orpheus.text.recognition import Transcriber
from orpheus.text.spoken import as_spoken, spelled_out
from orpheus.text.tags import KNOWN_TAGS, MARKUP, spell_tags

# Of a key: the parts of a split recording differ from it, and from each other, in these digits alone.
_PART_DIGITS = 8


@dataclass(frozen=True)
class Recording:
    """A recording, or a part of one, with its text."""

    where: str
    audio: object  # its `load()` gives the bytes
    text: str  # as the model reads it, on one line
    speaker: str | None
    key: str  # hex hash of audio, text and speaker
    content: str  # hex hash of the audio's bytes
    measure: Measure
    start: int  # of what is used, in samples at 24 kHz
    end: int
    transcribed: bool = False
    part: bool = False
    paragraphs: str | None = None  # the cleaned text, where it has several

    @property
    def samples(self):
        return self.end - self.start

    @property
    def seconds(self):
        return self.samples / SAMPLE_RATE

    @property
    def frames(self):
        return -(-self.samples // FRAME_SAMPLES)


@dataclass
class Recordings:
    """What read_recordings found."""

    kept: list  # of Recording
    rejected: list  # (where, reason)
    read: int  # entries of the source
    source: Source
    dataset: str
    removed: Counter = field(default_factory=Counter)  # characters that are never spoken
    rewritten: list = field(
        default_factory=list
    )  # (where, before, after) of texts whose numbers and the like became words
    tags: tuple = KNOWN_TAGS  # those that count as known
    spelt: Counter = field(default_factory=Counter)  # {(as written, tag as it is learnt): how often}
    unread: Counter = field(default_factory=Counter)  # what looks like a tag, or is HTML, and is learnt as text

    def normalized(self, language=ENGLISH):
        """The same with texts as a model reads them that needs its texts normalised; keys, and what is held out, stay."""
        kept, rewritten = [], []
        for recording in self.kept:
            cleaned = recording.paragraphs or recording.text  # and only once
            text = checks.one_line(spelled_out(cleaned, language))
            if text != recording.text:
                rewritten.append((recording.where, recording.text, text))
            kept.append(replace(recording, text=text))
        return replace(self, kept=kept, rewritten=rewritten)

    @property
    def voices(self):
        """Names of the speakers, most recordings first."""
        counts = Counter(recording.speaker for recording in self.kept if recording.speaker)
        return tuple(sorted(counts, key=lambda name: (-counts[name], name)))

    def report(self):
        nameless = sum(recording.speaker is None for recording in self.kept)
        notes = list(self.source.notes)
        if self.voices and nameless:
            notes.append(f"{nameless:,} recordings name no speaker and are trained without a name.")
        notes += self._tag_notes()
        kind, columns = self.source.kind, self.source.columns
        found = (self.read, self.kept, self.rejected, self.removed, notes)
        return DataReport(self.dataset, kind, columns, *found, rewritten=self.rewritten, known_tags=self.tags)

    def _tag_notes(self):
        if self.spelt:
            listed = ", ".join(
                f"{written} as <{tag}> {count:,}" for (written, tag), count in self.spelt.most_common(20)
            )
            yield f"Tags written in another way are learnt as: {listed}."
        if self.unread:
            listed = ", ".join(f"{written} {count:,}" for written, count in self.unread.most_common(20))
            yield f"Looks like a tag, but is learnt as text: {listed}. A sound is written as a tag, <laugh>."


def stop_if_unfit(report, options, report_path=None):
    """Writes the report where a path is given, and raises InputError with `.report` where too much was left out."""
    if report_path is not None:
        report.write(report_path)
    complaint = report.complaint(options.max_rejected)
    if complaint:
        error = InputError(complaint + (f"\nAll reasons: {report_path}" if report_path is not None else ""))
        error.report = report
        raise error


# --- judging ---------------------------------------------------------------------------------------------------------


class _Sieve:
    """Turns entries into recordings, one after the other, and remembers what it has seen."""

    def __init__(self, options, tags):
        self.options, self.tags, self.seen, self.removed = options, tags, {}, Counter()
        self.spelt, self.unread = Counter(), Counter()
        self.transcriber = None
        if options.transcribe:
            self.transcriber = Transcriber(options.transcribe_model, options.code_cache, options.spoken)

    def recording(self, entry, content, measure):
        """A Recording, or the reason why there is none."""
        options = self.options
        problem = checks.audio_problem(measure)
        if problem:
            return problem
        start, end = span_of(measure, options.trim_silence and not isinstance(entry.audio, CodedAudio))
        seconds = (end - start) / SAMPLE_RATE
        problem = checks.length_problem(seconds, options)
        if problem:
            return problem
        text, transcribed = entry.text, False
        if not (text or "").strip():
            if not self.transcriber or isinstance(entry.audio, CodedAudio):
                return f"{'no transcript' if text is None else 'empty text'} (add --transcribe)"
            text, transcribed = self.transcriber.transcribe(entry.audio.load(), content), True
            if not text:
                return "no transcript: faster-whisper hears no speech in it"
        spelling = spell_tags(text, self.tags)
        paragraphs, removed = as_spoken(spelling.text, normalize=False)
        text = checks.one_line(paragraphs)
        problem = checks.text_problem(text, seconds, measure.speech)
        if problem:
            return problem
        speaker = checks.one_line(as_spoken(entry.speaker or "", normalize=False)[0]) or options.speaker
        key = key_of("row", content, text, speaker)
        recording = Recording(entry.where, entry.audio, text, speaker, key, content, measure, start, end, transcribed)
        if paragraphs != text:
            recording = replace(recording, paragraphs=paragraphs)
        return self._last_checks(recording, removed, spelling)

    def _last_checks(self, recording, removed, spelling):
        first = self.seen.get(recording.measure.digest)
        if first:
            return f"duplicate: the same recording as {first}"
        options = self.options
        if recording.seconds > options.max_seconds:
            parts, _ = parts_of(recording, lambda _, s: within_seconds(s, options), options.max_seconds, options.spoken)
            if not parts:
                return no_place_to_split(recording.seconds, f"max_seconds {options.max_seconds:g}")
        self.seen[recording.measure.digest] = recording.where
        self.removed.update(removed)
        self.spelt.update(spelling.read)
        self.unread.update(spelling.unread)
        self.unread.update(match[0] for match in MARKUP.finditer(recording.text))
        return recording


def within_seconds(seconds, options):
    return options.min_seconds <= seconds <= options.max_seconds


def no_place_to_split(seconds, limit):
    return f"too long: {seconds:.1f} s, over {limit}, and no pauses in it are surely ends of sentences so that the parts would fit"


def parts_of(recording, fits, longest, language=ENGLISH):
    """(the recording in parts that fit, [(where, seconds) of the stretches between that do not]); no part fits where it is [].

    fits: (text, seconds) -> bool; longest: seconds beyond which nothing fits
    """
    start, end = recording.start / SAMPLE_RATE, recording.end / SAMPLE_RATE
    parts, lost = split_recording(recording.text, recording.measure, start, end, fits, longest, language)
    return [
        replace(
            recording,
            where=f"{recording.where}, part {number} of {len(parts)}",
            text=text,
            key=recording.key[:-_PART_DIGITS] + f"{number:0{_PART_DIGITS}x}",
            start=round(start * SAMPLE_RATE),
            end=round(end * SAMPLE_RATE),
            part=True,
        )
        for number, (text, start, end) in enumerate(parts, 1)
    ], [(f"{recording.where}, {_clock(start)} to {_clock(end)}", end - start) for _, start, end in lost]


def _clock(seconds):
    return f"{int(seconds) // 60}:{seconds % 60:04.1f}"


def _readable(entries, reader):
    """Entries whose text, where it is token ids, is written out."""
    found = []
    for entry in entries:
        if entry.text is None and not entry.problem and isinstance(entry.audio, CodedAudio) and entry.audio.layout:
            try:
                if reader is None:
                    raise InputError(
                        "input_ids: their text is token ids, and no model is there whose tokenizer reads them"
                    )
                entry = replace(entry, text=reader.text(entry.audio.text_ids()))
            except InputError as error:
                entry = replace(entry, problem=str(error))
        found.append(entry)
    return found


def _opened(options, reader):
    """The Source, its texts as far as they are known."""
    source = open_source(options, reader)
    entries, notes = without_names(_readable(source.entries, reader), options)
    coded = {n for n, entry in enumerate(entries) if isinstance(entry.audio, CodedAudio)}
    if coded and reader:
        size = reader.codebook_size
        entries = [
            replace(entry, audio=replace(entry.audio, codebook_size=size)) if n in coded else entry
            for n, entry in enumerate(entries)
        ]
    if coded:
        idle = [flag for flag in ("trim_silence", "level_loudness") if getattr(options, flag)]
        note = f"{len(coded):,} rows are codes already, and are learnt as they are"
        notes += (note + "".join(f"; --{flag.replace('_', '-')} does nothing to them" for flag in idle) + ".",)
    return replace(source, entries=entries, notes=(*source.notes, *notes))


def read_recordings(
    options, progress=True, report_path=None, keep=True, tags=KNOWN_TAGS, model=None, measure=measure_entries
):
    """Opens the source, measures every recording and applies all checks that need neither codec nor tokenizer.

    options: DataOptions; report_path: where data_report.md is written, also where the data is then refused; keep: whether what was
    measured goes into the cache: without it nothing is written at all; tags: that the base model knows; model: the checkpoint that is to learn,
    whose tokenizer reads rows that are token ids; measure: what measures the entries, as measure_entries does
    returns: Recordings. Raises InputError: a source that cannot be read, too many recordings left out (`error.report` says more)
    """
    source = _opened(options, ModelTokens(model) if model else None)
    tags = tuple(dict.fromkeys((*KNOWN_TAGS, *tags)))
    # Before the recordings are read: it may find that faster-whisper is not there.
    sieve = _Sieve(options, checks.tags_of(source.entries, tags))
    if options.speaker and any((entry.speaker or "").strip() for entry in source.entries):
        raise InputError(
            f"the data names its speakers in the column {source.columns.get('source')!r}: leave --speaker out, or add "
            "--source-column none"
        )
    measured = measure(source.entries, options.code_cache, progress, keep)
    kept, rejected = [], []
    with progress_bar(progress and options.transcribe, len(measured), "transcribing", "clip") as bar:
        for entry, (content, measure) in zip(source.entries, measured, strict=True):
            recording = sieve.recording(entry, content, measure)
            if isinstance(recording, Recording):
                kept.append(recording)
            else:
                rejected.append((entry.where, recording))
            bar.update()
    recordings = Recordings(kept, rejected, len(source.entries), source, options.dataset, sieve.removed)
    recordings.tags, recordings.spelt, recordings.unread = tags, sieve.spelt, sieve.unread
    stop_if_unfit(recordings.report(), options, report_path)
    return recordings
