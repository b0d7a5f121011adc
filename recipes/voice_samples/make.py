"""Makes the sounds of docs/voices.md, and the page with players beside them: the demo voice's voices and tags, and a fine-tune.

    python orpheus_sft_unsloth.py --demo                    an adapter in lora_model/
    python -m recipes.voice_samples.make                    everything, into docs/voices/
    python -m recipes.voice_samples.make --only tags        a part of it: voices, tags or fine-tune

Seeds are fixed, so a voice that has not changed makes the same sounds. A CPU is enough: a quarter of a minute.
"""

import argparse
import html
from dataclasses import dataclass
from pathlib import Path

from orpheus.common.audio import read_audio
from orpheus.common.files import atomic_file
from orpheus.common.frame import SAMPLE_RATE
from orpheus.common.options import ROOT
from orpheus.training.options import DEMO_SPEAKER

OUT = ROOT / "docs" / "voices"
COMPRESSION = 0.7
"""Of libsndfile's MP3, 0 to 1: 64 kbit/s at 24 kHz mono, 8 kB a second."""

PARTS = ("voices", "tags", "fine-tune")


@dataclass(frozen=True)
class Sample:
    """A sound, and what is said of it. The file is NAME.mp3."""

    part: str
    name: str
    text: str
    voice: str
    seed: int = 0


SAMPLES = (
    Sample("voices", "nora", "Good morning! I have made some tea, and the garden is full of birds.", "nora"),
    Sample("voices", "theo", "Good morning! I have made some tea, and the garden is full of birds.", "theo"),
    Sample("tags", "laugh", "That is so funny. <laugh> Tell me more.", "nora"),
    Sample("tags", "giggles", "You look silly <giggles> in that hat.", "nora"),
    Sample("tags", "chuckle", "Well, well. <chuckle> You are late again.", "theo"),
    Sample("tags", "sigh", "What a day. <sigh> I want to go home.", "nora"),
    Sample("tags", "gasp", "<gasp> You scared me!", "nora"),
    Sample("tags", "yawn", "I am so tired. <yawn> Good night.", "theo"),
    Sample("tags", "cough", "Sorry, <cough> please go on.", "theo"),
    Sample("tags", "sniffle", "I miss her. <sniffle> I really do.", "nora"),
    Sample("tags", "groan", "Not again! <groan> My poor back.", "theo"),
    Sample("fine-tune", "before_1", "The house was filled with company when I arrived.", "nora"),
    Sample("fine-tune", "after_1", "The house was filled with company when I arrived.", "milo"),
    Sample("fine-tune", "before_2", "I can't find the letters that Martin gave me this morning.", "nora"),
    Sample("fine-tune", "after_2", "I can't find the letters that Martin gave me this morning.", "milo"),
)
RECORDING = "milo", DEMO_SPEAKER / "clips" / "01.opus"  # the speaker himself, to compare with
TITLES = {"voices": "Voices", "tags": "Emotion tags", "fine-tune": "Before and after a fine-tune"}


def speakers(adapter):
    """{voice: what speaks with it}: the demo voice for its own, with the adapter for the speaker that it was taught."""
    from orpheus.speech.synthesis import OrpheusInference

    demo = OrpheusInference("demo", lora="none")
    return lambda voice: demo if voice in demo.voices else OrpheusInference("demo", lora=adapter)


def write_mp3(path, audio):
    """Writes float32 (samples,) at 24 kHz. Raises OutputError where it cannot be written."""
    import soundfile

    with atomic_file(path) as file:
        soundfile.write(file, audio, SAMPLE_RATE, format="MP3", bitrate_mode="CONSTANT", compression_level=COMPRESSION)


def page():
    """A page with a player for every sound: what a code host's view of Markdown does not show."""
    rows = []
    for part in PARTS:
        rows.append(f"<h2>{TITLES[part]}</h2>")
        rows += [player(sample.name, f"{sample.voice}: {sample.text}") for sample in SAMPLES if sample.part == part]
        if part == "fine-tune":
            rows.append(player(RECORDING[0], "milo: one of the recordings that the adapter was taught"))
    return HEAD + "\n".join(rows) + "\n"


def player(name, text):
    label = html.escape(f"{name}.mp3")
    return f'<p>{html.escape(text)}<br><audio controls preload="metadata" src="{name}.mp3" aria-label="{label}"></audio></p>'


HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>The demo voice: voices, tags, a fine-tune</title>
<style>
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 40rem; margin: 2rem auto; padding: 0 1rem }
audio { width: 100%; max-width: 24rem }
</style>
<h1>The demo voice</h1>
"""


def make(out, adapter, parts=PARTS):
    """Writes the sounds of these parts into the folder `out`, and the page."""
    out.mkdir(parents=True, exist_ok=True)
    wanted = [sample for sample in SAMPLES if sample.part in parts]
    speaker_of = speakers(adapter)
    for sample in wanted:
        speech = speaker_of(sample.voice).synthesize(sample.text, voice=sample.voice, seed=sample.seed)
        write_mp3(out / f"{sample.name}.mp3", speech.audio)
        print(f"{out / sample.name}.mp3: {speech.seconds:.1f} s, {speech.finish_reason}", flush=True)
    if "fine-tune" in parts:
        name, clip = RECORDING
        write_mp3(out / f"{name}.mp3", read_audio(clip))
    with atomic_file(out / "index.html") as file:
        file.write(page().encode())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--adapter", default="lora_model", help="what `python orpheus_sft_unsloth.py --demo` made")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    arguments = parser.parse_args()
    make(arguments.out, arguments.adapter, arguments.only)


if __name__ == "__main__":
    main()
