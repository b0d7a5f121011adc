"""Runs training's kernels in Triton's interpreter; TRITON_INTERPRET=1 must be set before Triton is imported."""

import torch
import triton.runtime.interpreter as interpreter

from orpheus.training import eight, kernels, passes

_patch = interpreter._patch_lang_tensor


def _patch_with_index(tensor, *scope):
    """Triton's own takes int() of an array of one number, which NumPy 2.4 no longer allows."""
    _patch(tensor, *scope)
    tensor.__index__ = lambda self: int(self.handle.data.item())


interpreter._patch_lang_tensor = _patch_with_index
kernels._BLOCK = 64  # several blocks in a row
torch.manual_seed(0)
T, WIDTH, HEADS, KV, DIM = 3, 96, 6, 2, 16


def close(found, expected, what):
    if expected is None:
        assert found is None, what
    elif isinstance(expected, eight.Eight):
        assert torch.allclose(found.scales, expected.scales, rtol=1e-6), what
        # The interpreter rounds some numbers to FP8 differently: a step more, a few to the wrong power of two.
        wanted = expected.values.float()
        apart = (found.values.float() - wanted).abs()
        assert (apart <= wanted.abs() / 7 + 0.01).float().mean() > 0.95 and (apart <= wanted.abs() + 0.01).all(), what
    else:
        assert torch.allclose(found, expected, rtol=2e-5, atol=2e-5), (what, (found - expected).abs().max())


def check(name, *arguments, **named):
    """The same call of both; each gets copies, and in-place results are compared too."""
    made, left = [], []
    for module in (kernels, passes):
        copies = [a.clone() if isinstance(a, torch.Tensor) and a.is_contiguous() else a for a in arguments]
        result = getattr(module, name)(*copies, **named)
        made.append(list(result) if type(result) in (tuple, list) else [result])
        left.append([a for a in copies if isinstance(a, torch.Tensor)])
    for pair in (*zip(*made), *zip(*left)):
        close(*pair, name)
    return made[1]


x, y, weight = torch.randn(T, WIDTH), torch.randn(T, WIDTH), torch.rand(WIDTH) + 0.5
cos, sin = torch.randn(2, T, DIM // 2)
cos, sin = torch.cat([cos, cos], 1), torch.cat([sin, sin], 1)
strided = torch.randn(T, WIDTH + 8)[:, :WIDTH]
for wanted in (False, True):
    for other in (None, y):
        results = [module.add_norm(x, other, weight, 1e-5, 8, eight=wanted) for module in (kernels, passes)]
        for found, expected in zip(*results):
            if isinstance(expected, eight.Eight):
                found, expected = (eight.Eight(e.values[:, :WIDTH], e.scales) for e in (found, expected))
            elif expected is not None and expected.dim() == 2:
                found, expected = found[:, :WIDTH], expected[:, :WIDTH]
            close(found, expected, "add_norm")
    check("norm_backward", strided, x, torch.rand(T), weight, y, eight=wanted)
    check(
        "unrotate", torch.randn(T, HEADS, DIM), torch.randn(T, KV, DIM), torch.randn(T, KV, DIM), cos, sin, eight=wanted
    )
    gate_up = torch.randn(T, 2 * WIDTH)
    (h, made), (expected, expected_made) = (module.swiglu(gate_up, 8, eight=wanted) for module in (kernels, passes))
    close(h[:, :WIDTH], expected[:, :WIDTH], "swiglu")
    if wanted:
        parts = (eight.Eight(e.values[:, :WIDTH], e.scales) for e in (made, expected_made))
        close(*parts, "swiglu")
    check("swiglu_backward", strided, gate_up, eight=wanted)
check("norm_again", x, torch.rand(T), weight)
check("rotate", torch.randn(T, (HEADS + 2 * KV) * DIM), cos, sin, HEADS + KV, DIM)
for skip in (0, 5):
    targets = torch.tensor([skip, 77, 40])
    check("cross_entropy", torch.randn(T, 150) * 3, targets, torch.tensor([1.0, 0.3, 0.0]), skip)
check("quantize", x)
check("quantize", strided)
check("quantize", x.T)
scales, places = torch.tensor([1.0, 0.5, 1e-4]), torch.zeros(2, T, 16, dtype=torch.float8_e4m3fn)
for module, place in zip((kernels, passes), places):
    module.append(x[:, :8], scales, place[:, 4:12])
close(eight.Eight(places[0], scales), eight.Eight(places[1], scales), "append")
assert (places[1][2, 4:12].float().abs() == 448).all() and not places[:, :, :4].float().any()
