"""Short windows decoded as CUDA graphs, on a CUDA stream of their own: the first sound of a text that is streamed.

Launching the decoder's layers one by one takes longer than they do, and behind the language model's steps they would wait
for the step that was launched before. Here they run beside it.
"""

import torch

from orpheus.common.frame import LEVEL_CODES

CAPTURED_FRAMES = (
    6  # windows of at most so many are captured, when they first come; longer ones come when there is time
)


class CapturedWindows:
    """Decodes windows of one request. `decode_levels`: see orpheus.codec.snac.Codec, on a CUDA device."""

    def __init__(self, decode_levels, device):
        self._decode, self._device = decode_levels, device
        self._stream = torch.cuda.Stream(device, priority=-1)
        self._windows, self._pool = {}, torch.cuda.graph_pool_handle()

    @torch.inference_mode()
    def __call__(self, levels, seed, first_frame):
        """levels: int64 (1, frames), (1, 2 * frames), (1, 4 * frames) on the CPU; returns float32 (frames * 2048,) there."""
        frames = levels[0].shape[1]
        with torch.cuda.device(self._device), torch.cuda.stream(self._stream):
            graph, inputs, audio = self._windows.get(frames) or self._capture(frames)
            numbers = (torch.tensor([number], dtype=torch.int64) for number in (seed, first_frame))
            for place, given in zip(inputs, (*levels, *numbers), strict=True):
                place.copy_(given)
            graph.replay()
            return audio[0].cpu()

    def _capture(self, frames):
        counts = [count * frames for count in LEVEL_CODES] + [None, None]
        inputs = [torch.zeros((1, count) if count else 1, dtype=torch.int64, device=self._device) for count in counts]
        *levels, seed, first = inputs
        for _ in range(2):  # libraries choose and set up
            self._decode(levels, seed, first)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
            audio = self._decode(levels, seed, first)
        self._windows[frames] = graph, inputs, audio
        return self._windows[frames]
