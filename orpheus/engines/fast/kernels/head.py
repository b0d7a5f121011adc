"""The "position" head and the draw (see orpheus/engines/fast/head.py) as two Triton kernels.

The draw needs no sort: it finds the smallest weight to keep by halving the range of whole numbers 37 times, and the
drawn token in the same way. The sums are of whole numbers, so their order does not matter.
"""

import torch
import torch.nn.functional as F
import triton
import triton.language as tl

from orpheus.common.frame import CODES_PER_FRAME
from orpheus.common.tokens import CONTROL_TOKENS
from orpheus.engines.fast.head import Head
from orpheus.engines.fast.kernels.layer import rms_norm
from orpheus.engines.fast.kernels.row import begin, first_columns, row_products, wait
from orpheus.engines.fast.llama import Matrix

WARPS = 8  # of the draw


@triton.jit
def _head_row_kernel(
    X, NORM, eps, W, SLOTS, COUNTS, LOGITS, width, first, CONTROL: tl.constexpr, CODES: tl.constexpr, FRAME: tl.constexpr, K: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, PDL: tl.constexpr
):  # fmt: skip
    """Logits of the tokens that can be drawn at the position given by the sequence's count."""
    begin(PDL)
    place = (tl.load(COUNTS + tl.load(SLOTS)) % FRAME) * CODES
    n = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    row = first + n + tl.where(n < CONTROL, 0, place)
    w = first_columns(W, row, n < width, K, COLUMNS)
    wait(PDL)
    y = row_products(w, X, NORM, eps, W, row, n < width, K, ROWS, COLUMNS, True)
    tl.store(LOGITS + n, y, mask=n < width)


@triton.jit
def _draw_kernel(
    LOGITS, stride, above, compact, SLOTS, SEEN, UNIFORMS, length, COUNTS, TEMPERATURE, MASS, PENALTY, IDS, POSITIONS, DRAWN, first, spare,
    CONTROL: tl.constexpr, CODES: tl.constexpr, FRAME: tl.constexpr, BLOCK: tl.constexpr, HALVINGS: tl.constexpr, PDL: tl.constexpr
):  # fmt: skip
    """As Head.next_tokens. LOGITS (T, stride): of all columns after `above` others; if compact, the position only."""
    begin(PDL)
    token = tl.program_id(0)
    slot = tl.load(SLOTS + token)
    count = tl.load(COUNTS + slot)
    place = (count % FRAME) * CODES
    n = tl.arange(0, BLOCK)
    inside = n < CONTROL + CODES
    column = n + tl.where(n < CONTROL, 0, place)
    at = tl.where(compact != 0, n, above + column)
    seen = tl.load(SEEN + slot * (CONTROL + FRAME * CODES) + column, mask=inside, other=0)
    penalty, temperature = tl.load(PENALTY + slot), tl.load(TEMPERATURE + slot)
    uniform, mass = tl.load(UNIFORMS + slot * length + count), tl.load(MASS + slot)
    wait(PDL)
    x = tl.load(LOGITS + token.to(tl.int64) * stride + at, mask=inside, other=float("-inf")).to(tl.float32)
    x = tl.where((seen != 0) & inside, tl.where(x > 0, x / penalty, x * penalty), x)
    drawn = _likeliest(x, n, BLOCK)
    if temperature > 0:
        drawn = _draw(x / temperature, n, uniform, mass, CONTROL + CODES, HALVINGS)
    column = (drawn + tl.where(drawn < CONTROL, 0, place)).to(tl.int64)
    tl.store(DRAWN + token, first + column)
    if slot != spare:
        tl.store(IDS + slot, first + column)
        tl.store(COUNTS + slot, count + 1)
        tl.store(POSITIONS + slot, tl.load(POSITIONS + slot) + 1)
        tl.store(SEEN + slot * (CONTROL + FRAME * CODES) + column, 1)


