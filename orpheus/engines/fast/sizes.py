"""How many sequences, and how many prompt tokens, a captured step computes."""

MANY = 32  # from so many running sequences on, prompts are read along with the steps
_TILE, _LEAST = (
    64,
    16,
)  # rows of a step that takes prompt tokens along are a multiple of this; it takes at least so many
_WAIT = 40  # steps: where reading what waits would take longer, a step takes more along, which those who speak notice


def sizes_up_to(slots):
    """Numbers of sequences that each get a captured step: powers of two, and `slots`."""
    return [*(2**power for power in range((slots - 1).bit_length())), slots]


def taken_along(size):
    """(few, more): the numbers of prompt tokens that a step of `size` sequences may take along."""
    few = -(size + _LEAST) % _TILE + _LEAST
    return few, few + _TILE + -(size + few + _TILE) % (2 * _TILE)


def tokens_along(size, waiting):
    """The one of `taken_along` for so many prompt tokens that wait."""
    few, more = taken_along(size)
    return few if waiting <= _WAIT * few else more
