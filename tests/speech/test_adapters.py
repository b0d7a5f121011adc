"""Which adapter fits which model: by its weights where they are here, else by its name; and what to do where it does not."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from orpheus.common.errors import CheckpointError, InputError, OrpheusWarning
from orpheus.common.options import ORPHEUS_3B
from orpheus.common.weights import write_fingerprint
from orpheus.speech import adapters
from orpheus.speech.model import choose_model, known_voices, load_model
from orpheus.speech.synthesis import OrpheusInference
from tests.fakes.adapters import change_config
from tests.fakes.checkpoints import SMALL_CONFIG, save_adapter, save_voice

pytestmark = pytest.mark.usefixtures("in_empty_folder")
PRETRAINED = "unsloth/orpheus-3b-0.1-pretrained"


@pytest.fixture(scope="module")
def other_folder(tmp_path_factory):
    """A model of the small voice's shapes with other weights."""
    return save_voice(tmp_path_factory.mktemp("voices") / "other", seed=7)


@pytest.fixture(scope="module")
def made(small_voice_folder, tmp_path_factory):
    return save_adapter(tmp_path_factory.mktemp("made") / "adapter", small_voice_folder, "elsewhere")


@pytest.fixture
def adapter(made, tmp_path):
    """(the base's name) -> an adapter of the small voice"""

    def adapter(base, folder="adapter"):
        folder = shutil.copytree(made, tmp_path / folder)
        change_config(folder, base_model_name_or_path=str(base))
        return folder

    return adapter


@pytest.fixture(autouse=True)
def no_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "base, model, fits",
    [
        ("unsloth/orpheus-3b-0.1-ft", "unsloth/orpheus-3b-0.1-ft", True),
        ("unsloth/orpheus-3b-0.1-ft-unsloth-bnb-4bit", "unsloth/orpheus-3b-0.1-ft", True),
        ("unsloth/orpheus-3b-0.1-ft-bnb-4bit", "canopylabs/orpheus-3b-0.1-ft", True),
        ("canopylabs/orpheus-3b-0.1-ft", "unsloth/orpheus-3b-0.1-ft", True),
        ("Canopylabs/Orpheus-3B-0.1-FT", "unsloth/orpheus-3b-0.1-ft", True),
        ("unsloth/orpheus-3b-0.1-ft/", "unsloth/orpheus-3b-0.1-ft", True),
        ("https://huggingface.co/unsloth/orpheus-3b-0.1-ft/tree/main", "unsloth/orpheus-3b-0.1-ft", True),
        ("/home/ann/models/orpheus-3b-0.1-ft", "unsloth/orpheus-3b-0.1-ft", True),
        ("./orpheus-3b-0.1-ft-bnb-4bit//", "unsloth/orpheus-3b-0.1-ft", True),
        ("C:\\Users\\ann\\models\\Orpheus-3b-0.1-ft\\", "unsloth/orpheus-3b-0.1-ft", True),
        ("/x/hub/models--canopylabs--orpheus-3b-0.1-ft/snapshots/01ab", "unsloth/orpheus-3b-0.1-ft", True),
        ("C:\\hub\\models--unsloth--orpheus-3b-0.1-ft-bnb-4bit\\snapshots\\01ab", "unsloth/orpheus-3b-0.1-ft", True),
        ("unsloth/orpheus-3b-0.1-pretrained", "canopylabs/orpheus-3b-0.1-pretrained", True),
        ("unsloth/orpheus-3b-0.1-pretrained", "unsloth/orpheus-3b-0.1-ft", False),
        ("unsloth/orpheus-3b-0.1-ft-unsloth-bnb-4bit", "canopylabs/orpheus-3b-0.1-pretrained", False),
        ("/data/orpheus-3b-0.1-pretrained", "unsloth/orpheus-3b-0.1-ft", False),
        ("meta-llama/Llama-3.2-3B", "unsloth/orpheus-3b-0.1-ft", False),
        ("ann/orpheus-3b-0.1-ft", "unsloth/orpheus-3b-0.1-ft", False),
        ("assets/demo_voice", "unsloth/orpheus-3b-0.1-ft", False),
        ("D:\\orpheus\\assets\\demo_voice", "unsloth/orpheus-3b-0.1-ft", False),
        ("/data/my_merged", "unsloth/orpheus-3b-0.1-ft", None),
        ("me/mine", "/data/mine", True),
    ],
)
def test_which_adapter_fits_by_its_name(adapter, base, model, fits):
    folder = adapter(base)
    if fits is not False:
        assert adapters.check_adapter_fits(folder, model) is False  # ask again once the weights are here
        return
    with pytest.raises(CheckpointError) as error:
        adapters.check_adapter_fits(folder, model)
    message = str(error.value)
    assert base in message and model in message and "--lora-anyway" in message
    cure = message.split("Use it with ")[1]
    assert "4bit" not in cure
    with pytest.warns(OrpheusWarning, match="used all the same"):
        adapters.check_adapter_fits(folder, model, anyway=True)


