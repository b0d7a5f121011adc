"""Sounds in the containers that libsndfile cannot read, made with PyAV."""

import io
from fractions import Fraction

import numpy as np


def tone(samples, rate, channels=1):
    """float32 (channels, samples): a low tone that swells, so that a shift of one sample shows."""
    time = np.arange(samples) / rate
    wave = 0.3 * np.sin(2 * np.pi * 220 * time) * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * time))
    return np.stack([wave.astype(np.float32)] * channels)


def contained(container, codec, rate, samples, channels=1, video=False):
    """(the file's bytes, float32 (channels, samples) that are in it)."""
    import av

    file, sound = io.BytesIO(), tone(samples, rate, channels)
    layout = "mono" if channels == 1 else "stereo"
    with av.open(file, "w", format=container) as output:
        pictures = output.add_stream("mpeg4", rate=5) if video else None
        stream = output.add_stream(codec, rate=rate)
        stream.layout, stream.bit_rate = layout, 128_000
        if pictures:
            pictures.width = pictures.height = 16
            for _ in range(3):
                output.mux(pictures.encode(av.VideoFrame(16, 16, "yuv420p")))
            output.mux(pictures.encode(None))
        frame = av.AudioFrame.from_ndarray(sound, format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.getvalue(), sound
