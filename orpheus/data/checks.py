"""What makes a recording unfit to learn from. Every check gives a reason, "kind: details", or None."""

from orpheus.text.cleaning import clean_text, is_speakable
from orpheus.text.pieces import estimate_seconds

# Samples at the ceiling, in runs: 0.2 % is crackle at every loud vowel; what a limiter leaves is far below.
CLIPPED_SHARE, CEILING = 0.002, 0.98
# Speech is estimated at 15 characters a second. Twice that nobody reads aloud; the half second is for numbers and tags
# in very short recordings, where the estimate is rough.
TEXT_RATIO, TEXT_SLACK = 2.0, 0.5
# Samples beyond are no recording in -1..1; a little over 1 is normal after MP3.
LOUDEST = 4.0


def audio_problem(measure):
    """Of the recording as it was found."""
    if measure.problem:
        return measure.problem
    if measure.peak > LOUDEST:
        return f"unreadable: peak {measure.peak:.0f}, samples are not in -1..1"
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


def text_problem(text, seconds):
    """Of a cleaned transcript."""
    if not is_speakable(text):
        return f"nothing to speak: {text!r:.60} has no letter, digit or tag"
    needed = estimate_seconds(text)
    if needed > TEXT_RATIO * seconds + TEXT_SLACK:
        return f"text too long: about {needed:.1f} s of text for {seconds:.1f} s of audio; is it this recording's?"
    return None


def one_line(text):
    """Cleaned text, line breaks as spaces, and the characters left out."""
    cleaned, removed = clean_text(text)
    return " ".join(cleaned.split()), removed
