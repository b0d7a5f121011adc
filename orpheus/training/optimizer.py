"""The optimizer, and the scale of the loss in float16."""

from dataclasses import dataclass

import torch

from orpheus.common.errors import OrpheusError


def make_optimizer(name, parameter, options):
    """(optimizer, its name) for one float32 parameter."""
    if name == "auto":
        from importlib.util import find_spec

        name = "adamw_8bit" if parameter.is_cuda and find_spec("bitsandbytes") else "adamw"
    if name == "adamw_8bit":
        try:
            import bitsandbytes
        except ImportError as error:
            raise OrpheusError(
                f"--optimizer adamw_8bit needs bitsandbytes ({error}): pip install bitsandbytes, or --optimizer adamw"
            ) from error
        return bitsandbytes.optim.AdamW8bit([parameter], lr=0.0, weight_decay=options.weight_decay), name
    return torch.optim.AdamW([parameter], lr=0.0, weight_decay=options.weight_decay, fused=parameter.is_cuda), name


# In float16 gradients below 6e-8 are 0 and those above 65,504 infinite, so the loss is scaled there: on GPUs without bfloat16
# (Turing, V100). An overflow costs its step and halves the scale; good steps double it again.
_START = 4096.0
_GROWTH_STEPS = 200  # good steps in a row
MOST_OVERFLOWS = (
    16  # in a row: from the start down to 1/16 and no gradient is finite, so the scale is not what is wrong
)


@dataclass
class LossScale:
    """value: what the loss is multiplied by; the rest is counted. Part of a state, so that a resumed run goes on alike."""

    value: float = _START
    good_steps: int = 0
    overflows: int = 0  # in a row
    skipped: int = 0  # in the whole run

    def good(self):
        """To be called after a step with finite gradients."""
        self.overflows, self.good_steps = 0, self.good_steps + 1
        if self.good_steps == _GROWTH_STEPS:
            self.value, self.good_steps = self.value * 2, 0

    def overflow(self):
        """To be called after one without; returns whether there is hope."""
        self.value, self.good_steps = self.value / 2, 0
        self.overflows, self.skipped = self.overflows + 1, self.skipped + 1
        return self.overflows < MOST_OVERFLOWS
