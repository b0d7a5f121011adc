"""How many sequences, and how many prompt tokens, a captured step computes."""

MANY = 32  # from so many running sequences on, prompts are read along with the steps
# Rows of a step that takes prompt tokens along are a multiple of this: fewer take as long (docs/speed.md).
_TILE, _TILE_OF_FEW = 128, 64
_LEAST = 32  # prompt tokens that it takes


def sizes_up_to(slots):
    """Numbers of sequences that each get a captured step: powers of two, and `slots`."""
    return [*(2**power for power in range((slots - 1).bit_length())), slots]


def taken_along(size):
    """The number of prompt tokens that a step of `size` sequences takes along."""
    return -(size + _LEAST) % (_TILE if size > MANY else _TILE_OF_FEW) + _LEAST
