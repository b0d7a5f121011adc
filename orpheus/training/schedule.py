"""How long a run is and how its learning rate moves. Plain numbers, no tensors.

With `epochs` a number it makes that many passes, and the learning rate falls over all of them. With `auto` it goes on at the
peak, round by round, for as long as the held-out loss falls; then comes a last round over which the learning rate falls.
"""

import math
from dataclasses import dataclass, replace

from orpheus.training.packing import plan_pass, plan_steps

# Unsloth's Orpheus notebook, whose settings the usual learning rate of 2e-4 is from, takes 4 examples a step. With more of them
# the same pass has fewer steps and learns less; only where a pass is long enough do steps grow, up to what fills a GPU.
STEP_EXAMPLES = 4
LONG_PASS = 1000  # steps
MOST_TOKENS = 12_288  # 150 s of speech
ROUND_STEPS = 20  # at least, between two looks at the held-out loss: fewer move it too little to tell
PATIENCE = 2  # rounds without a gain
GAIN = 0.001  # of the held-out loss; less is no gain
MOST_STEPS, MOST_PASSES = 900, 40  # of a run whose held-out loss goes on falling; more for one pass over much data
UNMEASURED_STEPS, UNMEASURED_PASSES = 300, 10  # where no held-out loss says when to stop
# An adapter that has learnt a few recordings for as long as it pays has the voice but stumbles over words; three quarters of it
# keep most of the voice and nearly all words. From so many examples on the whole of it is better (docs/training.md has figures).
FEW_EXAMPLES, MANY_EXAMPLES = 100, 350
STRENGTH_OF_FEW = 0.75


@dataclass(frozen=True)
class Plan:
    """The steps of a run, at most, and why they are these.

    steps: lists of example numbers; rounds: numbers of steps at whose end the held-out loss decides, () where nothing does;
    strength: what the finished adapter is multiplied by
    """

    steps: list
    rounds: tuple
    tokens_per_step: int
    reason: str
    strength: float = 1.0

    def end(self, falls_from):
        """Number of steps of a run whose learning rate falls from step `falls_from` on; None: it does not yet."""
        if not self.rounds or falls_from is None:
            return len(self.steps)
        return next(end for end in self.rounds if end > falls_from)

    @property
    def first_fall(self):
        """The step from which the learning rate falls if that is known at the beginning, else None."""
        return 0 if len(self.rounds) < 2 else None


def auto_tokens(lengths):
    """Tokens of a step for examples of these lengths."""
    total = sum(lengths)
    notebooks = math.ceil(total * min(1.0, STEP_EXAMPLES / len(lengths)))
    return max(notebooks, min(MOST_TOKENS, total // LONG_PASS))


def auto_strength(examples):
    """Strength of an adapter that has learnt so many examples for as long as it pays."""
    share = min(1.0, max(0.0, (examples - FEW_EXAMPLES) / (MANY_EXAMPLES - FEW_EXAMPLES)))
    return round(STRENGTH_OF_FEW + (1 - STRENGTH_OF_FEW) * share, 2)


def plan_run(lengths, options, measured):
    """The Plan for examples of these lengths. measured: whether there is a held-out loss to decide by."""
    plan, strength = _plan_steps(lengths, options, measured), options.adapter_strength
    if strength == "auto":
        asked_for = options.epochs != "auto" or len(plan.steps) == options.max_steps
        strength = 1.0 if asked_for else auto_strength(len(lengths))
        if strength < 1:
            why = f"{plan.reason}; few recordings, so the adapter gets {strength:g} of its strength (auto)"
            plan = replace(plan, reason=why)
    return replace(plan, strength=strength)


def _plan_steps(lengths, options, measured):
    tokens = auto_tokens(lengths) if options.tokens_per_step == "auto" else options.tokens_per_step
    sizes = f"{len(lengths):,} examples of {sum(lengths) / len(lengths):,.0f} tokens"
    chosen = " (auto)" if options.tokens_per_step == "auto" else ""
    one = len(plan_pass(lengths, tokens, options.seed, 0))
    if options.epochs != "auto":
        few = options.epochs * one < options.least_steps
        passes = max(options.epochs, min(MOST_PASSES, math.ceil(options.least_steps / one)))
        steps = plan_steps(lengths, tokens, passes, options.seed)[: options.max_steps]
        why = f"as these are few recordings: {options.epochs:g} would be too few steps" if few else "asked for"
        return Plan(
            steps, (), tokens, f"{sizes}: {len(steps):,} steps of {tokens:,} tokens{chosen}, {_times(passes)} {why}"
        )
    most_steps, most_passes = (MOST_STEPS, MOST_PASSES) if measured else (UNMEASURED_STEPS, UNMEASURED_PASSES)
    passes = min(most_passes, max(1, round(most_steps / one)))
    each = math.ceil(ROUND_STEPS / one)  # passes in a round
    passes = max(each, passes // each * each) if measured else passes
    of_passes = [plan_pass(lengths, tokens, options.seed, number) for number in range(passes)]
    steps = [step for of_pass in of_passes for step in of_pass]
    what = f"{sizes}: steps of {tokens:,} tokens{chosen}, {one:,} to a pass; "
    if options.max_steps and options.max_steps < len(steps):
        return Plan(
            steps[: options.max_steps], (), tokens, what + f"{options.max_steps:,} steps, as --max-steps has it"
        )
    if not measured:
        return Plan(steps, (), tokens, what + f"{_times(passes)} (auto; no held-out loss says when to stop)")
    if passes <= each:
        return Plan(steps, (), tokens, what + f"{_times(passes)} (auto): with so much data more are hardly worth it")
    ends = [sum(map(len, of_passes[:number])) for number in range(each, passes + 1, each)]
    return Plan(
        steps, tuple(ends), tokens, what + f"up to {_times(passes)} (auto), for as long as the held-out loss falls"
    )


def _times(passes):
    return f"{passes:g} pass" if passes == 1 else f"{passes:g} passes"


def learning_rate(step, total, options, falls_from=0):
    """For optimizer step `step` (from 0) of `total`: a linear rise over the warm-up, the peak, and from step `falls_from` on
    (None: not yet) a linear fall to 0."""
    warmup = min(options.warmup_steps, max(1, total // 2))
    if step < warmup:
        return options.learning_rate * (step + 1) / warmup
    if falls_from is None or step < falls_from:
        return options.learning_rate
    return options.learning_rate * (total - step) / max(1, total - max(warmup, falls_from))


class Patience:
    """Decides at a round's end whether to go on. Its memory is in a TrainerState, so that a resumed run decides alike."""

    def __init__(self, plan, state):
        self.plan, self.state = plan, state

    def spent(self, step, loss):
        """Whether the next round is the last one, after `step` steps with a held-out loss of `loss`."""
        state, rounds = self.state, self.plan.rounds
        if state.falls_from is not None or step not in rounds:
            return False
        if loss < state.to_beat * (1 - GAIN):
            state.to_beat, state.rounds_without_gain = loss, 0
        else:
            state.rounds_without_gain += 1
        return state.rounds_without_gain >= PATIENCE or step == rounds[-2]
