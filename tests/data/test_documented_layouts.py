"""The layouts that docs/data.md lists: each is built from what stands there, and read."""

import json
import re

import pytest

from orpheus.common.options import ROOT
from orpheus.data.options import DataOptions
from orpheus.data.recordings import read_recordings
from tests.fakes.recordings import speech, write

FRAMES = 12  # of codes: the one that the page shows is shorter than anything to learn from


def documented():
    """{name: lines} of the examples."""
    page = (ROOT / "docs" / "data.md").read_text("utf-8")
    block = re.search(r"### Layouts that are read\n.*?```\n(.*?)```", page, re.DOTALL)[1]
    parts = [part.splitlines() for part in block.strip().split("\n\n")]
    return {lines[0].removeprefix("# "): lines[1:] for lines in parts}


def put(path, content, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in (".wav", ".flac"):
        write(path, speech(1.5, seed=seed))
        return
    if "codes_list" in content:
        row = json.loads(content)
        content = json.dumps(row | {"codes_list": row["codes_list"] * FRAMES})
    with open(path, "a", encoding="utf-8") as file:
        file.write(content.replace("<TAB>", "\t") + "\n")


def test_there_are_many():
    assert len(documented()) >= 14


@pytest.mark.parametrize("name", documented())
def test_it_is_read_as_it_says(tmp_path, name):
    expected = []
    for number, line in enumerate(documented()[name]):
        path, _, content = line.partition(" ")
        if path == "=>":
            expected.append(content)
        else:
            put(tmp_path / "data" / path, content.strip(), number)
    found = read_recordings(DataOptions(dataset=str(tmp_path / "data")), progress=False, keep=False)
    assert found.rejected == [] and expected
    assert [f"{r.speaker}: {r.text}" if r.speaker else r.text for r in found.kept] == expected
