"""Runs the fast engine's kernels in Triton's interpreter; TRITON_INTERPRET=1 must be set before Triton is imported."""

import torch
import triton.runtime.interpreter as interpreter

from orpheus.engines.fast.adapters import Adapters
from orpheus.engines.fast.head import Head, State
from orpheus.engines.fast.kernels.adapted import AdaptedOperations
from orpheus.engines.fast.kernels.fp8 import Fp8Operations
from orpheus.engines.fast.kernels.head import KernelHead
from orpheus.engines.fast.kernels.layer import KernelOperations, Walk
from orpheus.engines.fast.llama import Llama, Tokens, TorchOperations
from orpheus.engines.fast.matrix import FP8, WEIGHTS, quantized
from orpheus.engines.plain_lora import Change
from orpheus.engines.sampling import uniforms, whole
from tests.fakes.checkpoints import SMALL_CONFIG, SMALL_LAYOUT, walking_model

_patch = interpreter._patch_lang_tensor


def _patch_with_index(tensor, *scope):
    """Triton's own takes int() of an array of one number, which NumPy 2.4 no longer allows."""
    _patch(tensor, *scope)
    tensor.__index__ = lambda self: int(self.handle.data.item())


interpreter._patch_lang_tensor = _patch_with_index

torch.manual_seed(0)
config = SMALL_CONFIG | {"num_hidden_layers": 1, "hidden_size": 96, "num_attention_heads": 6}
SLOTS, LENGTH = 3, 80  # two tiles of attention
model = walking_model(config, SMALL_LAYOUT)
with torch.no_grad():
    for name, parameter in model.named_parameters():
        if "norm" in name:
            parameter.uniform_(0.5, 1.5)


def close(found, expected, what, tolerance=2e-5):
    assert torch.allclose(found, expected, rtol=tolerance, atol=tolerance), (what, (found - expected).abs().max())


def check_steps(weights, kind):
    """One token late in its slot, then three of different rows, in kernels and in plain PyTorch."""
    kernels = Fp8Operations() if weights == "fp8" else KernelOperations()
    plain, fused = (Llama(model, weights, operations) for operations in (TorchOperations, kernels))
    rope = plain.rope(LENGTH)
    torch.manual_seed(1)
    caches = [plain.cache(SLOTS, LENGTH, kind) for _ in range(2)]
    for ours, theirs in zip(*caches):
        if ours is not None:
            ours.copy_(torch.rand(ours.shape) if ours.dim() == 4 else torch.randn(ours.shape))
            theirs.copy_(ours)
    # FP8: the interpreter rounds some numbers to the wrong power of two, so only a token whose own key and value count little
    # is looked at.
    tolerance = 5e-3 if kind == "fp8" else 2e-5
    places = [([300], [1], [70]), ([300, 5, 261], [2, 0, 1], [3, 65, 0])]
    for ids, slots, positions in places[:1] if kind == "fp8" else places:
        spans = [(index, index + 1, *place) for index, place in enumerate(zip(slots, positions))]
        tokens = Tokens(*(torch.tensor(values) for values in (ids, slots, positions)), spans)
        expected = plain.hidden(tokens, caches[0], rope)
        found = fused.hidden(Tokens(tokens.ids, tokens.slots, tokens.positions), caches[1], rope)
        # inputs of products in FP8, or in 8 bits
        rounded = {("fp8", False): 0.1, ("int8", True): 0.01, ("int4", True): 0.01}.get((weights, len(ids) == 1))
        if rounded:
            assert 0 < (found - expected).norm() < rounded * expected.norm(), (
                found - expected
            ).norm() / expected.norm()
            continue
        close(found, expected, (weights, kind, ids), tolerance)
        for ours, theirs in zip(*caches):
            if ours is not None and ours.dtype != FP8:
                close(theirs, ours, "cache", 0.02 if weights in ("int8", "int4") else tolerance)
    return plain, fused


def in_groups(y, weights):
    """What a kernel multiplies rows in 8 or 4 bits by: y (K,) with each group in int8, times its scale."""
    words = y.view(8, -1, 4).transpose(0, 1) if weights == "int4" else y.view(2, -1, 4, 2).permute(1, 0, 2, 3)
    scale = words.abs().amax(dim=tuple(range(1, words.dim())), keepdim=True) / 127
    words = (words / scale).round() * scale
    return (words.transpose(0, 1) if weights == "int4" else words.permute(1, 0, 2, 3)).flatten()


def check_whole(weights, out, width, walk):
    """Every walk through a matrix, also one that its rows do not fill, against the same whole numbers in PyTorch."""
    torch.manual_seed(3)
    matrix = quantized(torch.randn(out, width), weights)
    x, y = torch.randn(1, out), torch.randn(1, width) * torch.logspace(-2, 2, width)
    expected = x + matrix(in_groups(y[0], weights)[None])
    name = "down" if width > out else "o"
    found = KernelOperations({name: walk}).add_product(x.clone(), y, matrix)
    close(found, expected, (weights, out, width, walk), 1e-4 * expected.abs().max().item())


