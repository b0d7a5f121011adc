"""The ONNX operators that the teacher's graph uses, in PyTorch.

Every function takes (inputs, attributes) and returns a tensor or a list of tensors. Shapes, indices and other
integers stay on the CPU, where the graph's bookkeeping is cheap; `to_common_device` moves them when they meet
floating-point data.
"""

import math

import torch
import torch.nn.functional as F

OPERATORS = {}

DTYPES = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool, 11: torch.float64}
"""ONNX's numbers for element types."""


def operator(*names):
    def register(function):
        OPERATORS.update(dict.fromkeys(names, function))
        return function

    return register


def integers(tensor):
    return [int(value) for value in tensor.reshape(-1).tolist()]


def optional(inputs, index):
    return inputs[index] if len(inputs) > index else None


def to_common_device(inputs):
    devices = {tensor.device for tensor in inputs if tensor is not None}
    if len(devices) < 2:
        return inputs
    device = next(device for device in devices if device.type != "cpu")
    return [tensor if tensor is None else tensor.to(device) for tensor in inputs]


def divide(first, second):
    return first / second if first.is_floating_point() else torch.div(first, second, rounding_mode="trunc")


def _binary(function):
    def run(inputs, attributes):
        return function(*to_common_device(inputs))

    return run


def _unary(function):
    def run(inputs, attributes):
        return function(inputs[0])

    return run


for _name, _function in {
    "Add": torch.add,
    "Sub": torch.sub,
    "Mul": torch.mul,
    "Div": divide,
    "Equal": torch.eq,
    "Greater": torch.gt,
    "Less": torch.lt,
    "GreaterOrEqual": torch.ge,
    "And": torch.logical_and,
    "Where": torch.where,
    "MatMul": torch.matmul,
}.items():
    OPERATORS[_name] = _binary(_function)

for _name, _function in {
    "Cos": torch.cos,
    "Sin": torch.sin,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "Round": torch.round,
    "Sigmoid": torch.sigmoid,
    "Sqrt": torch.sqrt,
    "Tanh": torch.tanh,
    # The graph divides by zero where a spectrum is silent and picks the angle afterwards.
    "Atan": lambda tensor: torch.nan_to_num(torch.atan(tensor)),
}.items():
    OPERATORS[_name] = _unary(_function)


@operator("Pow")
def power(inputs, attributes):
    base, exponent = to_common_device(inputs)
    if exponent.numel() > 1:
        return torch.pow(base, exponent)
    return base * base if float(exponent) == 2 else torch.pow(base, float(exponent))


@operator("Cast")
def cast(inputs, attributes):
    return inputs[0].to(DTYPES[attributes["to"]])


@operator("Clip")
def clip(inputs, attributes):
    low, high = optional(inputs, 1), optional(inputs, 2)
    return torch.clamp(inputs[0], None if low is None else low.item(), None if high is None else high.item())


@operator("Concat")
def concat(inputs, attributes):
    return torch.cat(to_common_device(inputs), attributes["axis"])


@operator("ConstantOfShape")
def constant_of_shape(inputs, attributes):
    value = attributes.get("value", [0.0])
    return torch.full(integers(inputs[0]), value[0] if isinstance(value, list) else value)


@operator("Conv")
def convolution(inputs, attributes):
    return F.conv1d(
        inputs[0],
        inputs[1],
        optional(inputs, 2),
        attributes["strides"],
        attributes["pads"][0],
        attributes["dilations"],
        attributes["group"],
    )


@operator("ConvTranspose")
def transposed_convolution(inputs, attributes):
    return F.conv_transpose1d(
        inputs[0],
        inputs[1],
        optional(inputs, 2),
        attributes["strides"],
        attributes["pads"][0],
        attributes.get("output_padding", [0])[0],
        attributes["group"],
        attributes["dilations"],
    )


@operator("CumSum")
def cumulative_sum(inputs, attributes):
    return torch.cumsum(inputs[0], int(inputs[1]))


@operator("DequantizeLinear")
def dequantise(inputs, attributes):
    values, scale, zero = to_common_device(inputs)
    return (values.float() - zero.float()) * scale


@operator("Expand")
def expand(inputs, attributes):
    return inputs[0].expand(torch.broadcast_shapes(tuple(inputs[0].shape), tuple(integers(inputs[1]))))


@operator("FastGelu")
def fast_gelu(inputs, attributes):
    bias = optional(inputs, 1)
    return F.gelu(inputs[0] if bias is None else inputs[0] + bias, approximate="tanh")


@operator("FusedMatMul")
def fused_matmul(inputs, attributes):
    first, second = to_common_device(inputs)
    first = first.transpose(-1, -2) if attributes["transA"] else first
    return first @ second * attributes["alpha"]


@operator("Gather")
def gather(inputs, attributes):
    data, indices = to_common_device(inputs)
    indices = indices.long()
    axis = attributes.get("axis", 0) % data.ndim
    indices = torch.where(indices < 0, indices + data.shape[axis], indices)
    picked = data.index_select(axis, indices.reshape(-1))
    return picked.reshape(data.shape[:axis] + indices.shape + data.shape[axis + 1 :])


