"""The fast engine's kernels, compiled for cards that are not here, as they are launched for Orpheus-3B."""

import pytest
import torch

pytestmark = [pytest.mark.kernels, pytest.mark.timeout(3000)]
pytest.importorskip("triton", reason="Triton is not installed: make test-kernels installs it")

from triton.runtime.jit import JITFunction  # noqa: E402

from orpheus.common import cards  # noqa: E402
from orpheus.common.cards import HOPPER, Card  # noqa: E402
from orpheus.engines.fast import kernels  # noqa: E402
from orpheus.engines.fast.head import State  # noqa: E402
from orpheus.engines.fast.kernels import fp8, layer  # noqa: E402
from orpheus.engines.fast.kernels.fp8 import Fp8Operations  # noqa: E402
from orpheus.engines.fast.kernels.head import KernelHead  # noqa: E402
from orpheus.engines.fast.kernels.layer import KernelOperations  # noqa: E402
from orpheus.engines.fast.llama import Layer, Llama, Parts, Tokens  # noqa: E402
from orpheus.engines.fast.matrix import WEIGHTS, Matrix, empty_matrix  # noqa: E402
from orpheus.engines.fast.stored import Config  # noqa: E402
from orpheus.engines.options import CACHES  # noqa: E402
from tests.fakes import launches as launched  # noqa: E402
from tests.fakes.checkpoints import ORPHEUS_3B_CONFIG, ORPHEUS_LAYOUT  # noqa: E402

SLOTS, LENGTH = 3, 1536


class Hollow:
    """One layer of Orpheus-3B with the shapes of its weights and no values: what a Llama is made of."""

    def __init__(self, dtype):
        self.dtype = dtype
        self.config = Config.read(ORPHEUS_3B_CONFIG | {"model_type": "llama", "num_hidden_layers": 1})

    def empty(self, *shape):
        return torch.empty(*shape, dtype=self.dtype, device="meta")

    def parts(self, weights):
        def linear(rows, width):
            return Matrix(self.empty(rows, width)) if weights == "same" else empty_matrix(rows, width, "meta", weights)

        config = self.config
        width, inner, vocabulary = config.hidden_size, config.intermediate_size, config.vocab_size
        q, kv = (n * config.head_dim for n in (config.num_attention_heads, config.num_key_value_heads))
        norm = self.empty(width)
        layer = Layer(
            norm, linear(q + 2 * kv, width), linear(width, q), norm, linear(2 * inner, width), linear(width, inner)
        )
        embeddings = self.empty(vocabulary, width)
        return Parts(config, [layer], embeddings, norm, embeddings)


def launches_on(card):
    """What one row and two rows launch, with every kind of weights and cache that the card can have."""
    dtype = getattr(torch, card.dtype)
    caches = [kind for kind in CACHES if kind != "fp8" or card.fp8]
    with launched.noted_launches() as launches, torch.inference_mode():
        for weights in WEIGHTS:
            if weights == "fp8" and not card.fp8:
                continue
            operations = (Fp8Operations if weights == "fp8" else KernelOperations)(
                overlap=card.overlaps, shared=card.shared_bytes
            )
            llama = Llama(Hollow(dtype), weights, operations)
            head = KernelHead(llama, ORPHEUS_LAYOUT, "position", operations, spare=SLOTS - 1)
            state = State.empty(SLOTS, LENGTH, head.columns, "meta")
            for kind in caches:
                for rows in (1, 2):
                    places = torch.zeros(rows, dtype=torch.int64, device="meta")
                    tokens = Tokens(places, places, places)
                    x = llama.hidden(tokens, llama.cache(SLOTS, LENGTH, kind), llama.rope(LENGTH))
                    head.next_tokens(x, places, state)
    return launches


def of_fp8_weights():
    """Names of the kernels that only weights in FP8 need."""
    there = [each for each in vars(fp8).values() if isinstance(each, JITFunction)]
    return sorted(each.__name__ for each in there if each.fn.__module__ == fp8.__name__)


@pytest.mark.parametrize("card", launched.CARDS, ids=str)
def test_every_kernel_compiles_for(card):
    assert launched.check_on(card, launches_on(card)) >= 20


@pytest.mark.parametrize(
    "card, dim, size, wide",
    [(HOPPER, 128, 2, True), (HOPPER, 128, 4, False), (HOPPER, 64, 4, True), (Card(8, 0), 128, 2, True), (Card(8, 9), 128, 2, False)],
)  # fmt: skip
def test_one_rows_attention_is_wide_where_it_fits(card, dim, size, wide):
    assert layer.attention_tile(card.shared_bytes, dim, size) is (layer.WIDE if wide else layer.NARROW)


@pytest.mark.parametrize("card", [Card(7, 5), HOPPER], ids=str)
def test_no_kernel_is_left_out(card):
    launches, lacking = launches_on(card), [] if card.fp8 else of_fp8_weights()
    assert launched.not_launched(kernels, launches) == lacking
    without = [launch for launch in launches if launch.kernel.__name__ != "_draw_kernel"]
    assert launched.not_launched(kernels, without) == sorted(["_draw", "_draw_kernel", "_likeliest", *lacking])


def test_what_a_card_lacks_is_noticed(monkeypatch):
    """bfloat16 on 7.5; more shared memory than a card has."""
    launches = [launch for launch in launches_on(Card(8, 0)) if launch.kernel.__name__ == "_attend_kernel"][-1:]
    with pytest.raises(AssertionError, match="bf16 on 7.5"):
        launched.check_on(Card(7, 5), launches)
    monkeypatch.setitem(cards._SHARED, (8, 0), 2**10)
    with pytest.raises(AssertionError, match="bytes of shared memory"):
        launched.check_on(Card(8, 0), launches)
