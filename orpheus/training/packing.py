"""Which examples make an optimizer step, and how a step's examples are laid end to end: plain numbers, no tensors.

The plan depends on the examples' lengths, the tokens per step and the seed alone: not on the number of GPUs nor on how a step is
cut into micro-batches, so that those change the speed and nothing else.
"""

import heapq
import math
from dataclasses import dataclass

import numpy as np
import torch

_JITTER = 0.1  # of the lengths, where examples are put in order: each pass has other neighbours, the steps stay even


def plan_steps(lengths, tokens_per_step, epochs, seed):
    """Lists of example numbers, one per optimizer step: the steps of each pass after those of the one before.

    A fraction of an epoch is a pass over as many examples, drawn by the seed.
    """
    return [
        step
        for number in range(math.ceil(epochs))
        for step in plan_pass(lengths, tokens_per_step, seed, number, min(1.0, epochs - number))
    ]


def plan_pass(lengths, tokens_per_step, seed, number, share=1.0):
    """The steps of pass `number`: every example once, none twice in a step, at most `tokens_per_step` tokens in each (a longer
    example stands alone).

    As few steps as hold them, all of about the same size and the same mix of lengths: each example, the longer ones first, goes
    to the step with the fewest tokens so far. Their order, and who meets whom, is drawn anew for every pass.
    """
    draw = np.random.default_rng([seed, number])
    chosen = draw.permutation(len(lengths))[: round(len(lengths) * share)]
    sizes = np.asarray(lengths)[chosen]
    order = np.argsort(-sizes * draw.uniform(1 - _JITTER, 1 + _JITTER, len(chosen)), kind="stable")
    alone = [[int(chosen[place])] for place in order if sizes[place] > tokens_per_step]
    shared = [(int(chosen[place]), int(sizes[place])) for place in order if sizes[place] <= tokens_per_step]
    count = math.ceil(sum(size for _, size in shared) / tokens_per_step)
    while (steps := _dealt(shared, count, tokens_per_step)) is None:
        count += max(1, count // 100)
    steps += alone
    return [steps[place] for place in draw.permutation(len(steps))]


def _dealt(examples, count, limit):
    """(example, size) pairs dealt to `count` steps, each to the emptiest; None where one would hold more than `limit`."""
    totals = [(0, step) for step in range(count)]  # a heap; equal ones in the steps' order
    steps = [[] for _ in range(count)]
    for example, size in examples:
        total, step = totals[0]
        if total + size > limit:
            return None
        heapq.heapreplace(totals, (total + size, step))
        steps[step].append(example)
    return [step for step in steps if step]


def split_step(examples, lengths, ranks, capacity):
    """A step's examples as [rank][micro-batch] -> examples: evenly over the ranks, then into micro-batches of at most `capacity`.

    An example longer than the capacity is a micro-batch of its own.
    """
    shares = [[] for _ in range(ranks)]
    totals = [0] * ranks
    for example in sorted(examples, key=lambda example: -lengths[example]):
        lightest = totals.index(min(totals))
        shares[lightest].append(example)
        totals[lightest] += lengths[example]
    return [_bins(share, lengths, capacity) for share in shares]


def _bins(examples, lengths, capacity):
    """Best fit, longest first: `examples` come sorted by falling length."""
    bins, rooms = [], []
    for example in examples:
        fitting = [i for i, room in enumerate(rooms) if room >= lengths[example]]
        if fitting:
            best = min(fitting, key=rooms.__getitem__)
        else:
            best = len(bins)
            bins.append([])
            rooms.append(capacity)
        bins[best].append(example)
        rooms[best] -= lengths[example]
    return bins


def make_pack(examples, layout, device, text_loss_weight=0.0, multiple=1):
    """Examples end to end as a Pack; the weight of an audio target is 1.

    multiple: of tokens; one more example, without targets, fills up to it (fused layers are quickest with whole tiles)
    """
    lengths = [len(example.input_ids) for example in examples]
    ids = np.concatenate([example.input_ids for example in examples]).astype(np.int64)
    positions = np.concatenate([np.arange(length) for length in lengths])
    ends = np.cumsum(lengths)
    weights = np.ones(len(ids), np.float32)
    for end, length, example in zip(ends, lengths, examples, strict=True):
        weights[end - length : end - length + example.prompt_tokens] = text_loss_weight
        weights[end - length] = 0  # nothing comes before an example's first token
    where = np.flatnonzero(weights) - 1
    targets, weights = ids[where + 1], weights[where + 1]
    bounds = [0, *ends.tolist()]
    if filling := -len(ids) % multiple:
        ids = np.concatenate([ids, np.full(filling, layout.pad)])
        positions = np.concatenate([positions, np.arange(filling)])
        bounds.append(len(ids))
    tensors = (ids, positions, np.array(bounds, np.int32), where, targets, weights)
    ids, positions, bounds, where, targets, weights = (_on(device, x) for x in tensors)
    return Pack(ids, positions, bounds, max(*lengths, filling), where, targets, weights)


def _on(device, array):
    tensor = torch.from_numpy(array)
    if torch.device(device).type == "cuda":
        tensor = tensor.pin_memory()  # copied while the device is at work
    return tensor.to(device, non_blocking=True)


def targets_of(example, text_loss_weight):
    """Total weight of an example's targets."""
    return len(example.input_ids) - example.prompt_tokens + text_loss_weight * (example.prompt_tokens - 1)


HEAD_POSITIONS = 2048  # positions whose logits exist at once: 0.24 GB in float32 over the audio tokens


@dataclass(frozen=True)
class Pack:
    """Examples end to end, as tensors on the model's device.

    ids, positions: int64 (T,); bounds: int32 (examples + 1,), one more where a pack is filled up; longest: of the examples;
    where: int64 (N,) positions whose next token counts; targets: int64 (N,) that token; weights: float32 (N,)
    """

    ids: torch.Tensor
    positions: torch.Tensor
    bounds: torch.Tensor
    longest: int
    where: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor
