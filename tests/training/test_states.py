"""A run is never lost: states that are whole, signals, full disks."""

import json
import math
import os
import signal
from dataclasses import replace

import pytest
import torch

from orpheus.common import files
from orpheus.common.errors import CheckpointError, OrpheusWarning, StoppedError
from orpheus.common.files import whole_folder
from orpheus.training import states
from orpheus.training.runs import adapter_bytes
from orpheus.training.states import Best, identity_of, save_state, saved_states, stop_on_signals
from tests.fakes import training as fakes
from tests.fakes.checkpoints import SMALL_CONFIG
from tests.fakes.training import examples, weights

OPTIONS = replace(fakes.OPTIONS, max_steps=6, save_steps=2, eval_steps=2)


def trainer(folder, options=OPTIONS, rows=None, **more):
    made = fakes.trainer(folder, rows, options, **more)
    made.best = Best(made.llama.adapter)
    made.on_best = made.best.save
    made.said, made.log.say = [], lambda message: made.said.append(message)
    return made


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """(weights at the end, weights of the best adapter) of a run that nothing stopped."""
    run = trainer(tmp_path_factory.mktemp("whole"))
    run.run()
    return weights(run), run.best.master


@pytest.fixture
def stopped(tmp_path):
    """The folder of a run with states after steps 2 and 4."""
    run = trainer(tmp_path)
    step = run._step

    def killed(number):
        if number == 4:
            raise KeyboardInterrupt
        return step(number)

    run._step = killed
    with pytest.raises(KeyboardInterrupt):
        run.run()
    assert [path.name for path in saved_states(tmp_path / "states")] == ["step_000002", "step_000004"]
    return tmp_path


def goes_on(folder, uninterrupted, after):
    """The run's end after it was resumed: as if nothing had happened."""
    run = trainer(folder)
    run.resume()
    assert run.state.step == after
    run.run()
    assert torch.equal(weights(run), uninterrupted[0]) and torch.equal(run.best.master, uninterrupted[1])
    return " ".join(run.said)


def test_ctrl_c_saves_and_the_rest_gives_the_same_weights(tmp_path):
    whole = fakes.trainer(tmp_path / "whole")
    whole.run()
    first = fakes.trainer(tmp_path / "run")
    step = first._step

    def stop_in_the_third(number):
        first.stop = number == 2
        return step(number)

    first._step = stop_in_the_third
    with pytest.raises(StoppedError, match="stopped after step 3 of"):
        first.run()
    second = fakes.trainer(tmp_path / "run")
    second.resume()
    second.run()
    assert torch.equal(weights(second), weights(whole))
    assert second.state.tokens == whole.state.tokens


def test_resuming_another_run_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no state"):
        fakes.trainer(tmp_path).resume()
    fakes.trainer(tmp_path).run()
    with pytest.raises(CheckpointError, match="other examples or options"):
        fakes.trainer(tmp_path, rows=examples(11)).resume()
    with pytest.raises(CheckpointError, match="other examples or options"):
        fakes.trainer(tmp_path, options=replace(fakes.OPTIONS, learning_rate=1e-3)).resume()


def truncate(path):
    path.write_bytes(path.read_bytes()[:1000])


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGES = {
    "half": (truncate, "has 1000 of"),
    "empty": (lambda path: path.write_bytes(b""), "has 0 of"),
    "a flipped bit": (flip, "state.pt is damaged"),
    "gone": (lambda path: path.unlink(), "state.pt is missing"),
}


