import io
import os
import sys

import numpy as np
import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # the tests need no network, and must not wait for one
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the models are tiny: threads would only wait for each other


@pytest.fixture(scope="session")
def small_voice_folder(tmp_path_factory):
    """A voice of a few hundred kilobytes with random weights that speaks noise for about a second."""
    from tests.fakes.checkpoints import save_voice

    return save_voice(tmp_path_factory.mktemp("voices") / "small", frames=25, margin=10.0)


@pytest.fixture(scope="session")
def small_voice(small_voice_folder):
    from orpheus.speech.synthesis import OrpheusInference

    return OrpheusInference(str(small_voice_folder), lora="none")


@pytest.fixture
def server(small_voice):
    """A server that answers what the small voice says to a prompt, by its own engine; seeds are left aside."""
    from orpheus.engines.options import SamplingOptions
    from tests.fakes.endpoints import MODELS, Fake, serving

    def script(asked):
        steps = small_voice.engine.generate([asked], SamplingOptions(temperature=0, max_new_tokens=200), [0])
        return [int(tokens[0]) for tokens in steps]

    vocabulary = {"data": [MODELS["llama.cpp"]["data"][0] | {"meta": {"n_vocab": 100_000}}]}
    with serving(Fake("llama.cpp", script, small_voice.prompts.layout.base, vocabulary)) as fake:
        yield fake


@pytest.fixture(scope="session")
def small_codec(small_voice):
    return small_voice.codec


@pytest.fixture(scope="session")
def demo_voice():
    from orpheus.speech.synthesis import OrpheusInference

    return OrpheusInference("demo", lora="none")


@pytest.fixture
def random():
    return np.random.default_rng(0)


@pytest.fixture
def in_empty_folder(tmp_path, monkeypatch):
    """Runs the test where no lora_model/ and no outputs are."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(small_voice_folder, in_empty_folder, capfd, monkeypatch):
    """Runs the command line on the small voice in an empty folder; returns (status, stdout, stderr)."""

    import inference

    def run(*arguments, stdin=None, model=small_voice_folder):
        if stdin is not None:
            monkeypatch.setattr(
                sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin if isinstance(stdin, bytes) else stdin.encode()))
            )
        arguments = [*map(str, arguments), *([] if "--model" in arguments else ["--model", str(model)])]
        try:
            status = inference.main(arguments)
        except SystemExit as exit:
            status = exit.code
        return status, *capfd.readouterr()

    return run
