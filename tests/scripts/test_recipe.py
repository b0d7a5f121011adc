"""python orpheus_sft_unsloth.py: recordings in, an adapter that speaks out, whatever comes between."""

import json

import pytest
from safetensors.numpy import load_file

import orpheus_sft_unsloth as script
from orpheus.common.audio import read_audio, write_wav
from orpheus.common.errors import CheckpointError, InputError
from orpheus.common.hub import check_push
from orpheus.common.options import ROOT
from orpheus.speech.synthesis import OrpheusInference
from orpheus.text.tags import KNOWN_TAGS


@pytest.fixture
def recordings(tmp_path):
    """A folder of twelve short clips with transcripts."""
    speech = read_audio(ROOT / "docs" / "hello.wav")
    folder = tmp_path / "recordings"
    for index in range(12):
        write_wav(folder / f"{index}.wav", speech[index * 1200 : index * 1200 + 24_000])
    lines = [{"file_name": f"{i}.wav", "text": "Good <laugh> morning.", "source": "mara"} for i in range(12)]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


@pytest.fixture
def flags(recordings, small_voice_folder):
    """Arguments of a run on the small voice whose files go into a folder."""

    def flags(folder, *more, base=("--model", small_voice_folder, "--device", "cpu")):
        fixed = "--report-to none --no-keep-best --save-steps 2 --eval-steps 3".split()
        fixed += "--tokens-per-step 300 --learning-rate 1e-3".split()
        paths = ["--out", folder / "lora", "--run-dir", folder / "run", "--samples", folder / "audio"]
        cache = recordings.parent / "codes"
        return [str(a) for a in (*base, "--dataset", recordings, *fixed, *paths, "--code-cache", cache, *more)]

    return flags


@pytest.fixture
def train(flags, capfd):
    """Runs the recipe in this process, which saves seconds of imports; returns what it prints."""

    def train(folder, *more, **named):
        status = script.main(flags(folder, *more, **named))
        shown = capfd.readouterr()
        assert status == 0, shown.err
        return shown.out + shown.err

    return train


def weights(folder):
    return load_file(folder / "lora" / "adapter_model.safetensors")


def test_the_demo_learns_a_speaker_and_speaks(train, tmp_path, monkeypatch):
    monkeypatch.setattr(script, "EXAMPLES", ["Yes."])  # what is spoken before and after
    output = train(tmp_path, "--max-steps", 2, "--merge", tmp_path / "merged", base=["--demo"])
    assert "12 read, 12 used" in output and "seconds used for training" in output and "The adapter is in" in output
    assert "time: about " in output and "Lower is better; below 4 the new voice is usually recognisable." in output
    assert f'python inference.py "Hello there." --lora {tmp_path / "lora"}   speaks with it' in output
    names = sorted(path.name for path in (tmp_path / "lora").glob("[!.]*"))
    assert names == sorted(
        "README.md adapter_config.json adapter_model.safetensors base.json config.yaml data_report.md loss.png orpheus.json "
        "tokenizer.json "
        "tokenizer_config.json voices.json".split()
    )
    spoken = sorted(str(path.relative_to(tmp_path / "audio")) for path in (tmp_path / "audio").rglob("*.wav"))
    assert spoken == ["before/output_0.wav", "output_0.wav"]
    tuned = OrpheusInference(lora=str(tmp_path / "lora"))
    assert tuned.default_voice == "mara" and tuned.name.startswith("demo_voice + ")
    merged = OrpheusInference(str(tmp_path / "merged"), lora="none")
    assert merged.default_voice == "mara"
    assert tuned.model.description.tags["laugh"] is None  # the base's own
    taught = json.loads((tmp_path / "lora" / "orpheus.json").read_text())
    assert taught["voices"] == ["mara"] and taught["normalize_text"] is True and set(taught["tags"]) <= set(KNOWN_TAGS)
    assert sum(taught["tags"].values()) > 0 and taught["piece_seconds"] == 6
    assert json.loads((tmp_path / "merged" / "orpheus.json").read_text())["voices"] == ["mara", "nora", "theo"]
    with pytest.raises(CheckpointError, match="was made for demo_voice"):
        OrpheusInference("unsloth/orpheus-3b-0.1-ft", lora=str(tmp_path / "lora"))


def test_an_adapter_worse_than_its_base_is_said_to_be_so(flags, recordings, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(script, "EXAMPLES", ["Yes."])
    texts = [{"file_name": f"{i}.wav", "text": f"Good morning {i}.", "source": "mara"} for i in range(12)]
    (recordings / "metadata.jsonl").write_text("\n".join(map(json.dumps, texts)))
    wild = ("--learning-rate", 1, "--epochs", 3)
    assert script.main(flags(tmp_path, *wild)) == 3
    shown = capfd.readouterr()
    assert "is worse than none: held-out loss " in shown.err and "Lower --learning-rate (1; 2e-4 is usual)" in shown.err
    card = (tmp_path / "lora" / "README.md").read_text()
    before, after = (
        float(card.split(f"| held out loss {name} | ")[1].split()[0])
        for name in ("before training", "with the adapter")
    )
    assert after > before and f"held-out loss {before:.2f} before training, {after:.2f} with the adapter" in shown.out
    assert script.main(flags(tmp_path, *wild, "--keep-worse")) == 0
    assert script.main(flags(tmp_path, *wild, "--keep-best")) == 3
    assert "leaves the base model as it is" in capfd.readouterr().err
    assert not any(weights(tmp_path)[name].any() for name in weights(tmp_path) if "lora_B" in name)


def test_flags_come_over_the_config_and_that_over_the_demo(tmp_path):
    (tmp_path / "run.yaml").write_text("epochs: 4\nlearning_rate: 0.0001\nout: elsewhere\n")
    arguments = script.parse(["--demo", "--config", str(tmp_path / "run.yaml"), "--epochs", "7"])
    assert arguments.training.epochs == 7 and arguments.training.learning_rate == 1e-4
    assert str(arguments.run.out) == "elsewhere" and arguments.run.model == "demo" and arguments.demo
    settings = script.settings_of(arguments.run, arguments.data, arguments.training)
    assert settings["epochs"] == 7 and not settings["push_to_hub"]
    (tmp_path / "bad.yaml").write_text("epoch: 4\n")
    with pytest.raises(InputError, match="unknown option 'epoch'"):
        script.parse(["--config", str(tmp_path / "bad.yaml")])


def test_defaults_are_the_recipe_of_the_card():
    arguments = script.parse([])
    training, run = arguments.training, arguments.run
    assert (run.model, arguments.data.dataset) == ("unsloth/orpheus-3b-0.1-ft", "MrDragonFox/Elise")
    assert (training.lora_rank, training.lora_alpha, training.learning_rate) == (64, 64, 2e-4)
    assert (training.epochs, training.tokens_per_step, arguments.data.held_out) == ("auto", "auto", "auto")
    assert run.push_to_hub is False and str(run.out) == "lora_model"


def test_push_is_refused_before_training_without_a_repository():
    with pytest.raises(InputError, match="needs --hub-repo"):
        check_push(None)


def test_the_status_of_bad_input(capsys, tmp_path):
    assert script.main(["--demo", "--dataset", str(tmp_path / "nothing"), "--report-to", "none"]) == 2
    assert "error: " in capsys.readouterr().err
