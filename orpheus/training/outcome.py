"""What a run came to, by measurements of the adapter as it is written: for the screen, the card and the exit status."""

from orpheus.common.errors import WorseError
from orpheus.common.figures import in_words, rounded

RECOGNISABLE = 4.0  # held-out loss of the demo voice with an adapter: at most this, the new voice was heard (docs/training.md, Measured)


def meaning(demo):
    """What a held-out loss means, said before the first one. demo: whether the base is the demo voice"""
    where = (
        f"below {RECOGNISABLE:g} the new voice is usually recognisable" if demo else "how far it falls is what counts"
    )
    return f"Held-out loss: how badly recordings that it never trains on are predicted.\nLower is better; {where}."


class Outcome:
    """trainer: a Trainer that has run; best: what brings back the best adapter with `load`"""

    def __init__(self, trainer, best):
        self.trainer, self.state, self.options = trainer, trainer.state, trainer.options
        self.none = self.options.keep_best and trainer.base_is_best and not self.options.keep_worse
        if self.options.keep_best and trainer.measured:
            best.load()
        # The base model takes part in the choice of the best: it is the adapter times 0.
        trainer.llama.adapter.multiply(0.0 if self.none else trainer.plan.strength)
        trainer.measure_written()

    @property
    def worse(self):
        """Whether the adapter is no better than the base model, as far as that was measured."""
        if not self.trainer.measured:
            return False
        by_loss = self.options.keep_best_by == "loss"
        return not self.state.written < self.state.first if by_loss else self.trainer.base_is_best

    def check(self, folder):
        """Raises WorseError where the adapter in `folder` is worse than no adapter, and nobody said that it may be."""
        if self.worse and not self.options.keep_worse:
            raise WorseError(self._warning(folder))

    def _warning(self, folder):
        state, options = self.state, self.options
        cure = f"Lower --learning-rate ({options.learning_rate:g}; 2e-4 is usual) or look at {folder}/data_report.md"
        if self.none:
            by = "held-out loss" if options.keep_best_by == "loss" else "held-out word error rate"
            return (
                f"training did not improve the {by} at any time (loss {state.first:.2f} before it, {state.last:.2f} at its end): "
                f"the adapter in {folder}/ therefore leaves the base model as it is. {cure}; --keep-worse writes the best of the "
                "trained ones all the same"
            )
        return (
            f"the adapter in {folder}/ is worse than none: held-out loss {state.first:.2f} before training, {state.written:.2f} "
            f"with the adapter. {cure}; --keep-worse accepts it"
        )

    def sentence(self):
        """The held-out losses for the screen."""
        if not self.trainer.measured:
            return f"held-out loss {self._why_not()}"
        return f"held-out loss {self.state.first:.2f} before training, {self.state.written:.2f} with the adapter"

    def _why_not(self):
        why = "--eval-steps is 0" if self.trainer.held_out else "no recording was held out"
        return f"not measured: {why}"

    def facts(self, memory):
        """Figures of the finished run, for its card."""
        trainer, state, options = self.trainer, self.state, self.options
        facts = {
            "steps": state.step,
            "epochs": rounded(state.tokens / sum(trainer.lengths), 2),
            "tokens_per_step": f"{trainer.plan.tokens_per_step:,}",
            "tokens_trained_on": f"{state.tokens:,}",
            "learning_rate": f"{options.learning_rate:g}",
            "lora_rank": options.lora_rank,
            "adapter_strength": trainer.plan.strength,
            "optimizer": trainer.optimizer_name,
            **self._losses(),
            "time": in_words(state.seconds),
            "speed": f"{rounded(state.tokens / max(state.seconds, 1e-9))} tokens/s",
        }
        return facts | ({"GPU_memory_at_peak": f"{rounded(memory.peak())} GB"} if memory.gpu else {})

    def _losses(self):
        if not self.trainer.measured:
            return {"held_out_loss": self._why_not()}
        step = self.state.best_step if self.options.keep_best else self.state.step
        which = "none: the base model was better all the time" if self.none else f"that of step {step}"
        return {
            "held_out_loss_before_training": f"{self.state.first:.2f}",
            "held_out_loss_with_the_adapter": f"{self.state.written:.2f}",
            "adapter": which,
        }
