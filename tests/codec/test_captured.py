"""CUDA graphs of short windows, with a fake CUDA on the CPU: what is replayed, and what happens where capturing fails."""

import warnings
from contextlib import nullcontext

import pytest
import torch

from orpheus.codec import captured, graphs
from orpheus.codec.captured import CapturedWindows
from orpheus.common.errors import OrpheusWarning


class FakeStream:
    def __init__(self, *_, **__):
        pass

    def wait_stream(self, other):
        pass


class FakeGraph:
    """Replays the work that was recorded into it."""

    def replay(self):
        self.work()


@pytest.fixture
def cuda(monkeypatch):
    """torch.cuda as far as graphs need it."""
    for name in ("Stream", "current_stream"):
        monkeypatch.setattr(torch.cuda, name, FakeStream)
    for name in ("device", "stream"):
        monkeypatch.setattr(torch.cuda, name, lambda *_: nullcontext())
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: None)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
    monkeypatch.setattr(torch.cuda, "graph", lambda *_, **__: nullcontext())


def decode(levels, seed, first):
    """Audio that tells its inputs."""
    total = sum(level.sum() for level in levels)
    return (total + 10_000 * seed + 100_000 * first).repeat(1, 3).float()


def window(frames, code):
    return [torch.full((1, count * frames), code) for count in (1, 2, 4)]


def test_a_window_is_recorded_once_and_replayed_with_new_inputs(cuda, monkeypatch):
    calls, recorded = [], []

    def fake_record(work, *_, **__):
        made, graph = work(), FakeGraph()
        graph.work = lambda: (calls.append(1), made.copy_(work()))
        recorded.append(graph)
        return graph, made

    monkeypatch.setattr(captured, "record", fake_record)
    windows = CapturedWindows(decode, torch.device("cpu"))
    found = [
        windows(window(frames, code), seed, first)[0].item()
        for frames, code, seed, first in ((2, 1, 3, 0), (2, 5, 0, 4), (4, 1, 0, 0))
    ]
    assert found == [14 + 30_000, 70 + 400_000, 28] and len(recorded) == 2 and len(calls) == 3


def test_where_capturing_fails_one_line_says_so_and_windows_are_decoded_all_the_same(cuda, monkeypatch):
    tried = []

    def failing(*_, **__):
        tried.append(1)
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(captured, "record", failing)
    windows = CapturedWindows(decode, torch.device("cpu"))
    with pytest.warns(
        OrpheusWarning,
        match="the first sound's kernels .*RuntimeError: operation not permitted when stream is capturing",
    ):
        assert windows(window(2, 1), 3, 0).tolist() == [30_014.0] * 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert windows(window(3, 2), 0, 1).tolist() == [100_042.0] * 3 and windows(window(2, 1), 0, 0)[0] == 14
    assert tried == [1]


def test_a_lack_of_memory_is_no_failed_capture(cuda, monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(captured, "record", full)
    windows = CapturedWindows(decode, torch.device("cpu"))
    with pytest.raises(torch.OutOfMemoryError):
        windows(window(2, 1), 0, 0)
    assert windows.captures


@pytest.mark.parametrize("runs", [0, 1, 2])
def test_work_runs_before_it_is_recorded(cuda, runs):
    calls = []
    graph, made = graphs.record(lambda: calls.append(1) or len(calls), runs=runs)
    assert isinstance(graph, FakeGraph) and made == len(calls) == runs + 1
