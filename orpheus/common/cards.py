"""What is chosen by the compute capability of an NVIDIA GPU: in one place, so that it is tested without the card."""

from dataclasses import dataclass

_KB = 1024
# Bytes of shared memory that a block may take (CUDA C++ Programming Guide, "Technical Specifications per Compute Capability").
_SHARED = {
    (7, 0): 96 * _KB,
    (7, 2): 96 * _KB,
    (7, 5): 64 * _KB,
    (8, 0): 163 * _KB,
    (8, 6): 99 * _KB,
    (8, 7): 163 * _KB,
    (8, 9): 99 * _KB,
    (9, 0): 227 * _KB,
    (10, 0): 227 * _KB,
    (10, 3): 227 * _KB,
    (12, 0): 99 * _KB,
    (12, 1): 99 * _KB,
}
_LEAST_SHARED = 48 * _KB  # every card since Kepler has it without asking


@dataclass(frozen=True, order=True)
class Card:
    """A GPU by its compute capability: Card(*torch.cuda.get_device_capability(device)). Newer compares as larger."""

    major: int
    minor: int

    def __str__(self):
        return f"{self.major}.{self.minor}"

    @property
    def dtype(self):
        """What the language model computes in: the name of a torch data type. Before Ampere bfloat16 is emulated, and slow."""
        return "bfloat16" if self >= AMPERE else "float16"

    @property
    def overlaps(self):
        """Whether a kernel can start before the previous one has ended (programmatic dependent launch)."""
        return self >= HOPPER

    @property
    def fp8(self):
        """Whether FP8 (e4m3) is converted by instructions: what a cache in FP8, and products in FP8, need."""
        return self >= ADA

    @property
    def packed_attention(self):
        """Whether flash attention runs, over packed examples: what training compiles its layers with."""
        return self >= AMPERE

    @property
    def shared_bytes(self):
        """Shared memory that a block of a kernel may take; the least of all cards where this one is not known."""
        return _SHARED.get((self.major, self.minor), _LEAST_SHARED)


AMPERE, ADA, HOPPER = Card(8, 0), Card(8, 9), Card(9, 0)
