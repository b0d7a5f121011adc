"""Entries of data sets in Arrow's format: from the Hugging Face hub, saved by `datasets`, or parquet files."""

import io
import re
import struct
import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from orpheus.common.errors import InputError
from orpheus.common.hub import brief, reason_of
from orpheus.data.sources.codes import PREPARED, coded, prepared
from orpheus.data.sources.columns import plain, resolve_columns
from orpheus.data.sources.entries import Entry, FileAudio, Source, as_text
from orpheus.data.sources.listed import is_codes, place_all
from orpheus.data.sources.places import Finder, Found

_OWN_RECORDINGS = (
    "To train on recordings of your own, put them into a folder with a metadata.csv whose first line is file_name,text: "
    "python orpheus_sft_unsloth.py --dataset FOLDER"
)

_LOOKED_AT = 200  # cells, for what a column is
_arrow = threading.Lock()  # `datasets` makes no promise about threads


@dataclass(frozen=True)
class ArrowAudio:
    """A cell of an Arrow table: bytes, a path, {"bytes", "path"} or {"array", "sampling_rate"}."""

    table: object  # datasets.Dataset of the audio column alone, in Arrow format: it decodes nothing
    index: int
    finder: object  # Finder of the folder that paths are relative to, or None

    @property
    def fingerprint(self):
        """Of the table: another one where the data set's files are others."""
        return self.table._fingerprint

    def open(self):
        """A binary file. Raises InputError."""
        value = self._value()
        return io.BytesIO(value) if isinstance(value, bytes) else value.open()

    def load(self):
        """The bytes of an audio file. Raises InputError."""
        value = self._value()
        return value if isinstance(value, bytes) else value.load()

    def _value(self):
        """Bytes of an audio file, or a FileAudio; an array becomes the bytes of an AU file. Raises InputError."""
        with _arrow:
            cell = self.table[self.index].column(0)[0]
        if cell.is_valid and _has_array(cell.type):
            return _array_bytes(cell)
        value = cell.as_py()
        if isinstance(value, dict):
            value = value.get("bytes") or value.get("path")
        if isinstance(value, str) and value:
            place = self.finder.find(value) if self.finder else None
            return FileAudio(place.path if isinstance(place, Found) else Path(value))
        if not isinstance(value, bytes):
            raise InputError("missing file: the entry has no audio")
        return value


def _has_array(arrow_type):
    import pyarrow

    return pyarrow.types.is_struct(arrow_type) and arrow_type.get_field_index("array") >= 0


def _array_bytes(cell):
    """An Arrow struct {"array", "sampling_rate"} as the bytes of an AU file, 32-bit float."""
    rate, array = cell["sampling_rate"].as_py(), cell["array"]
    if not rate or not array.is_valid:
        raise InputError("unreadable: an array without samples or sampling_rate")
    values = array.values
    flat = not hasattr(values.type, "value_type")
    samples = values.to_numpy(zero_copy_only=False) if flat else np.array(array.as_py())
    if samples.ndim == 2 and samples.shape[0] < samples.shape[1]:
        samples = samples.T  # `datasets` has channels first
    if np.issubdtype(samples.dtype, np.integer):
        samples = samples / (2.0**15 if np.abs(samples).max(initial=0) <= 2**15 else 2.0**31)  # 16 or 32 bit
    return au_bytes(samples, rate)


def au_bytes(samples, rate):
    """float (samples,) or (samples, channels) as an AU file; unlike libsndfile's float WAV it carries no time of writing."""
    channels = samples.shape[1] if samples.ndim == 2 else 1
    data = samples.astype(">f4").tobytes()
    return struct.pack(">4sIIIII", b".snd", 24, len(data), 6, int(rate), channels) + data


def _from_dataset(dataset, kind, folder, options, reader):
    """Rows of a datasets.Dataset. Cells are taken out as Arrow, so that `datasets` decodes no audio.

    folder: that paths are relative to, or None where they are of nowhere here
    """
    finder = Finder(folder) if folder else None
    try:
        columns = resolve_columns(dataset.column_names, options, partial(_sample, dataset), finder and finder.has)
    except InputError as error:
        raise InputError(f"{options.dataset}: {error}") from error
    name = columns.roles["audio"]
    audio, notes = _audio(dataset, name, finder, reader)
    texts, speakers = (_cells(dataset, columns.roles[role]) for role in ("text", "source"))
    labels = getattr(dataset.features.get(columns.roles["source"]), "names", None)  # of a ClassLabel
    entries = []
    for index, (sound, text, speaker) in enumerate(zip(audio, texts, speakers, strict=True)):
        sound, problem = sound if isinstance(sound, tuple) else (sound, None)
        if labels and speaker is not None:
            speaker = labels[speaker]
        if isinstance(text, (dict, list)):
            problem = f"bad row: the text is a {type(text).__name__}"
        entries.append(Entry(f"row {index}", sound, as_text(text), as_text(speaker), problem))
    return Source(entries, kind, columns.roles, columns.notes(kind) + notes)


