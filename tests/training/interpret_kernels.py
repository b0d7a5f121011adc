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
kernels.eight._BLOCK = kernels.loss._BLOCK = 64  # several blocks in a row
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


def same(name, width, *arguments, **named):
    """The same call of both, whose first result has room behind its `width` columns, in its Eight where there is one."""
    made = [getattr(module, name)(*arguments, **named) for module in (kernels, passes)]
    for found, expected in zip(*made):
        if isinstance(expected, eight.Eight):
            assert found.values.shape == expected.values.shape == (T, width + ROOM), name
            found, expected = (eight.Eight(e.values[:, :width], e.scales) for e in (found, expected))
        elif expected is not None and expected.shape == (T, width + ROOM):
            found, expected = found[:, :width], expected[:, :width]
        close(found, expected, name)


ROOM = 8
x, y, weight = torch.randn(T, WIDTH), torch.randn(T, WIDTH), torch.rand(WIDTH) + 0.5
cos, sin = torch.randn(2, T, DIM // 2)
cos, sin = torch.cat([cos, cos], 1), torch.cat([sin, sin], 1)
strided = torch.randn(T, WIDTH + 5)[:, :WIDTH]
heads = [torch.randn(T, count, DIM) for count in (HEADS, KV, KV)]
gate_up = torch.randn(T, 2 * WIDTH)
for wanted in (False, True):
    for other in (None, y):
        same("add_norm", WIDTH, x, other, weight, 1e-5, ROOM, eight=wanted)
    same("norm_backward", WIDTH, y, x, torch.rand(T), weight, strided, ROOM, eight=wanted)
    same("unrotate", (HEADS + 2 * KV) * DIM, *heads, cos, sin, ROOM, eight=wanted)
    same("swiglu", WIDTH, gate_up, ROOM, eight=wanted)
    same("swiglu_backward", 2 * WIDTH, y, gate_up, ROOM, eight=wanted)
check("norm_again", x, torch.rand(T), weight)
check("rotate", torch.randn(T, (HEADS + 2 * KV) * DIM), cos, sin, HEADS + KV, DIM)
for skip in (0, 5):
    targets = torch.tensor([skip, 77, 40])
    check("cross_entropy", torch.randn(T, 150) * 3, targets, torch.tensor([1.0, 0.3, 0.0]), skip)
for matrix in (x, strided, x.T):
    check("quantize", matrix)
for large in (1.0, 100.0):  # the second row needs another scale
    more, found = torch.randn(T, ROOM) * torch.tensor([[1.0], [large], [1.0]]), []
    for module in (kernels, passes):
        made = module.quantize_with_room(x, ROOM)
        before = made.scales.clone()
        module.append(more, x, made)
        assert ((made.scales != before) == torch.tensor([False, large > 1, False])).all()
        found.append(made)
    close(*found, "append")
    wide = torch.cat([x, more], 1)
    assert ((found[1].wide() - wide).norm(dim=1) < 0.04 * wide.norm(dim=1)).all()
