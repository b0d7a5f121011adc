import pytest

from tests.fakes.recordings import folder_of_twelve, prepare


@pytest.fixture
def folder(tmp_path):
    return folder_of_twelve(tmp_path / "data")


@pytest.fixture
def make(folder, small_voice):
    """Runs the whole of the data side; returns Prepared."""

    def make(cache="cache", dataset=folder, **options):
        return prepare(small_voice, dataset, folder.parent / cache, **options)

    return make
