"""Parts of the recordings as parquet files of codes, each whole or not at all, each with a mark of what it was made from."""

import io
import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from orpheus.common.errors import InputError, OutputError
from orpheus.common.files import atomic_file, key_of
from orpheus.common.frame import SAMPLE_RATE
from orpheus.data.examples import encode_recordings
from orpheus.data.sources.codes import CODEC, SAMPLES, SPEECH

_VERSION = 1  # of the rows; to be raised with every change of what is in them
_MARK = b"orpheus.shard"  # in the file's metadata


@dataclass(frozen=True)
class Shard:
    number: int
    of: int
    recordings: tuple
    level_loudness: bool
    codec: str  # its fingerprint

    @property
    def name(self):
        return f"codes-{self.number:06}-of-{self.of:06}.parquet"

    @property
    def seconds(self):
        return sum(recording.seconds for recording in self.recordings)

    @cached_property
    def mark(self):
        """Hex hash of all that decides what is in the file."""
        rows = [[r.content, r.start, r.end, _text(r), r.speaker, r.where] for r in self.recordings]
        return key_of("shard", _VERSION, self.codec, self.level_loudness, rows)

    def state(self, folder):
        """ "done", "lacking", or "foreign": a file of this name that was made from something else, or is damaged."""
        path = Path(folder) / self.name
        if not path.exists():
            return "lacking"
        return "done" if mark_of(path) == self.mark else "foreign"


def shards_of(recordings, minutes, level_loudness, codec):
    """[Shard] of recordings in the order of their source. codec: its fingerprint"""
    parts, seconds = [], 0.0
    for recording in recordings:
        if not parts or seconds + recording.seconds > minutes * 60:
            parts.append([])
            seconds = 0.0
        parts[-1].append(recording)
        seconds += recording.seconds
    return [Shard(n, len(parts), tuple(part), level_loudness, codec) for n, part in enumerate(parts)]


def mark_of(path):
    """The mark of a shard's file; None where it has none, or cannot be read."""
    import pyarrow
    import pyarrow.parquet

    try:
        mark = (pyarrow.parquet.read_metadata(path).metadata or {}).get(_MARK)
    except (OSError, pyarrow.ArrowException):
        return None
    return mark.decode() if mark else None


def _text(recording):
    """As the model reads it; with its paragraphs, where it has several and is whole."""
    return recording.text if recording.part or not recording.paragraphs else recording.paragraphs


def _speech(recording):
    """Seconds of sound, pauses not counted."""
    measure, start, end = recording.measure, recording.start / SAMPLE_RATE, recording.end / SAMPLE_RATE
    if not recording.part:
        return round(measure.speech, 2)
    pauses = sum(max(0.0, min(end, last) - max(start, first)) for first, last in measure.pauses)
    return round(end - start - pauses, 2)


def _file(shard, codes):
    """The bytes of a shard's file. Equal codes make equal bytes."""
    import pyarrow
    import pyarrow.parquet

    kinds = {
        "codes_list": pyarrow.list_(pyarrow.uint16()),  # seven a frame, plain, in the order of orpheus.common.tokens
        "text": pyarrow.string(),
        "source": pyarrow.string(),
        SAMPLES: pyarrow.int64(),
        SPEECH: pyarrow.float64(),
        CODEC: pyarrow.string(),
        "where": pyarrow.string(),
    }
    columns = {
        "codes_list": [row.reshape(-1).astype("uint16") for row in codes],
        "text": [_text(recording) for recording in shard.recordings],
        "source": [recording.speaker for recording in shard.recordings],
        SAMPLES: [recording.samples for recording in shard.recordings],
        SPEECH: [_speech(recording) for recording in shard.recordings],
        CODEC: [shard.codec] * len(codes),
        "where": [recording.where for recording in shard.recordings],
    }
    schema = pyarrow.schema(list(kinds.items()), metadata={_MARK: shard.mark.encode()})
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns, schema=schema), file, compression="zstd")
    return file.getvalue()


class Encoding:
    """Encodes one shard after the other, here or in another process. The codec is loaded at the first one."""

    def __init__(self, folder, codec_folder, device, options):
        """folder: of the shards; options: DataOptions"""
        self.folder, self.codec_folder, self.device, self.options = str(folder), str(codec_folder), device, options

    @cached_property
    def codec(self):
        from orpheus.codec.snac import Codec

        return Codec.from_folder(Path(self.codec_folder), self.device)

    def __call__(self, shard):
        """(number, recordings) of a Shard; its file is there afterwards. Raises InputError, OutputError."""
        if self.codec.fingerprint != shard.codec:
            raise InputError(
                f"the codec in {self.codec_folder} is another one on {os.uname().nodename} than where the run was started: "
                "every machine must see the same files under that path"
            )
        codes = encode_recordings(shard.recordings, self.codec, self.options)
        with atomic_file(Path(self.folder) / shard.name, cure="Free some space, and start again: it goes on") as file:
            file.write(_file(shard, codes))
        return shard.number, len(shard.recordings)


def read_plan(path):
    """What a run that was started before is made of; None where there is none. Raises OutputError."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise OutputError(
            f"{path} cannot be read, so that nothing tells what the folder holds: name another --out"
        ) from error
