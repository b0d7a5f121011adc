"""A real llama-server in this process, through the package xllamacpp: `make test-engines`."""

import contextlib
import subprocess
import sys

import numpy as np
import pytest

from orpheus.engines import ENDED
from orpheus.engines.endpoint.client import Client
from orpheus.engines.endpoint.engine import EndpointEngine
from orpheus.engines.endpoint.finding import find
from orpheus.engines.options import Patience, SamplingOptions
from orpheus.speech.synthesis import OrpheusInference
from tests.engines.endpoint.conftest import ids_of
from tests.scripts.test_start import heavy_after

xllamacpp = pytest.importorskip("xllamacpp")
pytestmark = pytest.mark.llama

TEXTS = [
    "Good morning.",
    "The quick brown fox jumps over the lazy dog.",
    "Wait, <laugh> really?",
    "It rained all night.",
    "Yes.",
]
GREEDY = SamplingOptions(temperature=0, max_new_tokens=400)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    pytest.importorskip("gguf")
    from orpheus.export.folder import export, find_source
    from orpheus.export.options import ExportOptions

    out = tmp_path_factory.mktemp("gguf") / "demo"
    return export(find_source("demo"), ExportOptions(gguf=("f32", "q8_0"), out=out))


@pytest.fixture(scope="module")
def path(files):
    return files["f32"]


@pytest.fixture(scope="module")
def gguf_voice(path):
    """The codec is the one beside the file."""
    return OrpheusInference(str(path), lora="none", device="cpu")


@pytest.fixture
def prompts(demo_voice):
    return [demo_voice.prompts.prompt(text, "theo" if i % 2 else "nora") for i, text in enumerate(TEXTS)]


def test_greedy_ids_are_those_of_our_engine(demo_voice, gguf_voice, prompts):
    assert type(gguf_voice.engine).__name__ == "LlamaCppEngine"
    assert [gguf_voice.prompts.prompt(text, "theo" if i % 2 else "nora") for i, text in enumerate(TEXTS)] == prompts
    ours = ids_of(demo_voice.engine, prompts, GREEDY)
    assert ids_of(gguf_voice.engine, prompts, GREEDY) == ours
    assert all(row[-1] == demo_voice.prompts.layout.end_of_speech for row in ours)


def test_speech_and_streams(demo_voice, gguf_voice):
    said = gguf_voice.synthesize(TEXTS[0], "theo", temperature=0)
    ours = demo_voice.synthesize(TEXTS[0], "theo", temperature=0)
    assert np.array_equal(said.audio, ours.audio)
    chunks = list(gguf_voice.stream(TEXTS[0], "theo", temperature=0))
    assert np.allclose(np.concatenate(chunks), said.audio, atol=1e-5)


def test_a_quantised_file_speaks(files, demo_voice):
    tts = OrpheusInference(str(files["q8_0"]), lora="none", device="cpu")
    assert tts.voices == demo_voice.voices and tts.engine.exact is False
    said = tts.synthesize(TEXTS[0], "theo")
    assert said.finish_reason == "end_of_speech" and 0.5 < said.seconds < 3


def test_how_likely_two_ids_are(gguf_voice, prompts, demo_voice):
    first, second = ids_of(gguf_voice.engine, prompts[:1], GREEDY)[0][:2]
    engine, other = gguf_voice.engine, demo_voice.prompts.layout.end_of_speech
    assert engine.lead([*prompts[0], first], second, second) == 0
    assert engine.lead([*prompts[0], first], second, other) == float("inf")
    sampling = SamplingOptions(temperature=2, top_p=1, max_new_tokens=7)
    drawn = next(engine.generate([prompts[0]] * 16, sampling, list(range(16))))
    leads = [engine.lead(prompts[0], first, int(token)) for token in drawn if token != first]
    assert 0 < min(leads) < 5 and len(leads) > 3
    nearest = int([token for token in drawn if token != first][leads.index(min(leads))])
    assert engine.lead(prompts[0], nearest, first) == -min(leads)


def test_it_loads_nothing_heavy(path, tmp_path):
    (alone := tmp_path / "alone").mkdir()
    (alone / "voice.gguf").symlink_to(path)  # its own tokenizer: none is beside it
    asked = [
        "Good morning.",
        "--engine",
        "llama.cpp",
        "--model",
        str(alone / "voice.gguf"),
        "--lora",
        "none",
        "--device",
        "cpu",
    ]
    asked += ["--codec", str(path.parent / "codec"), "--out", str(tmp_path / "hi.wav")]
    assert heavy_after({"a GGUF": asked}) == {"a GGUF": []}
    assert (tmp_path / "hi.wav").stat().st_size > 20_000


def test_a_released_engine_starts_again(gguf_voice, prompts):
    before = ids_of(gguf_voice.engine, prompts[:1], GREEDY)
    gguf_voice.engine.release()
    assert ids_of(gguf_voice.engine, prompts[:1], GREEDY) == before and len(before[0]) > 30


def test_more_room_is_made_where_it_is_needed(gguf_voice, prompts):
    slots = gguf_voice.engine.open(6, 3000)
    joined = [slots.join(prompt, GREEDY, 0) for prompt in [*prompts, prompts[0]]]
    got = {slot: [] for slot in joined}
    while ((tokens := slots.step()) != ENDED).any():
        for slot, token in enumerate(tokens):
            got[slot] += [int(token)] if token >= 0 else []
    assert got[0] == got[5] and min(map(len, got.values())) > 30
    for slot in joined:
        slots.leave(slot)


SERVER = """
import sys, time, xllamacpp as x
settings = x.CommonParams()
settings.model.path, settings.port, settings.n_ctx, settings.n_parallel = sys.argv[1], int(sys.argv[2]), 2048, 1
settings.warmup, settings.verbosity, settings.n_gpu_layers = False, 0, 0
settings.cache_type_k = settings.cache_type_v = x.ggml_type.GGML_TYPE_F32
settings.flash_attn_type = x.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
server = x.Server(settings)
print(server.listening_address, flush=True)
time.sleep(300)
"""


@contextlib.contextmanager
def _server(path, port=0):
    """(process, address) of a llama-server of its own."""
    command = [sys.executable, "-c", SERVER, str(path), str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def test_a_server_that_is_killed_and_restarted_loses_nothing(path, demo_voice, prompts):
    ours = ids_of(demo_voice.engine, prompts[1:2], GREEDY)[0]
    with contextlib.ExitStack() as stack:
        process, url = stack.enter_context(_server(path))
        client = Client(url, None, Patience(token=20, tries=200, pause=0.1, longest_pause=0.2))
        engine = EndpointEngine(
            client, find(client), demo_voice.prompts.layout, None, len(demo_voice.prompts.tokenizer)
        )
        connections = []
        stream = client.stream
        client.stream = lambda path, body: connections.append(len(body["prompt"])) or stream(path, body)
        steps = engine.generate(prompts[1:2], GREEDY, [0])
        got = [int(next(steps)[0]) for _ in range(5)]
        process.kill()
        stack.enter_context(_server(path, int(url.rsplit(":", 1)[1])))
        got += [int(tokens[0]) for tokens in steps if tokens[0] >= 0]
    assert got == ours
    assert connections[0] == len(prompts[1]) and connections[-1] >= connections[0] + 5
