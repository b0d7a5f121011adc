"""Triton kernels for SNAC's residual units: Snake, and Snake with the depthwise convolution that follows it.

A codec at 24 kHz spends its time moving activations; each kernel reads them once instead of four or more times.
`use("triton")` puts them into the package's layers, `use("package")` takes them out. Parameters and their names
stay the package's own. `agrees()` compares the kernels with plain float64, forward and backward.
"""

import snac.layers
import torch
import torch.nn.functional as F

try:
    import triton
    import triton.language as tl
except ImportError:  # no GPU build of PyTorch
    triton = None

KERNEL_SIZE = 7
_package_forwards = {
    snac.layers.Snake1d: snac.layers.Snake1d.forward,
    snac.layers.ResidualUnit: snac.layers.ResidualUnit.forward,
    snac.layers.NoiseBlock: snac.layers.NoiseBlock.forward,
}


def plain_snake(x, alpha):
    """x + sin(alpha x)^2 / alpha in float32 or better; x (batch, channels, time), alpha (1, channels, 1)."""
    wide = x if x.dtype == torch.float64 else x.float()
    return (wide + (alpha + 1e-9).reciprocal() * torch.sin(alpha * wide).pow(2)).to(x.dtype)


def plain_snake_convolution(x, alpha, weight, bias, dilation):
    """Snake, then a depthwise convolution; weight (channels, 1, 7), bias (channels,)."""
    active = plain_snake(x, alpha)
    padding = (KERNEL_SIZE - 1) // 2 * dilation
    return F.conv1d(
        active, weight.to(active.dtype), bias.to(active.dtype), padding=padding, dilation=dilation, groups=x.shape[1]
    )


