"""SNAC's kernels, compiled for cards that are not here, as they are launched for the 24 kHz SNAC."""

import numpy as np
import pytest
import torch
from snac import SNAC

pytestmark = [pytest.mark.kernels, pytest.mark.timeout(3000)]
pytest.importorskip("triton", reason="Triton is not installed: make test-kernels installs it")

from orpheus.codec import kernels  # noqa: E402
from orpheus.codec.kernels import decoder, encoder  # noqa: E402
from orpheus.codec.kernels.snake import snake  # noqa: E402
from orpheus.codec.snac import Codec  # noqa: E402
from orpheus.codec.step import COLUMNS  # noqa: E402
from orpheus.common.frame import FRAME_SAMPLES  # noqa: E402
from tests.fakes import launches as launched  # noqa: E402
from tests.fakes.checkpoints import snac_config  # noqa: E402

# Sizes of a layer, which change addresses but no tile. A convolution's channels, rows and dilation, a product's terms and columns.
ALIKE = {"C", "T", "L", "DELAY", "DILATION", "K", "N", "SMALL", "PLACE", "REACH", "STRIDE", "ROWS_FIRST", "SIZE"}


@pytest.fixture(scope="module")
def launches():
    """What decoding one stream and three, encoding two clips and a Snake alone launch. SNAC's weights have shapes and no values."""
    model = Codec(SNAC(**snac_config(4096, encoder_dim=48, decoder_dim=1024)).to("meta")).model
    assert decoder.fits(model) and encoder.fits(model)
    with launched.noted_launches() as launches, torch.inference_mode():
        layers = decoder.FusedLayers(model, 4)
        for streams in (1, 3):
            layers(torch.zeros(streams, COLUMNS, dtype=torch.int64, device="meta"))
        encoder.FusedEncoder(model).codes(torch.zeros(3 * FRAME_SAMPLES, device="meta"), np.array([0, 1, 3]))
        snake(torch.zeros(2, 3, 4096, device="meta"), torch.zeros(1, 3, 1, device="meta"))
    return launches


@pytest.mark.parametrize("card", launched.CARDS, ids=str)
def test_every_kernel_compiles_for(card, launches):
    assert launched.check_on(card, launches, ALIKE) >= 20


def test_no_kernel_is_left_out(launches):
    assert launched.not_launched(kernels, launches) == []
    without = [launch for launch in launches if launch.kernel.__name__ != "_codes_kernel"]
    assert launched.not_launched(kernels, without) == ["_codes_kernel"]
