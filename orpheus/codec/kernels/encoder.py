"""SNAC's encoder as Triton kernels, for clips of any length laid end to end; none affects the features of another.

Activations are (times, channels), one clip after another; a convolution reads zeros beyond its own clip's ends, as it
would for that clip alone. So nothing is padded, whatever the lengths. Products are those of `products`, whose rows do
not depend on each other: a clip's features are bit for bit the same alone and in any batch. They differ from the `snac`
package's by float32 rounding.

An encoder spends its time moving activations. Here a residual unit moves them five times: Snake, depthwise convolution
and Snake (2), pointwise convolution with the sum (3). A strided convolution is a product with rows that overlap in memory.
"""

import numpy as np
import torch
import triton
import triton.language as tl

from orpheus.codec.copies import sent
from orpheus.codec.kernels.products import VECTOR, Product, multiply, place_of
from orpheus.codec.kernels.quantizer import FusedQuantizer
from orpheus.codec.kernels.snake import TAPS, depthwise, depthwise_options, lanes_of, snake_of, taps_of
from orpheus.common.frame import FRAME_SAMPLES, LEVEL_CODES


@triton.jit
def _bounds(FIRST, END, frame, inside, T: tl.constexpr):
    """The clip that each frame belongs to: its first time and the one after its last, relative to the frame's."""
    first = (tl.load(FIRST + frame, mask=inside, other=0) - frame) * T
    end = (tl.load(END + frame, mask=inside, other=0) - frame) * T
    return first, tl.where(inside, end, first)


