"""The plain engine: any causal language model from `transformers`, on any device.

On CUDA the decode step (forward pass and sampling) runs over a static cache as one captured CUDA graph: the step is many
small kernels, and launching them one by one takes several times longer than running them. Elsewhere the cache grows.
"""

from dataclasses import replace

import numpy as np
import torch
from transformers import DynamicCache, StaticCache

from orpheus.codec.graphs import record
from orpheus.engines import check_length, too_large
from orpheus.engines.sampling import Sampler
from orpheus.engines.separate import SeparateSlots

_CACHE_STEP = 256  # static caches come in multiples of this, so that a captured step serves prompts of many lengths


class _Decoding:
    """Buffers for one batch of `rows` rows. `advance` does one step and touches nothing else."""

    def __init__(self, model, layout, sampling, rows, length, static):
        self.model, self.length, self.static = model, length, static
        device = model.device
        vocab_size = model.get_output_embeddings().weight.shape[0]
        self.sampler = Sampler(rows, sampling, layout, vocab_size, device)
        self.cache = (
            StaticCache(config=model.config, max_cache_len=length) if static else DynamicCache(config=model.config)
        )
        self.mask = torch.zeros(rows, 1, 1, length, dtype=torch.bool, device=device)
        self.tokens = torch.zeros(rows, 1, dtype=torch.int64, device=device)
        self.positions = torch.zeros(rows, 1, dtype=torch.int64, device=device)
        self.place = torch.zeros(1, dtype=torch.int64, device=device)  # of the token fed next, in the cache
        self.report = torch.zeros(2, rows, dtype=torch.int64, device=device)  # emitted, still running
        self.step = self.advance

    def prefill(self, prompts, seeds):
        """Starts over: reads the prompts, left-padded to one length, and draws the first tokens."""
        if self.static:
            self.cache.reset()
        self.sampler.reset(prompts, seeds)
        self.width = max(map(len, prompts))
        self.padded = any(len(prompt) < self.width for prompt in prompts)
        ids = np.zeros((len(prompts), self.width), dtype=np.int64)
        real = np.zeros((len(prompts), self.width), dtype=bool)
        for row, prompt in enumerate(prompts):
            ids[row, self.width - len(prompt) :] = prompt
            real[row, self.width - len(prompt) :] = True
        ids, real = torch.from_numpy(ids).to(self.mask.device), torch.from_numpy(real).to(self.mask.device)
        positions = (real.cumsum(1) - 1).clamp(min=0)
        # Causal, without padding; padding sees itself, since a softmax over nothing is NaN.
        causal = torch.ones(self.width, self.width, dtype=torch.bool, device=ids.device).tril()
        itself = torch.eye(self.width, dtype=torch.bool, device=ids.device)
        mask = torch.zeros(len(prompts), 1, self.width, self.length, dtype=torch.bool, device=ids.device)
        mask[:, 0, :, : self.width] = (causal & real[:, None]) | itself
        self.mask.zero_()
        self.mask[:, 0, 0, : self.width] = real
        self.positions.copy_(positions[:, -1:])
        self.place.fill_(self.width)
        self._forward(ids, positions, mask if self.static else mask[..., : self.width])

    def advance(self):
        """One step: reads the last token of every row, draws the next."""
        self.mask.index_fill_(3, self.place, True)
        self.place += 1
        mask = self.mask
        if not self.static:
            self.width += 1
            mask = mask[..., : self.width] if self.padded else None
        self._forward(self.tokens, self.positions, mask)

    def _forward(self, ids, positions, mask):
        """ids, positions (B, n), mask (B, 1, n, keys) or None: fills tokens, positions and report."""
        output = self.model(
            input_ids=ids,
            position_ids=positions,
            attention_mask=mask,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        tokens, emitted = self.sampler.next_tokens(output.logits[:, -1])
        self.tokens.copy_(tokens[:, None])
        self.positions += 1
        self.report[0].copy_(emitted)
        self.report[1].copy_(self.sampler.running)

    def capture(self, prompts, seeds):
        """Replaces `step` with a CUDA graph of `advance`; call `prefill` again afterwards."""
        self.prefill(prompts, seeds)
        graph, _ = record(self.advance)
        self.step = graph.replay


class TransformersEngine:
    """See orpheus.engines.Engine. `static_cache`: None uses one where it pays off, on CUDA."""

    def __init__(self, model, layout, static_cache=None):
        self.model, self.layout = model.eval(), layout
        self.static = model.device.type == "cuda" if static_cache is None else static_cache
        self._idle = {}  # (rows, length, sampling) -> a decoding not in use

    def release(self):
        """Frees the memory kept for the next batch of the same shape."""
        self._idle.clear()
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()

    def open(self, slots, length):
        return SeparateSlots(self, slots, length)

    def _decoding(self, prompts, sampling, seeds):
        """Buffers for these prompts; a captured step is kept for the next batch of the same shape."""
        rows, length = len(prompts), max(map(len, prompts)) + sampling.max_new_tokens
        if not self.static:
            return None, _Decoding(self.model, self.layout, sampling, rows, length, static=False)
        length = -(-length // _CACHE_STEP) * _CACHE_STEP
        key = rows, length, replace(sampling, seed=0)
        decoding = self._idle.pop(key, None)
        if decoding is None:
            self._idle.clear()  # one shape at a time: its cache may be gigabytes
            decoding = _Decoding(self.model, self.layout, sampling, rows, length, static=True)
            if self.model.device.type == "cuda":
                decoding.capture(prompts, seeds)
        return key, decoding

    @torch.inference_mode()
    def generate(self, prompts, sampling, seeds):
        check_length(prompts, sampling, self.model.config.max_position_embeddings)
        key = None
        try:
            key, decoding = self._decoding(prompts, sampling, seeds)
            decoding.prefill(prompts, seeds)
            for count in range(sampling.max_new_tokens):
                if count:
                    decoding.step()
                emitted, running = decoding.report.to("cpu", copy=True).numpy()
                yield emitted
                if not running.any():
                    return
        except torch.OutOfMemoryError as error:
            key = None  # keep nothing of a batch that does not fit
            raise too_large(len(prompts)) from error
        finally:
            if key:
                self._idle[key] = decoding
