"""Decodes many SNAC streams, one frame of each per step, and never a frame twice.

Decoding in windows recomputes the context for every window: 7 frames for 1 new one, 14 for 8. Here the layers keep what
they need (orpheus/codec/stream_layers.py; orpheus/codec/kernels/decoder.py on CUDA), so each frame is computed once.
The first 3 frames (21 tokens) give the first 1,387 samples, and each further frame 2,048 more: `delay`, 4,757 samples,
is how far the exact output lags behind.
"""

import warnings
from collections import deque
from contextlib import nullcontext
from functools import partial

import numpy as np
import torch

from orpheus.codec.graphs import record, say_uncaptured
from orpheus.codec.precision import full_precision
from orpheus.codec.step import CODES, COLUMNS, END, FIRST, ROW, SEED
from orpheus.codec.stream_layers import StreamLayers
from orpheus.codec.threads import one_thread
from orpheus.common.errors import InputError, OrpheusError, OrpheusWarning
from orpheus.common.frame import CODES_PER_FRAME, CONTEXT_FRAMES, FRAME_SAMPLES, LEVEL_CODES
from orpheus.common.tokens import deinterleave

_UNKNOWN = 2**40  # frames of a stream that has not ended
_NO_FRAME = np.zeros(CODES_PER_FRAME, dtype=np.int64)
# Streams up to which a step on a CPU runs in one thread: its layers are so small that two threads took as long or a third longer, and
# beside other busy programs, whose turn they wait for, several times as long. The rest of the cores is for the others.
_FEW = 4


def _sizes_up_to(batch):
    """Batch sizes that each get a graph: close enough together that little work is wasted."""
    return sorted({size for size in (1, 2, 4, 8, 16, *range(32, batch, 32)) if size < batch} | {batch})


@torch.inference_mode()
def _agree(layers, plain):
    """Whether two ways to decode streams agree: tries the first frames of a stream, in the last row of each."""
    for first in range(CONTEXT_FRAMES + 1):
        inputs = torch.zeros(1, COLUMNS, dtype=torch.int64, device=plain.device)
        inputs[0, :CODES] = torch.tensor([plain.rows - 1, 1, first, _UNKNOWN])
        inputs[0, CODES:] = first
        expected = plain(inputs)
        inputs[0, ROW] = layers.rows - 1
        if not (layers(inputs) - expected).abs().max() < 1e-4:  # also for NaN
            return False
    return True


def _fused_layers(model, rows):
    """The layers as Triton kernels, or None if those cannot run here."""
    device = next(model.parameters()).device
    if device.type != "cuda":
        return None
    try:
        from orpheus.codec.kernels import decoder as fused_decoder
    except (ImportError, TypeError):  # no Triton, or too old
        return None
    if not fused_decoder.fits(model):
        return None
    try:
        with torch.cuda.device(device):
            layers = fused_decoder.FusedLayers(model, rows)
            if _agree(layers, StreamLayers(model, 1)):
                return layers
        reason = "they give different results"
    except Exception as error:  # compilers, drivers and Triton each raise their own errors
        reason = error
    message = f"the decoder's kernels do not work on this GPU: {reason}. Streams are decoded in plain PyTorch, slower"
    warnings.warn(message, OrpheusWarning, stacklevel=3)
    return None


class Decoded:
    """Samples on their way to the host."""

    def __init__(self, samples, parts, queue):
        self._samples, self._parts, self._copied = samples, parts, None
        if queue is not None:
            self._samples = torch.empty(samples.shape, dtype=samples.dtype, pin_memory=True)
            self._samples.copy_(samples, non_blocking=True)
            self._copied = torch.cuda.Event()
            self._copied.record(queue)

    @property
    def ready(self):
        return self._copied is None or self._copied.query()

    def chunks(self):
        """{stream: float32 (samples,)} of the streams that gave samples; waits for them."""
        if self._copied is not None:
            self._copied.synchronize()
        samples = self._samples.numpy()
        # Copies: chunks live on in queues, and should not keep the whole batch alive.
        return {
            stream: samples[row, first:end].copy()
            for row, (stream, first, end) in enumerate(self._parts)
            if first < end
        }


