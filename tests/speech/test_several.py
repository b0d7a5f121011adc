"""Several adapters on one base: what is shared, what is not and said, and what is refused before anything is loaded."""

import json

import pytest

from orpheus.common.errors import CheckpointError, InputError
from orpheus.engines.fast.adapters import AdapterEngine
from orpheus.speech import several
from orpheus.speech.model import load_model
from orpheus.speech.several import load_models
from orpheus.speech.synthesis import OrpheusInference
from tests.engines.test_merging import KINDS
from tests.fakes.adapters import add_tokens, anna_and_ben, train_adapter
from tests.fakes.checkpoints import SMALL_CONFIG, save_voice

TEXT, OPTIONS = "Good morning to you.", {"seed": 5, "max_new_tokens": 400}


@pytest.fixture(scope="module")
def adapters(small_voice_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("several")
    made = anna_and_ben(folder, small_voice_folder)
    made["dora"] = train_adapter(folder / "lora_dora", small_voice_folder, **KINDS["dora"])
    (made["anna"] / "voices.json").write_text(json.dumps(["annabel", "anne"]))
    return made


def wanted(base, **adapters):
    first = {"model": str(base), "lora": str(adapters.pop("lora", "none")), "device": "cpu"}
    first |= adapters.pop("options", {})
    return ((None, first), *((name, first | {"lora": str(folder)}) for name, folder in adapters.items()))


def alone(base, adapter):
    """What a model of its own says, and that model."""
    model, _ = load_model(str(base), lora=str(adapter), device="cpu")
    return OrpheusInference(model).synthesize(TEXT, **OPTIONS).audio, model


def test_all_share_one_engine_and_one_codec_and_say_what_each_would_alone(small_voice_folder, adapters, capsys):
    (group,) = load_models(wanted(small_voice_folder, anna=adapters["anna"], ben=adapters["ben"]))
    assert list(group.models) == [str(small_voice_folder), "anna", "ben"]
    models = group.models.values()
    assert all(isinstance(model.engine, AdapterEngine) for model in models)
    assert len({id(model.engine.engine) for model in models}) == len({id(model.codec) for model in models}) == 1
    assert [model.engine.adapter for model in models] == [None, "anna", "ben"]
    for model, adapter in zip(models, ("none", adapters["anna"], adapters["ben"])):
        expected, own = alone(small_voice_folder, adapter)
        speech = OrpheusInference(model).synthesize(TEXT, **OPTIONS).audio
        assert len(speech) == len(expected) and abs(speech - expected).max() < 1e-4
        assert (model.name, model.voices, model.default_voice) == (own.name, own.voices, own.default_voice)
        assert model.description == own.description
    assert group.models["anna"].voices == ("annabel", "anne", "ann", "bob") and capsys.readouterr().err == ""


def test_the_first_models_own_adapter_is_one_of_them(small_voice_folder, adapters):
    (group,) = load_models(wanted(small_voice_folder, lora=adapters["ben"], anna=adapters["anna"], plain="none"))
    first, anna, plain = group.models.values()
    assert first.engine.adapter == first.name == f"{small_voice_folder} + {adapters['ben']}"
    assert OrpheusInference(first).synthesize(TEXT, **OPTIONS).audio.tolist() == pytest.approx(
        alone(small_voice_folder, adapters["ben"])[0].tolist(), abs=1e-4
    )
    assert plain.engine.adapter is None and anna.engine.adapter == "anna"


def test_a_single_model_is_merged_as_ever(small_voice_folder, adapters):
    (group,) = load_models(wanted(small_voice_folder, lora=adapters["anna"]))
    (model,) = group.models.values()
    assert model.engine.llama.adapters is None and model.name == f"{small_voice_folder} + {adapters['anna']}"


def test_what_cannot_share_is_a_whole_model_and_a_line_says_so(small_voice_folder, adapters, tmp_path, capsys):
    more = add_tokens(
        train_adapter(tmp_path / "more", small_voice_folder, more_tokens=2), small_voice_folder, "<a>", "<b>"
    )
    capsys.readouterr()
    groups = load_models(wanted(small_voice_folder, dora=adapters["dora"], anna=adapters["anna"], more=more))
    assert [list(group.models) for group in groups] == [[str(small_voice_folder), "anna"], ["dora"], ["more"]]
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "loaded as" in line] == [
        "dora is loaded as a whole model, 0.4 MB more, with a pool of its own: it is DoRA",
        "more is loaded as a whole model, 0.4 MB more, with a pool of its own: it has tokens that the model lacks",
    ]
    dora = OrpheusInference(groups[1].models["dora"]).synthesize(TEXT, **OPTIONS).audio
    assert (dora == alone(small_voice_folder, adapters["dora"])[0]).all()


