"""Mixes the teacher's clips and the tag sounds into one training corpus.

Reads the .npz files of `speak`; writes OUT/audio.npy (int16, all clips end to end with silence
between them), OUT/labels.npy (int8, one class per TRACK_HOP samples of it) and OUT/clips.json, a list of
{start, samples, text, voice, held_out}; starts are multiples of TRACK_HOP.
"""

from __future__ import annotations

import argparse
import glob
import hashlib
import json
import os
import random
import time

import numpy as np

from orpheus.common.frame import SAMPLE_RATE
from recipes.demo_voice.corpus.labels import FIRST_TAG, SILENCE, TAG_NAMES, TRACK_HOP, constant_track
from recipes.demo_voice.corpus.tag_sounds import read_tracts, tag_sound

GAP = 2432
"""Samples of silence between two clips; a multiple of TRACK_HOP."""

VOICE_NAMES = {"af_heart": "nora", "am_puck": "theo", "af_bella": "bella", "am_michael": "michael"}
HELD_OUT_PERCENT = 1.5
ACTIVE_LEVEL_DB, PEAK = -22.0, 0.9
LONGEST_JOINED = 4.2 * SAMPLE_RATE

Piece = tuple[np.ndarray, np.ndarray]
"""A stretch of audio (float32) and its label track; the audio's length is a multiple of TRACK_HOP."""


def is_held_out(text: str) -> bool:
    """A sentence is held out by a hash of its text, so that no voice is trained on what another is tested on."""
    digest = hashlib.sha1(text.strip().lower().encode()).hexdigest()
    return int(digest[:8], 16) % 10_000 < HELD_OUT_PERCENT * 100


def level_gain(audio: np.ndarray) -> float:
    """Factor that brings the active 20 ms frames to ACTIVE_LEVEL_DB without passing PEAK."""
    frames = len(audio) // 480
    power = (audio[: frames * 480].reshape(frames, 480).astype(np.float64) ** 2).mean(1)
    active = power[power > power.max() * 1e-3]
    gain = 10 ** (ACTIVE_LEVEL_DB / 20) / np.sqrt(active.mean())
    return float(min(gain, PEAK / max(np.abs(audio).max(), 1e-6), 8.0))


def whole(audio: np.ndarray, track: np.ndarray) -> Piece:
    """Pads a piece to a whole number of track entries."""
    return np.pad(audio.astype(np.float32), (0, -len(audio) % TRACK_HOP)), track


def silence(rng: random.Random, shortest_s: float, longest_s: float) -> Piece:
    samples = int(rng.uniform(shortest_s, longest_s) * SAMPLE_RATE)
    return whole(np.zeros(samples, np.float32), constant_track(SILENCE, samples))


def spoken_tag(name: str, tract: dict, rng: np.random.Generator) -> Piece:
    audio = tag_sound(name, tract, rng)
    return whole(audio, constant_track(FIRST_TAG + TAG_NAMES.index(name), len(audio)))


def join(pieces: list[Piece]) -> Piece:
    return np.concatenate([audio for audio, _ in pieces]), np.concatenate([track for _, track in pieces])


def read_clips(path: str) -> list[tuple[str, Piece, bool]]:
    """(text, audio and labels, whether the other half of the sentence follows) of every clip."""
    stored = np.load(path)
    texts = json.loads(bytes(stored["texts"]).decode())
    pcm, track, ends = stored["pcm"], stored["track"], stored["ends"].tolist()
    clips, begin, track_begin = [], 0, 0
    for text, end, half in zip(texts, ends, stored["halves"].tolist()):
        entries = -(-(end - begin) // TRACK_HOP)
        audio = pcm[begin:end].astype(np.float32) / 32767
        clips.append((text, whole(audio, track[track_begin : track_begin + entries]), half))
        begin, track_begin = end, track_begin + entries
    return clips


def mix(path: str) -> tuple[str, list[tuple[str, bool, np.ndarray, np.ndarray]]]:
    """One process's clips with tags put in and short sentences joined: (voice, [(text, held out, pcm, track)])."""
    teacher_voice, part = os.path.basename(path)[:-4].rsplit("-", 1)
    tract = read_tracts()[teacher_voice]
    clips = read_clips(path)
    rng, noise = random.Random(f"{teacher_voice}{part}"), np.random.default_rng(int(part) * 7 + len(teacher_voice))
    made, at = [], 0
    while at < len(clips):
        first, piece, half = clips[at]
        text = first
        at += 1
        after = clips[at] if at < len(clips) else None
        joinable = (
            after is not None
            and not after[2]
            and max(len(piece[0]), len(after[1][0])) < LONGEST_JOINED
            and is_held_out(after[0]) == is_held_out(first)
        )
        choice = rng.random()
        if half:
            name = rng.choice(TAG_NAMES)
            sound, at = spoken_tag(name, tract, noise), at + 1
            text = f"{first} <{name}> {after[0]}"
            piece = join([piece, silence(rng, 0.02, 0.07), sound, silence(rng, 0.04, 0.10), after[1]])
        elif choice < 0.22:
            name = rng.choice(TAG_NAMES)
            sound, place = spoken_tag(name, tract, noise), rng.random()
            if place < 0.45 and joinable:
                at += 1
                text = f"{first} <{name}> {after[0]}"
                piece = join([piece, silence(rng, 0.03, 0.09), sound, silence(rng, 0.06, 0.14), after[1]])
            elif place < 0.72:
                text = f"<{name}> {first}"
                piece = join([silence(rng, 0.03, 0.05), sound, silence(rng, 0.06, 0.14), piece])
            else:
                text = f"{first} <{name}>"
                piece = join([piece, silence(rng, 0.03, 0.09), sound, silence(rng, 0.05, 0.08)])
        elif choice < 0.47 and joinable:
            at += 1
            text = f"{first} {after[0]}"
            piece = join([piece, silence(rng, 0.10, 0.22), after[1]])
        audio, track = piece
        pcm = np.clip(np.round(audio * level_gain(audio) * 32767), -32767, 32767).astype(np.int16)
        made.append((text, is_held_out(first), pcm, track))
    return VOICE_NAMES[teacher_voice], made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spoken", help="folder with the .npz files")
    parser.add_argument("out")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    options = parser.parse_args()
    from multiprocessing import Pool

    began = time.time()
    os.makedirs(options.out, exist_ok=True)
    audio, labels, index, hours, end = [], [], [], {}, 0
    with Pool(options.processes) as pool:
        for voice, clips in pool.imap(mix, sorted(glob.glob(f"{options.spoken}/*.npz"))):
            for text, held_out, pcm, track in clips:
                index.append(dict(start=end, samples=len(pcm), text=text, voice=voice, held_out=held_out))
                audio += [pcm, np.zeros(GAP, np.int16)]
                labels += [track, constant_track(SILENCE, GAP)]
                end += len(pcm) + GAP
                hours[voice] = hours.get(voice, 0) + len(pcm) / SAMPLE_RATE / 3600
    np.save(f"{options.out}/audio.npy", np.concatenate(audio))
    np.save(f"{options.out}/labels.npy", np.concatenate(labels))
    with open(f"{options.out}/clips.json", "w") as file:
        json.dump(index, file)
    tagged = sum("<" in clip["text"] for clip in index)
    held_out = sum(clip["held_out"] for clip in index)
    rounded = {voice: round(value, 2) for voice, value in hours.items()}
    print(
        f"hours {rounded}; {len(index)} clips, {held_out} held out, {tagged} with tags; {time.time() - began:.0f} s",
        flush=True,
    )


if __name__ == "__main__":
    main()