@pytest.mark.parametrize("damage, message", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_state_is_named_and_the_one_before_is_used(stopped, uninterrupted, damage, message):
    damage(stopped / "states/step_000004/state.pt")
    said = goes_on(stopped, uninterrupted, 2)
    assert message in said and "Going on from the state before it, step_000002" in said
    assert [path.name for path in saved_states(stopped / "states")] == ["step_000004", "step_000006"]


def test_a_state_that_this_program_did_not_list_is_not_used_and_kept_aside(stopped, uninterrupted):
    (stopped / "states/step_000004/.orpheus/files.json").unlink()
    with pytest.warns(OrpheusWarning, match="is kept as state.pt.kept1"):
        assert "never finished, or something else wrote it" in goes_on(stopped, uninterrupted, 2)


def test_a_state_of_something_else_is_named(stopped, uninterrupted):
    path = stopped / "states/step_000004"
    with whole_folder(path, "state") as new:
        torch.save({"model": 1}, new / "state.pt")
    assert "state.pt is not a state of this program" in goes_on(stopped, uninterrupted, 2)


def test_no_usable_state_is_an_error_with_every_reason(stopped):
    for step in (2, 4):
        truncate(stopped / f"states/step_00000{step}/state.pt")
    with pytest.raises(CheckpointError, match="step_000004: state.pt has .*step_000002: state.pt has .*--resume-from"):
        trainer(stopped).resume()


def test_a_state_of_another_base_model_codec_or_option_is_refused(tmp_path):
    trainer(tmp_path, of={"base": "a", "codec": "b"}).save()
    for of, message in (
        ({"base": "x", "codec": "b"}, "another base model"),
        ({"base": "a", "codec": "x"}, "another codec"),
    ):
        with pytest.raises(CheckpointError, match=rf"\({message}\)"):
            trainer(tmp_path, of=of).resume()
    with pytest.raises(CheckpointError, match=r"\(learning_rate 0.01, now 0.1\)"):
        trainer(tmp_path, replace(OPTIONS, learning_rate=0.1), of={"base": "a", "codec": "b"}).resume()
    with pytest.raises(CheckpointError, match=r"\(other examples\)"):
        trainer(tmp_path, rows=examples(11), of={"base": "a", "codec": "b"}).resume()
    trainer(tmp_path, replace(OPTIONS, save_steps=1), of={"base": "a", "codec": "b"}).resume()


def test_a_base_model_is_known_by_its_content(tmp_path):
    for name, content in {"a": b"1" * 10**6, "b": b"1" * 10**6, "c": b"1" * 999_999 + b"2"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
        (tmp_path / name / "model.safetensors").write_bytes(content)
    assert identity_of(tmp_path / "a") == identity_of(tmp_path / "b") != identity_of(tmp_path / "c")
    (tmp_path / "b" / "config.json").write_text("[]")
    assert identity_of(tmp_path / "a") != identity_of(tmp_path / "b")


# --- full disks and signals ------------------------------------------------------------------------------------------


def full_disk(monkeypatch, *failing):
    """The saves of these numbers meet a full disk."""
    save, count = torch.save, iter(range(1, 100))

    def full(content, file):
        if next(count) in failing:
            file.write(b"half")
            raise OSError(28, "No space left on device")
        save(content, file)

    monkeypatch.setattr(states.torch, "save", full)


def test_a_full_disk_costs_no_training(tmp_path, monkeypatch, uninterrupted):
    full_disk(monkeypatch, 2)
    run = trainer(tmp_path)
    run.run()
    assert torch.equal(weights(run), uninterrupted[0])
    assert [s for s in run.said if "No space left on device" in s and "the state after step 2 stays" in s]
    assert [path.name for path in saved_states(tmp_path / "states")] == ["step_000002", "step_000006"]


def test_stopping_on_a_full_disk_says_from_where_to_go_on(tmp_path, monkeypatch):
    full_disk(monkeypatch, 2)
    run = trainer(tmp_path)
    step = run._step

    def stop(number):
        run.stop = number == 2
        return step(number)

    run._step = stop
    with pytest.raises(
        StoppedError, match="stopped after step 3 of 6; the state after step 2 is in .*go on with --resume"
    ):
        run.run()


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path):
    run = trainer(tmp_path)
    run.log.path = tmp_path  # a folder
    run.run()
    assert len([s for s in run.said if "cannot be written" in s]) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_with_its_state_saved(tmp_path, uninterrupted, number):
    run = trainer(tmp_path)
    step = run._step

    def signalled(at):
        if at == 2:
            os.kill(os.getpid(), number)
        return step(at)

    run._step = signalled
    former = signal.getsignal(number)
    with pytest.raises(StoppedError, match="stopped after step 3"), stop_on_signals(run):
        run.run()
    assert signal.getsignal(number) is former
    goes_on(tmp_path, uninterrupted, 3)


def test_a_kill_inside_of_a_save_keeps_the_state_before(tmp_path, monkeypatch):
    save_state(tmp_path, 1, {"a": 1})
    with monkeypatch.context() as patched:
        patched.setattr(files, "list_written", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            save_state(tmp_path, 2, {"a": 2})
    assert [path.name for path in saved_states(tmp_path)] == ["step_000001"]
    save_state(tmp_path, 3, {"a": 3})
    assert sorted(os.listdir(tmp_path)) == ["step_000001", "step_000003"]


def test_the_size_of_an_adapter_is_known_from_the_shape(tmp_path):
    run = trainer(tmp_path)
    assert adapter_bytes(SMALL_CONFIG, 4) == 4 * len(run.llama.adapter.master)
    assert adapter_bytes(json.loads("{}"), 4) == 0


def test_a_state_of_the_best_adapter_needs_no_file_of_its_own(stopped):
    run = trainer(stopped)
    run.resume()
    assert run.best.master is not None and math.isfinite(run.state.best)
    assert sorted(os.listdir(stopped)) == ["log.jsonl", "states"]
