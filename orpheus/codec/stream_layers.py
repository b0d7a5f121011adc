"""A SNAC decoder's layers for streams: each keeps the end of its input, so that no frame is computed twice.

A convolution needs samples from before and after the ones it computes. Here every layer keeps the end of its input for
each stream (300 kB in all for the 24 kHz SNAC), and its output lags behind its input by half its reach: 4,757 samples
through all layers. The samples equal those of decoding everything at once: the sums have the same terms, and before a
stream's first frame and after its last one every layer reads zeros, as padding would give it.

This is plain PyTorch, for any device. On CUDA with Triton, `kernels.decoder` does the same in fewer passes over memory.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from orpheus.codec.noise import position_noise
from orpheus.codec.step import CODES, END, FIRST, ROW, SEED, Step
from orpheus.common.frame import LEVEL_CODES

_MANY_WEIGHTS = 8  # to an input of a frame: from here on a product beats PyTorch's transposed convolution on a CPU


class _Past:
    """The last `length` samples of a layer's input, for every stream; `rate` samples per frame, `delay` behind."""

    def __init__(self, rows, channels, length, rate, delay, device):
        self.values = torch.zeros(rows, channels, length, device=device)
        self.length, self.rate, self.delay = length, rate, delay

    def before(self, x, step):
        """(B, C, T) -> (B, C, length + T), zero outside the stream, as in padding; keeps the end for next time."""
        position = step.first[:, None] * self.rate - self.delay + torch.arange(x.shape[-1], device=x.device)
        inside = (position >= 0) & (position < step.end[:, None] * self.rate)
        whole = x.new_empty(*x.shape[:2], self.length + x.shape[2])
        seen = step.first[:, None, None] > 0  # a new stream starts from zeros
        torch.mul(self.values[step.rows], seen, out=whole[..., : self.length])
        torch.mul(x, inside[:, None], out=whole[..., self.length :])
        self.values.index_copy_(0, step.rows, whole[..., -self.length :])
        return whole


def _fused_snake(device):
    """The kernel for Snake, or None if it cannot run here."""
    if device.type != "cuda":
        return None
    try:
        from orpheus.codec.kernels import snake as fused_snake
    except (ImportError, TypeError):  # no Triton, or too old
        return None
    return fused_snake.snake if fused_snake.runs(device) else None


def upsample_few(x, weight, bias, stride):
    """F.conv_transpose1d with `stride` as padding and a kernel of twice the stride, as one product: x (B, C, 1 + T), weight (C, O, 2 *
    stride) -> (B, O, T * stride).

    For a few times PyTorch's own takes up to ten times as long on a CPU. An input reaches two strides of output: its own, and the one
    after it.
    """
    rows = x.transpose(1, 2)
    made = (rows.flatten(0, 1) @ weight.flatten(1)).view(*rows.shape[:2], -1, 2, stride)
    summed = made[:, 1:, :, 0] + made[:, :-1, :, 1]  # (B, T, O, stride)
    return (summed.transpose(1, 2) + bias[:, None, None]).flatten(2)


