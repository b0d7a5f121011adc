"""SNAC's Snake in Triton, alone and on both sides of a depthwise convolution.

In plain PyTorch a Snake reads and writes every sample four times.
"""

import functools

import torch
import triton
import triton.language as tl

TAPS = 7  # of every convolution in SNAC except the pointwise and strided ones
_LARGEST_BLOCK = 1024
_RUNS = 4, 8  # outputs that one lane of `depthwise` makes
_NUMBERS = 512  # lanes times channels of a program with `depthwise`: four per thread, loaded at once

_PER_PI = tl.constexpr(0.31830987334251404)  # 1 / pi in float32
_PER_PI_REST = tl.constexpr(1.2841276486e-08)
_ROUND = tl.constexpr(12582912.0)  # 1.5 * 2**23: adding it rounds to a whole number


@triton.jit
def scaled_sine(half_turns, scale):
    """scale * sin(pi * half_turns)^2 for -0.5..0.5, to 2e-7 of scale: a polynomial in the square."""
    square = half_turns * half_turns
    p = tl.fma(square, -3.272940158843994, 12.990726470947266)
    p = tl.fma(p, square, -30.085952758789062)
    p = tl.fma(p, square, 42.72538375854492)
    p = tl.fma(p, square, -32.469581604003906)
    p = tl.fma(p, square, 9.869603157043457)
    return p * (square * scale)


@triton.jit
def snake_of(x, alpha):
    """x + sin(alpha x)^2 / alpha. The square has period pi, so whole half turns are dropped."""
    turns = alpha * _PER_PI
    rest = tl.fma(alpha, _PER_PI, -turns) + alpha * _PER_PI_REST
    whole = tl.fma(x, turns, _ROUND) - _ROUND
    part = tl.fma(x, rest, tl.fma(x, turns, -whole))
    return x + scaled_sine(part, 1.0 / (alpha + 1e-9))


@triton.jit(do_not_specialize=["channels", "length"])
def _kernel(X, ALPHA, Y, channels, length, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    time = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    at = row.to(tl.int64) * length + time
    x = tl.load(X + at, mask=time < length, other=0.0)
    tl.store(Y + at, snake_of(x, tl.load(ALPHA + row % channels)), mask=time < length)


@triton.jit
def lanes_of(count, T: tl.constexpr, DILATION: tl.constexpr, RUN: tl.constexpr, LANES: tl.constexpr):
    """For each lane of a program: its frame (of `count`), its first time in that frame, whether the frame exists."""
    per_frame: tl.constexpr = (T + RUN * DILATION - 1) // (RUN * DILATION) * DILATION
    lane = tl.program_id(0) * LANES + tl.arange(0, LANES)
    frame, at = lane // per_frame, lane % per_frame
    return frame, at // DILATION * (RUN * DILATION) + at % DILATION, frame < count


@triton.jit
def depthwise(
    before,
    here,
    low,
    high,
    begin,
    inside,
    y,
    channel,
    WEIGHT,
    BIAS,
    ALPHA,
    NEXT_ALPHA,
    EDGE: tl.constexpr,
    C: tl.constexpr,
    T: tl.constexpr,
    DILATION: tl.constexpr,
    RUN: tl.constexpr,
    SNAKES: tl.constexpr,
):
    """Stores a depthwise convolution of rows of channels; with SNAKES, between two Snakes.

    A lane makes RUN outputs of its frame: `begin`, `begin` + DILATION and so on, below T. So it reads RUN + 6 inputs
    and takes their Snake, instead of 7 for each output. An output at t needs the inputs t + 0..6 * DILATION.
    here: (LANES,) pointers to the input 0; before: the same for inputs below EDGE
    low, high: (LANES,) inputs outside read as zero; inside: (LANES,) bool, lanes that store; y: pointers to the output 0
    channel: (CHANNELS,) which channels; WEIGHT: (7, C)
    """
    xs = ()
    for tap in tl.static_range(RUN + 6):
        at = begin + tap * DILATION
        row = here
        if EDGE > 0:
            row = tl.where(at < EDGE, before, here)
        mask = (at >= low) & (at < high)
        xs = xs + (tl.load((row + at * C)[:, None] + channel[None, :], mask=mask[:, None], other=0.0),)
    if SNAKES:
        alpha = tl.load(ALPHA + channel)[None, :]
        next_alpha = tl.load(NEXT_ALPHA + channel)[None, :]
        active = ()
        for tap in tl.static_range(RUN + 6):
            active = active + (snake_of(xs[tap], alpha),)
        xs = active
    bias = tl.load(BIAS + channel)[None, :]
    weights = ()
    for tap in tl.static_range(7):
        weights = weights + (tl.load(WEIGHT + tap * C + channel)[None, :],)
    for index in tl.static_range(RUN):
        total = xs[index] * weights[0]
        for tap in tl.static_range(1, 7):
            total = tl.fma(xs[index + tap], weights[tap], total)
        total += bias
        if SNAKES:
            total = snake_of(total, next_alpha)
        at = begin + index * DILATION
        tl.store((y + at * C)[:, None] + channel[None, :], total, mask=(inside & (at < T))[:, None])


def depthwise_options(channels, times, dilation, frames):
    """Constants and grid of a kernel around `depthwise` for this many times per frame."""
    run = min(_RUNS, key=lambda run: -(-times // (run * dilation)) * (run + TAPS - 1))  # whichever reads least
    block = min(64, channels & -channels)
    options = dict(C=channels, T=times, DILATION=dilation, RUN=run, LANES=_NUMBERS // block, BLOCK=block, num_warps=4)
    lanes = frames * -(-times // (run * dilation)) * dilation
    return options, (triton.cdiv(lanes, options["LANES"]), channels // block)


def taps_of(convolution):
    """The weight of a convolution in, from or to one channel as (7, channels)."""
    return convolution.weight.detach().reshape(-1, TAPS).t().contiguous()


def snake(x, alpha):
    """x + sin(alpha x)^2 / alpha; x float32 (B, C, T) on a CUDA device, alpha (1, C, 1)."""
    x = x.contiguous()
    batch, channels, length = x.shape
    y, block = torch.empty_like(x), min(triton.next_power_of_2(length), _LARGEST_BLOCK)
    grid = (batch * channels, triton.cdiv(length, block))
    _kernel[grid](x, alpha, y, channels, length, BLOCK=block, num_warps=max(1, min(4, block // 128)))
    return y


@functools.cache
def runs(device):
    """Whether Triton can build the kernel for this device and its results are right."""
    x, alpha = (
        torch.linspace(-30, 30, 2 * 3 * 100, device=device).view(2, 3, 100),
        torch.rand(1, 3, 1, device=device) + 0.5,
    )
    try:
        return bool((snake(x, alpha) - (x + torch.sin(alpha * x).square() / (alpha + 1e-9))).abs().max() < 1e-4)
    except Exception:  # compilers, drivers and Triton each raise their own errors
        return False
