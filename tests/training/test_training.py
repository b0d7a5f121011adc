"""Packed training equals unpacked training; runs resume exactly; nothing half-written is left."""

import copy
import json
import math
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model

from orpheus.common.errors import CheckpointError, InputError, OrpheusError
from orpheus.common.files import whole_folder
from orpheus.common.options import ROOT
from orpheus.data.examples import Example
from orpheus.engines.options import SamplingOptions
from orpheus.engines.transformers import TransformersEngine
from orpheus.training.llama import LoraLlama
from orpheus.training.log import TrainingLog
from orpheus.training.options import LORA_TARGETS, TrainingOptions
from orpheus.training.packing import make_pack, plan_steps, split_step
from orpheus.training.trainer import Trainer, learning_rate
from tests.fakes.checkpoints import SMALL_CONFIG, SMALL_LAYOUT, walking_model

OPTIONS = TrainingOptions(
    tokens_per_step=150, epochs=3, lora_rank=4, lora_alpha=8, report_to="none", learning_rate=1e-2
)


def peft_model(size=0.05):
    torch.manual_seed(1)
    model = walking_model(SMALL_CONFIG, SMALL_LAYOUT)
    tuned = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules=list(LORA_TARGETS)))
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name and size:
            torch.nn.init.normal_(parameter, std=size)
    return tuned


def examples(count=12, seed=0):
    draw = np.random.default_rng(seed)
    made = []
    for index in range(count):
        prompt = draw.integers(0, 256, 6)
        audio = SMALL_LAYOUT.to_tokens(draw.integers(0, 32, (int(draw.integers(2, 7)), 7)))
        ids = np.concatenate([prompt, audio, [SMALL_LAYOUT.end_of_speech, SMALL_LAYOUT.end_of_ai]]).astype(np.int32)
        made.append(Example(ids, len(prompt), f"{index:064x}", "text", None, f"row {index}"))
    return made


def plain_loss(model, rows, text_loss_weight=0.0):
    """The sum of weighted cross-entropies by transformers and peft, row by row."""
    total = 0.0
    for row in rows:
        ids = torch.from_numpy(row.input_ids.astype(np.int64))
        losses = F.cross_entropy(model(input_ids=ids[None]).logits[0, :-1].float(), ids[1:], reduction="none")
        weights = torch.ones(len(losses))
        weights[: row.prompt_tokens - 1] = text_loss_weight
        total = total + (losses * weights).sum()
    return total


@pytest.mark.parametrize("text_loss_weight", [0.0, 1.0, 0.3])
@pytest.mark.parametrize("tokens", [None, 512])
def test_packed_loss_and_gradients_are_those_of_rows_one_by_one(text_loss_weight, tokens):
    plain, rows = peft_model(), examples(5)
    llama = LoraLlama(copy.deepcopy(plain))
    longest = max(len(row.input_ids) for row in rows)
    loss = llama.loss(make_pack(rows, SMALL_LAYOUT, "cpu", text_loss_weight, tokens, longest))
    loss.backward()
    expected = plain_loss(plain, rows, text_loss_weight)
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    wanted = {name: parameter.grad for name, parameter in plain.named_parameters() if parameter.grad is not None}
    assert len(wanted) == 28
    got = []
    order = ("q_proj", "k_proj", "v_proj"), ("o_proj",), ("gate_proj", "up_proj"), ("down_proj",)
    for layer in range(2):
        for group in order:
            for matrix in ("lora_A", "lora_B"):
                for module in group:
                    block = "mlp" if module in ("gate_proj", "up_proj", "down_proj") else "self_attn"
                    got.append(
                        wanted[f"base_model.model.model.layers.{layer}.{block}.{module}.{matrix}.default.weight"]
                    )
    expected_gradient = torch.cat([gradient.reshape(-1) for gradient in got])
    assert torch.allclose(
        llama.adapter.master.grad, expected_gradient, rtol=1e-4, atol=1e-5 * expected_gradient.abs().max()
    )