class StreamLayers:
    """A SNAC decoder's layers as functions of (x, step), weight norm folded, each with its lag and its past."""

    def __init__(self, model, rows):
        from snac import layers

        self._snac, self.rows, self.device = layers, rows, next(model.parameters()).device
        self.fused_snake = _fused_snake(self.device)
        self.functions, self.pasts = [], []
        self.rate, self.delay = LEVEL_CODES[-1], 0  # of the output of the last layer so far
        self.tables = []
        for level in model.quantizer.quantizers:  # code -> its vector in the decoder's input
            self.tables.append(level.codebook.weight @ level.out_proj.weight[..., 0].t() + level.out_proj.bias)
        self._add(model.decoder.model)

    def _add(self, module):
        layers = self._snac
        if isinstance(module, (nn.Sequential, layers.DecoderBlock)):
            for part in getattr(module, "block", module):
                self._add(part)
        elif isinstance(module, layers.ResidualUnit):
            self._residual_unit(module)
        elif isinstance(module, layers.Snake1d):
            self.functions.append(self._snake_of(module))
        elif isinstance(module, nn.ConvTranspose1d):
            self._upsample(module)
        elif isinstance(module, nn.Conv1d):
            self._convolution(module)
        elif isinstance(module, nn.Tanh):
            self.functions.append(lambda x, step: torch.tanh(x))
        else:  # the PositionNoise that Codec puts in
            self.functions.append(
                partial(self._noise, module.place, module.linear.weight.clone(), self.rate, self.delay)
            )

    def _past(self, channels, length):
        self.pasts.append(_Past(self.rows, channels, length, self.rate, self.delay, self.device))
        return self.pasts[-1]

    def _snake_of(self, module):
        alpha = module.alpha.clone()
        inverse = (alpha + 1e-9).reciprocal()
        if self.fused_snake:
            return lambda x, step: self.fused_snake(x, alpha)
        return lambda x, step: torch.addcmul(x, (alpha * x).sin_().square_(), inverse)

    def _convolution(self, module):
        weight, bias, groups = module.weight.clone(), module.bias.clone(), module.groups
        reach = module.padding[0]
        if not reach:
            self.functions.append(lambda x, step: F.conv1d(x, weight, bias))
        else:
            past = self._past(module.in_channels, 2 * reach)
            self.delay += reach
            self.functions.append(lambda x, step: F.conv1d(past.before(x, step), weight, bias, groups=groups))

    def _upsample(self, module):
        weight, bias, stride = module.weight.clone(), module.bias.clone(), module.stride[0]
        inputs = module.in_channels * self.rate  # of a frame
        few = module.kernel_size[0] == 2 * stride and weight.numel() > _MANY_WEIGHTS * inputs
        past = self._past(module.in_channels, 1)  # an input reaches half a stride beyond its own samples on both sides
        self.rate, self.delay = self.rate * stride, self.delay * stride + module.padding[0]

        def function(x, step):
            x = past.before(x, step)
            if few and x.device.type == "cpu":
                return upsample_few(x, weight, bias, stride)
            return F.conv_transpose1d(x, weight, bias, stride=stride, padding=stride)

        self.functions.append(function)

    def _residual_unit(self, module):
        first, wide, second, point = module.block
        first, second = self._snake_of(first), self._snake_of(second)
        weights = wide.weight.clone(), wide.bias.clone()
        point = point.weight.clone(), point.bias.clone()
        options = {"dilation": wide.dilation[0], "groups": wide.groups}
        reach = wide.padding[0]
        past = self._past(wide.in_channels, 2 * reach)
        self.delay += reach

        def function(x, step):
            x = past.before(x, step)
            y = second(F.conv1d(first(x, step), *weights, **options), step)
            return F.conv1d(y, *point) + x[..., reach:-reach]

        self.functions.append(function)

    @staticmethod
    def _noise(place, weight, rate, delay, x, step):
        noise = position_noise(step.seeds, place, step.first * rate - delay, x.shape[-1])
        return torch.addcmul(x, noise[:, None], F.conv1d(x, weight))

    @property
    def state_bytes(self):
        """Bytes kept of one stream's past."""
        return sum(past.values[0].nbytes for past in self.pasts)

    def __call__(self, inputs):
        """int64 (B, 11), columns as named above, codes level by level -> float32 (B, 2048)."""
        step = Step(inputs[:, ROW], inputs[:, SEED], inputs[:, FIRST], inputs[:, END])
        x, column = 0, CODES
        for table, count in zip(self.tables, LEVEL_CODES, strict=True):
            vectors = table[inputs[:, column : column + count]]
            x = x + vectors.repeat_interleave(LEVEL_CODES[-1] // count, 1)
            column += count
        x = x.transpose(1, 2)  # (B, latent, 4)
        for function in self.functions:
            x = function(x, step)
        return x[:, 0]
