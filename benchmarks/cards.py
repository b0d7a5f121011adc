"""What other cards would make of Orpheus-3B, computed: bytes that a token reads, against the rate at which a card reads.

    python -m benchmarks.cards             rewrites the tables of docs/speed.md between their markers
    python -m benchmarks.cards --print     only prints them

Nothing here is measured but the H100's share of its own bandwidth, from benchmarks/results/generate_one_row.json.
"""

import json
import sys
from typing import NamedTuple

from benchmarks.table import PAGE, put_into
from orpheus.common.cards import Card
from orpheus.common.options import ROOT

BEGIN, END = "<!-- cards -->", "<!-- /cards -->"
MEASURED = ROOT / "benchmarks" / "results" / "generate_one_row.json"
ROWS = {"same": "fast", "int8": "fast, int8 weights", "int4": "fast, int4 weights"}  # in MEASURED
TITLES = {"same": "16 bits", "int8": "8 bits", "int4": "4 bits"}
REAL_TIME = 24_000 / 2048 * 7  # tokens/s
BESIDE = 1.1  # GB that PyTorch and CUDA hold beside the weights while one text is spoken: measured, see "The start"


class Model(NamedTuple):
    """A card on sale."""

    name: str
    card: Card
    memory: int  # GB
    bandwidth: int  # GB/s, from its data sheet


MODELS = (
    Model("T4", Card(7, 5), 16, 320),
    Model("RTX 3060", Card(8, 6), 12, 360),
    Model("RTX 4090", Card(8, 9), 24, 1008),
    Model("L4", Card(8, 9), 24, 300),
    Model("A100 40 GB", Card(8, 0), 40, 1555),
    Model("A100 80 GB", Card(8, 0), 80, 2039),
    Model("H100 SXM", Card(9, 0), 80, 3350),
)


def token_bytes(weights):
    """(bytes that one token of one sequence reads, bytes of all weights) of Orpheus-3B; weights: one of matrix.WEIGHTS."""
    import torch

    from orpheus.common.tokens import CONTROL_TOKENS, TokenLayout
    from orpheus.engines.fast.matrix import empty_matrix
    from orpheus.engines.fast.stored import Config
    from tests.fakes.checkpoints import ORPHEUS_3B_CONFIG

    def linear(rows, width):
        if weights == "same":
            return 2 * rows * width
        return empty_matrix(rows, width, torch.device("meta"), weights).nbytes

    config = Config.read(ORPHEUS_3B_CONFIG | {"model_type": "llama"})
    width = config.hidden_size
    layers = sum(
        linear(*shape) if len(shape) == 2 else 2 * shape[0]
        for name, shape in config.tensors().items()
        if name.startswith("model.layers.")
    )
    head = 2 * width * (CONTROL_TOKENS + TokenLayout().codebook_size)  # the rows for one position
    return layers + head + 2 * width, layers + 2 * width * config.vocab_size + 2 * width


def shares():
    """{weights: how much of an H100's bandwidth one sequence makes use of}, as measured."""
    rates = {(row["name"], row["batch"]): row["tokens_per_second"] for row in json.loads(MEASURED.read_text())["rows"]}
    most = MODELS[-1].bandwidth * 1e9
    return {weights: rates[row, 1] * token_bytes(weights)[0] / most for weights, row in ROWS.items()}


def render():
    """What stands between the markers."""
    sizes, share = {weights: token_bytes(weights) for weights in ROWS}, shares()
    lines = [
        "Orpheus-3B, one text at a time:",
        "",
        "| weights | read for a token | all weights | held while one text is spoken | of its bandwidth, H100 |",
    ]
    lines += ["| --- | --- | --- | --- | --- |"]
    for weights, (read, whole) in sizes.items():
        held = whole / 1e9 + BESIDE
        lines.append(
            f"| {TITLES[weights]} | {read / 1e9:.2f} GB | {whole / 1e9:.2f} GB | {held:.1f} GB | {share[weights]:.0%} |"
        )
    lines += [
        "",
        "| card | capability | memory, bandwidth | computes in | kernels overlap | FP8 cache | packed training | "
        + " | ".join(f"{title}, tokens/s" for title in TITLES.values())
        + " |",
        "| " + " | ".join(["---"] * 10) + " |",
    ]
    for name, card, memory, bandwidth in MODELS:
        cells = [name, str(card), f"{memory} GB, {bandwidth:,} GB/s", card.dtype]
        cells += ["yes" if has else "no" for has in (card.overlaps, card.fp8, card.packed_attention)]
        for weights, (read, _) in sizes.items():
            limit = bandwidth * 1e9 / read
            cells.append(f"{limit * share[weights]:,.0f} of {limit:,.0f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(only_print):
    if only_print:
        return print(render())
    PAGE.write_text(put_into(PAGE.read_text(), render(), BEGIN, END))


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["--print"]):
        raise SystemExit(__doc__)
    main("--print" in sys.argv)
