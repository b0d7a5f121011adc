"""What only a GPU can show: the captured step, bf16, and the full 3B shape. Run with `pytest -m gpu`."""

import io
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch

from orpheus.common.options import ROOT
from orpheus.engines.options import SamplingOptions
from orpheus.engines.transformers import TransformersEngine
from orpheus.speech.synthesis import OrpheusInference
from tests.engines.test_transformers import PROMPTS, SAMPLED, rows_of
from tests.fakes.checkpoints import SMALL_CONFIG, SMALL_LAYOUT, save_adapter, save_full_size_voice, walking_model

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600)]


@pytest.mark.parametrize("temperature", [0.0, 0.6])
def test_the_captured_step_gives_the_ids_of_plain_steps_on_the_cpu(temperature):
    """fp32, so that rounding does not decide."""
    sampling = SamplingOptions(temperature=temperature, max_new_tokens=140)
    frames = 8 if temperature else 10**6
    on_cpu = TransformersEngine(walking_model(SMALL_CONFIG, SMALL_LAYOUT, frames), SMALL_LAYOUT)
    model = walking_model(SMALL_CONFIG, SMALL_LAYOUT, frames).cuda()
    captured, growing = (
        TransformersEngine(model, SMALL_LAYOUT),
        TransformersEngine(model, SMALL_LAYOUT, static_cache=False),
    )
    assert captured.static
    for prompts in (PROMPTS, PROMPTS[:1], PROMPTS[1:3], PROMPTS):
        seeds = list(range(len(prompts)))
        expected = rows_of(on_cpu, prompts, sampling, seeds)
        assert rows_of(growing, prompts, sampling, seeds) == expected
        assert rows_of(captured, prompts, sampling, seeds) == expected


def test_two_captured_generations_at_once(small_voice_folder):
    engine = TransformersEngine(walking_model(SMALL_CONFIG, SMALL_LAYOUT, 8).cuda(), SMALL_LAYOUT)
    expected = rows_of(engine, PROMPTS[:1], SAMPLED, [5])[0]
    first, second = (engine.generate(PROMPTS[:1], SAMPLED, [5]) for _ in range(2))
    assert [(int(a[0]), int(b[0])) for a, b in zip(first, second)] == [(token, token) for token in expected]


def test_the_codec_gives_the_same_samples_on_gpu_and_cpu(small_voice_folder, small_codec):
    from orpheus.codec.snac import Codec

    on_gpu = Codec.from_folder(small_voice_folder / "codec", "cuda")
    codes = np.random.default_rng(0).integers(0, 32, (30, 7))
    assert np.abs(on_gpu.decode(codes, 7) - small_codec.decode(codes, 7)).max() < 1e-3


def test_short_windows_are_decoded_as_long_ones(small_voice_folder):
    """Those of up to 6 frames as CUDA graphs beside other work, again and again, in turns, and for any seed."""
    from orpheus.codec.snac import Codec

    codec = Codec.from_folder(small_voice_folder / "codec", "cuda")
    busy = torch.randn(4096, 4096, device="cuda")
    for attempt in range(3):
        for frames in (3, 6, 1, 7):
            codes = np.random.default_rng(frames + attempt).integers(0, 32, (frames, 7))
            seed, first = 2**40 + attempt, 5 * attempt
            busy @ busy
            expected = codec.decode_windows(codes[None], [seed], [first])[0].cpu().numpy()
            assert np.abs(codec.decode_window(codes, seed, first) - expected).max() < 1e-5
    assert sorted(codec._captured._windows) == [1, 3, 6]


@pytest.fixture(scope="module")
def full_size(tmp_path_factory):
    """(checkpoint folder, adapter folder) at Orpheus-3B's shape; rank 64 as the recipe trains it."""
    folder = save_full_size_voice(tmp_path_factory.mktemp("full") / "orpheus-3b-0.1-ft", frames=100)
    return folder, save_adapter(folder.parent / "adapter", folder, "unsloth/orpheus-3b-0.1-ft", rank=64, size=2e-4)


def test_the_full_shape_loads_streams_stops_and_writes(full_size, tmp_path):
    folder, adapter = full_size
    speaker = OrpheusInference(str(folder), lora=str(adapter))
    assert speaker.engine.model.dtype == torch.bfloat16
    assert sum(p.numel() for p in speaker.engine.model.parameters()) == pytest.approx(3.3e9, rel=0.01)
    texts = ["I missed you <laugh> so much!", "That's so beautiful <sigh> it brings back memories.", "Hi."]
    speeches = list(speaker.synthesize_all(texts, seed=1))
    print([(round(speech.seconds, 2), speech.finish_reason, round(speech.real_time_factor, 3)) for speech in speeches])
    assert {speech.finish_reason for speech in speeches} <= {"end_of_speech", "out_of_range", "max_new_tokens"}
    assert any(speech.finish_reason == "end_of_speech" and speech.seconds > 0.5 for speech in speeches)
    for speech, again in zip(speeches, speaker.synthesize_all(texts, seed=1)):
        assert np.array_equal(speech.audio, again.audio)  # bf16, but the same batch shape
    paths = speaker.generate(texts, output_dir=tmp_path, seed=1)
    assert [soundfile.info(path).frames for path in paths] == [len(speech.audio) for speech in speeches]
    whole = speaker.synthesize(texts[0], seed=1)
    streamed = np.concatenate(list(speaker.stream(texts[0], seed=1)))
    assert np.abs(streamed - whole.audio).max() < 1e-4


def test_the_script_at_the_full_shape(full_size, tmp_path):
    folder, adapter = full_size
    command = [sys.executable, ROOT / "inference.py", "Hi <laugh> there.", "--model", folder, "--lora", adapter]
    done = subprocess.run([*command, "--out", tmp_path / "x.wav"], capture_output=True, text=True)
    print(done.stdout, done.stderr[-500:])
    assert done.returncode == 0 and soundfile.info(tmp_path / "x.wav").samplerate == 24_000
    streamed = subprocess.run([*command, "--stream", "pcm"], capture_output=True).stdout
    samples = soundfile.read(io.BytesIO((tmp_path / "x.wav").read_bytes()), dtype="int16")[0].astype(int)
    assert np.abs(np.frombuffer(streamed, "<i2") - samples).max() <= 3
