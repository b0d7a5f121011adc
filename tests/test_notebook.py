"""The quickstart notebook, run from top to bottom on the demo voice; and its stored outputs."""

import base64
import json
import re
import shlex
import subprocess
import sys

import pytest

from orpheus.common.options import ROOT
from orpheus.speech.model import DEMO_VOICE
from orpheus.text.tags import KNOWN_TAGS
from recipes.notebook import run
from tests.fakes.checkpoints import save_adapter

nbformat = pytest.importorskip("nbformat")  # a machine for the GPU tests may lack it
STORED = json.loads(run.NOTEBOOK.read_text())
SOURCES = {cell["id"]: "".join(cell["source"]) for cell in STORED["cells"]}
PLAYERS = {"speak": 1, "stream": 1, "batch": 3, "tags": len(KNOWN_TAGS), "before-after": 6, "adapter": 1}  # by cell
PROJECT = ("inference.py", "orpheus", "assets", "requirements.txt", "requirements-cpu.txt")
NO_ADDRESS = re.search(r'^REPOSITORY = "[^"]*"', SOURCES["install"], flags=re.M)[0]
# In the place of minutes of training: what it leaves.
TRAINED = """
adapter, samples = "adapter", Path("samples")
for folder in (samples, samples / "before"):
    folder.mkdir()
    for index in range(3):
        speech.save(folder / f"output_{index}.wav")
"""


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The cells by id, after a run in a copy of the project that has an adapter and no GPU."""
    root = tmp_path_factory.mktemp("project")
    for name in PROJECT:
        (root / name).symlink_to(ROOT / name)
    (root / "docs").mkdir()
    save_adapter(root / "adapter", DEMO_VOICE, base_name=str(DEMO_VOICE))

    notebook = nbformat.read(run.NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        cell.source = TRAINED if cell.id == "train" else cell.source
        if cell.id == "tags":
            assert "in speaker.synthesize_all(tagged," in cell.source
            cell.source = cell.source.replace(
                "synthesize_all(tagged,", "synthesize_all(tagged[:2],"
            )  # the rest takes long
    run.execute(notebook, root / "docs", timeout=240)
    return {cell.id: cell for cell in notebook.cells}


def _shown(cell, mime):
    found = [output["data"].get(mime, "") for output in cell["outputs"] if "data" in output]
    return ["".join(part) for part in found if part]


def _printed(cell, name="stdout"):
    streams = [output for output in cell["outputs"] if output["output_type"] == "stream" and output["name"] == name]
    return "".join("".join(output["text"]) for output in streams)


def _players(cell):
    return [html for html in _shown(cell, "text/html") if "<audio" in html]


@pytest.mark.parametrize("cell", PLAYERS)
def test_players(executed, cell):
    players = _players(executed[cell])
    assert len(players) == min(PLAYERS[cell], 2 if cell == "tags" else 9)
    assert all("data:audio/" in html and len(html) > 10_000 for html in players), "a player without sound"


def test_nothing_went_wrong(executed):
    for cell in executed.values():
        for output in cell.get("outputs", ()):
            assert output.output_type != "error"
            assert "Warning" not in output.get("text", ""), output.text


def test_nothing_is_fetched_where_all_is_there(executed):
    assert executed["install"].outputs == []


def test_spectrogram(executed):
    assert len(_shown(executed["see"], "image/png")) == 1


def test_stream_comes_in_chunks_before_its_end(executed):
    first, whole = _printed(executed["stream"]).splitlines()
    assert float(first.split()[-2]) < float(whole.split()[-2])
    assert int(whole.split()[3]) > 1


def test_every_tag_is_spoken():
    assert [tag for tag in KNOWN_TAGS if f"<{tag}>" not in SOURCES["tags"]] == []


def test_the_training_command_parses(in_empty_folder):
    import orpheus_sft_unsloth

    line = re.search(r"^!\{sys\.executable\} (.*)$", SOURCES["train"], flags=re.M)[1]
    script, *arguments = shlex.split(line)
    arguments = orpheus_sft_unsloth.parse([word.strip("{}") for word in arguments])
    assert (script, arguments.demo, str(arguments.run.out)) == ("orpheus_sft_unsloth.py", True, "adapter")


# --- the first cell, wherever it is opened ---


CLONE = f"""
import os
def clone(address, folder):
    print("clone", address, folder)
    os.mkdir(folder)
    for name in {PROJECT!r}:
        os.symlink(os.path.join({str(ROOT)!r}, name), os.path.join(folder, name))
