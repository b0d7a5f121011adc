"""What can be wrong with a checkpoint while it is read, in the same words for every loader."""

import torch

from orpheus.common.errors import CheckpointError


def does_not_fit(folder):
    """The error for a model that is larger than the GPU's memory."""
    return CheckpointError(f"{folder} does not fit into GPU memory: free some, or use --device cpu or --model demo")


def size_of(weight):
    """The largest absolute value of a weight, a float32 tensor on its device: NaN or infinite if any of its values is."""
    return torch.stack(weight.aminmax()).float().abs().amax()


def check_sizes(sizes, folder):
    """Refuses weights that are NaN or infinite. sizes: {name: `size_of` the weight}. Raises CheckpointError."""
    finite = torch.isfinite(torch.stack(list(sizes.values()))).tolist()
    damaged = [name for name, is_finite in zip(sizes, finite) if not is_finite]
    if damaged:
        raise CheckpointError(
            f"the model in {folder} has NaN or infinite values in {len(damaged)} of its {len(sizes)} weights, including "
            f"{damaged[0]}: it was damaged in training or in conversion. Use another checkpoint of it"
        )
