"""Entries of a source measured, each once: what was measured is kept by the content of the file."""

import os
from concurrent.futures import ThreadPoolExecutor

from orpheus.common import media
from orpheus.common.errors import InputError
from orpheus.common.files import Cache, key_of
from orpheus.common.progress import progress_bar
from orpheus.data.measure import (
    MEASURE_VERSION,
    Measure,
    content_hash,
    header_trouble,
    measure_codes,
    measure_file,
)
from orpheus.data.sources.codes import CodedAudio
from orpheus.data.sources.entries import stamp

_LARGE = 64 << 20  # bytes: of such a file the header is looked at before all of it is read


def threads():
    return min(16, 2 * (os.cpu_count() or 1))


def decoders():
    """What decides how a file is read: measurements by others are made again."""
    import soundfile

    return MEASURE_VERSION, (soundfile.__libsndfile_version__, media.version())


def measure_entries(entries, code_cache=None, progress=True, keep=True):
    """[(content hash, Measure)] of entries, in their order; what cannot be used has its problem in the Measure.

    code_cache: the folder whose cache knows what was measured before, or None; keep: whether it learns what is measured now
    """
    cache, decoder = Cache(code_cache, "measures") if code_cache else None, decoders()
    with (
        ThreadPoolExecutor(threads()) as pool,
        progress_bar(progress, len(entries), "checking recordings", "clip") as bar,
    ):
        found = []
        for result in pool.map(lambda entry: _measured(entry, cache, decoder, keep), entries):
            found.append(result)
            bar.update()
    return found


def _measured(entry, cache, decoder, keep):
    """(content hash, Measure) of an entry; only what is not in the cache is decoded."""
    if entry.problem:
        return "", Measure(problem=entry.problem)
    try:
        if isinstance(entry.audio, CodedAudio):
            return measure_codes(entry.audio.codes(), entry.audio.lengths)
        with entry.audio.open() as file:
            return _measured_file(file, cache, decoder, keep)
    except InputError as error:
        return "", Measure(problem=str(error))
    except OSError as error:  # a disk or a network that fails while it is read
        return "", Measure(problem=f"unreadable: {error.strerror or error}")


def _measured_file(file, cache, decoder, keep):
    found = stamp(file)
    problem = header_trouble(file) if file.seek(0, os.SEEK_END) > _LARGE else None
    if problem:
        return "", Measure(problem=problem)
    content = content_hash(file)
    key = key_of("measure", *decoder, content)
    kept = cache.get_json(key) if cache else None
    measure = Measure.from_dict(kept) if kept is not None else measure_file(file)
    if stamp(file) != found:
        return "", Measure(problem="unreadable: it changed while it was being read; start again when it is complete")
    if cache and kept is None and keep:
        cache.put_json(key, measure.as_dict())
    return content, measure
