"""What a run would do, before anything is loaded: steps, minutes, memory. Everything that was measured is in docs/training.md."""

from dataclasses import dataclass

from orpheus.common.figures import in_words, rounded
from orpheus.common.frame import TOKENS_PER_SECOND


@dataclass(frozen=True)
class Measured:
    """A setting whose speed and memory were measured."""

    what: str
    tokens_per_second: float
    gigabytes: float | None  # GPU memory at peak
    tokens_at_once: int


_H100 = Measured("one H100", 38_600, 31.3, 12_288)
_FP8 = Measured("one H100, --fp8", 53_300, 37.3, 12_288)
_FOUR_BIT = Measured("one H200, 4-bit base, checkpointing", 11_000, 9.1, 4_096)
_DEMO_CPU = Measured("2 CPU cores", 1_530, None, 2_048)  # --demo: 201,000 tokens in 2.2 minutes, all included


def plan_of(lengths, options, measured):
    """(steps at most, tokens learnt from in them, in words) of a run over examples of `lengths` tokens.

    measured: whether there is a held-out loss to decide by
    """
    from orpheus.training.schedule import plan_run

    plan = plan_run(lengths, options, measured)
    tokens = sum(lengths[example] for step in plan.steps for example in step)
    return len(plan.steps), tokens, plan.reason


def forecast(lengths, held_out, options, demo, device):
    """[(name, sentence)] of what a run would do.

    lengths: estimated tokens of the examples to train on; held_out: how many are not; options: TrainingOptions;
    demo: whether the base is the demo voice; device: name of the GPU and its memory in GB, None without one
    """
    _, tokens, words = plan_of(lengths, options, bool(held_out and options.eval_steps))
    yield (
        "would train",
        (
            f"{words}; {held_out:,} more are held out. At most {tokens:,} tokens in all, estimated from the text and the seconds "
            f"({TOKENS_PER_SECOND:.0f} tokens each)"
        ),
    )
    yield "time", duration(tokens, options, demo, device)
    if device is not None:
        yield "memory", _memory(options, device)


def duration(tokens, options, demo, device):
    """How long training on so many tokens takes, in words, by the measured setting that comes closest; options, demo, device as above."""
    like = _like(options, demo, device)
    if like is None:
        return "not measured for this model on a CPU, and not sensible: take a GPU, or --demo"
    measured = device is None or any(card in device[0] for card in ("H100", "H200"))
    aside = "" if measured else f"; {device[0]} was not measured, expect longer"
    return (
        f"about {in_words(tokens / like.tokens_per_second)} of training, as measured on {like.what} "
        f"({rounded(like.tokens_per_second)} tokens/s){aside}; less where it ends sooner, more on a busy machine; loading, encoding and samples come on top"
    )


def _like(options, demo, device):
    """The measured setting that comes closest; None where none does."""
    if device is None:
        return _DEMO_CPU if demo else None
    if options.load_in_4bit:
        return _FOUR_BIT
    return _FP8 if options.fp8 else _H100


def _memory(options, device):
    name, there = device
    like = _FOUR_BIT if options.load_in_4bit else _FP8 if options.fp8 else _H100
    words = f"{like.gigabytes:g} GB at peak, as measured with {like.tokens_at_once:,} tokens at once ({like.what}); {name} has {there:.0f} GB"
    if there < like.gigabytes:
        cure = (
            ""
            if options.load_in_4bit
            else ", or --load-in-4bit --gradient-checkpointing --tokens-per-step 4096 (9.1 GB)"
        )
        words += f": the micro-batch halves itself until it fits{cure}"
    return words
