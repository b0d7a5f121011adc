"""Short windows decoded as CUDA graphs, on a CUDA stream of their own: the first sound of a text that is streamed.

Launching the decoder's layers one by one takes longer than they do, and behind the language model's steps they would wait
for the step that was launched before. Here they run beside it. Where they cannot be captured, one line says so, and they
are launched one by one from then on.
"""

import torch

from orpheus.codec.graphs import record, say_uncaptured
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
        self.captures = True  # until it fails

    @torch.inference_mode()
    def __call__(self, levels, seed, first_frame):
        """levels: int64 (1, frames), (1, 2 * frames), (1, 4 * frames) on the CPU; returns float32 (frames * 2048,) there."""
        frames = levels[0].shape[1]
        numbers = (torch.tensor([number], dtype=torch.int64) for number in (seed, first_frame))
        given = (*levels, *numbers)
        with torch.cuda.device(self._device), torch.cuda.stream(self._stream):
            window = self._windows.get(frames) or self._captured(frames)
            if window is None:
                *levels, seed, first = (part.to(self._device) for part in given)
                return self._decode(levels, seed, first)[0].cpu()
            graph, inputs, audio = window
            for place, part in zip(inputs, given, strict=True):
                place.copy_(part)
            graph.replay()
            return audio[0].cpu()

    def _captured(self, frames):
        """The window's graph; None where it cannot be captured, which is tried once."""
        if not self.captures:
            return None
        try:
            return self._capture(frames)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # drivers, CUDA and libraries each raise their own errors
            say_uncaptured("the first sound's", error)
            self.captures = False
            return None

    def _capture(self, frames):
        counts = [count * frames for count in LEVEL_CODES] + [None, None]
        inputs = [torch.zeros((1, count) if count else 1, dtype=torch.int64, device=self._device) for count in counts]
        *levels, seed, first = inputs
        graph, audio = record(
            lambda: self._decode(levels, seed, first), self._pool, self._stream, capture_error_mode="thread_local"
        )
        self._windows[frames] = graph, inputs, audio
        return self._windows[frames]
