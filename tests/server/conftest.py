import threading
from contextlib import contextmanager
from dataclasses import replace

import httpx
import pytest

from orpheus.speech.model import load_model
from tests.fakes.server import Talker, serving


@pytest.fixture(scope="package")
def voice(small_voice_folder):
    return load_model(str(small_voice_folder), lora="none", device="cpu")[0]


def talker_of(voice):
    engine = Talker(voice.engine.layout)
    return engine, replace(voice, engine=engine, name="small")


@contextmanager
def asked(engine, model):
    with serving({"small": model}) as running, httpx.Client(base_url=running.address, timeout=60) as client:
        running.http, running.talker = client, engine
        yield running


@pytest.fixture
def talker(voice):
    """(Talker, a voice with it)"""
    return talker_of(voice)


@pytest.fixture
def server(talker):
    """A server of one model, `small`, that speaks 6 frames for each text; its client is `.http`, its engine `.talker`."""
    with asked(*talker) as running:
        yield running


@pytest.fixture(scope="module")
def shared(voice):
    """The same, one for all tests of a file that take it: starting one takes longer than most of what it is asked."""
    with asked(*talker_of(voice)) as running:
        yield running


@pytest.fixture
def speak(server):
    """Asks for speech; returns the response."""

    def speak(text="Good morning.", **fields):
        return server.http.post("/v1/audio/speech", json={"input": text, "response_format": "pcm"} | fields)

    return speak


@pytest.fixture
def at_once():
    """Calls functions in threads; returns what they return, in their order."""

    def call(*functions):
        made = [None] * len(functions)

        def run(index, function):
            made[index] = function()

        threads = [threading.Thread(target=run, args=pair) for pair in enumerate(functions)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        return made

    return call
