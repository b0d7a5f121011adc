"""SNAC's encoder for clips of any lengths laid end to end: Triton kernels around plain matrix products.

Activations are (channels, time), all clips one after the other; a convolution reads zeros beyond its own clip's ends, as
it would for that clip alone. So nothing is padded, whatever the lengths, and every product is one large matrix product.
An encoder spends its time moving activations. Here a residual unit moves them seven times: Snake (2), depthwise
convolution with the Snake that follows it (2), pointwise convolution added in place (3). Biases of what is added in
place wait until a kernel reads it (`shift`). Everything is float32.
"""

import functools

import numpy as np
import torch
import triton
import triton.language as tl

from orpheus.frame import FRAME_SAMPLES

TAPS = 7  # of every convolution but the pointwise and the strided ones


@triton.jit
def _snake(x, alpha):
    """x + sin(alpha x)^2 / alpha, to 2e-7. The square has period pi and is a polynomial in the square of what is left."""
    angle = alpha * x
    turns = tl.floor(angle * 0.3183098861837907 + 0.5)
    angle = ((angle - turns * 3.140625) - turns * 9.67502593994140625e-4) - turns * 1.509957990978376e-7
    square = angle * angle
    p = square * 8.132633411150891e-08 - 4.233619165461278e-06
    p = p * square + 1.4102367276791483e-04
    p = p * square - 3.174543147906661e-03
    p = p * square + 4.444441944360733e-02
    p = p * square - 0.3333333432674408
    p = p * square + 1.0
    return x + square * p * (1.0 / (alpha + 1e-9))


@triton.jit
def _bounds(FIRST, END, time, length, bits):
    """First position of the clip that each position belongs to, and the one after its last; a frame has 2**bits."""
    frame = time >> bits
    inside = time < length
    return tl.load(FIRST + frame, mask=inside, other=0) << bits, tl.load(END + frame, mask=inside, other=0) << bits


@triton.jit
def _first_kernel(AUDIO, WEIGHT, BIAS, FIRST, END, Y, channels, length, bits, C: tl.constexpr, BLOCK: tl.constexpr):
    time = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    channel = tl.program_id(1) * C + tl.arange(0, C)
    first, end = _bounds(FIRST, END, time, length, bits)
    total = tl.zeros([C, BLOCK], tl.float32) + tl.load(BIAS + channel, mask=channel < channels, other=0.0)[:, None]
    for tap in tl.static_range(7):
        at = time + (tap - 3)
        audio = tl.load(AUDIO + at, mask=(at >= first) & (at < end), other=0.0)
        total += tl.load(WEIGHT + channel * 7 + tap, mask=channel < channels, other=0.0)[:, None] * audio[None, :]
    inside = (channel < channels)[:, None] & (time < length)[None, :]
    tl.store(Y + channel.to(tl.int64)[:, None] * length + time[None, :], total, mask=inside)


@triton.jit
def _snake_kernel(X, SHIFT, ALPHA, Y, length, BLOCK: tl.constexpr):
    channel = tl.program_id(1)
    time = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    at = channel.to(tl.int64) * length + time
    x = tl.load(X + at, mask=time < length, other=0.0) + tl.load(SHIFT + channel)
    tl.store(Y + at, _snake(x, tl.load(ALPHA + channel)), mask=time < length)


# Were X and Y known to be aligned, a thread would take four neighbours, and the loads of a warp would lie four apart.
@triton.jit(do_not_specialize_on_alignment=["X", "Y"])
def _depthwise_kernel(
    X, SHIFT, WEIGHT, BIAS, ALPHA, FIRST, END, Y, length, bits, dilation, SNAKE: tl.constexpr, BLOCK: tl.constexpr
):
    """With SNAKE, Snake of the convolution of X; else the convolution of X + SHIFT."""
    channel = tl.program_id(1)
    time = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    row = channel.to(tl.int64) * length
    first, end = _bounds(FIRST, END, time, length, bits)
    total = tl.zeros([BLOCK], tl.float32)
    for tap in tl.static_range(7):
        at = time + (tap - 3) * dilation
        inside = (at >= first) & (at < end)
        x = tl.load(X + row + at, mask=inside, other=0.0)
        if not SNAKE:
            x = tl.where(inside, x + tl.load(SHIFT + channel), 0.0)
        total += tl.load(WEIGHT + channel * 7 + tap) * x
    total += tl.load(BIAS + channel)
    if SNAKE:
        total = _snake(total, tl.load(ALPHA + channel))
    tl.store(Y + row + time, total, mask=time < length)


