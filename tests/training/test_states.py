"""A run that was stopped goes on as if it had not been; another run's state is refused."""

from dataclasses import replace

import pytest
import torch

from orpheus.common.errors import CheckpointError, OrpheusError
from tests.fakes.training import OPTIONS, examples, trainer, weights


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


def test_resuming_another_run_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no state"):
        trainer(tmp_path).resume()
    trainer(tmp_path).run()
    with pytest.raises(CheckpointError, match="other examples or options"):
        trainer(tmp_path, rows=examples(11)).resume()
    with pytest.raises(CheckpointError, match="other examples or options"):
        trainer(tmp_path, options=replace(OPTIONS, learning_rate=1e-3)).resume()