for weights in ("int8", "int4"):
    for out, width, walk in (
        (24, 96, Walk(8, 1, 4)),
        (20, 160, Walk(4, 2, 1)),
        (64, 64, Walk(2, 4, 2)),
        (7, 32, Walk(4, 4, 4)),
    ):
        check_whole(weights, out, width, walk)


def check_16_bits(weights, dtype):
    """Weights in 8 or 4 bits whose input and norm are of 16 bits, as on a GPU: with a norm and without."""
    torch.manual_seed(4)
    llama = Llama(model, weights)
    shape, layer = llama.shape, llama.layers[0]
    layer = layer._replace(mlp_norm=layer.mlp_norm.to(dtype))
    x = (torch.randn(1, config["hidden_size"]) * torch.logspace(-1, 1, config["hidden_size"])).to(dtype)
    normed = x[0].float() * torch.rsqrt(x.float().square().mean() + shape.eps) * layer.mlp_norm.float()
    gate, up = layer.gate_up(in_groups(normed, weights)[None]).chunk(2, dim=-1)
    expected = torch.nn.functional.silu(gate) * up
    found = KernelOperations().gate_up(x, layer, shape)
    assert found.dtype == dtype
    close(found.float(), expected, ("gate and up", weights, dtype), 0.01 * expected.abs().max().item())
    expected = x.float() + layer.down(in_groups(found[0].float(), weights)[None])
    added = KernelOperations().add_product(x.clone(), found, layer.down)
    close(added.float(), expected, ("down", weights, dtype), 0.01 * expected.abs().max().item())


for weights in ("int8", "int4"):
    for dtype in (torch.bfloat16, torch.float16):
        check_16_bits(weights, dtype)
for weights in WEIGHTS:
    check_steps(weights, "same")
plain, fused = check_steps("same", "fp8")


def check_adapters(weights):
    """Rows of two adapters and of none, then one row alone, in the products that a step with kernels takes and in plain PyTorch."""
    torch.manual_seed(3)
    shapes = {
        name.removesuffix(".weight"): parameter.shape for name, parameter in model.named_parameters() if "_proj" in name
    }
    changes = {
        name: {
            layer: Change(torch.randn(rank, columns) * 0.1, torch.randn(rows, rank) * 0.1, 0.5)
            for layer, (rows, columns) in shapes.items()
            if end in layer
        }
        for name, rank, end in (("anna", 4, "proj"), ("ben", 3, "self_attn"))
    }
    hidden = []
    for operations in (TorchOperations, AdaptedOperations()):
        llama = Llama(model, weights, operations)
        llama.adapters = Adapters(llama, changes)
        seated, cache, rope = llama.seated(SLOTS + 1), llama.cache(SLOTS + 1, LENGTH), llama.rope(LENGTH)
        seated.choose(0, "anna")
        seated.choose(2, "ben")
        for ids, slots, positions in (([300, 5, 261], [2, 0, 1], [0, 0, 0]), ([7], [0], [1]), ([9], [1], [1])):
            spans = [(index, index + 1, *place) for index, place in enumerate(zip(slots, positions))]
            tokens = Tokens(*(torch.tensor(values) for values in (ids, slots, positions)), spans)
            hidden.append(seated.hidden(tokens, cache, rope))
    plain = Llama(model, weights, TorchOperations)
    tokens = Tokens(*(torch.tensor(values) for values in ([261], [1], [0])), [(0, 1, 1, 0)])
    close(hidden[3][2:], plain.hidden(tokens, plain.cache(SLOTS, LENGTH), rope), "a row of none", 5e-4)
    for found, expected in zip(hidden[3:], hidden[:3]):
        close(found, expected, ("adapters", weights), 5e-4 if weights == "int4" else 2e-5)


check_adapters("same")
check_adapters("int8")


def state(temperatures, head):
    made = State.empty(4, LENGTH, head.columns, "cpu")
    made.counts.copy_(torch.tensor([5, 13, 0, 0]))
    made.mass.fill_(whole(0.9))
    made.temperature.copy_(torch.tensor(temperatures))
    made.penalty.copy_(torch.tensor([1.0, 1.3, 1.1, 1.1]))
    made.uniforms.copy_(uniforms(range(4), LENGTH))
    made.seen.copy_(torch.rand(made.seen.shape, generator=torch.Generator().manual_seed(2)) < 0.5)
    return made


for rows in ([1], [1, 0, 2, 3]):
    for temperatures in ([0.0, 0.0, 0.7, 0.7], [0.6, 2.0, 0.0, 0.7]):
        x = torch.randn(len(rows), config["hidden_size"])
        torch_head = Head(plain, SMALL_LAYOUT)
        kernel_head = KernelHead(fused, SMALL_LAYOUT, "position", fused.operations, spare=3)
        ours, theirs = state(temperatures, torch_head), state(temperatures, torch_head)
        expected = torch_head.next_tokens(x, torch.tensor(rows), ours)
        found = kernel_head.next_tokens(x, torch.tensor(rows), theirs)
        assert torch.equal(found, expected), (found, expected)
        for name in ("ids", "positions", "counts", "seen"):
            left, right = getattr(ours, name), getattr(theirs, name)
            assert torch.equal(left[:3], right[:3]), name
        assert theirs.counts[3] == theirs.positions[3] == theirs.ids[3] == 0  # the spare slot stays as it was
