"""Progress: true, within 80 columns, and never on a line with anything else."""

import re
from types import SimpleNamespace

import pytest

from orpheus.common import command, progress
from orpheus.common.command import say, tell
from orpheus.common.progress import Bar, Speaking, State, in_time


class Screen:
    """A terminal of 80 columns with what it shows: its lines, the cursor in the last one."""

    def __init__(self, columns=80):
        self.columns, self.lines, self.column = columns, [""], 0

    def isatty(self):
        return True

    def flush(self):
        pass

    def write(self, text):
        for part in re.split(r"([\r\n])", text):
            if part == "\r":
                self.column = 0
            elif part == "\n":
                self.lines.append("")
                self.column = 0
            elif part:
                line = self.lines[-1].ljust(self.column)
                self.lines[-1] = line[: self.column] + part + line[self.column + len(part) :]
                self.column += len(part)
                assert self.column < self.columns, "the line wraps"

    @property
    def shown(self):
        return [line.rstrip() for line in self.lines]


@pytest.fixture
def screen(monkeypatch):
    shown, clock = Screen(), [0.0]
    streams = SimpleNamespace(stderr=shown, stdout=shown, modules={})
    monkeypatch.setattr(progress, "sys", streams)
    monkeypatch.setattr(command, "sys", streams)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(
        progress, "shutil", SimpleNamespace(get_terminal_size=lambda: SimpleNamespace(columns=shown.columns))
    )
    shown.pass_time = lambda seconds: clock.__setitem__(0, clock[0] + seconds)
    return shown


def percent(screen):
    return int(re.search(r"(\d+) %", screen.shown[-1])[1])


def test_a_bar_has_a_total_a_share_and_the_time_left(screen):
    with Bar(True, 40, "encoding", "clip") as bar:
        assert screen.shown[-1].startswith("encoding   0 % [....") and screen.shown[-1].endswith("] 0 of 40 clips")
        screen.pass_time(5)
        bar.update(10)
        assert screen.shown[-1].startswith("encoding  25 % [####") and screen.shown[-1].endswith(
            "] 10 of 40 clips, 15 s left"
        )
        assert len(screen.shown[-1]) == 79
        bar.update(30)
        assert screen.shown[-1].endswith("#] 40 of 40 clips")
    assert screen.shown == [""]


def test_it_is_not_drawn_more_often_than_one_can_see(screen):
    with Bar(True, 1000, "checking", "clip") as bar:
        bar.update()
        assert "0 of 1,000 clips" in screen.shown[-1]
        screen.pass_time(0.2)
        bar.update()
        assert "2 of 1,000 clips" in screen.shown[-1]


@pytest.mark.parametrize("columns", [200, 80, 60, 40])
def test_it_fits_the_terminal(screen, columns):
    screen.columns = columns
    with Bar(True, 123_456, "writing the merged model", "tensor") as bar:
        screen.pass_time(4000)
        bar.update(1234)
        assert screen.shown[-1].startswith("writing the merged model   1 %"[: columns - 1])


def test_a_result_and_a_warning_have_lines_of_their_own(screen):
    with Bar(True, 2, "speaking", "piece") as bar:
        screen.pass_time(1)
        bar.update()
        tell("a.wav: 2.3 s of speech")
        say("warning: odd")
        assert screen.shown[:2] == ["a.wav: 2.3 s of speech", "warning: odd"]
        assert screen.shown[2].startswith("speaking  50 %") and len(screen.shown) == 3
    assert screen.shown == ["a.wav: 2.3 s of speech", "warning: odd", ""]


def test_a_state_goes_away(screen):
    with State("loading"):
        assert screen.shown == ["loading"]
        say("a line")
        assert screen.shown == ["a line", "loading"]
    assert screen.shown == ["a line", ""]


def test_nothing_is_shown_unasked(screen):
    with Bar(False, 2, "speaking", "piece") as bar, Speaking(False, [1.0]) as speaking, State("loading", shown=False):
        screen.pass_time(100)
        bar.update()
        speaking.generated(1.0)
    assert screen.shown == [""]


def test_in_a_log_there_is_a_line_now_and_then(screen, monkeypatch):
    monkeypatch.setattr(screen, "isatty", lambda: False)
    with State("loading"), Bar(True, 600, "encoding", "clip") as bar:
        for _ in range(30):
            screen.pass_time(1)
            bar.update(10)
    assert screen.shown == [
        "loading",
        "encoding: 17 %, 100 of 600 clips, 50 s left",
        "encoding: 33 %, 200 of 600 clips, 40 s left",
        "encoding: 50 %, 300 of 600 clips, 30 s left",
        "",
    ]


def test_speaking_moves_within_pieces_with_every_piece_and_while_decoding(screen):
    with Speaking(True, [4.0, 2.0, 4.0]) as bar:
        shares = [percent(screen)]
        for step in (
            lambda: bar.under_way([(4.0, 2.0), (2.0, 1.0)], 3.0),
            lambda: bar.generated(2.0),
            lambda: bar.under_way([(4.0, 3.5)], 5.0),
            lambda: bar.generated(4.0),
            lambda: bar.under_way([], 6.0),
            lambda: bar.under_way([(4.0, 9.0)], 15.0),  # longer than expected
            lambda: bar.generated(4.0),
            lambda: bar.decoded(4.0),
            lambda: bar.decoded(2.0),
        ):
            screen.pass_time(1)
            step()
            shares.append(percent(screen))
        assert shares == sorted(shares) and shares[-3:] == [70, 82, 88]
        assert len(set(shares)) >= 8 and "3 of 3 pieces, 15 s of speech" in screen.shown[-1]
        bar.decoded(4.0)
        assert percent(screen) == 100


def test_pieces_that_are_spoken_again_are_not_counted_twice(screen):
    with Speaking(True, [4.0, 4.0]) as bar:
        screen.pass_time(1)
        for _ in range(2):
            bar.generated(4.0)
        with bar.again(1):
            screen.pass_time(1)
            bar.under_way([(4.0, 1.0)], 9.0)
            assert "1 of 2 again" in screen.shown[-1]
            bar.generated(4.0)
        screen.pass_time(1)
        bar.decoded(4.0)
        assert percent(screen) == 85 and "2 of 2 pieces" in screen.shown[-1]


@pytest.mark.parametrize(
    "seconds, words", [(0.4, "0 s"), (59.4, "59 s"), (65, "1:05 min"), (3599, "59:59 min"), (7800, "2:10 h")]
)
def test_time_in_words(seconds, words):
    assert in_time(seconds) == words