@pytest.mark.parametrize(
    "base, cure",
    [
        ("unsloth/orpheus-3b-0.1-ft-unsloth-bnb-4bit", ORPHEUS_3B),
        ("canopylabs/orpheus-3b-0.1-pretrained", PRETRAINED),
        ("Ann/Mine-bnb-4bit", "Ann/Mine"),
        ("C:\\m\\orpheus-3b-0.1-ft", ORPHEUS_3B),
        ("assets\\demo_voice", str(adapters.DEMO_VOICE)),
        ("/data/gone", None),
        ("../gone", None),
    ],
)
def test_the_model_to_use_is_one_in_16_bits(adapter, base, cure):
    assert adapters.base_to_use(adapter(base)) == cure


def test_a_quantised_folder_is_not_the_model_to_use(adapter, small_voice_folder, tmp_path):
    folder = shutil.copytree(small_voice_folder, tmp_path / "orpheus-3b-0.1-ft-bnb-4bit")
    config = json.loads((folder / "config.json").read_text()) | {"quantization_config": {"load_in_4bit": True}}
    (folder / "config.json").write_text(json.dumps(config))
    assert adapters.base_to_use(adapter(folder)) == ORPHEUS_3B


@pytest.mark.parametrize(
    "name", [ORPHEUS_3B, "canopylabs/Orpheus-3b-0.1-ft", "/x/models--unsloth--orpheus-3b-0.1-ft/snapshots/0"]
)
def test_names_of_the_3b(name):
    assert adapters.read_name(name).same == ORPHEUS_3B != adapters.read_name(PRETRAINED).same


# --- weights ---------------------------------------------------------------------------------------------------------


def test_a_renamed_copy_is_known_by_its_weights(adapter, small_voice_folder, tmp_path):
    copy = shutil.copytree(small_voice_folder, tmp_path / "renamed")
    assert adapters.check_adapter_fits(adapter(small_voice_folder), str(copy)) is True


def test_another_model_of_the_same_shapes_is_known_by_its_weights(adapter, small_voice_folder, other_folder):
    folder = adapter(small_voice_folder)
    with pytest.raises(CheckpointError, match=f"not for {other_folder}: the weights in .* differ.*--lora-anyway"):
        OrpheusInference(str(other_folder), lora=str(folder))
    with pytest.warns(OrpheusWarning, match="used all the same .--lora-anyway"):
        assert OrpheusInference(str(other_folder), lora=str(folder), lora_anyway=True).name.endswith(str(folder))


def test_the_name_is_no_proof_where_the_weights_are_here(adapter, other_folder, small_voice_folder, tmp_path):
    twin = shutil.copytree(other_folder, tmp_path / small_voice_folder.name)  # another model under the same name
    with pytest.raises(CheckpointError, match="differ"):
        adapters.check_adapter_fits(adapter(small_voice_folder), str(twin))


