"""A SNAC decoder's layers for streams as Triton kernels; computes the same as `stream_layers.StreamLayers`.

Activations are (streams * times, channels): a convolution's taps are rows, a kernel reads channels side by side, and a
transposed convolution of kernel 2s and stride s is a matrix product of [x before, x] with a weight of s * channels columns,
whose result is laid out in memory as the next layer's rows. Every layer keeps the end of its input for each stream
(`_Past`) and reads zeros for positions outside the stream.

Memory passes per frame, in units of a block's output (344 k numbers in all blocks of the 24 kHz SNAC, 0.10 ms for 220
streams at 3 TB/s): transposed convolution 1 (writes; its input is smaller), noise 2 (reads, writes; reads again from the
cache), each of three residual units 5 (Snake, depthwise convolution and Snake 2; pointwise convolution with the sum 3),
next block 1: 19.
"""

from dataclasses import dataclass
from functools import partial

import torch
import triton
import triton.language as tl

from orpheus.codec.kernels.products import Product, multiply, place_of
from orpheus.codec.kernels.snake import TAPS, depthwise, depthwise_options, lanes_of, scaled_sine, snake_of, taps_of
from orpheus.codec.step import CODES, COLUMNS, END, FIRST, ROW, SEED
from orpheus.common.frame import LEVEL_CODES

_ROW, _SEED, _FIRST, _END, _CODES = (tl.constexpr(column) for column in (ROW, SEED, FIRST, END, CODES))
_COLUMNS = tl.constexpr(COLUMNS)
_FAR = tl.constexpr(2**20)  # times: beyond any frame
_MULTIPLE = 16  # divides every number of channels: the fewest terms that are summed at once


@triton.jit
def _frame(INPUTS, stream, inside, T: tl.constexpr, DELAY: tl.constexpr):
    """For each row's stream: where its layer's past is and will be (row of `_Past.values`), and which times it spans.

    Two pasts take turns from frame to frame, so that no program overwrites what another is still reading.
    """
    inputs = INPUTS + stream * _COLUMNS
    row = tl.load(inputs + _ROW, mask=inside, other=0)
    first = tl.load(inputs + _FIRST, mask=inside, other=0)
    end = tl.load(inputs + _END, mask=inside, other=0)
    start = first * T - DELAY  # position of time 0
    low = tl.minimum(tl.maximum(-start, -_FAR), _FAR).to(tl.int32)
    high = tl.minimum(tl.maximum(end * T - start, -_FAR), _FAR).to(tl.int32)
    turn = first & 1
    return row * 2 + turn, row * 2 + 1 - turn, low, tl.where(inside, high, -_FAR)


@triton.jit
def _remember(PAST, old, new, time, values, column, C: tl.constexpr, T: tl.constexpr, L: tl.constexpr, inside, held):
    """Keeps the last L rows of (past | values) of each stream; values (rows, columns) at the times of a frame."""
    if L > T:  # part of the past stays
        moved = (inside & (time < L - T))[:, None] & held[None, :]
        source = PAST + (old * L + time + T) * C
        kept = tl.load(source[:, None] + column[None, :], mask=moved, other=0.0)
        tl.store((PAST + (new * L + time) * C)[:, None] + column[None, :], kept, mask=moved)
    at = time - (T - L)
    stored = (inside & (at >= 0))[:, None] & held[None, :]
    tl.store((PAST + (new * L + at) * C)[:, None] + column[None, :], values, mask=stored)


@triton.jit
def _mix(x):
    """As `codec._mix`, on unsigned 32-bit integers."""
    x = (x ^ (x >> 16)) * tl.cast(0x7FEB352D, tl.uint32)
    x = (x ^ (x >> 15)) * tl.cast(0x846CA68B, tl.uint32)
    return x ^ (x >> 16)


@triton.jit
def _noise(INPUTS, stream, inside, time, T: tl.constexpr, DELAY: tl.constexpr, PLACE: tl.constexpr):
    """`codec.position_noise` at each row's time."""
    inputs = INPUTS + stream * _COLUMNS
    seed = tl.load(inputs + _SEED, mask=inside, other=0)
    position = (tl.load(inputs + _FIRST, mask=inside, other=0) * T - DELAY + time).to(tl.uint32)
    golden = tl.cast(0x9E3779B9, tl.uint32)
    key = _mix(_mix(seed.to(tl.uint32)) ^ (seed >> 32).to(tl.uint32) ^ (golden * (PLACE + 1)))
    first = _mix(_mix(position) + key)
    second = _mix((first ^ key) + golden)
    uniform = ((first >> 8).to(tl.float32) + 0.5) * (1.0 / 16777216.0)
    turns = (second >> 8).to(tl.float32) * (1.0 / 16777216.0)
    cosine = 1.0 - scaled_sine(tl.where(turns > 0.5, turns - 1.0, turns), 2.0)  # cos 2a = 1 - 2 sin^2 a
    return tl.sqrt_rn(-2.0 * tl.log(uniform)) * cosine