def _arrow_column(dataset, name):
    return dataset.select_columns([name]).with_format("arrow")


def _cells(dataset, name):
    return [None] * len(dataset) if name is None else _arrow_column(dataset, name)[:][name].to_pylist()


def _sample(dataset, name):
    """Some cells of a column for what it is: of sound and of lists only that they are there."""
    import pyarrow

    kind = dataset.features.arrow_schema.field(name).type
    if pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind) or pyarrow.types.is_struct(kind):
        return [b"."] * min(len(dataset), _LOOKED_AT)
    if pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind):
        return [["."]] * min(len(dataset), _LOOKED_AT)
    rows = range(0, len(dataset), max(1, len(dataset) // _LOOKED_AT))
    return _arrow_column(dataset, name).select(rows)[:][name].to_pylist()


def _audio(dataset, name, finder, reader):
    """(for each row its audio, or that and what is wrong with it; notes)."""
    import pyarrow

    table, rows = _arrow_column(dataset, name), range(len(dataset))
    kind = table.features.arrow_schema.field(name).type
    is_text = pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)
    if is_codes(name) and not pyarrow.types.is_struct(kind):
        cells = coded([partial(_cell, table, index) for index in rows], plain(name) == "inputids", reader)
        if {*PREPARED} <= {*dataset.column_names}:
            cells = prepared(cells, *(_cells(dataset, column) for column in PREPARED))
        return cells, ()
    if is_text and finder:
        cells = [cell and cell.strip() for cell in _cells(dataset, name)]
        places, notes = place_all(cells, finder, "the data set")
        return [(ArrowAudio(table, n, finder) if not cells[n] else FileAudio(path), problem)
                for n, (path, problem) in enumerate(places)], notes  # fmt: skip
    return [ArrowAudio(table, index, finder) for index in rows], ()


def _cell(table, index):
    with _arrow:
        return table[index].column(0)[0].as_py()


def _quiet_datasets():
    import sys

    import datasets

    datasets.config.HF_DATASETS_TRUST_REMOTE_CODE = False  # else it asks "[y/N]" whether to run a data set's own script
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    return datasets


def from_saved(folder, options, reader=None):
    datasets = _quiet_datasets()
    try:
        dataset = datasets.load_from_disk(str(folder))
    except Exception as error:  # pyarrow, json and datasets each raise their own
        raise InputError(f"{folder} cannot be read as a saved data set: {brief(error)}") from error
    if isinstance(dataset, dict):  # a DatasetDict
        if options.split not in dataset:
            raise InputError(f"{folder} has no split {options.split!r}; choose with --split: {', '.join(dataset)}")
        dataset = dataset[options.split]
    return _from_dataset(dataset, "saved by datasets", folder, options, reader)


def from_parquet(paths, options, folder, reader=None):
    datasets = _quiet_datasets()
    try:
        dataset = datasets.Dataset.from_parquet([str(path) for path in paths])
    except Exception as error:  # as above
        raise InputError(f"{paths[0]} cannot be read as parquet: {brief(error.__cause__ or error)}") from error
    return _from_dataset(dataset, f"{len(paths)} parquet file{'s' * (len(paths) > 1)}", folder, options, reader)


def from_hub(options, reader=None):
    datasets = _quiet_datasets()
    name, subset = options.dataset, (options.subset,) if options.subset else ()
    try:
        dataset = datasets.load_dataset(name, *subset, split=options.split)
    except Exception as error:  # of the hub's client, of datasets, of httpx or requests
        if isinstance(error, ValueError) and re.search("config", str(error), re.IGNORECASE):
            asked = f"has no subset {options.subset!r}" if subset else "has several subsets"
            raise InputError(f"{name} {asked}; choose with --subset: {brief(error)}") from error
        if "split" in str(error) and isinstance(error, ValueError):
            raise InputError(f"{name} has no split {options.split!r}; choose with --split: {brief(error)}") from error
        raise InputError(
            f"the data set {name} cannot be fetched from the Hugging Face hub: {reason_of(error)}; nor is there a folder or file "
            f"of that name here. {_OWN_RECORDINGS}"
        ) from error
    part = f"subset {options.subset}, " if subset else ""
    return _from_dataset(dataset, f"hub data set, {part}split {options.split}", None, options, reader)