@triton.jit(do_not_specialize=["frames"])
def _first_kernel(
    AUDIO,
    FIRST,
    END,
    WEIGHT,
    BIAS,
    Y,
    frames,
    T: tl.constexpr,
    C: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    frame, time = row // T, row % T
    inside = frame < frames
    first, end = _bounds(FIRST, END, frame, inside, T)
    total = tl.zeros([ROWS, BLOCK], tl.float32) + tl.load(BIAS + channel)[None, :]
    for tap in tl.static_range(7):
        at = time + (tap - 3)
        audio = tl.load(AUDIO + (row + (tap - 3)), mask=(at >= first) & (at < end), other=0.0)
        total = tl.fma(audio[:, None], tl.load(WEIGHT + tap * C + channel)[None, :], total)
    tl.store((Y + row.to(tl.int64) * C)[:, None] + channel[None, :], total, mask=inside[:, None])


@triton.jit(do_not_specialize=["frames"])
def _depthwise_kernel(
    X, FIRST, END, WEIGHT, BIAS, ALPHA, NEXT_ALPHA, Y, frames, T: tl.constexpr, C: tl.constexpr, DILATION: tl.constexpr,
    SNAKES: tl.constexpr, RUN: tl.constexpr, LANES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    half: tl.constexpr = 3 * DILATION
    frame, begin, inside = lanes_of(frames, T, DILATION, RUN, LANES)
    first, end = _bounds(FIRST, END, frame, inside, T)
    here, start = X - half * C, frame.to(tl.int64) * (T * C)
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    depthwise(
        here + start, here + start, first + half, end + half, begin, inside, Y + start, channel,
        WEIGHT, BIAS, ALPHA, NEXT_ALPHA, 0, C, T, DILATION, RUN, SNAKES,
    )  # fmt: skip


@triton.jit(do_not_specialize=["frames"])
def _product_kernel(
    X, FIRST, END, WEIGHT, BIAS, SKIP, ALPHA, Y, frames, T: tl.constexpr, C: tl.constexpr, STRIDE: tl.constexpr,
    ADD: tl.constexpr, SNAKE: tl.constexpr, K: tl.constexpr, N: tl.constexpr, SMALL: tl.constexpr,
    ROWS_FIRST: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Y = X times WEIGHT plus BIAS, T rows for each frame.

    STRIDE: 0 if a row of the product reads one row of X, C channels; else it reads the 2 * STRIDE rows around its place
    ADD: whether SKIP is added; SNAKE: whether Snake comes last
    """
    first_row, first_column = place_of(frames * T, N, BLOCK_M, BLOCK_N, ROWS_FIRST)
    row = first_row + tl.arange(0, BLOCK_M)
    column = first_column + tl.arange(0, BLOCK_N)
    frame = row // T
    inside, held = frame < frames, column < N
    at = row.to(tl.int64)
    if STRIDE > 0:
        first, end = _bounds(FIRST, END, frame, inside, T * STRIDE)
        start = row % T * STRIDE - STRIDE // 2
        here = X + (at * STRIDE - STRIDE // 2) * C
        low = tl.maximum(first - start, 0) * (C // 4)
        high = tl.minimum(end - start, 2 * STRIDE) * (C // 4)
    else:
        here, low, high = X + at * C, tl.zeros([BLOCK_M], tl.int32), tl.where(inside, C // 4, 0)
    total = multiply(here, here, low, high, column, WEIGHT, 0, K, SMALL, BLOCK_M, BLOCK_N, BLOCK_K)
    total += tl.load(BIAS + column, mask=held, other=0.0)[None, :]
    mask = inside[:, None] & held[None, :]
    if ADD:
        total += tl.load((SKIP + at * N)[:, None] + column[None, :], mask=mask, other=0.0)
    if SNAKE:
        total = snake_of(total, tl.load(ALPHA + column, mask=held, other=1.0)[None, :])
    tl.store((Y + at * N)[:, None] + column[None, :], total, mask=mask)


class FusedEncoder:
    """A SNAC model's encoder and quantizer, with weights laid out for the kernels; does not change the model."""

    def __init__(self, model):
        first, *blocks, last = model.encoder.block
        self._first, self._blocks = (taps_of(first), _bias(first)), []
        for block in blocks:
            *units, snake, down = block.block
            made = []
            for one, wide, two, point in (unit.block for unit in units):
                weights = taps_of(wide), _bias(wide), _alpha(one), _alpha(two)
                made.append((weights, wide.dilation[0], Product(point.weight[..., 0], point.bias)))
            window = Product(down.weight.transpose(1, 2).flatten(1), down.bias)  # (out, tap * in)
            self._blocks.append((made, _alpha(snake), window, down.stride[0]))
        self._last = taps_of(last), _bias(last)
        self._quantizer = FusedQuantizer(model.quantizer)

    def __call__(self, audio, bounds):
        """audio (frames * 2048,), clip i from frame bounds[i] to bounds[i + 1]; returns (4 * frames, channels)."""
        lengths = np.diff(bounds)
        clips = np.stack([np.repeat(bounds[:-1], lengths), np.repeat(bounds[1:], lengths)]).astype(np.int32)
        clips = sent(clips, audio.device)
        weight, bias = self._first
        x, rows, block = audio.new_empty(len(audio), len(bias)), 128, min(64, len(bias) & -len(bias))
        grid = (triton.cdiv(len(audio), rows), len(bias) // block)
        frames, times = int(bounds[-1]), FRAME_SAMPLES
        _first_kernel[grid](audio, *clips, weight, bias, x, frames, T=times, C=len(bias), ROWS=rows, BLOCK=block)
        for units, alpha, window, stride in self._blocks:
            for index, (weights, dilation, product) in enumerate(units):
                active = _depthwise(x, clips, frames, times, dilation, *weights)
                _product(product, active, clips, frames, times, add=x, alpha=alpha if index == len(units) - 1 else None)
            times //= stride
            x = _product(window, x, clips, frames, times, stride)
        return _depthwise(x, clips, frames, times, 1, *self._last)

    def codes(self, audio, bounds):
        """Codes per level, (frames,), (2 * frames,), (4 * frames,), of the same clips."""
        return self._quantizer(self(audio, bounds))


def _depthwise(x, clips, frames, times, dilation, weight, bias, alpha=None, next_alpha=None):
    channels, y = len(bias), torch.empty_like(x)
    options, grid = depthwise_options(channels, times, dilation, frames)
    alphas = (bias, bias) if alpha is None else (alpha, next_alpha)
    _depthwise_kernel[grid](x, *clips, weight, bias, *alphas, y, frames, SNAKES=alpha is not None, **options)
    return y


def _product(product, x, clips, frames, times, stride=0, add=None, alpha=None):
    """The product of x's rows, or of its windows if there is a stride; added to `add` in place, if given."""
    y = x.new_empty(frames * times, product.columns) if add is None else add
    options = dict(T=times, C=x.shape[1], STRIDE=stride, ADD=add is not None, SNAKE=alpha is not None)
    alpha = product.bias if alpha is None else alpha
    weights = product.weight, product.bias, y, alpha
    _product_kernel[product.grid(frames * times)](x, *clips, *weights, y, frames, **options, **product.options)
    return y


def _bias(convolution):
    return convolution.bias.detach().clone()


def _alpha(snake):
    return snake.alpha.detach().reshape(-1).clone()


def fits(model):
    """Whether the kernels support the encoder's layers: those of the 24 kHz SNAC, in most widths."""
    first, *blocks, last = model.encoder.block
    units = [unit.block[1] for block in blocks for unit in block.block[:-2]]
    return first.out_channels % VECTOR == 0 and all(
        layer.kernel_size == (TAPS,) and layer.groups == layer.in_channels for layer in (first, last, *units)
    )


@torch.inference_mode()
def load(model):
    """A FusedEncoder, or None if the kernels do not support the model, cannot be built, or give different results."""
    device = next(model.parameters()).device
    if device.type != "cuda" or not fits(model):
        return None
    try:
        audio = torch.linspace(-1, 1, FRAME_SAMPLES, device=device).mul(40).sin()
        encoder, expected = FusedEncoder(model), model.encoder(audio[None, None])[0].t()
        close = (encoder(audio, np.array([0, 1])) - expected).norm() < 1e-3 * expected.norm()
        return encoder if close and len(encoder.codes(audio, np.array([0, 1]))[2]) == LEVEL_CODES[2] else None
    except Exception:  # compilers, drivers and Triton each raise their own errors
        return None
