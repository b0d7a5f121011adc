"""A pack's loss and gradients, as often as can be without waiting for Python.

A layer launches some seventy kernels. For a large pack a GPU is busy with them for longer than Python takes to launch them; for a
step of four examples it is not, so there the whole pass, forward and backward, is recorded once as a CUDA graph for each shape.
"""

from collections import Counter
from dataclasses import fields, replace

import torch
import torch.nn.functional as F

from orpheus.codec.graphs import record
from orpheus.training.packing import Pack

GRAPH_TOKENS = 4096  # of the largest pack that is recorded; the more, the less there is to gain
_USES = 1  # of a shape before it is recorded: recording takes as long as a pass
_TENSORS = tuple(field.name for field in fields(Pack) if field.name != "longest")
_POSITIONS, _BOUNDS, _LONGEST = 256, 16, 1024  # what sizes are rounded up to, so that shapes come again


class Gradients:
    """Adds a pack's gradients to the adapter of a LoraLlama: (pack, first, factor) -> its loss * factor, a float32 scalar.

    first: as for LoraLlama.loss; factor: what the loss is multiplied by before it is gone back through
    """

    def __init__(self, llama):
        self.llama, self.uses, self.recorded, self.pool = llama, Counter(), {}, None

    def __call__(self, pack, first, factor):
        if not self.llama.recordable or len(pack.ids) > GRAPH_TOKENS:
            return self._compute(pack, first, factor)
        pack = rounded_up(pack, first)
        shape = (*(len(getattr(pack, name)) for name in _TENSORS), pack.longest, first)
        self.uses[shape] += 1
        if self.uses[shape] <= _USES:
            return self._compute(pack, first, factor)
        if shape not in self.recorded:
            self.recorded[shape] = self._record(pack, first)
        if self.recorded[shape] is None:
            return self._compute(pack, first, factor)
        graph, still, still_factor, loss = self.recorded[shape]
        for name in _TENSORS:
            getattr(still, name).copy_(getattr(pack, name))
        still_factor.fill_(factor)
        graph.replay()
        return loss.clone()

    def _compute(self, pack, first, factor):
        loss = self.llama.loss(pack, first) * factor
        loss.backward()
        self.llama.adapter.collect()
        return loss.detach()

    def _record(self, pack, first):
        """(graph, the pack and the factor that it reads, the loss that it writes); None where there is no memory for it, or the driver
        will not: then the shape is computed as larger ones are."""
        tensors = {name: getattr(pack, name).clone() for name in _TENSORS}
        still, factor = replace(pack, **tensors), torch.ones((), device=self.llama.device)
        try:
            self.pool = self.pool or torch.cuda.graph_pool_handle()
            graph, loss = record(lambda: self._compute(still, first, factor), self.pool, runs=0)
        except RuntimeError:  # nothing of it was computed
            return None
        return graph, still, factor, loss


def rounded_up(pack, first):
    """The same pack with what does not count behind it, so that few shapes exist: targets without weight, examples without tokens."""
    lacking = -len(pack.where) % _POSITIONS
    return replace(
        pack,
        bounds=F.pad(pack.bounds, (0, -len(pack.bounds) % _BOUNDS), value=len(pack.ids)),
        longest=-(-pack.longest // _LONGEST) * _LONGEST,
        where=F.pad(pack.where, (0, lacking)),
        targets=F.pad(pack.targets, (0, lacking), value=first),
        weights=F.pad(pack.weights, (0, lacking)),
    )
