"""Work on CUDA recorded once and replayed: launching many small kernels one by one takes longer than they do."""

import warnings

import torch

from orpheus.common.errors import OrpheusWarning


def record(work, pool=None, stream=None, runs=2, **options):
    """(a CUDA graph of `work`, what `work` returned while it was recorded).

    runs: how often `work` runs first, so that kernels compile and libraries choose and set up
    stream: the CUDA stream to record on, which is the current one; by default one of its own, beside the current one
    options: of torch.cuda.graph, such as capture_error_mode
    """
    current = torch.cuda.current_stream()
    side = stream or torch.cuda.Stream()
    side.wait_stream(current)
    with torch.cuda.stream(side):
        for _ in range(runs):
            work()
    current.wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=pool, stream=stream, **options):
        made = work()
    return graph, made


def say_uncaptured(what, error):
    """One line about work that is launched piece by piece from now on. what: whose work it is, as "the decoder's"."""
    reason = str(error).strip().splitlines() or [type(error).__name__]
    warnings.warn(
        f"{what} kernels cannot be captured as a CUDA graph here ({type(error).__name__}: {reason[0]:.120}); "
        "they are launched one by one, which takes a few milliseconds more",
        OrpheusWarning,
        stacklevel=3,
    )