def test_the_loss_over_audio_tokens_alone():
    model, rows = peft_model(), examples(3)
    llama = LoraLlama(copy.deepcopy(model))
    loss = llama.loss(make_pack(rows, SMALL_LAYOUT, "cpu"), first=SMALL_LAYOUT.base)
    expected = 0.0
    for row in rows:
        ids = torch.from_numpy(row.input_ids.astype(np.int64))
        logits = model(input_ids=ids[None]).logits[0, row.prompt_tokens - 1 : -1, SMALL_LAYOUT.base :]
        expected += F.cross_entropy(logits, ids[row.prompt_tokens :] - SMALL_LAYOUT.base, reduction="sum").item()
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_checkpointed_layers_give_the_same_gradients():
    gradients = []
    for checkpointing in (False, True):
        llama = LoraLlama(peft_model(), checkpointing=checkpointing)
        llama.loss(make_pack(examples(4), SMALL_LAYOUT, "cpu")).backward()
        gradients.append(llama.adapter.master.grad)
    assert torch.equal(*gradients)


def test_a_model_in_training_speaks_what_the_merged_one_does():
    model = peft_model(0.02)
    llama = LoraLlama(copy.deepcopy(model))
    prompts = [[*range(5)], [7, 8, 9]]
    greedy = SamplingOptions(temperature=0, max_new_tokens=40)
    spoken = [
        np.stack(list(TransformersEngine(m, SMALL_LAYOUT).generate(prompts, greedy, [0, 1])))
        for m in (llama, model.merge_and_unload())
    ]
    assert np.array_equal(*spoken)


# --- steps -----------------------------------------------------------------------------------------------------------


def test_every_row_comes_once_per_epoch_and_steps_are_full():
    lengths = np.random.default_rng(0).integers(60, 900, 300).tolist()
    steps = plan_steps(lengths, 4096, 2, seed=1)
    assert sorted(row for step in steps for row in step) == sorted([*range(300)] * 2)
    fill = [sum(lengths[row] for row in step) / 4096 for step in steps]
    assert max(fill) <= 1 and min(fill[:-1]) > 0.9
    assert steps == plan_steps(lengths, 4096, 2, seed=1) != plan_steps(lengths, 4096, 2, seed=2)


def test_half_an_epoch_and_rows_longer_than_a_step():
    assert sum(map(len, plan_steps([10] * 100, 50, 0.5, 0))) == 50
    assert sorted(plan_steps([500, 500], 100, 1, 0)) == [[0], [1]]


def test_a_step_is_shared_evenly_and_cut_into_micro_batches():
    lengths = [100, 90, 80, 70, 60, 50]
    shares = split_step(range(6), lengths, 2, 130)
    assert sorted(row for share in shares for rows in share for row in rows) == [*range(6)]
    totals = [sum(lengths[row] for rows in share for row in rows) for share in shares]
    assert abs(totals[0] - totals[1]) <= 50
    assert all(sum(lengths[row] for row in rows) <= 130 for share in shares for rows in share)


def test_the_learning_rate_rises_and_falls():
    rates = [learning_rate(step, 105, OPTIONS) for step in range(105)]
    assert rates[0] == pytest.approx(2e-3) and rates[4] == rates[5] == 1e-2
    assert rates[104] == pytest.approx(1e-4) and all(a > b for a, b in zip(rates[5:], rates[6:]))


# --- runs ------------------------------------------------------------------------------------------------------------


def trainer(folder, rows=None, options=OPTIONS, dtype=torch.float32, size=0, **more):
    log = TrainingLog(folder, shown=False)
    rows = examples() if rows is None else rows
    return Trainer(
        LoraLlama(peft_model(size).to(dtype)), rows, examples(2, 9), SMALL_LAYOUT, options, folder, log, **more
    )


def weights(run):
    return run.llama.adapter.master.data.clone()


def test_training_lowers_the_held_out_loss(tmp_path):
    rows = examples()
    run = Trainer(
        LoraLlama(peft_model(0)), rows, rows[:2], SMALL_LAYOUT, OPTIONS, tmp_path, TrainingLog(tmp_path, shown=False)
    )
    progress = run.run()
    assert progress.step == len(run.steps) and progress.last < progress.first - 0.5
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [*range(1, len(run.steps) + 1)]


def test_micro_batches_do_not_change_the_result(tmp_path):
    whole, cut = trainer(tmp_path / "a"), trainer(tmp_path / "b", options=replace(OPTIONS, micro_batch_tokens=64))
    whole.run(), cut.run()
    assert cut.capacity < whole.capacity
    assert torch.allclose(weights(whole), weights(cut), atol=1e-4)


