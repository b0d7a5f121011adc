"""Sound and pictures for the HTML report, as data: URLs, which need no network."""

import base64
import io

import numpy as np

from orpheus.common.audio import wav_bytes
from orpheus.common.frame import SAMPLE_RATE

_WINDOW, _HOP, _BINS, _POOLED = 1024, 480, 342, 3  # 0 to 8 kHz in 114 rows, 50 columns a second
_RANGE_DB = 70
COLOURS = ("#2563eb", "#d97706", "#059669", "#9333ea", "#dc2626", "#0891b2")


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


def _svg(figure):
    import matplotlib

    file = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "orpheus"}):
        figure.savefig(file, format="svg", metadata={"Date": None}, transparent=False)
    return data_url("image/svg+xml", file.getvalue())


def _clean(axes):
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.25)
    axes.set_axisbelow(True)


def intervals_plot(report, figures):
    """Every figure of every system with its interval."""
    from matplotlib.figure import Figure

    systems = report["systems"]
    columns = min(4, len(figures))
    rows = -(-len(figures) // columns)
    figure = Figure(figsize=(2.9 * columns, 2.3 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(figures) :]:
        axes.set_visible(False)
    for axes, f in zip(grid.flat, figures):
        scale = 100 if f.unit == "%" else 1
        for n, system in enumerate(systems):
            e = system["figures"].get(f.name)
            if e is None:
                continue
            value, low, high = (scale * e[key] for key in ("value", "low", "high"))
            errors = [[max(0, value - low)], [max(0, high - value)]]
            axes.errorbar([n], [value], errors, fmt="o", capsize=4, color=COLOURS[n % len(COLOURS)])
        axes.set_title(f.title + (f" ({f.unit})" if f.unit else ""), fontsize=9)
        axes.set_xticks(range(len(systems)), [s["name"] for s in systems], fontsize=8)
        axes.set_xlim(-0.6, len(systems) - 0.4)
        axes.tick_params(axis="y", labelsize=8)
        if f.unit == "%":  # at least ten points, inside 0 to 100
            low, high = axes.get_ylim()
            middle = (low + high) / 2
            low, high = min(low, middle - 5), max(high, middle + 5)
            axes.set_ylim(max(low, -1), min(high, 101))
        _clean(axes)
    return _svg(figure)


def pace_plot(report):
    """Length of the text against length of the speech, a point for each clip: loops are above, skips below."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.8, 3.4), layout="constrained")
    axes = figure.subplots()
    for n, system in enumerate(report["systems"]):
        x, y = [len(score["text"]) for score in system["rows"]], [score["spoken_seconds"] for score in system["rows"]]
        axes.scatter(x, y, s=14, alpha=0.7, color=COLOURS[n % len(COLOURS)], label=system["name"])
    axes.set_xlabel("characters of text", fontsize=9)
    axes.set_ylabel("seconds of speech", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.legend(fontsize=8, frameon=False)
    axes.set_title("Loops are above the crowd, skips below", fontsize=9)
    _clean(axes)
    return _svg(figure)


def tags_plot(report):
    """The share of each tag that is audible."""
    from matplotlib.figure import Figure

    systems = [system for system in report["systems"] if system["tags"]]
    tags = list(dict.fromkeys(tag for system in systems for tag in system["tags"]))
    figure = Figure(figsize=(5.8, 3.4), layout="constrained")
    axes, width = figure.subplots(), 0.8 / max(1, len(systems))
    for n, system in enumerate(systems):
        counts = [system["tags"].get(tag) for tag in tags]
        shares = [100 * c["realised"] / c["count"] if c else 0 for c in counts]
        colour = COLOURS[report["systems"].index(system) % len(COLOURS)]
        axes.bar(
            [i + (n - (len(systems) - 1) / 2) * width for i in range(len(tags))],
            shares,
            width * 0.9,
            color=colour,
            label=system["name"],
        )
    axes.set_xticks(range(len(tags)), tags, fontsize=8, rotation=25)
    axes.set_ylim(0, 102)
    axes.set_title("Tags that are audible (%)", fontsize=9)
    axes.tick_params(axis="y", labelsize=8)
    if len(systems) > 1:
        axes.legend(fontsize=8, loc="lower right")
    _clean(axes)
    return _svg(figure)
