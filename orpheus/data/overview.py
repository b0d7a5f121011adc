"""What `--check-data` shows: the data as training would take it, as far as that is known without a model."""

from orpheus.common.frame import CODES_PER_FRAME
from orpheus.data.examples import planned
from orpheus.data.recordings import stop_if_unfit

_LETTERS_PER_TOKEN = 4  # of English, with Llama's tokenizer; text is some 5 % of an example
_MARKERS = 9  # tokens of the layout around text and audio
_TEXTS = 3  # of each speaker
_SPEAKERS = 20
_EXAMPLES = 3  # of each kind of reason
_WIDTH = 160  # characters of a text


class EstimatedPrompts:
    """Prompts of about the right length: a tokenizer would have to be fetched."""

    def prompt(self, text, speaker):
        named = f"{speaker}: {text}" if speaker else text
        return range(len(named) // _LETTERS_PER_TOKEN + _MARKERS - 2)


def estimated_tokens(recording):
    """Tokens of a recording's example. Repeated frames, a few in a hundred, will be dropped; here they count."""
    prompt = EstimatedPrompts().prompt(recording.text, recording.speaker)
    return len(prompt) + recording.frames * CODES_PER_FRAME + 2


def overview(recordings, options):
    """(DataReport, recordings to train on) of what was read. Raises InputError, with `.report`, where the data would be refused."""
    chosen, rejected = planned(recordings, EstimatedPrompts(), options)
    fitting = [recording for recording in chosen if estimated_tokens(recording) <= options.max_tokens]
    rejected += [
        (recording.where, _too_many(recording, options))
        for recording in chosen
        if estimated_tokens(recording) > options.max_tokens
    ]
    report = recordings.report()
    report.kept, report.rejected = fitting, recordings.rejected + rejected
    stop_if_unfit(report, options)
    return report, fitting


def _too_many(recording, options):
    return (
        f"too many tokens: about {estimated_tokens(recording)} for {recording.seconds:.1f} s, max_tokens is {options.max_tokens}; "
        "--long-rows split cuts at pauses"
    )


def in_words(report):
    """The report for the screen: figures, three texts of each speaker with their files, what was left out and why."""
    return "\n".join([report.table(), *_texts(report.kept), *_left_out(report.rejected)])


def _texts(kept):
    of_speaker = {}
    for recording in kept:
        of_speaker.setdefault(recording.speaker, []).append(recording)
    speakers = sorted(of_speaker, key=lambda name: (-len(of_speaker[name]), name or ""))
    for name in speakers[:_SPEAKERS]:
        found = of_speaker[name]
        yield f"\n{name or 'without a name'}:"
        # The first, one from the middle, the last: a table that slips is seen in the later ones.
        for index in sorted({0, len(found) // 2, len(found) - 1})[:_TEXTS]:
            yield f"  {found[index].where}: {_short(found[index].text)}"
    if len(speakers) > _SPEAKERS:
        yield f"\nand {len(speakers) - _SPEAKERS:,} more speakers"


def _left_out(rejected):
    kinds = {}
    for where, reason in rejected:
        kinds.setdefault(reason.split(":")[0], []).append(f"  {where}: {reason}")
    for kind, lines in sorted(kinds.items(), key=lambda item: -len(item[1])):
        yield f"\nleft out, {kind}: {len(lines):,}"
        yield from lines[:_EXAMPLES]
        if len(lines) > _EXAMPLES:
            yield f"  and {len(lines) - _EXAMPLES:,} more"


def _short(text):
    return text if len(text) <= _WIDTH else text[: _WIDTH - 4] + " ..."