if triton is not None:
    # One program handles BLOCK samples of one row; a row is one channel of one clip.

    @triton.jit
    def _snake_forward(X, ALPHA, Y, channels, length, BLOCK: tl.constexpr):
        row = tl.program_id(0).to(tl.int64)
        time = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
        inside = time < length
        alpha = tl.load(ALPHA + row % channels).to(tl.float32)
        x = tl.load(X + row * length + time, mask=inside, other=0.0).to(tl.float32)
        sine = tl.sin(alpha * x)
        tl.store(Y + row * length + time, (x + sine * sine / (alpha + 1e-9)).to(Y.dtype.element_ty), mask=inside)

    @triton.jit
    def _snake_backward(X, ALPHA, GRAD, DX, PARTIAL, channels, length, blocks, BLOCK: tl.constexpr):
        """PARTIAL (rows, blocks): the gradient of alpha, to be summed."""
        row = tl.program_id(0).to(tl.int64)
        block = tl.program_id(1)
        time = block * BLOCK + tl.arange(0, BLOCK)
        inside = time < length
        alpha = tl.load(ALPHA + row % channels).to(tl.float32)
        inverse = 1.0 / (alpha + 1e-9)
        x = tl.load(X + row * length + time, mask=inside, other=0.0).to(tl.float32)
        grad = tl.load(GRAD + row * length + time, mask=inside, other=0.0).to(tl.float32)
        sine = tl.sin(alpha * x)
        double = 2.0 * sine * tl.cos(alpha * x)
        tl.store(
            DX + row * length + time, (grad * (1.0 + inverse * alpha * double)).to(DX.dtype.element_ty), mask=inside
        )
        to_alpha = grad * (inverse * x * double - inverse * inverse * sine * sine)
        tl.store(PARTIAL + row * blocks + block, tl.sum(to_alpha, 0))

    @triton.jit
    def _convolution_forward(X, ALPHA, WEIGHT, BIAS, Y, channels, length, dilation, BLOCK: tl.constexpr):
        row = tl.program_id(0).to(tl.int64)
        time = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
        channel = row % channels
        alpha = tl.load(ALPHA + channel).to(tl.float32)
        inverse = 1.0 / (alpha + 1e-9)
        total = tl.zeros([BLOCK], tl.float32) + tl.load(BIAS + channel).to(tl.float32)
        for tap in tl.static_range(7):
            at = time + (tap - 3) * dilation
            x = tl.load(X + row * length + at, mask=(at >= 0) & (at < length), other=0.0).to(tl.float32)
            sine = tl.sin(alpha * x)
            total += tl.load(WEIGHT + channel * 7 + tap).to(tl.float32) * (x + sine * sine * inverse)
        tl.store(Y + row * length + time, total.to(Y.dtype.element_ty), mask=time < length)

    @triton.jit
    def _convolution_backward(
        X, ALPHA, WEIGHT, GRAD, DX, PARTIAL, channels, length, blocks, dilation, BLOCK: tl.constexpr
    ):
        """PARTIAL (rows, blocks, 9): gradients of the seven taps, of the bias and of alpha, to be summed."""
        row = tl.program_id(0).to(tl.int64)
        block = tl.program_id(1)
        time = block * BLOCK + tl.arange(0, BLOCK)
        channel = row % channels
        inside = time < length
        alpha = tl.load(ALPHA + channel).to(tl.float32)
        inverse = 1.0 / (alpha + 1e-9)
        x = tl.load(X + row * length + time, mask=inside, other=0.0).to(tl.float32)
        sine = tl.sin(alpha * x)
        double = 2.0 * sine * tl.cos(alpha * x)
        active = x + sine * sine * inverse
        to_active = tl.zeros([BLOCK], tl.float32)
        partial = PARTIAL + (row * blocks + block) * 9
        for tap in tl.static_range(7):
            at = time - (tap - 3) * dilation
            grad = tl.load(GRAD + row * length + at, mask=(at >= 0) & (at < length) & inside, other=0.0).to(tl.float32)
            to_active += tl.load(WEIGHT + channel * 7 + tap).to(tl.float32) * grad
            tl.store(partial + tap, tl.sum(grad * active, 0))
            if tap == 3:
                tl.store(partial + 7, tl.sum(grad, 0))
        tl.store(partial + 8, tl.sum(to_active * (inverse * x * double - inverse * inverse * sine * sine), 0))
        dx = to_active * (1.0 + inverse * alpha * double)
        tl.store(DX + row * length + time, dx.to(DX.dtype.element_ty), mask=inside)

    def _block(length):
        return max(64, min(1024, triton.next_power_of_2(length)))

    class FusedSnake(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, alpha):
            x = x.contiguous()
            batch, channels, length = x.shape
            y, block = torch.empty_like(x), _block(length)
            grid = (batch * channels, triton.cdiv(length, block))
            _snake_forward[grid](x, alpha, y, channels, length, BLOCK=block)
            ctx.save_for_backward(x, alpha)
            return y

        @staticmethod
        def backward(ctx, grad):
            x, alpha = ctx.saved_tensors
            batch, channels, length = x.shape
            block = _block(length)
            blocks = triton.cdiv(length, block)
            dx = torch.empty_like(x)
            partial = torch.empty(batch, channels, blocks, device=x.device, dtype=torch.float32)
            grid = (batch * channels, blocks)
            _snake_backward[grid](x, alpha, grad.contiguous(), dx, partial, channels, length, blocks, BLOCK=block)
            return dx, partial.sum((0, 2)).view_as(alpha).to(alpha.dtype)

    class FusedSnakeConvolution(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, alpha, weight, bias, dilation):
            x, weight = x.contiguous(), weight.contiguous()
            batch, channels, length = x.shape
            y, block = torch.empty_like(x), _block(length)
            grid = (batch * channels, triton.cdiv(length, block))
            _convolution_forward[grid](x, alpha, weight, bias, y, channels, length, dilation, BLOCK=block)
            ctx.save_for_backward(x, alpha, weight)
            ctx.dilation = dilation
            return y

        @staticmethod
        def backward(ctx, grad):
            x, alpha, weight = ctx.saved_tensors
            batch, channels, length = x.shape
            block = _block(length)
            blocks = triton.cdiv(length, block)
            dx = torch.empty_like(x)
            partial = torch.empty(batch, channels, blocks, 9, device=x.device, dtype=torch.float32)
            _convolution_backward[(batch * channels, blocks)](
                x, alpha, weight, grad.contiguous(), dx, partial, channels, length, blocks, ctx.dilation, BLOCK=block
            )
            sums = partial.sum((0, 2))
            to_weight = sums[:, :7].reshape_as(weight).to(weight.dtype)
            return dx, sums[:, 8].reshape_as(alpha).to(alpha.dtype), to_weight, sums[:, 7].to(weight.dtype), None


