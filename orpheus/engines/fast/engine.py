"""The fast engine: a hand-written Llama step over a cache with a slot per sequence. See docs/speed.md.

On CUDA it runs Triton kernels in CUDA graphs; if those cannot be built, it warns once and uses the TransformersEngine
instead. Elsewhere, on a CPU or Apple's mps, it is the same step in plain PyTorch.
"""

import functools
import warnings

import torch

from orpheus.common.cards import ADA, Card
from orpheus.common.errors import InputError, OrpheusError, OrpheusWarning
from orpheus.common.frame import CODES_PER_FRAME
from orpheus.engines import check_length, too_large
from orpheus.engines.fast.adapters import AdapterEngine, Adapters
from orpheus.engines.fast.halves import ALONE, halved
from orpheus.engines.fast.head import Head
from orpheus.engines.fast.llama import Llama, TorchOperations, unfit
from orpheus.engines.fast.matrix import WEIGHTS
from orpheus.engines.fast.rows import RowWeights, fits
from orpheus.engines.fast.sizes import sizes_up_to
from orpheus.engines.fast.slots import Slots
from orpheus.engines.fast.stored import StoredLlama
from orpheus.engines.fast.whole import whole_model
from orpheus.engines.options import CACHES, SamplingOptions

_LENGTH_STEP = 512  # caches come in multiples of this, so that one serves prompts of many lengths

__all__ = ["FastEngine", "unfit"]


def check_fp8(what, device):
    """Refuses `what` in FP8 where the device cannot compute with it. Raises InputError."""
    if device.type == "cuda" and not Card(*torch.cuda.get_device_capability(device)).fp8:
        raise InputError(
            f"{what} in fp8 needs a GPU of compute capability {ADA} or newer (RTX 40, L4, H100): leave it out here"
        )
    if device.type not in ("cuda", "cpu"):
        raise InputError(f"{what} in fp8 needs CUDA or a CPU, not {device.type}: leave it out here")


