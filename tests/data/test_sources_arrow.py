"""Data sets in Arrow's format, with audio kept in any way: nothing is decoded by `datasets`."""

import numpy as np
import pytest

from orpheus.common.audio import decode_audio
from orpheus.common.errors import InputError
from orpheus.data.options import DataOptions
from orpheus.data.sources.folders import open_source
from tests.fakes.recordings import TWO_RATES, facts, speech, two_recordings


@pytest.fixture(autouse=True)
def own_datasets_cache(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets_cache")


@pytest.fixture
def two(tmp_path):
    return two_recordings(tmp_path / "two")


def source(dataset, **options):
    return open_source(DataOptions(dataset=str(dataset), **options))


NAMED = [("First.", "ann", 16_000), ("Second.", "bob", 48_000)]


def dataset(two, kind):
    """A datasets.Dataset of two rows whose audio is stored as `kind`."""
    import datasets

    texts = {"text": ["First.", "Second."], "source": ["ann", "bob"]}
    paths = [str(two / name) for name in TWO_RATES]
    if kind == "Audio":
        return datasets.Dataset.from_dict(texts | {"audio": paths}).cast_column("audio", datasets.Audio())
    if kind == "path":
        return datasets.Dataset.from_dict(texts | {"path": list(TWO_RATES)})
    cells = []
    for path in paths:
        with open(path, "rb") as file:
            data = file.read()
        samples, rate = decode_audio(data, "")
        cells.append(
            {
                "bytes": {"bytes": data, "path": None},
                "array": {"array": samples[:, 0], "sampling_rate": rate},
                "int16": {"array": (samples[:, 0] * 32768).astype(np.int16), "sampling_rate": rate},
                "raw": data,
            }[kind]
        )
    return datasets.Dataset.from_dict(texts | {"audio": cells})


@pytest.mark.parametrize("kind", ["Audio", "bytes", "array", "int16", "raw", "path"])
@pytest.mark.parametrize("stored", ["saved", "parquet", "folder"])
def test_every_way_in_which_datasets_keeps_audio(two, kind, stored):
    """Each row goes by its own rate: public recipes take row 0's for all. Nothing needs torchcodec."""
    made = dataset(two, kind)
    if stored == "saved":
        path = two / "saved"
        made.save_to_disk(path)
        if kind == "path":  # relative to the saved folder
            for name in TWO_RATES:
                (path / name).write_bytes((two / name).read_bytes())
    else:
        path = two / "train-00000.parquet"
        made.to_parquet(path)
        path = path if stored == "parquet" else two
    found = source(path)
    assert facts(found) == NAMED
    assert [row.where for row in found.entries] == ["row 0", "row 1"]
    for row, name in zip(found.entries, TWO_RATES, strict=True):
        original, _ = decode_audio((two / name).read_bytes(), "")
        assert np.array_equal(decode_audio(row.audio.load(), "")[0], original)


def test_arrays_with_two_channels_and_cells_without_audio(tmp_path):
    import datasets

    stereo = speech(0.2, 16_000, 2)
    cells = [{"array": stereo.T.tolist(), "sampling_rate": 16_000}, None, {"array": None, "sampling_rate": 16_000}]
    datasets.Dataset.from_dict({"audio": cells, "text": ["First.", None, "x"]}).save_to_disk(tmp_path / "saved")
    first, second, third = source(tmp_path / "saved").entries
    assert np.array_equal(decode_audio(first.audio.load(), "")[0], stereo)
    assert second.text is None
    for row in (second, third):
        with pytest.raises(InputError, match="without samples|no audio"):
            row.audio.load()


def test_splits_of_a_saved_dataset(two):
    import datasets

    made = dataset(two, "bytes")
    datasets.DatasetDict(train=made, test=made.select([1])).save_to_disk(two / "saved")
    assert facts(source(two / "saved")) == NAMED
    assert facts(source(two / "saved", split="test")) == NAMED[1:]
    with pytest.raises(InputError, match=r"no split 'dev'; choose with --split: train, test"):
        source(two / "saved", split="dev")


def test_parquet_files_of_the_split_are_taken(two):
    for n, name in enumerate(["train-0.parquet", "test-0.parquet"]):
        dataset(two, "bytes").select([n]).to_parquet(two / name)
    assert facts(source(two)) == NAMED[:1]
    assert facts(source(two, split="test")) == NAMED[1:]


def test_labels_of_a_class_are_names(two):
    import datasets

    made = dataset(two, "bytes").cast_column("source", datasets.ClassLabel(names=["bob", "ann"]))
    made.save_to_disk(two / "saved")
    assert facts(source(two / "saved")) == NAMED


@pytest.mark.parametrize("name", ["rows.parquet", "saved/state.json"])
def test_damaged_arrow_files_are_named(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"not this")
    path = path if path.suffix == ".parquet" else path.parent
    with pytest.raises(InputError, match=f"{path.name} cannot be read"):
        source(path)
