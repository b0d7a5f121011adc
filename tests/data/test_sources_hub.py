"""A data set of the hub, and every way in which the hub may refuse it."""

import pytest

from orpheus.common.errors import InputError
from orpheus.data.options import DataOptions
from orpheus.data.sources.folders import open_source


def source(dataset, **options):
    return open_source(DataOptions(dataset=dataset, **options))


def hub_error(status, kind="HfHubHTTPError"):
    import httpx
    from huggingface_hub import errors

    response = httpx.Response(status, request=httpx.Request("GET", "https://huggingface.co/api/datasets/x/y"))
    return getattr(errors, kind)(f"{status} Client Error", response=response)


def hub_errors():
    import requests
    from datasets.exceptions import DatasetNotFoundError
    from huggingface_hub import errors

    refused = DatasetNotFoundError(
        "Dataset 'x/y' is a gated dataset on the Hub. You must be authenticated to access it."
    )
    ask = DatasetNotFoundError("Dataset 'x/y' is a gated dataset on the Hub. Visit the dataset page to ask for access.")
    missing = DatasetNotFoundError("Dataset 'x/y' doesn't exist on the Hub or cannot be accessed.")
    gated, absent = "it is gated: accept its terms", "there is no such repository, or it is private"
    offline = "the hub cannot be reached"
    return [
        (refused, gated),
        (ask, gated),
        (missing, absent),
        (hub_error(403, "GatedRepoError"), gated),
        (hub_error(404, "RepositoryNotFoundError"), absent),
        (hub_error(401), r"access was refused \(401\): set HF_TOKEN"),
        (hub_error(403), r"access was refused \(403\): set HF_TOKEN"),
        (hub_error(404), absent),
        (ConnectionError("Couldn't reach 'x/y' on the Hub (LocalEntryNotFoundError)"), offline),
        (errors.OfflineModeIsEnabled("HF_HUB_OFFLINE=1"), offline),
        (requests.exceptions.ConnectTimeout("slow"), offline),
        (RuntimeError("odd"), "RuntimeError: odd"),
    ]


@pytest.mark.parametrize("error, reason", hub_errors())
def test_a_refusal_of_the_hub_says_which_and_how_to_go_on(monkeypatch, error, reason):
    import datasets

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(InputError, match=reason) as caught:
        source("MrDragonFox/Elise")
    message = str(caught.value)
    assert "MrDragonFox/Elise" in message and "python orpheus_sft_unsloth.py --dataset FOLDER" in message
    assert "metadata.csv" in message and "\n" not in message


def test_a_data_sets_own_script_is_not_run(monkeypatch):
    import datasets
    from datasets.load import resolve_trust_remote_code

    made, answers = datasets.Dataset.from_dict({"audio": [b""], "text": ["First."]}), []
    monkeypatch.setattr(datasets.config, "HF_DATASETS_TRUST_REMOTE_CODE", None)
    monkeypatch.setattr(
        datasets, "load_dataset", lambda name, split: answers.append(resolve_trust_remote_code(None, name)) or made
    )
    monkeypatch.setattr("builtins.input", lambda *_: "y")  # what datasets asks unless it is told
    source("x/y")
    assert answers == [False]


def test_the_hub_is_asked_for_the_split(monkeypatch, tmp_path):
    import datasets

    asked = []
    made = datasets.Dataset.from_dict({"audio": [b""], "text": ["First."]})
    monkeypatch.setattr(datasets, "load_dataset", lambda name, split: asked.append((name, split)) or made)
    found = source("MrDragonFox/Elise")
    assert [row.text for row in found.entries] == ["First."] and found.kind == "hub data set, split train"
    assert asked == [("MrDragonFox/Elise", "train")]

    def no_split(name, split):
        raise ValueError(f"Unknown split \"{split}\". Should be one of ['train'].")

    monkeypatch.setattr(datasets, "load_dataset", no_split)
    with pytest.raises(InputError, match=r"no split 'dev'; choose with --split: .*one of \['train'\]"):
        source("MrDragonFox/Elise", split="dev")


def test_a_subset_of_several(monkeypatch):
    import datasets

    asked = []
    made = datasets.Dataset.from_dict({"audio": [b""], "text": ["First."]})
    monkeypatch.setattr(datasets, "load_dataset", lambda *names, split: asked.append((*names, split)) or made)
    assert source("mozilla/voices", subset="en").kind == "hub data set, subset en, split train"
    assert asked == [("mozilla/voices", "en", "train")]


@pytest.mark.parametrize(
    "subset, message, words",
    [
        (
            None,
            "Config name is missing. Please pick one among the available configs: ['de', 'en']",
            "has several subsets",
        ),
        ("fr", "BuilderConfig 'fr' not found. Available: ['de', 'en']", "has no subset 'fr'"),
    ],
)
def test_a_subset_that_is_missing_names_those_there_are(monkeypatch, subset, message, words):
    import datasets

    def fail(*_, **__):
        raise ValueError(message)

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(InputError, match=rf"mozilla/voices {words}; choose with --subset: .*\['de', 'en'\]"):
        source("mozilla/voices", subset=subset)