@triton.jit
def _likeliest(x, n, BLOCK: tl.constexpr):
    """The index of the largest, the first in a tie; 0 for NaN."""
    return tl.min(tl.where(x == tl.max(x, axis=0), n, BLOCK), axis=0) % BLOCK


@triton.jit
def _draw(x, n, uniform, mass, width, HALVINGS: tl.constexpr):
    """orpheus.engines.sampling.draw_rows for one row x, `width` (at most 2**HALVINGS) long and filled up with -inf."""
    p = tl.exp(x - tl.max(x, axis=0))
    weights = (p / tl.sum(p, axis=0) * 68719476736.0).to(tl.int64)  # of 2^36
    low, high = tl.zeros([], tl.int64), tl.full([], 68719476736, tl.int64)
    for _ in range(37):  # the smallest weight such that the heavier ones sum to less than the mass
        middle = (low + high) // 2
        enough = tl.sum(tl.where(weights > middle, weights, 0), axis=0) < mass
        high = tl.where(enough, middle, high)
        low = tl.where(enough, low, middle + 1)
    weights = tl.where(weights >= high, weights, 0)
    target = ((uniform * 16777216.0).to(tl.int64) * tl.sum(weights, axis=0)) >> 24
    left, right = tl.zeros([], tl.int32), tl.full([], 0, tl.int32) + width - 1
    for _ in range(HALVINGS):  # the first token at which the sum exceeds the target
        middle = (left + right) // 2
        beyond = tl.sum(tl.where(n <= middle, weights, 0), axis=0) > target
        right = tl.where(beyond, middle, right)
        left = tl.where(beyond, left, tl.minimum(middle + 1, right))
    return right


class KernelHead(Head):
    """A Head whose kind "position" runs in kernels. `spare`: a slot that pads a batch; its state does not change."""

    def __init__(self, llama, layout, kind, operations, spare):
        super().__init__(llama, layout, kind)
        self.operations, self.spare = operations, spare
        self._sizes = {"CONTROL": CONTROL_TOKENS, "CODES": self.codes, "FRAME": CODES_PER_FRAME}

    def logits(self, x, counts):
        if self.kind == "position":
            raise NotImplementedError("next_tokens does not need them all")
        return F.linear(rms_norm(x, self.norm, self.eps), self.weight).float()

    def next_tokens(self, x, slots, state):
        if self.kind == "full":
            kept = state.ids[self.spare], state.positions[self.spare], state.counts[self.spare]
            kept = [value.clone() for value in kept]
            ids = super().next_tokens(x, slots, state)
            for target, value in zip((state.ids, state.positions, state.counts), kept):
                target[self.spare] = value
            return ids
        one = len(x) == 1
        logits = self._row_logits(x, slots, state) if one else self._audio_logits(x)
        ids, block = torch.empty_like(slots), triton.next_power_of_2(self.width)
        pdl = self.operations.pdl if one else {"PDL": False}
        _draw_kernel[(len(x),)](
            logits, logits.shape[1], self.above, int(one), slots, state.seen, state.uniforms, state.uniforms.shape[1], state.counts,
            state.temperature, state.mass, state.penalty, state.ids, state.positions, ids, self.first, self.spare,
            **self._sizes, BLOCK=block, HALVINGS=block.bit_length() - 1, num_warps=WARPS, **pdl,
        )  # fmt: skip
        return ids

    def _row_logits(self, x, slots, state):
        logits = torch.empty(1, self.width, device=x.device)
        weight, options = self.operations.launch("head", Matrix(self.weight))
        grid = (triton.cdiv(self.width, options["ROWS"]),)
        _head_row_kernel[grid](
            x, self.norm, self.eps, weight, slots, state.counts, logits, self.width, self.first, **self._sizes, **options
        )  # fmt: skip
        return logits

    def _audio_logits(self, x):
        return F.linear(rms_norm(x, self.norm, self.eps), self.audio_rows())
