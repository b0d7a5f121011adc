"""A codec and a corpus small enough to train on in seconds."""

import json

import numpy as np
import pytest
import torch

from recipes.demo_voice.corpus.labels import FIRST_PHONEME, TRACK_HOP


@pytest.fixture
def tiny_codec():
    import snac

    torch.manual_seed(0)
    return snac.SNAC(
        sampling_rate=24_000,
        encoder_dim=4,
        encoder_rates=[2, 4, 8, 8],
        decoder_dim=32,
        decoder_rates=[8, 8, 4, 2],
        attn_window_size=None,
        codebook_size=32,
        codebook_dim=8,
        vq_strides=[4, 2, 1],
    )


@pytest.fixture
def tiny_corpus(tmp_path):
    """Twelve clips of tones with labels, two of them held out."""
    rng, clips, audio, labels, position = np.random.default_rng(0), [], [], [], 0
    for number in range(12):
        samples = TRACK_HOP * 300
        tone = 6000 * np.sin(np.arange(samples) * (0.03 + 0.01 * (number % 4))) + rng.normal(0, 300, samples)
        audio += [tone.astype(np.int16), np.zeros(TRACK_HOP * 40, np.int16)]
        labels += [np.full(300, FIRST_PHONEME + number % 4, np.int8), np.zeros(40, np.int8)]
        voice = ("nora", "theo")[number % 2]
        clips.append(
            dict(start=position, samples=samples, text=f"Tone {number % 4}.", voice=voice, held_out=number >= 10)
        )
        position += TRACK_HOP * 340
    np.save(tmp_path / "audio.npy", np.concatenate(audio))
    np.save(tmp_path / "labels.npy", np.concatenate(labels))
    (tmp_path / "clips.json").write_text(json.dumps(clips))
    return tmp_path
