"""What makes a recording unfit to learn from. Every check gives a reason, "kind: details", or None."""

import math
from collections import Counter

from orpheus.text.cleaning import is_speakable
from orpheus.text.description import TAUGHT
from orpheus.text.pace import estimate_seconds
from orpheus.text.tags import find_tags, meant_tag

# Samples at the ceiling, in runs: 0.2 % is crackle at every loud vowel; what a limiter leaves is far below.
CLIPPED_SHARE, CEILING = 0.002, 0.98
# Speech is estimated at 15 characters a second. Twice that nobody reads aloud; the half second is for numbers and tags
# in very short recordings, where the estimate is rough.
TEXT_RATIO, TEXT_SLACK = 2.0, 0.5
# Samples beyond are no recording in -1..1; a little over 1 is normal after MP3.
LOUDEST = 4.0
# The other way round: a third of the pace that is estimated is slow speech; the seconds are for single words, which people draw
# out, and for the sounds of tags: some laugh for long.
LEAST_RATIO, LEAST_SLACK, TAG_SECONDS = 3.0, 3.0, 5.0
# Power of the channels' mean, in that of unrelated channels: below, one is the other upside down.
CANCELLED = 0.1


def audio_problem(measure):
    """Of the recording as it was found."""
    if measure.problem:
        return measure.problem
    if measure.peak > LOUDEST:
        return f"unreadable: peak {measure.peak:.0f}, samples are not in -1..1"
    if measure.agreement < CANCELLED:
        return (
            f"channels cancel: the {measure.channels} channels are in opposite phase, little is left of their mean "
            f"({10 * math.log10(max(measure.agreement, 1e-10)):.0f} dB); keep one of them (ffmpeg -i FILE -af pan=mono|c0=c0 FILE.wav)"
        )
    if measure.silent:
        return f"silent: nothing louder than -60 dBFS in {measure.seconds:.1f} s (peak {measure.peak:.4f})"
    if measure.peak >= CEILING and measure.clipped > CLIPPED_SHARE:
        return f"clipped: {measure.clipped:.1%} of the samples stand at the ceiling, more than {CLIPPED_SHARE:.1%}"
    return None


def length_problem(seconds, options):
    """Of what is used of the recording; what is too long may still be split."""
    if seconds < options.min_seconds:
        return f"too short: {seconds:.2f} s, min_seconds is {options.min_seconds:g}"
    if seconds > options.max_seconds and options.long_rows == "drop":
        return f"too long: {seconds:.1f} s, max_seconds is {options.max_seconds:g}; --long-rows split cuts at pauses"
    return None


def text_problem(text, seconds, speech):
    """Of a cleaned transcript. seconds: of the recording; speech: those in which there is sound"""
    if not is_speakable(text):
        return f"nothing to speak: {text!r:.60} has no letter, digit or tag"
    needed = estimate_seconds(text)
    if needed > TEXT_RATIO * seconds + TEXT_SLACK:
        return f"text too long: about {needed:.1f} s of text for {seconds:.1f} s of audio; is it this recording's?"
    enough = LEAST_RATIO * needed + LEAST_SLACK + TAG_SECONDS * len(find_tags(text))
    if speech > enough:
        return (
            f"text too short: {text!r:.40} is about {needed:.1f} s of text for {speech:.1f} s of sound, more than {enough:.1f} s; is "
            "it this recording's, and all of it?"
        )
    return None


def one_line(text):
    """Cleaned text with its paragraphs on one line."""
    return " ".join(text.split())


def tags_of(entries, known):
    """The known tags, and those that the texts have often enough to be no slip and no other spelling of a known one."""
    spellings = Counter(tag for entry in entries for tag in find_tags(entry.text or ""))
    own = {}  # {tag in any case: (its most frequent spelling, how often it is there)}
    for tag, count in spellings.most_common():
        first, before = own.get(tag.casefold(), (tag, 0))
        own[tag.casefold()] = first, before + count
    return (*known, *(tag for tag, count in own.values() if count >= TAUGHT and meant_tag(tag, known) is None))
