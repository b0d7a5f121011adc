"""The loss over the head's rows, all of them or those that may follow, and its gradient."""

from dataclasses import replace

import torch

from orpheus.common.frame import CODES_PER_FRAME
from orpheus.training.packing import HEAD_POSITIONS

ROUND = 16  # rows of the head


def _loss_rows(between, hidden, head, skip, targets, weights):
    """Sum of weighted cross-entropies of some positions over head[skip:], and its gradient on `hidden` (n, hidden).

    Products are quickest where sizes, and the places in memory where rows begin, are round: a vocabulary's odd end goes apart.
    """
    rows, even = len(head), len(head) // ROUND * ROUND or len(head)
    logits = hidden.new_empty(len(hidden), -(-rows // ROUND) * ROUND)[:, :rows]
    torch.mm(hidden, head[:even].T, out=logits[:, :even])
    if even < rows:
        torch.mm(hidden, head[even:].T, out=logits[:, even:])
    losses = between.cross_entropy(logits, targets, weights, skip)
    gradient = logits[:, :even] @ head[:even]
    if even < rows:
        gradient.addmm_(logits[:, even:], head[even:])
    return losses.sum(), gradient


class HeadLoss(torch.autograd.Function):
    """Cross-entropy over the rows of a frozen head, a slice of positions at a time: the logits are never kept."""

    @staticmethod
    def forward(ctx, hidden, head, skip, targets, weights, between):
        slices = zip(*(x.split(HEAD_POSITIONS) for x in (hidden, targets, weights)))
        parts = [_loss_rows(between, h, head, skip, t, w) for h, t, w in slices]
        ctx.save_for_backward(torch.cat([gradient for _, gradient in parts]))
        return torch.stack([loss for loss, _ in parts]).sum()

    @staticmethod
    def backward(ctx, slope):
        (gradient,) = ctx.saved_tensors
        return gradient * slope.to(gradient.dtype), None, None, None, None, None


class OwnCodes:
    """The loss over the tokens that may stand at a position of the frame: its own codes and the control tokens. These are what is
    drawn from in speaking, and a seventh of the head's arithmetic.

    head: (vocabulary, hidden), frozen; layout: TokenLayout; between: what has `cross_entropy`
    """

    def __init__(self, head, layout, between):
        self.layout, self.between, self.rows = layout, between, []
        control, size = head[layout.base : layout.first_audio].detach(), layout.codebook_size
        self.skip = -(len(control) + size) % ROUND  # rows that take no part make a product's size a round one
        for place in range(CODES_PER_FRAME):
            codes = head[layout.range_start(place) :][:size].detach()
            self.rows.append(torch.cat([head[: self.skip].detach(), control, codes]))

    def sorted(self, pack):
        """(the pack with its targets in the order of their places in the frame, how many each place has); control tokens, which come
        between frames, are with the first place."""
        places = torch.div(pack.targets - self.layout.first_audio, self.layout.codebook_size, rounding_mode="floor")
        places, order = places.clamp_(min=0).sort(stable=True)
        named = {name: getattr(pack, name)[order] for name in ("where", "targets", "weights")}
        return replace(pack, **named), torch.bincount(places, minlength=CODES_PER_FRAME).tolist()

    def __call__(self, hidden, pack, counts):
        """Weighted sum of the cross-entropies of what `sorted` gave, a float32 scalar; hidden: (N, hidden) at its targets."""
        losses, size = [], self.layout.codebook_size
        for place, parts in enumerate(zip(*(x.split(counts) for x in (hidden, pack.targets, pack.weights)))):
            h, targets, weights = parts
            before = place * size  # codes of other places, which are no rows here
            own = (targets >= self.layout.first_audio) * before
            rows = targets - self.layout.base - own + self.skip
            losses.append(HeadLoss.apply(h, self.rows[place], self.skip, rows, weights, self.between))
        return torch.stack(losses).sum()
