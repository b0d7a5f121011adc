"""The input of one step of the stream decoder: a row of numbers for each stream in it."""

from dataclasses import dataclass

import torch

from orpheus.common.frame import CODES_PER_FRAME

ROW, SEED, FIRST, END, CODES = range(5)  # columns of a step's input; the codes are the last seven


COLUMNS = CODES + CODES_PER_FRAME


@dataclass
class Step:
    """The rows of one step: all int64 (B,) on the device."""

    rows: torch.Tensor  # in the state
    seeds: torch.Tensor
    first: torch.Tensor  # index of each row's frame in its stream
    end: torch.Tensor  # frames of the stream