@triton.jit(do_not_specialize=["streams"])
def _codes_kernel(
    COARSE, MIDDLE, FINE, INPUTS, Y, PAST, streams, C: tl.constexpr, L: tl.constexpr, STREAMS: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """The vectors of a frame's codes, summed over the levels: Y (streams * 4, C), and the past of what follows."""
    row = tl.arange(0, STREAMS * 4)
    stream, time = tl.program_id(0) * STREAMS + row // 4, row % 4
    inside = stream < streams
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    held = channel < C
    mask = inside[:, None] & held[None, :]
    codes = INPUTS + stream * _COLUMNS + _CODES
    coarse = tl.load(codes, mask=inside, other=0)
    middle = tl.load(codes + 1 + time // 2, mask=inside, other=0)
    fine = tl.load(codes + 3 + time, mask=inside, other=0)
    total = tl.load((COARSE + coarse * C)[:, None] + channel[None, :], mask=mask, other=0.0)
    total += tl.load((MIDDLE + middle * C)[:, None] + channel[None, :], mask=mask, other=0.0)
    total += tl.load((FINE + fine * C)[:, None] + channel[None, :], mask=mask, other=0.0)
    at = (stream * 4 + time).to(tl.int64) * C
    tl.store((Y + at)[:, None] + channel[None, :], total, mask=mask)
    old, new, _, _ = _frame(INPUTS, stream, inside, 4, 0)
    _remember(PAST, old, new, time, total, channel, C, 4, L, inside, held)


@triton.jit(do_not_specialize=["streams"])
def _depthwise_kernel(
    X, PAST, INPUTS, WEIGHT, BIAS, ALPHA, NEXT_ALPHA, Y, streams, C: tl.constexpr, T: tl.constexpr, DELAY: tl.constexpr,
    DILATION: tl.constexpr, SNAKES: tl.constexpr, RUN: tl.constexpr, LANES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    L: tl.constexpr = 6 * DILATION
    stream, begin, inside = lanes_of(streams, T, DILATION, RUN, LANES)
    old, _, low, high = _frame(INPUTS, stream, inside, T, DELAY)
    frame = stream.to(tl.int64) * T
    depthwise(
        PAST + old * (L * C), X + (frame - L) * C, low + L, tl.minimum(high, T) + L, begin, inside, Y + frame * C,
        tl.program_id(1) * BLOCK + tl.arange(0, BLOCK), WEIGHT, BIAS, ALPHA, NEXT_ALPHA,
        L, C, T, DILATION, RUN, SNAKES,
    )  # fmt: skip


@triton.jit(do_not_specialize=["streams"])
def _product_kernel(
    X, X_PAST, WEIGHT, BIAS, Y, INPUTS, SKIP, SKIP_PAST, ALPHA, PAST, streams, T: tl.constexpr, DELAY: tl.constexpr,
    UP: tl.constexpr, PLACE: tl.constexpr, REACH: tl.constexpr, SNAKE: tl.constexpr, L: tl.constexpr,
    K: tl.constexpr, N: tl.constexpr, SMALL: tl.constexpr, ROWS_FIRST: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Y = X times WEIGHT plus BIAS, T rows for each stream.

    UP: whether a row of the product reads X's row and the one before it; otherwise X's row only
    PLACE: if at least 0, the product is multiplied by the noise of this place and X is added
    REACH: if above 0, SKIP is added, from REACH rows earlier
    SNAKE: whether Snake comes last; L: if above 0, how much of Y the next layer keeps as its past
    """
    first_row, first_column = place_of(streams * T, N, BLOCK_M, BLOCK_N, ROWS_FIRST)
    row = first_row + tl.arange(0, BLOCK_M)
    column = first_column + tl.arange(0, BLOCK_N)
    stream, time = row // T, row % T
    inside, held = stream < streams, column < N
    mask = inside[:, None] & held[None, :]
    old, new, low, high = _frame(INPUTS, stream, inside, T, DELAY)
    at = row.to(tl.int64)
    if UP:
        half: tl.constexpr = K // 2
        here = X + (at - 1) * half
        before = tl.where(time == 0, X_PAST + old * half, here)
        # One or both of the two neighbours are inside the stream.
        first = tl.where((time - 1 >= low) & (time - 1 < high), 0, half // 4)
        last = tl.where((time >= low) & (time < high), K // 4, half // 4)
        total = multiply(before, here, first, last, column, WEIGHT, half, K, SMALL, BLOCK_M, BLOCK_N, BLOCK_K)
    else:
        here, none = X + at * K, tl.zeros([BLOCK_M], tl.int32)
        last = tl.where(inside, K // 4, 0)
        total = multiply(here, here, none, last, column, WEIGHT, 0, K, SMALL, BLOCK_M, BLOCK_N, BLOCK_K)
    total += tl.load(BIAS + column, mask=held, other=0.0)[None, :]
    if PLACE >= 0:
        x = tl.load((X + at * N)[:, None] + column[None, :], mask=mask, other=0.0)
        total = tl.fma(total, _noise(INPUTS, stream, inside, time, T, DELAY, PLACE)[:, None], x)
    if REACH > 0:
        past = SKIP_PAST + (old * (2 * REACH) + time + REACH) * N
        skip = tl.where(time >= REACH, SKIP + (at - REACH) * N, past)
        total += tl.load(skip[:, None] + column[None, :], mask=mask, other=0.0)
    if SNAKE:
        total = snake_of(total, tl.load(ALPHA + column, mask=held, other=1.0)[None, :])
    tl.store((Y + at * N)[:, None] + column[None, :], total, mask=mask)
    if L > 0:  # noqa: SIM102  a constant: known when compiling
        if first_row % T + BLOCK_M > T - L:
            _remember(PAST, old, new, time, total, column, N, T, L, inside, held)


@triton.jit(do_not_specialize=["streams"])
def _last_kernel(
    X, PAST, INPUTS, WEIGHT, BIAS, Y, streams, C: tl.constexpr, T: tl.constexpr, DELAY: tl.constexpr,
    BLOCK: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """tanh of a convolution of C channels to one: Y (streams, T)."""
    row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    channel = tl.arange(0, CHANNELS)
    held = (channel < C)[None, :]
    stream, time = row // T, row % T
    inside = stream < streams
    old, _, low, high = _frame(INPUTS, stream, inside, T, DELAY)
    here, before = X + row.to(tl.int64) * C, PAST + (old * 6 + 6 + time) * C  # of tap 6, the latest
    total = tl.zeros([BLOCK, CHANNELS], tl.float32)
    for tap in tl.static_range(7):
        at = time + (tap - 6)
        source = tl.where(at < 0, before, here) + (tap - 6) * C
        mask = ((at >= low) & (at < high))[:, None] & held
        x = tl.load(source[:, None] + channel[None, :], mask=mask, other=0.0)
        total = tl.fma(x, tl.load(WEIGHT + tap * C + channel, mask=channel < C, other=0.0)[None, :], total)
    audio = tl.sum(total, 1) + tl.load(BIAS)
    tl.store(Y + row, 2.0 / (1.0 + tl.exp(-2.0 * audio)) - 1.0, mask=inside)


@dataclass
class _Past:
    """The last `length` rows of one layer's input, for every stream twice: see `_frame`."""

    values: torch.Tensor  # (2 * streams, length, channels)
    length: int


class FusedLayers:
    """`StreamLayers` with these kernels, for a model on a CUDA device; does not change the model."""

    def __init__(self, model, rows):
        self.rows, self.device, self.pasts = rows, next(model.parameters()).device, []
        self._tables = []
        for level in model.quantizer.quantizers:  # code -> its vector in the decoder's input
            table = level.codebook.weight @ level.out_proj.weight[..., 0].t() + level.out_proj.bias
            self._tables.append(table.detach().contiguous())
        first, point, *blocks, snake, last, _ = model.decoder.model
        snakes = [*(block.block[0] for block in blocks), snake]
        after = [
            *(self._past(1, block.block[1].in_channels) for block in blocks),
            self._past(TAPS - 1, last.in_channels),
        ]
        past, times, delay = self._past(TAPS - 1, first.in_channels), LEVEL_CODES[-1], 0  # of what comes next
        self._steps = [partial(self._codes, past), self._depthwise(first, past, times, delay)]
        delay += TAPS // 2
        product = Product(point.weight[..., 0], point.bias)
        self._steps.append(self._product(product, times, delay, snake=snakes[0], past=after[0]))
        for block, x_past, snake, past in zip(blocks, after, snakes[1:], after[1:]):
            _, up, noise, *units = block.block
            stride, channels = up.stride[0], up.out_channels
            # Of the kernel's 2 * stride taps, an output uses two: for the input at its place, and for the one before.
            taps = up.weight.unflatten(2, (2, stride)).permute(3, 1, 2, 0).flip(2)  # (stride, out, [before, here], in)
            product = Product(taps.reshape(stride * channels, -1), up.bias.repeat(stride))
            self._steps.append(self._product(product, times, delay, x_past=x_past))
            times, delay = times * stride, delay * stride + up.padding[0]
            own = [self._past(2 * unit.block[1].padding[0], channels) for unit in units]
            product = Product(noise.linear.weight[..., 0], up.bias.new_zeros(channels))
            self._steps.append(self._product(product, times, delay, place=noise.place, past=own[0]))
            for unit, before, following in zip(units, own, [*own[1:], past]):
                ends = snake if following is past else None
                self._steps.append(self._unit(unit, before, times, delay, ends, following))
                delay += before.length // 2
        self._steps.append(partial(self._last, taps_of(last), last.bias.detach().clone(), past, times, delay))
        self.delay = delay + TAPS // 2

    @property
    def state_bytes(self):
        """Bytes kept of one stream's past."""
        return sum(2 * past.values[0].nbytes for past in self.pasts)

    def _past(self, length, channels):
        self.pasts.append(_Past(torch.zeros(2 * self.rows, length, channels, device=self.device), length))
        return self.pasts[-1]

    def _codes(self, past, _, inputs):
        channels = past.values.shape[2]
        x = torch.empty(len(inputs) * LEVEL_CODES[-1], channels, device=self.device)
        grid = (triton.cdiv(len(inputs), 4), triton.cdiv(channels, 128))
        options = dict(C=channels, L=past.length, STREAMS=4, BLOCK=128)
        _codes_kernel[grid](*self._tables, inputs, x, past.values, len(inputs), **options)
        return x

    def _depthwise(self, convolution, past, times, delay, snakes=None):
        """A function of (x, inputs): the convolution with its past, between two Snakes if they are given."""
        channels, dilation = convolution.in_channels, convolution.dilation[0]
        weight, bias = taps_of(convolution), convolution.bias.detach().clone()
        alphas = [snake.alpha.detach().flatten().clone() for snake in snakes] if snakes else [bias, bias]

        def function(x, inputs):
            y, (options, grid) = torch.empty_like(x), depthwise_options(channels, times, dilation, len(inputs))
            pointers = x, past.values, inputs, weight, bias, *alphas, y
            _depthwise_kernel[grid](*pointers, len(inputs), DELAY=delay, SNAKES=bool(snakes), **options)
            return y

        return function

    def _product(self, product, times, delay, x_past=None, place=-1, skip_past=None, snake=None, past=None):
        """A function of (x, inputs, skip): see `_product_kernel`."""
        # Rows of X are K apart, and a tile of terms belongs to one time.
        assert product.whole and (x_past is None or product.terms // 2 % product.tile.terms == 0), product.tile
        alpha = product.bias if snake is None else snake.alpha.detach().flatten().clone()
        options = dict(T=times, DELAY=delay, UP=x_past is not None, PLACE=place, SNAKE=snake is not None)
        options |= dict(REACH=skip_past.length // 2 if skip_past else 0, L=past.length if past else 0)
        x_past, skip_past, past = ((each or self.pasts[0]).values for each in (x_past, skip_past, past))

        def function(x, inputs, skip=None):
            rows = len(inputs) * times
            y = torch.empty(rows, product.columns, device=self.device)
            pointers = x, x_past, product.weight, product.bias, y, inputs, x if skip is None else skip, skip_past, alpha
            _product_kernel[product.grid(rows)](*pointers, past, len(inputs), **options, **product.options)
            return y

        return function

    def _unit(self, unit, before, times, delay, snake, past):
        """A function of (x, inputs): a residual unit, and the Snake after it, if any."""
        first, wide, second, point = unit.block
        depthwise = self._depthwise(wide, before, times, delay, (first, second))
        product = Product(point.weight[..., 0], point.bias)
        product = self._product(product, times, delay, skip_past=before, snake=snake, past=past)
        return lambda x, inputs: product(depthwise(x, inputs), inputs, x)

    def _last(self, weight, bias, past, times, delay, x, inputs):
        channels, audio = weight.shape[1], torch.empty(len(inputs), times, device=self.device)
        wide = triton.next_power_of_2(channels)
        block = max(16, min(times, 4096 // wide))
        options = dict(C=channels, T=times, DELAY=delay, BLOCK=block, CHANNELS=wide)
        grid = (triton.cdiv(audio.numel(), block),)
        _last_kernel[grid](x, past.values, inputs, weight, bias, audio, len(inputs), **options)
        return audio

    def __call__(self, inputs):
        """int64 (B, 11), columns as `stream_layers` names them, codes level by level -> float32 (B, 2048)."""
        x = None
        for step in self._steps:
            x = step(x, inputs)
        return x


def fits(model):
    """Whether the kernels support the decoder's layers: those of the 24 kHz SNAC, in most widths."""
    first, _, *blocks, _, last, _ = model.decoder.model
    wide = [first]
    for block in blocks:
        _, up, noise, *units = block.block
        if not hasattr(noise, "place") or up.in_channels % (2 * _MULTIPLE):
            return False
        wide += [unit.block[1] for unit in units]
    return last.in_channels % _MULTIPLE == 0 and all(
        layer.kernel_size == (TAPS,) and layer.groups == layer.in_channels for layer in wide
    )
