"""SNAC decoding of many streams, a frame of each per step, and no frame twice.

Decoding in windows computes the context again for every window: 7 frames for 1 new one, 14 for 8. Here the layers keep
what they need (orpheus/codec/stream_layers.py; orpheus/codec/kernels/decoder.py on CUDA), so that a frame costs a frame. The first 3
frames (21 tokens) give the first 1,387 samples, and each further frame 2,048 more: `delay`, 4,757 samples, is how far
the exact output lags behind.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import torch

from orpheus.codec.precision import full_precision
from orpheus.codec.step import CODES, COLUMNS, ROW
from orpheus.codec.stream_layers import StreamLayers
from orpheus.common.errors import InputError, OrpheusError, OrpheusWarning
from orpheus.common.frame import CODES_PER_FRAME, CONTEXT_FRAMES, FRAME_SAMPLES, LEVEL_CODES
from orpheus.common.tokens import deinterleave

_UNKNOWN = 2**40  # frames of a stream that has not ended


@dataclass
class _Stream:
    seed: int
    codes: list  # frames that wait, each int64 (7,) level by level
    taken: int = 0  # frames that were decoded, those that stand for what comes after the last included
    pushed: int = 0
    end: int | None = None  # frames of the stream, once it has ended

    @property
    def waits(self):
        """Whether a step would bring it on."""
        return bool(self.codes) or (bool(self.end) and self.taken < self.end + CONTEXT_FRAMES)


def _sizes_up_to(batch):
    """Batch sizes with a graph of their own: close enough together that little is computed for nothing."""
    return sorted({size for size in (1, 2, 4, 8, 16, *range(32, batch, 32)) if size < batch} | {batch})


@torch.inference_mode()
def _agree(layers, plain):
    """Whether two ways to decode streams give the same: the first frames of one, in the last row of each."""
    for first in range(CONTEXT_FRAMES + 1):
        inputs = torch.zeros(1, COLUMNS, dtype=torch.int64, device=plain.device)
        inputs[0, :CODES] = torch.tensor([plain.rows - 1, 1, first, _UNKNOWN])
        inputs[0, CODES:] = first
        expected = plain(inputs)
        inputs[0, ROW] = layers.rows - 1
        if not (layers(inputs) - expected).abs().max() < 1e-4:  # also where it is no number
            return False
    return True


def _fused_layers(model, rows):
    """The layers as Triton kernels; None where those do not run."""
    device = next(model.parameters()).device
    if device.type != "cuda":
        return None
    try:
        from orpheus.codec.kernels import decoder as fused_decoder
    except (ImportError, TypeError):  # no Triton, or one too old
        return None
    if not fused_decoder.fits(model):
        return None
    try:
        with torch.cuda.device(device):
            layers = fused_decoder.FusedLayers(model, rows)
            if _agree(layers, StreamLayers(model, 1)):
                return layers
        reason = "they compute something else"
    except Exception as error:  # compilers, drivers and Triton each have errors of their own
        reason = error
    message = f"the decoder's kernels do not run on this device: {reason}. Streams are decoded in plain PyTorch, slower"
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
        """{stream: float32 (samples,)} of the streams for which samples came out; waits for them."""
        if self._copied is not None:
            self._copied.synchronize()
        samples = self._samples.numpy()
        # Chunks live on in queues: copies, so that none holds the whole batch.
        return {
            stream: samples[row, first:end].copy()
            for row, (stream, first, end) in enumerate(self._parts)
            if first < end
        }


class StreamDecoder:
    """Decodes up to `capacity` streams side by side on the device of `codec`, float32, with the codec's own noise. A stream is known by its number.

    batch: streams in one step at most; `capacity` by default
    graphs: whether a step on CUDA is one graph per batch size, captured here; between two sizes a batch is filled up
    fused: whether the Triton kernels decode where they run; else plain PyTorch

    On CUDA steps run on a CUDA stream of their own, beside whatever the caller's does. Not for several threads at once.
    """

    def __init__(self, codec, capacity, batch=None, graphs=True, fused=True):
        self.capacity, self.device, self.batch = capacity, codec.device, batch or capacity
        self.codebook_size = codec.codebook_size
        self._free = list(range(capacity))[::-1]
        self._streams = {}
        with torch.inference_mode(), full_precision():
            rows = capacity + 1  # the last one takes what fills a batch up
            self._layers = (fused and _fused_layers(codec.model, rows)) or StreamLayers(codec.model, rows)
            self.delay = self._layers.delay
            self._queue, self._graphs = None, {}
            if self.device.type == "cuda":
                self._queue = torch.cuda.Stream(self.device)
                self._queue.wait_stream(torch.cuda.current_stream(self.device))
                if graphs:
                    self._capture()

    @property
    def state_bytes(self):
        """Memory of the past of one stream."""
        return self._layers.state_bytes

    def _capture(self):
        pool = torch.cuda.graph_pool_handle()
        with torch.cuda.device(self.device), torch.cuda.stream(self._queue):
            for size in reversed(_sizes_up_to(self.batch)):  # the largest first: the others fit into its memory
                inputs = torch.zeros(size, COLUMNS, dtype=torch.int64, device=self.device)
                inputs[:, ROW] = self.capacity
                self._layers(inputs)
                graph = torch.cuda.CUDAGraph()
                # Other threads may use the device meanwhile.
                with torch.cuda.graph(graph, pool=pool, stream=self._queue, capture_error_mode="thread_local"):
                    samples = self._layers(inputs)
                self._graphs[size] = graph, inputs, samples
        self._queue.synchronize()

    def join(self, seed):
        """Begins a stream; returns its number. Raises OrpheusError where all are taken."""
        if not self._free:
            raise OrpheusError(f"all {self.capacity} streams are taken: leave one first, or make the decoder larger")
        stream = self._free.pop()
        self._streams[stream] = _Stream(int(seed), [])
        return stream

    def push(self, stream, codes):
        """Hands on frames: codes (frames, 7) in frame order, or one frame (7,). Raises InputError on codes out of range."""
        codes = np.asarray(codes, dtype=np.int64).reshape(-1, CODES_PER_FRAME)
        if codes.size and not 0 <= codes.min() <= codes.max() < self.codebook_size:
            raise InputError(f"codes {codes.min()}..{codes.max()} outside 0..{self.codebook_size - 1}")
        levels = [level.reshape(-1, count) for level, count in zip(deinterleave(codes), LEVEL_CODES, strict=True)]
        state = self._streams[stream]
        state.codes.extend(np.concatenate(levels, 1))
        state.pushed += len(codes)

    def finish(self, stream):
        """No more frames come. The steps that follow give the rest; its number is free after `leave`."""
        self._streams[stream].end = self._streams[stream].pushed

    def leave(self, stream):
        """Ends a stream and frees its number, whether all was decoded or not."""
        del self._streams[stream]
        self._free.append(stream)

    @property
    def free(self):
        """Streams that could join."""
        return len(self._free)

    def waiting(self, stream=None):
        """The streams that a step would bring on; with a stream, whether it is one."""
        if stream is not None:
            return self._streams[stream].waits
        return [stream for stream, state in self._streams.items() if state.waits]

    def step(self, streams=None):
        """Decodes the next frame of each of these streams, by default of those that wait, at most `batch`; returns Decoded."""
        streams = self.waiting()[: self.batch] if streams is None else streams
        if len(streams) > self.batch:
            raise ValueError(f"{len(streams)} streams in one step, at most {self.batch} were asked for")
        size = min((size for size in self._graphs if size >= len(streams)), default=len(streams))
        inputs = torch.zeros(size, COLUMNS, dtype=torch.int64, pin_memory=self._queue is not None)
        rows, parts = inputs.numpy(), []
        rows[:, ROW] = self.capacity
        for row, stream in zip(rows, streams):
            state = self._streams[stream]
            end = _UNKNOWN if state.end is None else state.end
            row[:CODES] = stream, state.seed, state.taken, end
            if state.codes:
                row[CODES:] = state.codes.pop(0)
            start = state.taken * FRAME_SAMPLES - self.delay
            state.taken += 1
            parts.append((stream, max(0, -start), min(FRAME_SAMPLES, end * FRAME_SAMPLES - start)))
        if not streams:
            return Decoded(torch.zeros(0, FRAME_SAMPLES), [], None)
        with torch.inference_mode(), full_precision():
            return self._run(inputs, parts)

    def _run(self, inputs, parts):
        if self._queue is None:
            return Decoded(self._layers(inputs), parts, None)
        with torch.cuda.device(self.device), torch.cuda.stream(self._queue):
            if self._graphs:
                graph, static, samples = self._graphs[len(inputs)]
                static.copy_(inputs, non_blocking=True)
                graph.replay()
            else:
                samples = self._layers(inputs.to(self.device, non_blocking=True))
            return Decoded(samples, parts, self._queue)