"""
WHERE = "\nimport inference\nprint(os.getcwd(), '|', Path(inference.__file__).parent)"


def first_cell(folder, *changes):
    """Runs the first cell in `folder` with a `git` and a `pip` that only say what they were asked for; returns status and what was said.

    changes: (old, new) of its text
    """
    source = SOURCES["install"]
    for old, new in changes:
        assert old in source
        source = source.replace(old, new)
    source = re.sub(r"^(\s*)!git clone -q --depth 1 (\S+) (\S+)$", r"\1clone(f'\2', f'\3')", source, flags=re.M)
    source = re.sub(r"^(\s*)%pip (.*)$", r"\1print(f'''pip \2''')", source, flags=re.M)
    assert not re.search(r"^\s*[!%]", source, flags=re.M)
    done = subprocess.run([sys.executable, "-c", CLONE + source + WHERE], cwd=folder, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def checkout(tmp_path):
    """A folder that looks like one."""
    for name in PROJECT:
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


@pytest.mark.parametrize("place", ["", "docs", "docs/deeper"])
def test_a_checkout_is_found_from_its_folders(checkout, place):
    (checkout / place).mkdir(parents=True, exist_ok=True)
    assert first_cell(checkout / place) == (0, f"{checkout} | {checkout}\n")


def test_outside_a_checkout_it_asks_for_the_address(tmp_path):
    status, said = first_cell(tmp_path, (NO_ADDRESS, 'REPOSITORY = ""'))
    assert status == 1 and "write the repository's address into REPOSITORY" in said
    assert list(tmp_path.iterdir()) == []


def test_outside_a_checkout_it_clones_once(tmp_path):
    address = "https://example.org/some/name.git"
    folder = tmp_path / "orpheus-tts"
    there = f"{folder} | {folder}\n"
    given = (NO_ADDRESS, f'REPOSITORY = "{address}"')
    assert first_cell(tmp_path, given) == (0, f"clone {address} orpheus-tts\n{there}")
    assert first_cell(tmp_path, given) == (0, there)


LACKING = ('"torch transformers', '"no_such_package torch transformers')


def test_a_torch_that_is_there_stays(checkout):
    status, said = first_cell(checkout, LACKING, ('shutil.which("nvidia-smi")', "False"))
    words = said.splitlines()[0].split()
    assert status == 0 and words[:5] == ["pip", "install", "-q", "-c", "requirements.txt"]
    assert {"snac", "tyro", "datasets", "ipywidgets"} <= set(words) and not [w for w in words if w.startswith("torch")]


def test_where_no_torch_is_the_tested_one_comes(checkout):
    absent = ('importlib.util.find_spec("torch")', "None")
    _, said = first_cell(checkout, LACKING, ('shutil.which("nvidia-smi")', "False"), absent)
    assert [word for word in said.splitlines()[0].split() if word.startswith("torch")] == ["torch==2.13.0"]


def test_with_a_gpu_everything_is_installed(checkout):
    _, said = first_cell(checkout, LACKING, ('shutil.which("nvidia-smi")', "True"))
    assert said.splitlines()[0] == "pip install -q -r requirements.txt ipywidgets"


# --- what is stored ---


@pytest.mark.parametrize("cell", PLAYERS)
def test_stored_players_can_be_heard(cell):
    from orpheus.common.audio import decode_audio

    players = _players(next(part for part in STORED["cells"] if part["id"] == cell))
    assert len(players) == PLAYERS[cell]
    for html in players:
        data = base64.b64decode(re.search(r"data:audio/mpeg;base64,([^\"]+)", html)[1])
        audio, rate = decode_audio(data, cell)
        assert rate == 24_000 and len(audio) > 0.5 * rate and abs(audio).max() > 0.1


def test_what_is_stored_is_small_and_whole():
    assert run.NOTEBOOK.stat().st_size < 400_000
    code = [cell for cell in STORED["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1)), "run it from top to bottom"
    assert not [output for cell in code for output in cell["outputs"] if output["output_type"] == "error"]
    assert "/home/" not in run.NOTEBOOK.read_text() and "/tmp/" not in run.NOTEBOOK.read_text()


def test_before_differs_from_after():
    cell = next(part for part in STORED["cells"] if part["id"] == "before-after")
    assert len(set(_players(cell))) == 6


def test_bars_become_their_last_state():
    assert run.last_of_bars("a\nx: 1%\rx: 50%\rx: 100%\nb\n") == "a\nx: 100%\nb\n"
    assert run.last_of_bars("x: 100%\r     \rdone\n") == "done\n"
    assert run.last_of_bars("x: 100%\r     \r") == "x: 100%"
    outputs = [{"output_type": "stream", "name": "stdout", "text": t} for t in ("x: 1%\r", "x: 2%\n")]
    assert [run.last_of_bars(o["text"]) for o in run.joined(outputs)] == ["x: 2%\n"]


def test_wav_becomes_mp3_of_the_same_length(small_voice):
    from orpheus.common.audio import decode_audio

    speech = small_voice.synthesize("Hello.")
    output = {"output_type": "display_data", "data": {"text/html": speech._repr_html_(), "text/plain": "Speech(...)"}}
    run.shrink(output)
    assert list(output["data"]) == ["text/html"]
    data = re.search(r"data:audio/mpeg;base64,([^\"]+)", output["data"]["text/html"])[1]
    audio, rate = decode_audio(base64.b64decode(data), "player")
    assert rate == 24_000 and abs(len(audio) - len(speech.audio)) < 2_400


@pytest.mark.parametrize(
    "address, badge",
    [
        ("https://github.com/some-one/a.name", "github/some-one/a.name/blob/main/docs/quickstart.ipynb"),
        ("https://github.com/some-one/name.git", "github/some-one/name/blob/main/docs/quickstart.ipynb"),
        ("https://git.example.org/name", "github/"),
    ],
)
def test_the_address_goes_into_cell_and_badge(address, badge):
    notebook = json.loads(json.dumps(STORED))
    for cell in notebook["cells"]:
        cell["source"] = "".join(cell["source"])
    run.name_repository(notebook, address)
    sources = {cell["id"]: cell["source"] for cell in notebook["cells"]}
    assert f'\nREPOSITORY = "{address}"  #' in sources["install"]
    assert f"](https://colab.research.google.com/{badge})" in sources["title"]
    assert f"](https://colab.research.google.com/{badge})" in run.with_badge((ROOT / "README.md").read_text(), address)
