"""The computed tables of docs/speed.md are what benchmarks/cards.py computes."""

import pytest

from benchmarks import cards, table


def test_the_page_of_speed_holds_the_tables():
    text = table.PAGE.read_text()
    assert table.put_into(text, cards.render(), cards.BEGIN, cards.END) == text


@pytest.mark.parametrize("weights, bits, scales", [("same", 16, 0), ("int8", 8, 4), ("int4", 4.5, 0)])
def test_bytes_of_a_token(weights, bits, scales):
    """Of Orpheus-3B, reckoned by hand: 28 layers, their norms, the 4,106 rows of the head for one position."""
    linear = [(3072 + 2 * 1024, 3072), (3072, 3072), (2 * 8192, 3072), (3072, 8192)]
    layer = sum(rows * width * bits / 8 + scales * rows for rows, width in linear) + 2 * 2 * 3072
    read, whole = cards.token_bytes(weights)
    assert read == 28 * layer + 2 * 3072 * (4096 + 10) + 2 * 3072
    assert whole == 28 * layer + 2 * 3072 * 156_940 + 2 * 3072


def test_a_card_that_reads_twice_as_fast_makes_twice_as_much(monkeypatch):
    fast = cards.MODELS[-1]
    twice = fast._replace(name="twice", bandwidth=2 * fast.bandwidth)
    monkeypatch.setattr(cards, "MODELS", (twice, fast))
    rows = [line.split(" | ") for line in cards.render().splitlines()[-2:]]
    limits = [[int(cell.strip(" |").split(" of ")[1].replace(",", "")) for cell in row[7:]] for row in rows]
    assert limits[0] == pytest.approx([2 * limit for limit in limits[1]], abs=1)
