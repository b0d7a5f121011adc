"""The quickstart notebook, run from top to bottom on the demo voice."""

import json
import os
import shutil

import pytest

from orpheus.common.options import ROOT
from orpheus.speech.model import DEMO_VOICE
from orpheus.text.tags import KNOWN_TAGS
from tests.fakes.checkpoints import save_adapter

nbformat = pytest.importorskip("nbformat")  # a machine for the GPU tests may lack it
NOTEBOOK = ROOT / "docs" / "quickstart.ipynb"
PLAYERS = {"speak": 1, "stream": 1, "batch": 3, "tags": len(KNOWN_TAGS), "adapter": 1}  # by cell


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The cells by id, after a run in a copy of the project that has an adapter and no GPU."""
    from nbclient import NotebookClient

    root = tmp_path_factory.mktemp("project")
    for name in ("inference.py", "orpheus", "assets"):
        (root / name).symlink_to(ROOT / name)
    (root / "docs").mkdir()
    shutil.copy(NOTEBOOK, root / "docs")
    save_adapter(root / "lora_model", DEMO_VOICE, base_name=str(DEMO_VOICE))

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(root / "docs")}})
    client.execute(env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"})
    return {cell.id: cell for cell in notebook.cells}


def _shown(cell, mime):
    return [output.data[mime] for output in cell.outputs if mime in output.get("data", {})]


def _printed(cell, name="stdout"):
    return "".join(output.text for output in cell.outputs if output.output_type == "stream" and output.name == name)


@pytest.mark.parametrize("cell", PLAYERS)
def test_players(executed, cell):
    players = [html for html in _shown(executed[cell], "text/html") if "<audio" in html]
    assert len(players) == PLAYERS[cell]
    assert all("data:audio/" in html and len(html) > 10_000 for html in players), "a player without sound"


def test_nothing_went_wrong(executed):
    for cell in executed.values():
        for output in cell.get("outputs", ()):
            assert output.output_type != "error"
            assert "Warning" not in output.get("text", ""), output.text


def test_nothing_is_installed_where_all_is_there(executed):
    assert executed["install"].outputs == []


def test_spectrogram(executed):
    assert len(_shown(executed["see"], "image/png")) == 1


def test_stream_comes_in_chunks_before_its_end(executed):
    first, whole = _printed(executed["stream"]).splitlines()
    assert float(first.split()[-2]) < float(whole.split()[-2])
    assert int(whole.split()[3]) > 1


def test_every_tag_is_spoken():
    source = json.loads(NOTEBOOK.read_text())["cells"]
    spoken = "".join(next(cell["source"] for cell in source if cell["id"] == "tags"))
    assert [tag for tag in KNOWN_TAGS if f"<{tag}>" not in spoken] == []


def test_no_outputs_are_stored():
    code = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