def test_ctrl_c_saves_and_the_rest_gives_the_same_weights(tmp_path):
    whole = trainer(tmp_path / "whole")
    whole.run()
    first = trainer(tmp_path / "run")
    step = first._step

    def stop_in_the_third(number):
        first.stop = number == 2
        return step(number)

    first._step = stop_in_the_third
    with pytest.raises(OrpheusError, match="stopped after step 3 of"):
        first.run()
    second = trainer(tmp_path / "run")
    second.resume()
    second.run()
    assert torch.equal(weights(second), weights(whole))
    assert second.state.tokens == whole.state.tokens


def test_half_precision_keeps_small_gradients(tmp_path):
    """GPUs before Ampere compute in float16, where a gradient below 6e-8 is nothing: the loss is scaled."""

    def gradient(dtype):
        run = trainer(tmp_path / str(dtype), dtype=dtype, size=0.05)
        run._gradients(run.steps[0])
        return run.llama.adapter.master.grad.clone()

    exact, half = gradient(torch.float32), gradient(torch.float16)
    assert F.cosine_similarity(exact, half, dim=0) > 0.999
    assert 0.98 < half.norm() / exact.norm() < 1.02


def test_half_the_strength_moves_half_as_far_from_the_base():
    tuned = peft_model()
    layer = tuned.get_base_model().model.layers[1].mlp.up_proj
    whole = layer.get_delta_weight("default").clone()
    LoraLlama(tuned).adapter.multiply(0.5)
    assert torch.allclose(layer.get_delta_weight("default"), whole / 2, atol=1e-7) and whole.abs().max() > 0.01


def test_resuming_another_run_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no state"):
        trainer(tmp_path).resume()
    trainer(tmp_path).run()
    with pytest.raises(CheckpointError, match="other examples or options"):
        trainer(tmp_path, rows=examples(11)).resume()
    with pytest.raises(CheckpointError, match="other examples or options"):
        trainer(tmp_path, options=replace(OPTIONS, learning_rate=1e-3)).resume()


def test_out_of_memory_halves_the_micro_batch_once_and_keeps_the_result(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    whole, tight = trainer(tmp_path / "a"), trainer(tmp_path / "b")
    loss, said = tight.llama.loss, []
    tight.log.say = said.append

    def limited(pack, first=0):
        if len(pack.ids) > 80:
            raise torch.OutOfMemoryError("out of memory")
        return loss(pack, first)

    monkeypatch.setattr(tight.llama, "loss", limited)
    tight.held_out = []
    whole.run(), tight.run()
    assert len(said) == 1 and "75 from now on" in said[0]
    assert torch.allclose(weights(whole), weights(tight), atol=1e-4)


def test_a_loss_that_is_no_number_stops_with_step_and_rows(tmp_path):
    run = trainer(tmp_path)
    before = weights(run)
    run.llama.loss = lambda pack, first=0: (run.llama.adapter.groups[0].a * math.nan).sum()
    run.held_out = []
    with pytest.raises(OrpheusError, match="step 1; .*row "):
        run.run()
    assert torch.equal(weights(run), before)


# --- folders ---------------------------------------------------------------------------------------------------------


def test_a_failed_write_leaves_the_former_folder(tmp_path):
    with whole_folder(tmp_path / "x") as new:
        (new / "a").write_text("first")
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "x") as new:
        (new / "a").write_text("half")
        raise RuntimeError
    assert (tmp_path / "x" / "a").read_text() == "first" and [p.name for p in tmp_path.iterdir()] == ["x"]


# --- the script ------------------------------------------------------------------------------------------------------


@pytest.fixture
def recordings(tmp_path):
    """A folder of twelve short clips with transcripts."""
    from orpheus.common.audio import read_audio, write_wav

    speech = read_audio(ROOT / "docs" / "hello.wav")
    folder = tmp_path / "recordings"
    for index in range(12):
        write_wav(folder / f"{index}.wav", speech[index * 1200 : index * 1200 + 24_000])
    lines = [{"file_name": f"{i}.wav", "text": "Good <laugh> morning.", "source": "mara"} for i in range(12)]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


