"""Runs docs/quickstart.ipynb from top to bottom and stores it with its outputs, small: sounds as MP3, pictures as JPEG, one line
of every progress bar.

    pip install -r requirements-dev.txt
    python -m recipes.notebook.run                                              four minutes of it are training
    python -m recipes.notebook.run --keep-training                              speaks with what an earlier run has trained
    python -m recipes.notebook.run --repository https://github.com/you/name     the address for Colab, here and in the README; runs nothing

The adapter and the samples go to outputs/quickstart/.
"""

import argparse
import base64
import io
import json
import os
import re
from pathlib import Path

from orpheus.common.files import atomic_file
from orpheus.common.options import ROOT

NOTEBOOK = ROOT / "docs" / "quickstart.ipynb"
BADGE = (
    "https://colab.research.google.com/github/"  # then the repository's place at GitHub, or nothing: Colab asks for it
)
COMPRESSION = 0.85  # of libsndfile's MP3, 0 to 1: 32 kbit/s at 24 kHz mono
JPEG_QUALITY = 70
WAV = re.compile(r"data:audio/(?:x-)?wav;base64,([A-Za-z0-9+/=]+)")
NOT_KEPT = {"text/plain"}  # beside a richer form: "<IPython.lib.display.Audio object>" and addresses in memory


def as_mp3(match):
    """A data address of WAV as one of MP3."""
    import soundfile

    audio, rate = soundfile.read(io.BytesIO(base64.b64decode(match[1])), dtype="float32")
    file = io.BytesIO()
    soundfile.write(file, audio, rate, format="MP3", bitrate_mode="CONSTANT", compression_level=COMPRESSION)
    return f"data:audio/mpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def as_jpeg(png):
    """A PNG as JPEG, both in base64: a tenth of its size, for a spectrogram."""
    from PIL import Image

    file = io.BytesIO()
    Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB").save(file, "JPEG", quality=JPEG_QUALITY)
    return base64.b64encode(file.getvalue()).decode()


def last_of_bars(text):
    """What a terminal shows in the end: of parts that overwrite each other in a line, the last that is not blank."""
    lines = ([part for part in line.split("\r") if part.strip()] or [""] for line in text.split("\n"))
    return "\n".join(parts[-1].rstrip() for parts in lines)


def shrink(output):
    """An output of a cell, changed in place: no wider than it must be, without this machine's folders."""
    if output["output_type"] == "stream":
        output["text"] = last_of_bars("".join(output["text"])).replace(f"{ROOT}{os.sep}", "")
    data = output.get("data", {})
    if len(data) > 1:
        for kind in NOT_KEPT & set(data):
            del data[kind]
    if "image/png" in data:
        data["image/jpeg"] = as_jpeg("".join(data.pop("image/png")))
    if "text/html" in data:
        data["text/html"] = WAV.sub(as_mp3, "".join(data["text/html"]))


def joined(outputs):
    """Outputs with the pieces of one stream put together: a bar's overwritten parts may come in several."""
    found = []
    for output in outputs:
        if output["output_type"] == "stream" and found and found[-1].get("name") == output["name"]:
            found[-1]["text"] = "".join(found[-1]["text"]) + "".join(output["text"])
        else:
            found.append(output)
    return found


def execute(notebook, folder, timeout=3600):
    """Runs a notebook's cells in `folder`, without a GPU; their outputs are in it afterwards."""
    from nbclient import NotebookClient

    for cell in notebook.cells:
        cell.get("metadata", {}).pop("execution", None)
    client = NotebookClient(
        notebook, timeout=timeout, record_timing=False, resources={"metadata": {"path": str(folder)}}
    )
    client.execute(env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"})


def run_again(notebook, folder, keep_training=False):
    """Runs a notebook, and makes its outputs small. keep_training: the cell `train` keeps its output, its last line is left out."""
    trained = next(cell for cell in notebook.cells if cell.id == "train")
    source, kept = trained.source, trained.outputs
    if keep_training:
        trained.source = source.rpartition("\n")[0]
    execute(notebook, folder)
    trained.source = source
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = joined(cell.outputs)
            for output in cell.outputs:
                shrink(output)
    if keep_training:
        trained.outputs = kept


def with_badge(text, address):
    """Text whose badge opens the notebook of this repository on Colab, or Colab's list of notebooks where it is not at GitHub."""
    place = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+?)(?:\.git)?/?", address)
    target = f"{BADGE}{place[1]}/blob/main/docs/{NOTEBOOK.name}" if place else BADGE
    return re.sub(re.escape(BADGE) + r"[^)\s]*", lambda _: target, text)


def name_repository(notebook, address):
    """Writes what `git clone` takes into the first cell, and the place at GitHub into the badge."""
    for cell in notebook["cells"]:
        named = re.sub(r'^REPOSITORY = "[^"\n]*"', lambda _: f'REPOSITORY = "{address}"', cell["source"], flags=re.M)
        cell["source"] = with_badge(named, address)


def main():
    import nbformat

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repository", help="address that `git clone` takes, to be written into the notebook")
    parser.add_argument("--keep-training", action="store_true", help="leaves the training of an earlier run as it is")
    parser.add_argument("--notebook", type=Path, default=NOTEBOOK)
    arguments = parser.parse_args()
    notebook = nbformat.read(arguments.notebook, as_version=4)
    if arguments.repository:
        name_repository(notebook, arguments.repository)
        readme = ROOT / "README.md"
        readme.write_text(with_badge(readme.read_text(encoding="utf-8"), arguments.repository), encoding="utf-8")
    else:
        run_again(notebook, arguments.notebook.parent, arguments.keep_training)
    text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    with atomic_file(arguments.notebook) as file:
        file.write(text.encode())
    print(f"{arguments.notebook}: {len(text) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
