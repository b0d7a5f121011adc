"""llama.cpp's order of a head's rows, undone."""


def in_halves(block, width):
    """Undoes orpheus.export.llama.interleaved."""
    return block.reshape(-1, width // 2, 2, *block.shape[1:]).swapaxes(1, 2).reshape(block.shape)
