"""Sound and pictures for the HTML report, as data: URLs, which need no network."""

import base64
import io

import numpy as np

from orpheus.common.audio import wav_bytes
from orpheus.common.frame import SAMPLE_RATE

_WINDOW, _HOP, _BINS, _POOLED = 1024, 480, 342, 3  # 0 to 8 kHz in 114 rows, 50 columns a second
_RANGE_DB = 70


def data_url(kind, data):
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def sound(audio, form="opus"):
    """24 kHz audio as a data: URL for a player; Opus at about 32 kbit/s, or WAV."""
    if form == "wav":
        return data_url("audio/wav", wav_bytes(audio))
    import soundfile

    file = io.BytesIO()
    # libsndfile's levels 0 to 1 mean 256 to 6 kbit/s
    clipped = np.clip(audio, -1, 1)
    soundfile.write(file, clipped, SAMPLE_RATE, format="OGG", subtype="OPUS", compression_level=1 - 26_000 / 250_000)
    return data_url("audio/ogg", file.getvalue())


def spectrogram(audio):
    """JPEG of 24 kHz audio's power from 0 to 8 kHz over 70 dB, 114 pixels high, 50 a second."""
    from matplotlib import colormaps
    from PIL import Image

    padded = np.pad(audio, (_WINDOW // 2, _WINDOW // 2))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(_WINDOW), axis=1))[:, :_BINS] ** 2
    power = power.reshape(len(power), -1, _POOLED).mean(2).T[::-1]  # (rows, columns), high above low
    decibels = 10 * np.log10(power / max(float(power.max()), 1e-9) + 1e-12)
    pixels = colormaps["magma"](np.clip(1 + decibels / _RANGE_DB, 0, 1))[..., :3]
    file = io.BytesIO()
    Image.fromarray((pixels * 255).astype(np.uint8)).save(file, "JPEG", quality=70)
    return data_url("image/jpeg", file.getvalue())
