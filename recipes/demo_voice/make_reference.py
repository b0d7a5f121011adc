"""Picks clips of the demo voice's teacher, against which `python -m orpheus.evaluate` holds the voice's likeness.

    python -m recipes.demo_voice.make_reference SPEECH assets/evaluation/demo_voice_reference

SPEECH holds af_heart-0.npz and am_puck-0.npz of recipes.demo_voice.corpus.speak. Writes the longest clips of each voice as Opus, with
metadata.jsonl that names them as the demo voice's speakers.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from recipes.demo_voice.corpus.build import VOICE_NAMES, level_gain, read_clips

CLIPS = 6
"""Per voice: some 25 s, after which an embedding's mean hardly moves."""


def main(speech: str, out: str) -> None:
    import soundfile

    from orpheus.common.frame import SAMPLE_RATE

    entries = []
    Path(out).mkdir(parents=True, exist_ok=True)
    for teacher in ("af_heart", "am_puck"):
        clips = sorted(read_clips(f"{speech}/{teacher}-0.npz"), key=lambda clip: -len(clip[1][0]))[:CLIPS]
        for number, (text, (audio, _), _) in enumerate(clips):
            name = f"{VOICE_NAMES[teacher]}_{number}.opus"
            # libsndfile's level 0 to 1 stands for 256 to 6 kbit/s: 32 kbit/s
            leveled, level = audio * level_gain(audio), 1 - 26_000 / 250_000
            soundfile.write(
                f"{out}/{name}", leveled, SAMPLE_RATE, format="OGG", subtype="OPUS", compression_level=level
            )
            entries.append(dict(file_name=name, text=text, source=VOICE_NAMES[teacher]))
    (Path(out) / "metadata.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
