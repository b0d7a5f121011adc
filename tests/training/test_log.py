"""What is seen of a run: its bar is true from the step it begins with, and its lines are for people."""

import json
from types import SimpleNamespace

import pytest

from orpheus.common import command, progress
from orpheus.training import log as log_module
from orpheus.training.log import TrainingLog
from tests.common.test_progress import Screen


@pytest.fixture
def screen(monkeypatch):
    shown, clock = Screen(), [0.0]
    monkeypatch.setattr(progress, "_shown", [])
    streams = SimpleNamespace(stderr=shown, stdout=shown, modules={})
    for module in (progress, command):
        monkeypatch.setattr(module, "sys", streams)
    for module in (progress, log_module):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    size = SimpleNamespace(get_terminal_size=lambda: SimpleNamespace(columns=shown.columns))
    monkeypatch.setattr(progress, "shutil", size)
    shown.pass_time = lambda seconds: clock.__setitem__(0, clock[0] + seconds)
    return shown


def steps(log, screen, first, last, seconds=1.0, loss=4.0312, speed=890.4):
    for step in range(first, last + 1):
        screen.pass_time(seconds)
        log.step(step, loss=loss, tokens_per_second=speed, gradient_norm=0.5, learning_rate=1e-4)


def test_the_bar_has_total_share_loss_speed_and_the_time_left(screen, tmp_path):
    log = TrainingLog(tmp_path)
    log.begin(80)
    steps(log, screen, 1, 20)
    assert screen.shown[-1].startswith("training  25 % [###")
    assert screen.shown[-1].endswith("] step 20/80, loss 4.03, 890 tok/s, 1:00 min left")
    assert len(screen.shown[-1]) == 79
    steps(log, screen, 21, 80)
    assert screen.shown[-1].endswith("step 80/80, loss 4.03, 890 tok/s")
    log.close()
    assert screen.shown == [""]
    first = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[0])
    assert first == {"step": 1, "loss": 4.0312, "tokens_per_second": 890.4, "gradient_norm": 0.5, "learning_rate": 1e-4}


def test_a_slow_first_step_does_not_count_for_the_time_left(screen, tmp_path):
    log = TrainingLog(tmp_path)
    log.begin(12)
    steps(log, screen, 1, 1, seconds=60)
    assert "left" not in screen.shown[-1]
    steps(log, screen, 2, 2, seconds=2)
    assert screen.shown[-1].endswith(", 20 s left")


def test_a_resumed_run_begins_at_its_step_with_the_total_of_the_whole(screen, tmp_path):
    log = TrainingLog(tmp_path)
    log.begin(40, done=30)
    assert screen.shown[-1].startswith("training  75 % [####") and "step 30/40" in screen.shown[-1]
    steps(log, screen, 31, 32, seconds=3)
    assert "step 32/40" in screen.shown[-1] and screen.shown[-1].endswith("24 s left")


@pytest.mark.parametrize("total, done", [(900, 899), (123_456, 100_000)])
def test_it_fits_a_narrow_terminal(screen, tmp_path, total, done):
    log = TrainingLog(tmp_path)
    log.begin(total, done - 5, at_most=True)
    steps(log, screen, done - 4, done, seconds=50, speed=1_234_567.0)
    assert len(screen.shown[-1]) <= 79 and f"step {done:,}/{total:,}, loss 4.03" in screen.shown[-1]


def test_a_run_that_may_end_sooner_says_up_to_and_learns_of_its_end(screen, tmp_path):
    log = TrainingLog(tmp_path)
    log.begin(900, at_most=True)
    steps(log, screen, 1, 11)
    assert screen.shown[-1].endswith("up to 14:49 min left")
    log.expect(20)
    assert "step 11/20" in screen.shown[-1] and screen.shown[-1].endswith(", 9 s left")


def test_what_is_said_and_measured_meanwhile_keeps_to_its_own_line(screen, tmp_path):
    log = TrainingLog(tmp_path)
    with log.doing("measuring the held-out loss"):
        assert screen.shown[-1] == "measuring the held-out loss"
    log.event(0, "held-out loss 8.51")
    log.begin(80)
    steps(log, screen, 1, 20)
    with log.doing("measuring the held-out loss"):
        assert screen.shown[-1].endswith("step 20/80, measuring the held-out loss")
    log.event(20, "held-out loss 4.10", held_out_loss=4.1)
    assert screen.shown[:2] == ["before training: held-out loss 8.51", "step 20: held-out loss 4.10"]
    assert screen.shown[2].startswith("training  25 %") and len(screen.shown) == 3


def test_the_bar_comes_back_after_another_was_in_front(screen, tmp_path):
    log = TrainingLog(tmp_path)
    log.begin(80)
    steps(log, screen, 1, 20)
    with progress.Speaking(True, [3.0]) as speaking:
        screen.pass_time(1)
        speaking.generated(3.0)
        assert screen.shown[-1].startswith("speaking")
    assert screen.shown[-1].startswith("training  25 %")


def test_in_a_log_a_line_comes_now_and_then(screen, tmp_path):
    screen.isatty = lambda: False
    log = TrainingLog(tmp_path)
    log.begin(40)
    steps(log, screen, 1, 25)
    log.event(25, "held-out loss 4.10")
    log.close()
    assert screen.shown == [
        "training: 25 %, step 10/40, loss 4.03, 890 tok/s, 30 s left",
        "training: 50 %, step 20/40, loss 4.03, 890 tok/s, 20 s left",
        "step 25: held-out loss 4.10",
        "",
    ]


def test_nothing_is_shown_of_the_other_ranks(screen, tmp_path):
    log = TrainingLog(tmp_path, shown=False, recorded=False)
    log.begin(40)
    steps(log, screen, 1, 25)
    log.say("hello")
    log.close()
    assert screen.shown == [""] and not (tmp_path / "log.jsonl").exists()
