"""Which kind a server is, by what it answers."""

import pytest

from orpheus.common.errors import EndpointError, InputError
from orpheus.engines.endpoint.client import Client
from orpheus.engines.endpoint.engine import EndpointEngine
from orpheus.engines.endpoint.finding import find
from tests.engines.endpoint.conftest import LAYOUT, QUICK
from tests.fakes.endpoints import MODELS, Fake, serving


def found(kind="text", models=None, pages=None, dialect="auto", model=None, path=""):
    with serving(Fake(kind, None, LAYOUT.base, models, pages)) as fake:
        there = find(Client(fake.url + path, None, QUICK), dialect, model)
        return there.dialect.name, there.model


@pytest.mark.parametrize(
    "kind, model",
    [("llama.cpp", None), ("vllm", "voice"), ("sglang", None), ("lm-studio", "orpheus-3b-0.1-ft"), ("ollama", "orpheus:latest"),
     ("text", "voice")],
)  # fmt: skip
@pytest.mark.parametrize("path", ["", "/", "/v1"])
def test_by_who_owns_its_models(kind, model, path):
    assert found(kind, path=path) == (kind, model)


@pytest.mark.parametrize(
    "pages, kind",
    [
        ({"/props": {"default_generation_settings": {}, "total_slots": 1}}, "llama.cpp"),
        ({"/get_model_info": {"model_path": "voice", "is_generation": True}}, "sglang"),
        ({"/model_info": {"model_path": "voice"}}, "sglang"),
        ({"/props": {"error": "Unexpected endpoint"}, "/api/v0/models": {"data": [{"id": "v", "state": "loaded"}]}}, "lm-studio"),
        ({"/api/tags": {"models": [{"name": "voice:latest", "model": "voice:latest"}]}}, "ollama"),
        ({"/props": b"<html>", "/api/tags": [1]}, "text"),
    ],
)  # fmt: skip
def test_by_what_only_it_has(pages, kind):
    assert found(models=MODELS["text"], pages=pages)[0] == kind


def test_a_name_comes_before_what_it_answers():
    assert found("vllm", dialect="text") == ("text", "voice")


def test_no_server_that_is_known():
    with pytest.raises(EndpointError, match="no server that is known here.*--dialect"):
        found(models={"hello": 1}, pages={"/props": [1]})


def test_several_models():
    several = {"data": [{"id": name, "owned_by": "vllm"} for name in ("a", "b")]}
    with pytest.raises(InputError, match=r"has several models \(a, b\): name the one to speak with, --served-model"):
        found(models=several)
    assert found(models=several, model="b") == ("vllm", "b")
    with pytest.raises(InputError, match=r"has no model 'c'; it has a, b"):
        found(models=several, model="c")
    adapters = {"data": [{"id": "base", "owned_by": "vllm"}, {"id": "tuned", "owned_by": "vllm", "parent": "base"}]}
    assert found(models=adapters) == ("vllm", "base")
    assert found(models=adapters, model="tuned") == ("vllm", "tuned")


def test_another_vocabulary_than_the_models_is_refused():
    small = {"data": [{"id": "x", "owned_by": "llamacpp", "meta": {"n_vocab": 300}}]}
    with serving(Fake("llama.cpp", None, LAYOUT.base, small)) as fake:
        client = Client(fake.url, None, QUICK)
        with pytest.raises(EndpointError, match="runs a model with 300 tokens.*--model names another model"):
            EndpointEngine(client, find(client), LAYOUT, None, 380)