def test_a_merged_model_is_not_its_base(adapter, small_voice_folder, tmp_path):
    from orpheus.export.merged import merge

    folder = adapter(small_voice_folder)
    merge(tmp_path / "merged", small_voice_folder, folder)
    with pytest.raises(CheckpointError, match="the weights in .* differ"):
        adapters.check_adapter_fits(folder, str(tmp_path / "merged"))


def test_what_training_wrote_down_outlives_the_base(adapter, small_voice_folder, other_folder, tmp_path):
    folder, copy = adapter("/gone/voice"), shutil.copytree(small_voice_folder, tmp_path / "renamed")
    write_fingerprint(folder, "/gone/voice", small_voice_folder)
    assert adapters.check_adapter_fits(folder, str(copy)) is True
    for anything in (other_folder, shutil.copytree(other_folder, tmp_path / "gone" / "voice")):
        with pytest.raises(CheckpointError, match="its weights are not those that base.json .* describes"):
            adapters.check_adapter_fits(folder, str(anything))


def test_where_nothing_can_be_compared_there_is_a_warning(adapter, small_voice_folder):
    folder = adapter("/gone/my_merged")
    with pytest.warns(
        OrpheusWarning, match="made for /gone/my_merged, and whether .* is a copy of that cannot be told"
    ):
        OrpheusInference(str(small_voice_folder), lora=str(folder))
    assert adapters.check_adapter_fits(folder, str(small_voice_folder), anyway=True)


def test_the_warning_comes_once_and_names_the_16_bit_model(adapter, run):
    folder = adapter("me/Merged-bnb-4bit")
    arguments = ("Hi.", "--lora", folder, "--max-new-tokens", 28)
    status, _, stderr = run(*arguments)
    assert status == 0 and stderr.count("cannot be told") == 1 and "--model me/Merged." in stderr
    assert "cannot be told" not in run(*arguments, "--lora-anyway")[2]


def test_a_small_model_is_no_copy_of_the_3b(adapter, small_voice_folder):
    folder = adapter("unsloth/orpheus-3b-0.1-ft-bnb-4bit")
    message = f"not for {small_voice_folder}: that is 3072 wide, and this 64. Use it with --model {ORPHEUS_3B},"
    with pytest.raises(CheckpointError, match=message):
        adapters.check_adapter_fits(folder, str(small_voice_folder))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"num_hidden_layers": 1}, r"model.layers.1.\S+ is not in the model"),
        ({"hidden_size": 32}, r"weight is \(\d+, \d+\), and the model's \S+ \(32, \d+\)"),
        ({"intermediate_size": 32}, r"weight is \(\d+, \d+\), and the model's \S+ \((32, 64|64, 32)\)"),
    ],
)
def test_other_shapes_are_refused_whatever_is_asked(adapter, small_voice_folder, tmp_path, changes, message):
    model = save_voice(tmp_path / "narrow", SMALL_CONFIG | changes, frames=5)
    for anyway in (False, True):
        with pytest.raises(CheckpointError, match=f"does not fit the model in .*{message}.*made for"):
            load_model(str(model), str(adapter(small_voice_folder, f"a{anyway}")), lora_anyway=anyway)


@pytest.mark.parametrize("weights", [{"model.norm.weight": {}}, {"model.norm.weight": 5}])
def test_a_damaged_list_of_samples(adapter, small_voice_folder, weights):
    folder = adapter("/gone")
    (folder / "base.json").write_text(json.dumps({"weights": weights}))
    with pytest.raises(CheckpointError, match="base.json is damaged: remove it"):
        adapters.check_adapter_fits(folder, str(small_voice_folder))


# --- auto ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", ["assets/demo_voice", "demo_voice", "E:\\assets\\demo_voice"])
@pytest.mark.parametrize("cuda", [True, False])
def test_auto_takes_the_demo_voice_for_its_adapters(adapter, base, cuda):
    assert choose_model("auto", adapter(base), cuda) == (str(adapters.DEMO_VOICE), False)


