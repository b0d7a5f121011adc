"""Cross-entropy and its gradient in two readings of the logits, as a Triton kernel."""

import torch
import triton
import triton.language as tl

_BLOCK = 2048  # logits at a time
_WARPS = 8


@triton.jit
def _cross_entropy_kernel(LOGITS, TARGETS, WEIGHTS, LOSSES, stride, skip, count, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    target, weight = tl.load(TARGETS + row), tl.load(WEIGHTS + row)
    place = LOGITS + row * stride
    most, total = tl.full([BLOCK], -1e30, tl.float32), tl.zeros([BLOCK], tl.float32)
    for start in range(0, count, BLOCK):
        at = start + tl.arange(0, BLOCK)
        value = tl.load(place + at, mask=(at >= skip) & (at < count), other=float("-inf")).to(tl.float32)
        higher = tl.maximum(most, value)
        total = total * tl.exp(most - higher) + tl.exp(value - higher)
        most = higher
    top = tl.max(most, 0)
    normalizer = top + tl.log(tl.sum(total * tl.exp(most - top), 0))
    tl.store(LOSSES + row, (normalizer - tl.load(place + target).to(tl.float32)) * weight)
    tl.debug_barrier()  # the target's logit is read before a neighbour writes its slope
    for start in range(0, count, BLOCK):
        at = start + tl.arange(0, BLOCK)
        value = tl.load(place + at, mask=(at >= skip) & (at < count), other=float("-inf")).to(tl.float32)
        slope = (tl.exp(value - normalizer) - tl.where(at == target, 1.0, 0.0)) * weight
        tl.store(place + at, slope.to(LOGITS.dtype.element_ty), mask=at < count)


def cross_entropy(logits, targets, weights, skip):
    losses = torch.empty(len(logits), dtype=torch.float32, device=logits.device)
    _cross_entropy_kernel[(len(logits),)](
        logits, targets, weights, losses, logits.stride(0), skip, logits.shape[1], BLOCK=_BLOCK, num_warps=_WARPS
    )
    return losses