def recipe(recordings, folder, *more, wait=True, ranks=1):
    fixed = [
        "--report-to",
        "none",
        "--epochs",
        "6",
        "--tokens-per-step",
        "300",
        "--save-steps",
        "2",
        "--eval-steps",
        "3",
    ]
    paths = ["--out", folder / "lora", "--run-dir", folder / "run", "--samples", folder / "audio"]
    launcher = [] if ranks == 1 else f"-m torch.distributed.run --standalone --nproc-per-node {ranks}".split()
    command = [
        sys.executable,
        *launcher,
        ROOT / "orpheus_sft_unsloth.py",
        "--demo",
        "--dataset",
        recordings,
        "--no-keep-best",
    ]
    command += [*fixed, *paths, "--code-cache", recordings.parent / "codes", *more]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if not wait:
        return process
    output = process.communicate()[0]
    assert process.returncode == 0, output
    return output


@pytest.mark.timeout(400)
def test_a_killed_run_resumes_to_the_same_adapter_which_then_speaks(recordings, tmp_path, monkeypatch):
    output = recipe(recordings, tmp_path / "whole", "--merge", tmp_path / "merged")
    assert "12 read, 12 used" in output and "seconds used for training" in output and "The adapter is in" in output
    killed = recipe(recordings, tmp_path / "cut", wait=False)
    states = tmp_path / "cut" / "run" / "run_001" / "states"
    while killed.poll() is None and not list(states.glob("step_*")):
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert not (tmp_path / "cut" / "lora").exists()
    recipe(recordings, tmp_path / "cut", "--resume")
    names = sorted(path.name for path in (tmp_path / "whole" / "lora").glob("[!.]*"))
    assert names == sorted(
        "README.md adapter_config.json adapter_model.safetensors config.yaml data_report.md loss.png tokenizer.json "
        "tokenizer_config.json voices.json".split()
    )
    one, other = (tmp_path / name / "lora" / "adapter_model.safetensors" for name in ("whole", "cut"))
    assert one.read_bytes() == other.read_bytes()

    from orpheus.speech.synthesis import OrpheusInference

    tuned = OrpheusInference(lora=str(tmp_path / "whole" / "lora"))
    assert tuned.default_voice == "mara" and tuned.name.startswith("demo_voice + ")
    merged = OrpheusInference(str(tmp_path / "merged"), lora="none")
    assert merged.default_voice == "mara"
    with pytest.raises(CheckpointError, match="was made for demo_voice"):
        OrpheusInference("unsloth/orpheus-3b-0.1-ft", lora=str(tmp_path / "whole" / "lora"))


@pytest.mark.timeout(400)
def test_two_ranks_train_the_adapter_of_one(recordings, tmp_path):
    from safetensors.numpy import load_file

    short = ("--max-steps", "3", "--tokens-per-step", "700")
    recipe(recordings, tmp_path / "one", *short)
    output = recipe(recordings, tmp_path / "two", *short, ranks=2)
    assert output.count("The adapter is in") == 1
    one, two = (load_file(tmp_path / name / "lora" / "adapter_model.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name in one:
        apart = np.abs(two[name] - one[name])  # where a gradient is next to nothing, Adam makes much of its rounding
        assert apart.max() < 1e-4 and apart.mean() < 1e-6, name
    log = [json.loads(line) for line in (tmp_path / "two" / "run" / "run_001" / "log.jsonl").read_text().splitlines()]
    whole = [json.loads(line) for line in (tmp_path / "one" / "run" / "run_001" / "log.jsonl").read_text().splitlines()]
    losses, expected = ([line["loss"] for line in lines if "loss" in line] for lines in (log, whole))
    assert len(losses) == 3 and losses == pytest.approx(expected, abs=1e-4)


def test_flags_come_over_the_config_and_that_over_the_demo(tmp_path):
    import orpheus_sft_unsloth as script

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
    import orpheus_sft_unsloth as script

    arguments = script.parse([])
    training, run = arguments.training, arguments.run
    assert (run.model, arguments.data.dataset) == ("unsloth/orpheus-3b-0.1-ft", "MrDragonFox/Elise")
    assert (training.lora_rank, training.lora_alpha, training.learning_rate, training.epochs) == (64, 64, 2e-4, 1.0)
    assert run.push_to_hub is False and str(run.out) == "lora_model"


def test_push_is_refused_before_training_without_a_repository():
    from orpheus.common.hub import check_push

    with pytest.raises(InputError, match="needs --hub-repo"):
        check_push(None)


def test_the_status_of_bad_input(capsys, tmp_path):
    import orpheus_sft_unsloth as script

    assert script.main(["--demo", "--dataset", str(tmp_path / "nothing"), "--report-to", "none"]) == 2
    assert "error: " in capsys.readouterr().err
