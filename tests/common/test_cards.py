"""What is chosen by compute capability, without the card; and that nothing else asks for it."""

import re

import pytest

from orpheus.common.cards import Card
from orpheus.common.options import ROOT

KB = 1024


@pytest.mark.parametrize(
    "capability, dtype, overlaps, fp8, packed, shared",
    [
        ((7, 0), "float16", False, False, False, 96 * KB),  # V100
        ((7, 5), "float16", False, False, False, 64 * KB),  # T4
        ((8, 0), "bfloat16", False, False, True, 163 * KB),  # A100
        ((8, 6), "bfloat16", False, False, True, 99 * KB),  # RTX 3060
        ((8, 9), "bfloat16", False, True, True, 99 * KB),  # RTX 4090, L4
        ((9, 0), "bfloat16", True, True, True, 227 * KB),  # H100
        ((10, 0), "bfloat16", True, True, True, 227 * KB),
        ((12, 0), "bfloat16", True, True, True, 99 * KB),
        ((13, 7), "bfloat16", True, True, True, 48 * KB),  # not known: what every card has
    ],
)
def test_what_a_card_gets(capability, dtype, overlaps, fp8, packed, shared):
    card = Card(*capability)
    assert (card.dtype, card.overlaps, card.fp8) == (dtype, overlaps, fp8)
    assert (card.packed_attention, card.shared_bytes, str(card)) == (packed, shared, ".".join(map(str, capability)))


def test_capabilities_compare_as_numbers():
    assert sorted([Card(10, 0), Card(9, 0), Card(8, 9), Card(8, 0)]) == [
        Card(8, 0),
        Card(8, 9),
        Card(9, 0),
        Card(10, 0),
    ]


def test_capability_is_compared_nowhere_else():
    asks = re.compile(r"get_device_capability\(|is_bf16_supported|cuda_capability|compute_cap")
    for path in (ROOT / "orpheus").rglob("*.py"):
        for line in path.read_text().splitlines():
            if asks.search(line) and path.name != "cards.py":
                assert "Card(*torch.cuda.get_device_capability(" in line, f"{path}: {line.strip()}"
