"""Drawing the next token on the device, for many rows at once, each with its own seed and its own end."""

import numpy as np
import torch

from orpheus.engines import ENDED

_ONE = 2**36  # probability 1 as a whole number; times a 24-bit uniform it still fits into 64 bits


def penalize(logits, seen, penalty):
    """Repetition penalty as transformers applies it: logits (B, V) of tokens in `seen` (B, V) move away from being drawn."""
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def whole(probability):
    """A probability as the whole number that `draw_rows` compares its sums with."""
    return int(probability * _ONE)


def draw(logits, uniform, temperature, top_p):
    """`draw_rows` with one temperature and one top_p for all rows; temperature 0 takes the likeliest."""
    if temperature == 0:
        return logits.argmax(dim=-1)
    return draw_rows(logits, uniform, temperature, whole(top_p))


def draw_rows(logits, uniform, temperature, mass):
    """Draws from the smallest set of tokens whose probabilities sum to `mass` (top-p).

    fast/kernels/head.py has the same draw in Triton, `draw_row` in numpy: change all. The tests hold them to one another.

    Probabilities are summed as whole numbers of 2^-36: on CUDA, a float sum over a vocabulary varies from run to run.
    The draw goes through the kept tokens in order of their ids, not their probabilities, so rounding (from another
    batch shape, say) that swaps two nearly equal tokens changes nothing.

    logits: float (B, V); uniform: (B,) multiples of 2^-24 in [0, 1), the only randomness; temperature: above 0, a number
    or (B, 1); mass: `whole(top_p)`, a number or int64 (B, 1)
    returns: int64 (B,)
    """
    probabilities = torch.softmax(logits.float() / temperature, dim=-1)
    falling = (probabilities.sort(dim=-1, descending=True).values * _ONE).long()
    kept = (falling.cumsum(dim=-1) - falling < mass).sum(dim=-1, keepdim=True)
    weights = (probabilities * _ONE).long()
    weights = torch.where(weights >= falling.gather(1, (kept - 1).clamp(min=0)), weights, 0)
    cumulative = weights.cumsum(dim=-1)
    target = (uniform[:, None] * 2**24).long() * cumulative[:, -1:] >> 24  # below the sum of all weights
    # NaN logits have no weight at all; even then the result is a token of the vocabulary.
    return (cumulative <= target).sum(dim=-1).clamp(max=logits.shape[-1] - 1)


def penalize_row(logits, seen, penalty):
    """`penalize` for one row, in place and in numpy: logits float32 (V,), seen bool (V,), penalty a float32."""
    places = np.flatnonzero(seen)
    some = logits[places]
    logits[places] = np.where(some > 0, some / penalty, some * penalty)


def draw_row(logits, uniform, temperature, mass):
    """`draw_rows` for one row in numpy, whose calls take a fraction of the time: the same token, to the last bit.

    logits: float32 array (V,); uniform, temperature: float32; mass: an int; returns an int
    """
    scaled = torch.from_numpy(logits / temperature)
    weights = (torch.softmax(scaled, dim=-1).numpy() * np.float32(_ONE)).astype(np.int64)
    # Fewer need to be sorted: all that are lighter than this sum, together, to less than what the mass leaves out.
    least = (int(weights.sum()) - mass) // len(weights)
    falling = np.sort(weights[weights >= least] if least > 0 else weights)[::-1]
    before = np.cumsum(falling) - falling
    kept = max(1, int(np.searchsorted(before, mass)))
    cumulative = np.cumsum(np.where(weights >= falling[kept - 1], weights, 0))
    target = int(uniform * 2**24) * int(cumulative[-1]) >> 24
    return min(int(np.searchsorted(cumulative, target, side="right")), len(logits) - 1)


def uniforms(seeds, count):
    """float32 (len(seeds), count) in [0, 1): row i depends only on seeds[i], on every machine."""
    rows = [np.random.Generator(np.random.Philox(seed)).random(count, dtype=np.float32) for seed in seeds]
    return torch.from_numpy(np.stack(rows))


class Sampler:
    """Sampling state for `rows` rows; `next_tokens` has no host round trip and can be captured in a CUDA graph."""

    def __init__(self, rows, options, layout, vocab_size, device):
        self.options, self.layout = options, layout
        self.uniforms = torch.zeros(rows, options.max_new_tokens, device=device)
        self.seen = torch.zeros(rows, vocab_size, dtype=torch.bool, device=device)
        self.running = torch.ones(rows, dtype=torch.bool, device=device)
        self.step = torch.zeros(1, dtype=torch.int64, device=device)

    def reset(self, prompts, seeds):
        """Starts over with these prompts, in the same buffers."""
        self.uniforms.copy_(uniforms(seeds, self.options.max_new_tokens))
        self.seen.zero_()
        for row, prompt in enumerate(prompts):
            self.seen[row, torch.as_tensor(prompt, device=self.seen.device)] = True
        self.running.fill_(True)
        self.step.zero_()

    def next_tokens(self, logits):
        """logits (B, V) -> (tokens (B,) to feed next, emitted (B,) with ENDED for rows that are over)."""
        logits = penalize(logits.float(), self.seen, self.options.repetition_penalty)
        tokens = draw(
            logits, self.uniforms.index_select(1, self.step)[:, 0], self.options.temperature, self.options.top_p
        )
        emitted = torch.where(self.running, tokens, ENDED)
        self.seen.scatter_(1, tokens[:, None], True)
        self.running &= self.layout.is_valid(tokens, self.step)
        self.step += 1
        return tokens, emitted
