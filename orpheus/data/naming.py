"""Transcripts that begin with their speaker's name, as dialogues and some exports have them: the prompt would say it twice."""

import re
from collections import Counter
from dataclasses import replace

from orpheus.common.errors import InputError
from orpheus.data.sources.columns import NO_COLUMN

# "anna: ", "Dr. Smith: ": up to three words, no digits first, nothing that a clock or an address has.
_PREFIX = re.compile(r"\s*([^\W\d_][\w.'-]{0,29}(?: [\w.'-]{1,20}){0,2})\s*[:\uff1a](?!//)\s*(?=\S)")
_FEW = 0.5  # names in the transcripts: fewer repeat
_MANY = 0.5  # of the transcripts: from here on it is mentioned
_SHOWN = 5


def _prefix(text):
    """(name, text without it), or (None, text)."""
    match = _PREFIX.match(text or "")
    return (match[1], text[match.end() :]) if match else (None, text)


def without_names(entries, options):
    """(entries whose texts do not begin with their speaker's name, notes).

    A name is taken off where a speaker is called so, the row's own or the one of --speaker; and where every transcript begins with a
    name, one and the same or few that repeat: they are then the speakers. Raises InputError where they are not --speaker's
    """
    if options.name_prefix == "keep":
        return entries, ()
    found = {n: _prefix(entry.text) for n, entry in enumerate(entries) if (entry.text or "").strip()}
    named = Counter(name for name, _ in found.values() if name)
    if not named:
        return entries, ()
    if any((entry.speaker or "").strip() for entry in entries):
        return _of_speakers(entries, found)
    throughout = named.total() == len(found) > 1 and len(named) <= max(1, _FEW * len(found))
    if options.speaker:
        return _of_one(entries, found, named, throughout, options)
    if not throughout:
        return entries, _mentioned(named, len(found))
    nameless = options.source_column == NO_COLUMN
    changed = [
        replace(entry, text=found[n][1], speaker=None if nameless else found[n][0]) if n in found else entry
        for n, entry in enumerate(entries)
    ]
    names = ", ".join(name for name, _ in named.most_common(_SHOWN)) + (" ..." if len(named) > _SHOWN else "")
    taken = "taken off" if nameless else "taken for the speakers and off the texts"
    return changed, (
        f"Every transcript begins with a name ({names}): they were {taken}; --name-prefix keep leaves them as they are.",
    )


def _of_speakers(entries, found):
    speakers = {_plain(entry.speaker) for entry in entries if entry.speaker}
    changed, own, others = list(entries), 0, 0
    for n, (name, rest) in found.items():
        speaker = entries[n].speaker
        if name and speaker and _plain(name) == _plain(speaker):
            changed[n] = replace(entries[n], text=rest)
            own += 1
        elif name and _plain(name) in speakers:
            others += 1
    notes = (_taken_off(own),) if own else ()
    if others:
        notes += (
            f"{others:,} transcripts begin with the name of another speaker than their own: they stay as they are.",
        )
    return changed, notes


def _of_one(entries, found, named, throughout, options):
    mine = {n: rest for n, (name, rest) in found.items() if name and _plain(name) == _plain(options.speaker)}
    if throughout and not mine:
        raise InputError(
            f"every transcript begins with a name ({', '.join(list(named)[:_SHOWN])}), and --speaker says {options.speaker}: leave "
            "--speaker out, or add --name-prefix keep"
        )
    changed = [replace(entry, text=mine[n]) if n in mine else entry for n, entry in enumerate(entries)]
    return changed, (_taken_off(len(mine)),) if mine else ()


def _taken_off(count):
    return (
        f"{count:,} transcripts begin with their speaker's name: it was taken off, for the prompt has it already; --name-prefix keep "
        "leaves it."
    )


def _mentioned(named, total):
    name, count = named.most_common(1)[0]
    if count < max(2, _MANY * total):
        return ()
    return (f"{count:,} of {total:,} transcripts begin with {name + ':'!r}, which is learnt as text.",)


def _plain(name):
    return " ".join(name.split()).casefold()