def test_one_that_would_share_with_nobody_is_merged(small_voice_folder, adapters, capsys):
    groups = load_models(wanted(small_voice_folder, lora=adapters["dora"], anna=adapters["anna"]))
    assert [len(group.models) for group in groups] == [1, 1] and "anna" in groups[1].models
    assert groups[1].models["anna"].engine.llama.adapters is None
    assert capsys.readouterr().err == ""


def test_an_engine_that_shares_nothing(small_voice_folder, adapters, capsys):
    options = {"engine": "transformers"}
    groups = load_models(wanted(small_voice_folder, options=options, anna=adapters["anna"], plain="none"))
    assert [list(group.models) for group in groups] == [[str(small_voice_folder)], ["anna"], ["plain"]]
    assert "anna is loaded as a whole model" in (said := capsys.readouterr().err) and "engine transformers" in said


@pytest.mark.parametrize("engine", ["fast-int8", "fast-int4"])
def test_a_base_in_fewer_bits_is_shared_too(small_voice_folder, adapters, engine):
    (group,) = load_models(wanted(small_voice_folder, options={"engine": engine}, anna=adapters["anna"]))
    assert group.models["anna"].engine.engine.llama.layers[0].qkv.bits == int(engine[-1])


# --- refusals ---


@pytest.fixture
def nothing_loads(monkeypatch):
    def fail(*arguments, **options):
        raise AssertionError("weights are loaded")

    for name in ("open_shared", "open_engine", "load_model"):
        monkeypatch.setattr(several, name, fail)
    monkeypatch.setattr("orpheus.codec.snac.Codec.from_folder", fail)


def test_adapters_of_other_bases(small_voice_folder, adapters, tmp_path, nothing_loads):
    wide = save_voice(tmp_path / "wide", SMALL_CONFIG | {"hidden_size": 96, "num_attention_heads": 6})
    other = train_adapter(tmp_path / "other", wide)
    with pytest.raises(CheckpointError, match="^ben: the adapter .*other does not fit the model in .*small"):
        load_models(wanted(small_voice_folder, anna=adapters["anna"], ben=other))
    twin = train_adapter(tmp_path / "twin", save_voice(tmp_path / "twins", seed=3))
    with pytest.raises(CheckpointError, match="^ben: the adapter .*twin was made for .*twins, not for"):
        load_models(wanted(small_voice_folder, anna=adapters["anna"], ben=twin))


def test_adapters_that_are_none(small_voice_folder, adapters, tmp_path, nothing_loads):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="^anna: "):
        load_models(wanted(small_voice_folder, anna=tmp_path / "empty"))
    with pytest.raises(InputError, match="^anna: .*--lora.* cannot be added to weights that a server runs"):
        load_models(wanted(small_voice_folder, options={"url": "http://localhost:1"}, anna=adapters["anna"]))


def test_names_that_are_taken(small_voice_folder, adapters):
    asked = wanted(small_voice_folder, anna=adapters["anna"])
    with pytest.raises(InputError, match="two models would be called anna"):
        load_models((*asked, asked[1]))
    with pytest.raises(InputError, match="the model itself is called small: give the adapter another name"):
        load_models(wanted(small_voice_folder, small=adapters["anna"]))
    with pytest.raises(ValueError, match="anna differs from the first model in more than its adapter"):
        load_models((asked[0], ("anna", asked[1][1] | {"engine": "fast"})))


def test_auto_takes_the_adapters_own_base(small_voice_folder, adapters, in_empty_folder, capsys):
    first = {"model": "auto", "lora": "auto", "device": "cpu"}
    (group,) = load_models(((None, first), ("anna", first | {"lora": str(adapters["anna"])})))
    assert list(group.models) == [str(small_voice_folder), "anna"]
    assert f"speaking with that, {small_voice_folder}" in capsys.readouterr().err