class FastEngine:
    """See orpheus.engines.Engine. Same seed, same tokens, whatever the neighbours (in 16 bits, per batch shape).

    model: a LlamaForCausalLM with any adapter merged, whose linear layers become views of this engine's; or a
        stored.StoredLlama, which reads a folder
    head: "position" or "full" (see head.py)
    weights: "same" as the model's, "int8", which halves what one sequence reads, or "int4", which quarters it (several
        sequences gain nothing); or "fp8", which halves it and multiplies several sequences in FP8
    kernels: True, False, or None to use them on CUDA
    tiles: {name: Tile} instead of those in orpheus/engines/fast/kernels/layer.py
    overlap: whether kernels overlap; None if the GPU can
    adapters: {name: {layer: plain_lora.Change}}, any of which a sequence can speak with, beside those that speak with none. Then a
        single sequence takes the products of several, not the kernels for one
    Raises ValueError for a model that it cannot run; `unfit` says why.
    """

    caches = CACHES  # that `open` can make

    def __init__(
        self, model, layout, head="position", weights="same", kernels=None, tiles=None, overlap=None, adapters=None
    ):
        if weights not in WEIGHTS:
            raise ValueError(f"weights must be {' or '.join(WEIGHTS)}, not {weights!r}")
        if weights == "fp8":
            check_fp8("weights", model.device)
        self._source, self.layout, self.head, self.weights = model, layout, head, weights
        self.captured = model.device.type == "cuda" and kernels is not False
        self.llama = Llama(model, weights)
        if adapters:
            self.llama.adapters = Adapters(self.llama, adapters)
        self._tuning = tiles, overlap
        self._plain = None  # the engine used instead, once something has failed
        self._idle = None  # Slots not in use
        if kernels is None:
            kernels = self.captured
        if kernels:
            self._guarded(self._use_kernels)
        if model.device.type not in ("cuda", "cpu"):
            self._guarded(self._try_steps)

    @functools.cached_property
    def model(self):
        """The LlamaForCausalLM. Where this engine has read a folder itself: made of its weights, or, in 8 bits, loaded again."""
        if not isinstance(self._source, StoredLlama):
            return self._source.eval()
        same = self.llama.layers[0].o.scale is None
        return (whole_model(self._source.folder, self.llama) if same else self._source.whole()).eval()

    @property
    def fallen_back(self):
        """Whether the TransformersEngine is used instead."""
        return self._plain is not None

    # --- ways to speak ---

    def generate(self, prompts, sampling, seeds, adapter=None):
        """adapter: the name of the one that speaks"""
        check_length(prompts, sampling, self.llama.limit)
        slots = None
        if not self._plain:
            slots = self._guarded(self._slots_for, prompts, sampling)
        if slots is None and self.llama.adapters:  # transformers has none of them
            slots = self._slots_for(prompts, sampling)
        if slots is None:
            yield from self._plain.generate(prompts, sampling, seeds)
            return
        try:
            places = [slots.join(prompt, sampling, seed, adapter) for prompt, seed in zip(prompts, seeds, strict=True)]
            slots.admit_all()
            while slots.running:
                yield slots.step()[places]
        except torch.OutOfMemoryError as error:
            slots = None
            raise too_large(len(prompts)) from error
        finally:
            if slots:
                slots.clear()
                self._idle = slots

    def open(self, slots, length, cache="same"):
        """Room for `slots` sequences of at most `length` tokens each, prompt included, that join and leave between steps.

        cache: "same" as the model's data type; or "fp8", keys and values in 8 bits with a scale for each head and token: half the
        memory, and half of what attention reads, for the sake of many sequences
        returns: orpheus.engines.fast.slots.Slots, with separate memory. On CUDA all its steps are captured here.
        Raises InputError for a length beyond the model's positions, OrpheusError if it does not fit into memory.
        """
        if not slots >= 1:
            raise InputError(f"slots must be a whole number of at least 1, not {slots}")
        if not 2 <= length <= self.llama.limit:
            raise InputError(f"length must be between 2 and {self.llama.limit}, the model's positions, not {length}")
        if cache not in CACHES:
            raise InputError(f"cache must be {' or '.join(CACHES)}, not {cache!r}")
        if cache == "fp8":
            check_fp8("a cache", self.llama.device)
        try:
            opened = self._guarded(self._open, slots, length, cache, True) if self.captured else None
            return opened or self._open(slots, length, cache)
        except torch.OutOfMemoryError as error:
            raise too_large(slots) from error

    def speaking_as(self, adapter):
        """One of its adapters, by its name, as an engine of its own; None for none."""
        if adapter is not None:
            self.llama.adapters.number(adapter)
        return AdapterEngine(self, adapter)

    def release(self):
        """Frees the memory kept for the next call."""
        self._idle = None
        if self._plain:
            self._plain.release()
        elif self.captured:
            torch.cuda.empty_cache()

    # --- parts ---

    def _use_kernels(self):
        from orpheus.engines.fast.kernels.fp8 import Fp8Operations
        from orpheus.engines.fast.kernels.layer import KernelOperations, can_overlap

        tiles, overlap = self._tuning
        overlap = can_overlap(self.llama.device) if overlap is None else overlap
        kind = Fp8Operations if self.weights == "fp8" else KernelOperations
        if self.llama.adapters:
            from orpheus.engines.fast.kernels.adapted import AdaptedOperations as kind
        shared = Card(*torch.cuda.get_device_capability(self.llama.device)).shared_bytes if self.captured else 0
        self.llama.operations = kind(tiles, overlap, shared)

    def _try_steps(self):
        """Two tokens, to learn whether a device that this was never run on has all that a step needs."""
        slots = self._open(1, 16)
        slots.join([0, 0, 0], SamplingOptions(max_new_tokens=CODES_PER_FRAME), 0)
        slots.admit_all()
        for _ in range(2):
            slots.step()

    def _make_head(self, spare):
        if self.llama.operations is TorchOperations:
            return Head(self.llama, self.layout, self.head)
        from orpheus.engines.fast.kernels.head import KernelHead

        return KernelHead(self.llama, self.layout, self.head, self.llama.operations, spare)

    @functools.cached_property
    def _row_weights(self):
        if self.llama.operations is not TorchOperations or not fits(self.llama):
            return None
        self.llama.layers, self.llama.alone = halved(self.llama.layers), ALONE
        return RowWeights(self.llama)

    def _open(self, slots, length, cache="same", capture=False):
        opened = Slots(self.llama, self._make_head, slots, length, self.captured, cache, self._row_weights)
        if capture:
            opened.capture(prefill=(128,))
        return opened

    def _slots_for(self, prompts, sampling):
        """Slots with room for these prompts: the last call's, or larger ones."""
        count, length = len(prompts), max(map(len, prompts)) + sampling.max_new_tokens
        slots, self._idle = self._idle, None
        try:
            if slots is None or slots.slots < count or slots.length < length:
                if slots:
                    count, length, slots = max(count, slots.slots), max(length, slots.length), None
                length = min(-(-length // _LENGTH_STEP) * _LENGTH_STEP, max(self.llama.limit, length))
                slots = self._open(sizes_up_to(count)[-1], length)
            # One batch size for the whole call: rounding in 16 bits then does not depend on when a neighbour ends.
            slots.fixed = next(size for size in sizes_up_to(slots.slots) if size >= len(prompts))
            if self.captured:
                slots.capture([slots.fixed])
        except torch.OutOfMemoryError as error:
            raise too_large(len(prompts)) from error
        return slots

    def _guarded(self, work, *arguments):
        """What `work` returns, or None if it failed; from then on the TransformersEngine is used."""
        try:
            return work(*arguments)
        except (OrpheusError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # compilers, drivers, CUDA and Triton each raise their own errors
            plain = not self.captured and self.llama.operations is TorchOperations
            if plain and work not in (self._use_kernels, self._try_steps):
                raise
            reason = str(error).strip().splitlines() or [type(error).__name__]
            warnings.warn(
                f"the fast engine cannot run here ({type(error).__name__}: {reason[0]:.120}); using transformers instead",
                OrpheusWarning,
                stacklevel=3,
            )
            from orpheus.engines.transformers import TransformersEngine

            self.captured, self.llama.operations = False, TorchOperations
            self._plain = TransformersEngine(self.model, self.layout)
            return None
