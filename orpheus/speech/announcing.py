"""Who speaks, in one line and before anything is loaded: PyTorch alone takes longer than a user should wait to read it.

So what PyTorch would say is told from its files. Where that turns out wrong, the line is said again.
"""

import os
import re
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from orpheus.common.errors import OrpheusError
from orpheus.common.gguf import is_gguf
from orpheus.common.options import ORPHEUS_3B
from orpheus.speech.adapters import DEMO_VOICE, adapter_given_as_model, base_for_auto, find_adapter
from orpheus.text.identify import describe, is_known_here

_UNNAMED = "no named voice"


@dataclass(frozen=True)
class Speaker:
    """Who is going to speak."""

    checkpoint: str  # the model: a folder or a hub id
    adapter: str | None  # its folder or hub id
    line: str  # for people


def who_speaks(model="auto", lora="auto", voice=None, device="auto", like=None, url=None, cuda=None):
    """The Speaker that `load_model` would give, or None where that shows only later, an error included.

    model ... like: as for `load_model`; voice: what was asked for; url: of a server that runs the model; cuda: whether it is there,
    None to tell it from files
    """
    try:
        if url is not None or (model is not None and is_gguf(model)):
            return _elsewhere(model, voice, like, url)
        cuda = (has_cuda() if device == "auto" else str(device).startswith("cuda")) if cuda is None else cuda
        return _here(model, lora, voice, like, cuda)
    except (OrpheusError, OSError):  # said in full where it is loaded
        return None


def _here(model, lora, voice, like, cuda):
    by_itself = lora == "auto"
    model, lora, _ = adapter_given_as_model("auto" if model is None else str(model), lora)
    adapter = lora if _is_hub_id(lora) else find_adapter(lora)
    known = adapter if isinstance(adapter, Path) else None
    checkpoint = _checkpoint(model, known, cuda)
    if not (_is_hub_id(checkpoint) or Path(checkpoint).expanduser().is_dir()):
        return None
    who = voice_of(checkpoint, known, voice, like)
    if adapter is None:
        return Speaker(checkpoint, None, f"{who}, {_named(checkpoint)}{_fell_back(model, cuda)}")
    line = f"{who}, adapter {adapter}{'/' if known else ''} on {_named(checkpoint)}"
    if by_itself and lora == "auto":
        other = _checkpoint(model, None, cuda)
        plain = voice_of(other, None, None, like)
        line += f"; --lora none speaks as {plain}{f', {_named(other)}' if other != checkpoint else ''}"
    return Speaker(checkpoint, str(adapter), line)


def _elsewhere(model, voice, like, url):
    """A model that a server or llama.cpp runs."""
    checkpoint = {"auto": ORPHEUS_3B, None: ORPHEUS_3B, "demo": str(DEMO_VOICE)}.get(model, str(model))
    line = f"{voice_of(checkpoint, None, voice, like)}, {_named(checkpoint)}{f' at {url}' if url else ''}"
    return Speaker(checkpoint, None, line)


def _checkpoint(model, adapter, cuda):
    if model == "auto":
        return base_for_auto(adapter, cuda) if adapter else ORPHEUS_3B if cuda else str(DEMO_VOICE)
    return str(DEMO_VOICE) if model == "demo" else model


def voice_of(checkpoint, adapter=None, voice=None, like=None):
    """The voice that speaks, in words. Of a model whose files are not here and whose name is unknown, nothing is fetched."""
    if voice is not None:
        return voice if voice != "none" else _UNNAMED
    if not (like or is_gguf(checkpoint) or is_known_here(checkpoint)):
        return "its own voice"
    return describe(checkpoint, adapter, like).default_voice or _UNNAMED


def _named(checkpoint):
    return "the demo voice" if checkpoint == str(DEMO_VOICE) else checkpoint


def _fell_back(model, cuda):
    if model != "auto" or cuda:
        return ""
    return f": no CUDA here (--model {ORPHEUS_3B}: slow)"


def _is_hub_id(lora):
    id = r"[\w-][\w.-]*/[\w-][\w.-]*"
    return isinstance(lora, str) and re.fullmatch(id, lora) and not Path(lora).expanduser().exists()


# --- CUDA ------------------------------------------------------------------------------------------------------------


def has_cuda():
    """Whether PyTorch will find a GPU of NVIDIA's or AMD's; from its files and the system's where it is not loaded."""
    if "torch" in sys.modules:
        return sys.modules["torch"].cuda.is_available()
    return built_with_cuda() and _driver()


def built_with_cuda():
    """Whether the PyTorch that is installed is one for GPUs, as its version.py says."""
    spec = find_spec("torch")
    if spec is None or not spec.origin:
        return False
    try:
        text = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
    except OSError:
        return False
    return bool(re.search(r"^(?:cuda|hip)\b[^=\n]*=\s*['\"]", text, re.M))


def _driver():
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return False
    places = ["/dev/nvidiactl", "/dev/dxg", "/dev/kfd", rf"{os.environ.get('SYSTEMROOT', '')}\System32\nvcuda.dll"]
    return any(Path(place).exists() for place in places)
