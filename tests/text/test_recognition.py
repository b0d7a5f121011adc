"""Speech recognition where the GPU cannot do it."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from orpheus.common.errors import OrpheusWarning
from orpheus.text.recognition import Heard, Recognizer

AUDIO = np.zeros(24_000, np.float32)


@pytest.fixture
def faster_whisper(monkeypatch):
    """Opens as faster-whisper does beside a PyTorch of another CUDA version; `devices` is what was asked for."""
    devices = []

    class WhisperModel:
        def __init__(self, model, device, compute_type):
            devices.append(device)
            self.device = device

        def transcribe(self, audio, **how):
            def segments():
                if self.device != "cpu":
                    raise RuntimeError(how.get("message", "Library libcublas.so.12 is not found or cannot be loaded"))
                yield SimpleNamespace(text=f" {len(audio)} samples ", words=None)

            return segments(), None

    module = ModuleType("faster_whisper")
    module.WhisperModel = WhisperModel
    monkeypatch.setitem(sys.modules, "faster_whisper", module)
    return devices


def test_a_missing_library_of_the_gpu_means_the_cpu(faster_whisper):
    recognizer = Recognizer("tiny.en", "a test", "")
    with pytest.warns(OrpheusWarning, match="on the CPU, since on the GPU: Library libcublas.so.12 is not found"):
        heard = recognizer.listen(AUDIO)
    assert heard == recognizer.listen(AUDIO) == Heard("16000 samples")
    assert faster_whisper == ["auto", "cpu"]


def test_other_errors_of_the_gpu_stay_errors(faster_whisper):
    with pytest.raises(RuntimeError, match="out of memory"):
        Recognizer("tiny.en", "a test", "", message="CUDA out of memory").listen(AUDIO)
    assert faster_whisper == ["auto"]