@triton.jit
def _windows_kernel(
    X, SHIFT, ALPHA, FIRST, END, Y, length, bits, STRIDE: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr
):
    """Snake of X, cut into the windows of a strided convolution: Y (channels * WIDTH, length // STRIDE)."""
    channel = tl.program_id(1)
    out = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    outs = length // STRIDE
    first, end = _bounds(FIRST, END, out * STRIDE, length, bits)
    tap = tl.arange(0, WIDTH)
    at = out[:, None] * STRIDE - STRIDE // 2 + tap[None, :]
    inside = (at >= first[:, None]) & (at < end[:, None])
    x = tl.load(X + channel.to(tl.int64) * length + at, mask=inside, other=0.0) + tl.load(SHIFT + channel)
    y = tl.where(inside, _snake(x, tl.load(ALPHA + channel)), 0.0)
    row = channel.to(tl.int64) * WIDTH + tap
    tl.store(Y + row[None, :] * outs + out[:, None], y, mask=(out < outs)[:, None])


class FusedEncoder:
    """A SNAC model's encoder with its weights laid out for the kernels; the model itself is left alone."""

    def __init__(self, model):
        first, *blocks, last = model.encoder.block
        self.first, self.last = _weights(first), _weights(last)
        self.blocks = []
        for block in blocks:
            *units, snake, down = block.block
            steps = []
            for unit in units:
                one, depthwise, two, pointwise = unit.block
                matrix, bias = _weights(pointwise)
                steps.append(
                    (_alpha(one), *_weights(depthwise), _alpha(two), depthwise.dilation[0], matrix[..., 0], bias)
                )
            matrix, bias = _weights(down)
            self.blocks.append((steps, _alpha(snake), down.stride[0], matrix.flatten(1), bias))

    def __call__(self, audio, bounds):
        """audio (frames * 2048,), clip i from frame bounds[i] to bounds[i + 1]; returns (channels, 4 * frames)."""
        lengths = np.diff(bounds)
        clips = torch.from_numpy(np.stack([np.repeat(bounds[:-1], lengths), np.repeat(bounds[1:], lengths)]))
        clips = clips.to(audio.device, torch.int32)
        weight, shift = self.first
        x = torch.empty(len(weight), len(audio), device=audio.device)
        bits, block = FRAME_SAMPLES.bit_length() - 1, 512
        grid = (triton.cdiv(len(audio), block), triton.cdiv(len(weight), 16))
        _first_kernel[grid](audio, weight, shift, *clips, x, len(weight), len(audio), bits, C=16, BLOCK=block)
        shift = torch.zeros_like(shift)
        for units, alpha, stride, matrix, bias in self.blocks:
            for unit in units:
                shift = _residual_unit(x, shift, clips, bits, *unit)
            windows = torch.empty(matrix.shape[1], x.shape[1] // stride, device=x.device)
            block = 2048 // (2 * stride)
            grid = (triton.cdiv(windows.shape[1], block), len(x))
            _windows_kernel[grid](
                x, shift, alpha, *clips, windows, x.shape[1], bits, STRIDE=stride, WIDTH=2 * stride, BLOCK=block
            )
            x, shift, bits = matrix @ windows, bias, bits - stride.bit_length() + 1
        return _depthwise(x, shift, clips, bits, 1, *self.last, self.last[1], SNAKE=False)


def _residual_unit(x, shift, clips, bits, alpha, weight, bias, next_alpha, dilation, matrix, matrix_bias):
    """Adds the unit to x in place, its last bias left out; returns the new shift."""
    block, active = 1024, torch.empty_like(x)
    _snake_kernel[(triton.cdiv(x.shape[1], block), len(x))](x, shift, alpha, active, x.shape[1], BLOCK=block)
    x.addmm_(matrix, _depthwise(active, shift, clips, bits, dilation, weight, bias, next_alpha, SNAKE=True))
    return shift + matrix_bias


def _depthwise(x, shift, clips, bits, dilation, weight, bias, alpha, SNAKE):
    y, block = torch.empty_like(x), 1024
    _depthwise_kernel[(triton.cdiv(x.shape[1], block), len(x))](
        x, shift, weight, bias, alpha, *clips, y, x.shape[1], bits, dilation, SNAKE=SNAKE, BLOCK=block, num_warps=8
    )
    return y


def _weights(convolution):
    return convolution.weight.detach().clone(), convolution.bias.detach().clone()


def _alpha(snake):
    return snake.alpha.detach().reshape(-1).clone()


def fits(model):
    """Whether the encoder has the layers that the kernels know: those of the 24 kHz SNAC, in any width."""
    first, *blocks, last = model.encoder.block
    units = [unit.block[1] for block in blocks for unit in block.block[:-2]]
    return all(layer.kernel_size == (TAPS,) for layer in (first, last, *units)) and all(
        layer.groups == layer.in_channels for layer in (last, *units)
    )


@functools.cache
def _compiles(device):
    """Whether Triton can build a kernel for this device (it needs a C compiler, for one)."""
    x = torch.zeros(1, 64, device=device)
    try:
        _snake_kernel[(1, 1)](x, x, x, torch.empty_like(x), 64, BLOCK=64)
        torch.cuda.synchronize(device)
    except Exception:  # compilers, drivers and Triton each have errors of their own
        return False
    return True


def runs(model):
    """Whether the kernels can take this model where it is."""
    return fits(model) and _compiles(next(model.parameters()).device)