@pytest.mark.parametrize(
    "base, model",
    [
        ("unsloth/orpheus-3b-0.1-ft-unsloth-bnb-4bit", ORPHEUS_3B),
        ("canopylabs/orpheus-3b-0.1-pretrained", PRETRAINED),
        ("me/my-merged", "me/my-merged"),
    ],
)
def test_auto_takes_an_adapters_own_base_on_cuda(adapter, base, model):
    folder = adapter(base)
    assert choose_model("auto", folder, True) == (model, False)
    with pytest.raises(
        CheckpointError, match=f"no CUDA here.*made for {base}, which is slow.*--model {model} .*--lora none"
    ):
        choose_model("auto", folder, False)


def test_auto_takes_a_small_local_base_without_cuda(adapter, small_voice_folder, capsys):
    folder = adapter(small_voice_folder)
    tts = OrpheusInference(lora=str(folder))
    assert tts.name == f"{small_voice_folder} + {folder}"
    assert (
        capsys.readouterr()
        .err.strip()
        .endswith(f"was made for another model than the usual one: speaking with that, {small_voice_folder}")
    )
    assert known_voices(lora=str(folder))[0] == ("ann", "bob")


def test_a_relative_base_lies_beside_the_adapter(adapter, small_voice_folder, tmp_path, monkeypatch):
    shutil.copytree(small_voice_folder, tmp_path / "models" / "mine")
    folder = adapter("models/mine", "adapter")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert choose_model("auto", folder, False) == (str(tmp_path / "models" / "mine"), False)


def test_a_large_local_base_needs_cuda(adapter, small_voice_folder, monkeypatch):
    monkeypatch.setattr(adapters, "_SMALL", 1000)
    assert choose_model("auto", adapter(small_voice_folder), True) == (str(small_voice_folder), False)
    with pytest.raises(CheckpointError, match=f"give --model {small_voice_folder} to use it all the same"):
        choose_model("auto", adapter(small_voice_folder, "again"), False)


def test_auto_does_not_guess_at_a_base_of_elsewhere(adapter):
    for cuda in (True, False):
        with pytest.raises(CheckpointError, match="made for /gone/merged, which is not here: give that model's folder"):
            choose_model("auto", adapter("/gone/merged", f"a{cuda}"), cuda)


# --- finding ---------------------------------------------------------------------------------------------------------


def test_an_adapter_given_as_a_model_speaks_on_its_base(adapter, small_voice_folder, capsys):
    folder = adapter(small_voice_folder)
    assert OrpheusInference(str(folder)).name == f"{small_voice_folder} + {folder}"
    assert "is a LoRA adapter: speaking with it on its own base, as with --lora" in capsys.readouterr().err
    with pytest.raises(
        InputError,
        match=f"is a LoRA adapter, not a whole model, and no adapter is to be used here.*--model {small_voice_folder}",
    ):
        OrpheusInference(str(folder), lora="none")
    with pytest.raises(InputError, match="--lora another is another: give one of them"):
        OrpheusInference(str(folder), lora="another")


def test_auto_is_lora_model_where_it_holds_one(made, in_empty_folder):
    assert adapters.find_adapter("auto") is None
    shutil.copytree(made, "lora_model")
    assert adapters.find_adapter("auto") == Path("lora_model")
    assert adapters.find_adapter("none") is adapters.find_adapter(None) is None


def test_checkpoints_inside_are_named(made, in_empty_folder):
    for step in (20, 60):
        shutil.copytree(made, f"outputs/checkpoint-{step}")
        import os

        os.utime(f"outputs/checkpoint-{step}", (step, step))
    with pytest.raises(
        InputError, match="in it: outputs/checkpoint-60, outputs/checkpoint-20.*--lora outputs/checkpoint-60$"
    ):
        adapters.find_adapter("outputs")


def test_a_configuration_that_names_no_base(adapter):
    folder = adapter("x")
    for base in (None, "", "  ", 5):
        change_config(folder, base_model_name_or_path=base)
        with pytest.raises(CheckpointError, match="does not name its base model"):
            adapters.adapter_base(folder)
