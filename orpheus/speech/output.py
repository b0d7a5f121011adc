"""Where speech is written, checked before anything is loaded, and what is said about it."""

import os
from collections import Counter
from pathlib import Path

from orpheus.common.errors import InputError
from orpheus.common.options import OUTPUT_DIR
from orpheus.common.places import real
from orpheus.common.sounds import FORMAT_OF, check_writable, is_sound


def output_paths(out, count, format=None, beside=lambda path: ()):
    """The file of each of `count` texts; their folder is made. Raises InputError for what cannot be written.

    out: a folder, one text's file, or None for the usual folder; format: what the files in a folder are, wav if None; beside: a file to
    others that are written with it
    """
    out = Path(OUTPUT_DIR) if out is None else out
    if is_sound(out):
        if count > 1:
            raise InputError(f"--out {out} names one file for {count} texts; give a folder")
        if format and FORMAT_OF[out.suffix.lower()] != FORMAT_OF[f".{format}"]:
            raise InputError(f"--out {out} and --format {format} are two formats: leave one of them out")
        paths = [out]
    else:
        paths = [out / f"output_{index}.{format or 'wav'}" for index in range(count)]
    check_writable(paths[0])
    folder = real(paths[0].parent)  # a symbolic link stays one
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {out}: the folder {folder} cannot be created ({error.strerror})") from error
    for path in [one for sound in paths for one in (sound, *beside(sound))]:
        if len(os.fsencode(path.name)) > 255:
            raise InputError(f"--out: a file name can have at most 255 bytes, not {len(os.fsencode(path.name))}")
        if path.is_dir():
            raise InputError(f"--out {out}: {path} is a folder; choose another name")
        if path.exists() and not path.is_file():
            raise InputError(
                f"--out {out}: {path} is a device or a pipe; to send sound through one, use --stream wav > {path}"
            )
    if not os.access(folder, os.W_OK):
        raise InputError(f"--out {out}: the folder {folder} is not writable; choose another")
    return paths


def summary(speech):
    """What became of a text, for people: "2.3 s of speech in 1.2 s (1.9 x real time)", and what went wrong, if anything."""
    pace = speech.seconds / speech.seconds_taken if speech.seconds_taken else 0.0
    parts = [f"{speech.seconds:.1f} s of speech in {speech.seconds_taken:.1f} s ({figures(pace)} x real time)"]
    if speech.finish_reason != "end_of_speech":
        cut = (
            "cut off by --max-new-tokens"
            if speech.finish_reason == "max_new_tokens"
            else "ended at a token that is no sound"
        )
        parts.append(f"{cut} ({speech.finish_reason})")
    if speech.retried_for:
        counts = ", ".join(f"{reason} x{count}" for reason, count in Counter(speech.retried_for).items())
        parts.append(f"retries: {len(speech.retried_for)} ({counts})")
    return ", ".join(parts)


def figures(value):
    """A number with two or three digits: 0.031, 1.9, 12, 340."""
    if value >= 10:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"
