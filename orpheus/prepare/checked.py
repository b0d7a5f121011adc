"""What was measured of the entries of a source, in files of a thousand: a run that goes on doesn't read those recordings again."""

import json
import os
from dataclasses import dataclass

from orpheus.common.files import atomic_file
from orpheus.data.measure import Measure
from orpheus.data.measuring import decoders, measure_entries
from orpheus.data.sources.arrow import ArrowAudio
from orpheus.data.sources.entries import FileAudio

ENTRIES = 1000  # in a file: minutes of reading, and some hundred kilobytes


def facts_of(entry):
    """What changes when the recording does, read without opening it; None where nothing tells, and it is then measured again."""
    if isinstance(entry.audio, FileAudio):
        try:
            status = os.stat(entry.audio.path)
        except (OSError, ValueError):
            return None
        return [str(entry.audio.path), status.st_size, status.st_mtime_ns]
    if isinstance(entry.audio, ArrowAudio):
        return [entry.audio.fingerprint, entry.audio.index]
    return None


@dataclass(frozen=True)
class Checking:
    """Measures one part of the entries after the other, here or in another process."""

    folder: str

    def __call__(self, work):
        """[number, how many entries] of a part (number, entries); what is known of it is in its file afterwards."""
        number, entries = work
        path, known = self.path(number), self.known(number)
        keys = [json.dumps(facts_of(entry)) for entry in entries]
        lacking = [entry for entry, key in zip(entries, keys, strict=True) if key not in known]
        if lacking:
            measured = iter(measure_entries(lacking, progress=False))
            rows = [known[key] if key in known else _row(key, *next(measured)) for key in keys]
            with atomic_file(path, cure="Free some space, and start again: it goes on") as file:
                file.write(json.dumps({"decoders": decoders(), "measured": rows}).encode())
        return number, len(entries)

    def path(self, number):
        return os.path.join(self.folder, f"checked-{number:06}.json")

    def known(self, number):
        """{facts as JSON: row} of the recordings in the file that were found good, and read by the decoders that are here. A problem may
        have been the network's."""
        try:
            with open(self.path(number), encoding="utf-8") as file:
                kept = json.load(file)
        except (OSError, ValueError):
            return {}
        if kept.get("decoders") != json.loads(json.dumps(decoders())):
            return {}
        return {row[0]: row for row in kept["measured"] if row[0] != "null" and row[2]["problem"] is None}

    def result(self, number):
        """[(content hash, Measure)] of a part that was measured."""
        with open(self.path(number), encoding="utf-8") as file:
            return [(content, Measure.from_dict(values)) for _, content, values in json.load(file)["measured"]]


def _row(key, content, measure):
    return [key, content, measure.as_dict()]


def parts_of(entries):
    """[(number, entries)] in parts of ENTRIES."""
    return [(n, entries[first : first + ENTRIES]) for n, first in enumerate(range(0, len(entries), ENTRIES))]
