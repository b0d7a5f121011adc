"""What the data is, what was left out and why: as Markdown for the adapter's folder, as a table for the screen."""

from collections import Counter
from dataclasses import dataclass, field

from orpheus.common.files import atomic_file
from orpheus.text.markup import advice
from orpheus.text.tags import KNOWN_TAGS, find_tags, unknown_tags

_NO_NAME = "(no name)"
_BIN_SECONDS = (0.5, 1, 2, 5, 10, 20, 60)  # of the histogram: the finest that needs no more than _MOST_BINS
_MOST_BINS = 12
_BAR = 40  # characters of the longest bar
_FEW = 6  # speakers or tags in the table on screen
_EXAMPLES = 3  # of texts
_LONGEST = 200  # characters of an example on screen


@dataclass
class Training:
    """What make_examples adds to the report."""

    recordings: int  # trained on
    held_out: list  # where the held-out recordings are
    tokens: int  # of all examples, prompts included
    longest: int  # tokens of the longest recording
    frames: int  # before repeats were dropped
    dropped: int  # repeated frames
    parts: int  # recordings that came out of splitting


@dataclass
class DataReport:
    dataset: str
    kind: str
    columns: dict
    read: int  # entries of the source
    kept: list  # of orpheus.data.recordings.Recording
    rejected: list  # (where, reason)
    removed: Counter = field(
        default_factory=Counter
    )  # characters that are never spoken, such as emoji, and names of markup
    notes: list = field(default_factory=list)
    rewritten: list = field(
        default_factory=list
    )  # (where, before, after) of texts whose numbers and the like became words
    training: Training | None = None
    known_tags: tuple = KNOWN_TAGS  # of the base model

    # --- figures ---

    @property
    def hours(self):
        return sum(recording.seconds for recording in self.kept) / 3600

    def reasons(self):
        """Counter of the kinds of reasons: what stands before the colon."""
        return Counter(reason.split(":")[0] for _, reason in self.rejected)

    def speakers(self):
        """{name: (recordings, hours)}, most recordings first."""
        recordings, hours = Counter(), Counter()
        for recording in self.kept:
            recordings[recording.speaker or _NO_NAME] += 1
            hours[recording.speaker or _NO_NAME] += recording.seconds / 3600
        return {
            name: (count, hours[name])
            for name, count in sorted(recordings.items(), key=lambda item: (-item[1], item[0]))
        }

    def tags(self):
        """(Counter of known tags, Counter of unknown tags, {unknown tag: nearest known or None})."""
        known, unknown, nearest = Counter(), Counter(), {}
        for recording in self.kept:
            foreign = unknown_tags(recording.text, self.known_tags)
            known.update(tag for tag in find_tags(recording.text) if tag not in foreign)
            unknown.update(tag for tag in find_tags(recording.text) if tag in foreign)
            nearest |= foreign
        return known, unknown, nearest

    def taught_tags(self):
        """{tag: how often}, most often first: what the recordings teach, known before or not."""
        known, unknown, _ = self.tags()
        return dict((known + unknown).most_common())

    def transcribed(self):
        return [recording.where for recording in self.kept if recording.transcribed]

    def histogram(self):
        """[(from seconds, to seconds, recordings)] over all lengths, in equal bins."""
        if not self.kept:
            return []
        longest = max(recording.seconds for recording in self.kept)
        width = next((width for width in _BIN_SECONDS if longest / width <= _MOST_BINS), _BIN_SECONDS[-1])
        counts = Counter(int(recording.seconds / width) for recording in self.kept)
        return [(n * width, (n + 1) * width, counts[n]) for n in range(min(counts), max(counts) + 1)]

    def summary(self):
        """The figures as a dictionary that JSON can write."""
        known, unknown, _ = self.tags()
        figures = {
            "dataset": self.dataset,
            "kind": self.kind,
            "rows_read": self.read,
            "rows": len(self.kept),
            "rejected": dict(self.reasons()),
            "hours": round(self.hours, 4),
            "speakers": {
                name: {"rows": recordings, "hours": round(hours, 4)}
                for name, (recordings, hours) in self.speakers().items()
            },
            "tags": dict(known.most_common()),
            "unknown_tags": dict(unknown.most_common()),
            "transcribed": len(self.transcribed()),
            "rewritten": len(self.rewritten),
        }
        if self.training:
            made = self.training
            figures |= {
                "train_rows": made.recordings,
                "held_out_rows": len(made.held_out),
                "tokens": made.tokens,
                "longest_row_tokens": made.longest,
                "repeated_frames_dropped": round(made.dropped / made.frames, 4) if made.frames else 0.0,
                "parts_of_split_rows": made.parts,
            }
        return figures

    # --- words ---

    def _facts(self):
        """(name, value) of everything that fits a line."""
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in self.reasons().most_common())
        yield "data", f"{self.dataset} ({self.kind})"
        columns = ", ".join(f"{role} = {name}" for role, name in self.columns.items() if name)
        if columns:
            yield "columns", columns
        left_out = f", {len(self.rejected):,} left out ({kinds})" if self.rejected else ""
        yield "rows", f"{self.read:,} read, {len(self.kept):,} used{left_out}"
        if self.kept:
            seconds = [recording.seconds for recording in self.kept]
            mean = sum(seconds) / len(seconds)
            yield (
                "speech",
                f"{_duration(self.hours)}; {min(seconds):.1f} to {max(seconds):.1f} s a recording, {mean:.1f} s on average",
            )
        if self.transcribed():
            yield "transcribed", f"{len(self.transcribed()):,} recordings by faster-whisper"
        if self.rewritten:
            yield (
                "as spoken",
                f"numbers and the like are written as words, as the model reads them, in {len(self.rewritten):,} of the transcripts",
            )
        if self.training:
            yield from self._training_facts(self.training)

    def _training_facts(self, made):
        share = f"{made.dropped / made.frames:.1%}" if made.frames else "0 %"
        yield (
            "tokens",
            f"{made.tokens:,}, {made.longest:,} in the longest recording; {share} of the frames dropped as repeats",
        )
        if made.parts:
            yield "split", f"{made.parts:,} recordings are parts of longer recordings"
        yield "training", f"{made.recordings:,} recordings to train on, {len(made.held_out):,} held out"

    def _speaker_lines(self):
        return [f"{name} {recordings:,} ({_duration(hours)})" for name, (recordings, hours) in self.speakers().items()]

    def _tag_lines(self):
        """(known, unknown) tags with counts, as in "laugh 336" and "laughs 2 (laugh?)"."""
        known, unknown, nearest = self.tags()
        return [f"{tag} {count:,}" for tag, count in known.most_common()], [
            f"{tag} {count:,}" + (f" ({nearest[tag]}?)" if nearest[tag] else "") for tag, count in unknown.most_common()
        ]

    def _rewritten_lines(self):
        return [f"{before} -> {after}" for _, before, after in self.rewritten[:_EXAMPLES]]

    def _bars(self):
        most = max((count for *_, count in self.histogram()), default=1)
        for low, high, count in self.histogram():
            bar = "#" * max(round(count / most * _BAR), bool(count))
            yield f"{low:4g} to {high:<4g} s {count:7,} {bar}".rstrip()

    def _all_notes(self):
        notes = list(self.notes)
        if self.removed:
            characters = {name: count for name, count in self.removed.most_common() if len(name) == 1}
            markup = {name: count for name, count in self.removed.most_common() if len(name) > 1}
            if characters:
                listed = ", ".join(f"{name!r} {count:,}" for name, count in list(characters.items())[:20])
                notes.append(f"Characters that are never spoken were taken out of the text: {listed}.")
            notes += [f"{advice(name)} ({count:,} times)." for name, count in markup.items()]
        if self._tag_lines()[1]:
            notes.append(
                "Unknown tags are learnt as ordinary text: with enough examples they work; a misspelt one does not."
            )
        return notes

    def table(self):
        """What is shown on screen, a few lines."""

        def few(parts):
            return ", ".join(parts[:_FEW]) + (f" and {len(parts) - _FEW} more" if len(parts) > _FEW else "")

        known, unknown = self._tag_lines()
        facts = list(self._facts())
        facts.append(("speakers", few(self._speaker_lines()) or "none"))
        facts.append(("tags", few(known) or "none"))
        if unknown:
            facts.append(("unknown tags", few(unknown)))
        lines = [f"{name:13}{value}" for name, value in facts]
        lines += [f"{'such as' * (not n):13}{_short(example)}" for n, example in enumerate(self._rewritten_lines())]
        lines += [f"{'lengths' * (not n):13}{bar}" for n, bar in enumerate(self._bars())]
        return "\n".join(lines + [f"{'note':13}{note}" for note in self._all_notes()])

    def markdown(self):
        """The whole report; every recording that was left out is in it."""
        known, unknown = self._tag_lines()
        lines = ["# Data report", "", "| | |", "| --- | --- |"]
        lines += [f"| {name} | {_cell(value)} |" for name, value in self._facts()]
        lines += _section("Speakers", self._speaker_lines())
        lines += ["", "## Lengths", "", "```", *self._bars(), "```"] if self.kept else []
        lines += _section("Tags", known) + _section("Unknown tags, with the nearest known one", unknown)
        lines += _section("Written as spoken, for example", self._rewritten_lines())
        lines += _section("Notes", self._all_notes())
        lines += _section("Left out", [f"`{where}`: {reason}" for where, reason in self.rejected])
        lines += _section("Written by faster-whisper: worth a look", [f"`{where}`" for where in self.transcribed()])
        if self.training:
            lines += _section("Held out, never trained on", [f"`{where}`" for where in self.training.held_out])
        return "\n".join(lines) + "\n"

    def write(self, path):
        """Writes data_report.md, whole or not at all. Raises OutputError."""
        with atomic_file(path, cure="Free some space, or choose another folder") as file:
            file.write(self.markdown().encode())

    def complaint(self, max_rejected):
        """Why the data cannot be trained on, with the kinds of reasons and an example of each; None where it can."""
        judged = len(self.kept) + len(self.rejected)  # more than were read where some were split
        if self.kept and len(self.rejected) <= max_rejected * judged:
            return None
        examples = {reason.split(":")[0]: f"{where}: {reason}" for where, reason in reversed(self.rejected)}
        kinds = [f"\n  {count:,} x {kind}, as in {examples[kind]}" for kind, count in self.reasons().most_common()]
        if not self.kept:
            return f"{self.dataset}: none of the {self.read:,} recordings can be used:{''.join(kinds)}"
        share = len(self.rejected) / judged
        return (
            f"{self.dataset}: {len(self.rejected):,} of {judged:,} recordings ({share:.0%}) cannot be used, more than max_rejected "
            f"{max_rejected:.0%}:{''.join(kinds)}\nRepair them, or go on without them: --max-rejected {min(1, share + 0.01):.2f}"
        )


def _duration(hours):
    return f"{hours:.2f} h" if hours >= 0.1 else f"{hours * 60:.1f} min"


def _short(text):
    return text if len(text) <= _LONGEST else text[: _LONGEST - 4] + " ..."


def _cell(value):
    return value.replace("|", "\\|")


def _section(title, items):
    return ["", f"## {title}", "", *(f"- {item}" for item in items)] if items else []