def _pointwise(weight, x):
    """The matrix of a convolution of width one, repeated for every row of the batch."""
    return weight.squeeze(-1).to(x.dtype).expand(x.shape[0], -1, -1)


def _fused_residual_unit(unit, x):
    snake, depthwise, second_snake, pointwise = unit.block
    hidden = FusedSnakeConvolution.apply(x, snake.alpha, depthwise.weight, depthwise.bias, depthwise.dilation[0])
    hidden = FusedSnake.apply(hidden, second_snake.alpha)
    mixed = torch.baddbmm(x, _pointwise(pointwise.weight, x), hidden)
    return mixed + pointwise.bias.to(x.dtype)[:, None]


def _fused_noise(block, x):
    noise = torch.randn((x.shape[0], 1, x.shape[2]), device=x.device, dtype=x.dtype)
    return torch.addcmul(x, noise, torch.bmm(_pointwise(block.linear.weight, x), x))


def use(kind):
    """ "triton": the kernels; "plain": PyTorch operations that keep bfloat16; "package": the package's own."""
    for layer, forward in _package_forwards.items():
        layer.forward = forward
    if kind == "triton":
        snac.layers.Snake1d.forward = lambda layer, x: FusedSnake.apply(x, layer.alpha)
        snac.layers.ResidualUnit.forward = _fused_residual_unit
        snac.layers.NoiseBlock.forward = _fused_noise
    elif kind == "plain":
        snac.layers.Snake1d.forward = lambda layer, x: plain_snake(x, layer.alpha)
    elif kind != "package":
        raise ValueError(f"no such kind of operations: {kind!r}")


def largest_error(device, lengths=(300, 2500)):
    """Largest relative error of outputs and gradients against plain float64."""
    worst = 0.0
    for length, dilation in zip(lengths, (9, 3)):
        generator = torch.Generator().manual_seed(length)

        def random(*shape, generator=generator):
            return torch.randn(*shape, generator=generator).to(device).requires_grad_()

        x, alpha, weight, bias = random(2, 6, length), random(1, 6, 1), random(6, 1, 7), random(6)
        alpha.data.abs_().add_(0.2)
        grad = torch.randn(2, 6, length, generator=generator).to(device)
        cases = (
            (FusedSnake.apply, plain_snake, (x, alpha), ()),
            (FusedSnakeConvolution.apply, plain_snake_convolution, (x, alpha, weight, bias), (dilation,)),
        )
        for fused, plain, tensors, rest in cases:
            made, true = fused(*tensors, *rest), plain(*(tensor.double() for tensor in tensors), *rest)
            made_grads = torch.autograd.grad(made, tensors, grad)
            true_grads = torch.autograd.grad(true, tensors, grad.double())
            for ours, reference in zip((made, *made_grads), (true, *true_grads)):
                difference = (ours.detach().double() - reference.detach()).norm() / reference.detach().norm()
                worst = max(worst, float(difference))
    return worst


def agrees(device):
    """Whether the kernels run here and compute what plain operations compute."""
    return triton is not None and largest_error(device) < 1e-3