class StreamDecoder:
    """Decodes up to `capacity` streams side by side on the device of `codec`, float32, with the codec's own noise.

    A stream is identified by its number.
    batch: the most streams in one step; default: `capacity`
    graphs: whether a step on CUDA is a captured graph, one per batch size; a batch between two sizes is padded
    fused: whether to use the Triton kernels if they run here; otherwise plain PyTorch

    On CUDA, steps run on a separate CUDA stream, alongside whatever the caller's does. Not thread-safe.
    """

    def __init__(self, codec, capacity, batch=None, graphs=True, fused=True):
        self.capacity, self.device, self.batch = capacity, codec.device, batch or capacity
        self.codebook_size = codec.codebook_size
        self._free = list(range(capacity))[::-1]
        self._frames = {}  # of each stream: those that wait, each int64 (7,) level by level
        # Of each stream: its seed; frames that came; those decoded, including the empty ones fed after the last; all, once it has ended.
        self._seeds, self._pushed, self._taken, self._ends = np.zeros((4, capacity), dtype=np.int64)
        with torch.inference_mode(), full_precision():
            rows = capacity + 1  # the last one is for a batch's padding
            self._layers = (fused and _fused_layers(codec.model, rows)) or StreamLayers(codec.model, rows)
            self.delay = self._layers.delay
            self._queue, self._graphs = None, {}
            if self.device.type == "cuda":
                # Ahead of the caller's kernels: these are many and small, and someone waits for their samples.
                self._queue = torch.cuda.Stream(self.device, priority=-1)
                self._queue.wait_stream(torch.cuda.current_stream(self.device))
                if graphs:
                    self._try_to_capture()

    @property
    def state_bytes(self):
        """Bytes kept of one stream's past."""
        return self._layers.state_bytes

    def _try_to_capture(self):
        try:
            self._capture()
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # drivers, CUDA and libraries each raise their own errors
            self._graphs = {}
            say_uncaptured("the decoder's", error)

    def _capture(self):
        pool = torch.cuda.graph_pool_handle()
        with torch.cuda.device(self.device), torch.cuda.stream(self._queue):
            for size in reversed(_sizes_up_to(self.batch)):  # the largest first: the others fit into its memory
                inputs = torch.zeros(size, COLUMNS, dtype=torch.int64, device=self.device)
                inputs[:, ROW] = self.capacity
                work = partial(self._layers, inputs)
                # Other threads may be using the device.
                graph, samples = record(work, pool, self._queue, runs=1, capture_error_mode="thread_local")
                self._graphs[size] = graph, inputs, samples
        self._queue.synchronize()

    def join(self, seed):
        """Starts a stream; returns its number. Raises OrpheusError if all are taken."""
        if not self._free:
            raise OrpheusError(f"all {self.capacity} streams are taken: leave one first, or make the decoder larger")
        stream = self._free.pop()
        self._frames[stream] = deque()
        self._seeds[stream], self._pushed[stream], self._taken[stream], self._ends[stream] = int(seed), 0, 0, _UNKNOWN
        return stream

    def push(self, stream, codes):
        """Adds frames: codes (frames, 7) in frame order, or one frame (7,). Raises InputError if out of range."""
        codes = np.asarray(codes, dtype=np.int64).reshape(-1, CODES_PER_FRAME)
        self.push_each([stream] * len(codes), codes)

    def push_each(self, streams, codes):
        """Adds a frame to each of several streams: codes (streams, 7) in frame order. Raises InputError if out of range."""
        codes = np.asarray(codes, dtype=np.int64).reshape(-1, CODES_PER_FRAME)
        if codes.size and not 0 <= codes.min() <= codes.max() < self.codebook_size:
            raise InputError(f"codes {codes.min()}..{codes.max()} outside 0..{self.codebook_size - 1}")
        levels = [level.reshape(-1, count) for level, count in zip(deinterleave(codes), LEVEL_CODES, strict=True)]
        for stream, frame in zip(streams, np.concatenate(levels, 1), strict=True):
            self._frames[stream].append(frame)
        np.add.at(self._pushed, streams, 1)

    def finish(self, stream):
        """Says that no more frames will come. The next steps give the rest; `leave` then frees the number."""
        self._ends[stream] = self._pushed[stream]

    def leave(self, stream):
        """Ends a stream and frees its number, whether or not everything was decoded."""
        del self._frames[stream]
        self._free.append(stream)

    @property
    def free(self):
        """How many more streams can join."""
        return len(self._free)

    def waiting(self, streams=None):
        """Those of the streams (default: all) that a step would advance, a list."""
        streams = np.array(list(self._frames if streams is None else streams), dtype=np.int64)
        taken, ends = self._taken[streams], self._ends[streams]
        tail = (ends > 0) & (ends < _UNKNOWN) & (taken < ends + CONTEXT_FRAMES)
        return streams[(taken < self._pushed[streams]) | tail].tolist()

    def step(self, streams=None):
        """Decodes the next frame of these streams (default: those waiting, at most `batch`); returns Decoded."""
        streams = self.waiting()[: self.batch] if streams is None else streams
        if len(streams) > self.batch:
            raise ValueError(f"{len(streams)} streams in one step, at most {self.batch} fit: raise `batch`")
        size = min((size for size in self._graphs if size >= len(streams)), default=len(streams))
        inputs = torch.zeros(size, COLUMNS, dtype=torch.int64, pin_memory=self._queue is not None)
        rows, count = inputs.numpy(), len(streams)
        rows[:, ROW] = self.capacity
        if not streams:
            return Decoded(torch.zeros(0, FRAME_SAMPLES), [], None)
        taken, ends = self._taken[streams], self._ends[streams]
        for column, values in ((ROW, streams), (SEED, self._seeds[streams]), (FIRST, taken), (END, ends)):
            rows[:count, column] = values
        frames = [self._frames[stream] for stream in streams]
        rows[:count, CODES:] = [waiting.popleft() if waiting else _NO_FRAME for waiting in frames]
        self._taken[streams] += 1
        starts = taken * FRAME_SAMPLES - self.delay
        first, end = np.maximum(0, -starts), np.minimum(FRAME_SAMPLES, ends * FRAME_SAMPLES - starts)
        parts = list(zip(streams, first.tolist(), end.tolist()))
        with torch.inference_mode(), full_precision():
            return self._run(inputs, parts)

    def _run(self, inputs, parts):
        if self._queue is None:
            with one_thread() if len(inputs) <= _FEW else nullcontext():
                return Decoded(self._layers(inputs), parts, None)
        with torch.cuda.device(self.device), torch.cuda.stream(self._queue):
            if self._graphs:
                graph, static, samples = self._graphs[len(inputs)]
                static.copy_(inputs, non_blocking=True)
                graph.replay()
            else:
                samples = self._layers(inputs.to(self.device, non_blocking=True))
            return Decoded(samples, parts, self._queue)