@operator("LayerNormalization")
def layer_norm(inputs, attributes):
    return F.layer_norm(inputs[0], inputs[0].shape[-1:], inputs[1], optional(inputs, 2), attributes["epsilon"])


@operator("SkipLayerNormalization")
def skip_layer_norm(inputs, attributes):
    bias = optional(inputs, 4)
    total = inputs[0] + inputs[1] + (0 if bias is None else bias)
    return F.layer_norm(total, total.shape[-1:], inputs[2], inputs[3], attributes["epsilon"])


@operator("LeakyRelu")
def leaky_relu(inputs, attributes):
    return F.leaky_relu(inputs[0], attributes["alpha"])


@operator("NonZero")
def nonzero(inputs, attributes):
    return torch.nonzero(inputs[0]).t()


@operator("Pad")
def pad(inputs, attributes):
    data, counts = inputs[0], integers(inputs[1])
    axes = len(counts) // 2
    padding = [count for axis in range(axes - 1, -1, -1) for count in (counts[axis], counts[axis + axes])]
    while len(padding) > 2 and padding[-2:] == [0, 0]:
        padding = padding[:-2]
    if attributes["mode"] == "constant":
        return F.pad(data, padding)
    added = max(0, len(padding) // 2 + 1 - data.ndim)  # PyTorch wants a batch axis for the other modes
    padded = F.pad(data[(None,) * added], padding, mode=attributes["mode"])
    return padded.reshape(padded.shape[added:])


@operator("Range")
def arange(inputs, attributes):
    return torch.arange(*(value.item() for value in inputs))


@operator("ReduceMean", "ReduceSum")
def reduce(inputs, attributes):
    axes = optional(inputs, 1)
    axes = attributes.get("axes") if axes is None else integers(axes)
    function = torch.mean if attributes["operator"] == "ReduceMean" else torch.sum
    return function(inputs[0], dim=axes or list(range(inputs[0].ndim)), keepdim=bool(attributes["keepdims"]))


@operator("Reshape")
def reshape(inputs, attributes):
    sizes = [inputs[0].shape[axis] if size == 0 else size for axis, size in enumerate(integers(inputs[1]))]
    return inputs[0].reshape(sizes)


@operator("Resize")
def resize(inputs, attributes):
    sizes = optional(inputs, 3)
    if sizes is not None:
        size = integers(sizes)[2:]
    else:
        size = [math.floor(inputs[0].shape[2 + i] * factor) for i, factor in enumerate(inputs[2].tolist()[2:])]
    if attributes["mode"] == "nearest":
        return F.interpolate(inputs[0], size=size, mode="nearest")
    return F.interpolate(inputs[0], size=size, mode="linear", align_corners=False)


@operator("ScatterND")
def scatter(inputs, attributes):
    data, indices, updates = to_common_device(inputs)
    result = data.clone()
    result[tuple(indices[..., axis] for axis in range(indices.shape[-1]))] = updates.to(result.dtype)
    return result


@operator("Shape")
def shape(inputs, attributes):
    return torch.tensor(list(inputs[0].shape)[attributes.get("start", 0) : attributes.get("end")])


@operator("Slice")
def slices(inputs, attributes):
    starts, ends = integers(inputs[1]), integers(inputs[2])
    axes = range(len(starts)) if optional(inputs, 3) is None else integers(inputs[3])
    steps = [1] * len(starts) if optional(inputs, 4) is None else integers(inputs[4])
    result = inputs[0]
    for start, end, axis, step in zip(starts, ends, axes, steps):
        if step < 0:
            raise NotImplementedError("Slice with a negative step")
        index = [slice(None)] * result.ndim
        index[axis] = slice(start, end, step)
        result = result[tuple(index)]
    return result


@operator("Softmax")
def softmax(inputs, attributes):
    return torch.softmax(inputs[0], attributes["axis"])


@operator("Split")
def split(inputs, attributes):
    axis, sizes = attributes["axis"], optional(inputs, 1)
    parts = inputs[0].shape[axis] // attributes["outputs"] if sizes is None else integers(sizes)
    return list(torch.split(inputs[0], parts, axis))


@operator("Squeeze")
def squeeze(inputs, attributes):
    axes = optional(inputs, 1)
    return inputs[0].squeeze() if axes is None else inputs[0].squeeze(tuple(integers(axes)))


@operator("STFT")
def stft(inputs, attributes):
    signal, window = inputs[0], inputs[2].to(inputs[0].device)
    signal = signal.squeeze(-1) if signal.ndim == 3 else signal
    frames = signal.unfold(-1, window.numel(), int(inputs[1])) * window
    return torch.view_as_real(torch.fft.rfft(frames, dim=-1))


@operator("Transpose")
def transpose(inputs, attributes):
    return inputs[0].permute(attributes["perm"])


@operator("Unsqueeze")
def unsqueeze(inputs, attributes):
    result, axes = inputs[0], integers(inputs[1])
    dimensions = result.ndim + len(axes)
    for axis in sorted(axis % dimensions for axis in axes):
        result = result.unsqueeze(axis)
    return result
