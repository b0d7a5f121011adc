"""A layout, a tokenizer and an engine on a fake server; nobody waits for long."""

import contextlib

import pytest

from orpheus.common.tokens import TokenLayout
from orpheus.engines.endpoint.client import Client
from orpheus.engines.endpoint.engine import EndpointEngine
from orpheus.engines.endpoint.finding import find
from orpheus.engines.endpoint.spelling import Spelling
from orpheus.engines.options import Patience
from tests.fakes.endpoints import Fake, serving

LAYOUT = TokenLayout(codebook_size=16, base=258, begin_of_text=256, end_of_turn=257)
TEXT = list(b"theo: Good morning.")
PROMPT = [261, 256, *TEXT, 257, 262, 263, 259]
FRAMES = [LAYOUT.range_start(place) + place % 16 for place in range(35)]
SPEECH = [*FRAMES, LAYOUT.end_of_speech]
VOCABULARY = 258 + 10 + 7 * 16
QUICK = Patience(ask=60, connect=60, token=60, tries=3, pause=0.01, longest_pause=0.02, overload=0.3)


class ByteTokenizer:
    """Bytes, and Orpheus' tokens; with `mark`, `<|audio|>` as well, as in Orpheus-3B's vocabulary."""

    def __init__(self, mark=False):
        self.added = {"<|begin_of_text|>": 256, "<|eot_id|>": 257}
        self.added |= {f"<custom_token_{n}>": 258 + n for n in range(VOCABULARY - 258)}
        self.added |= {"<|audio|>": VOCABULARY} if mark else {}

    def get_added_vocab(self):
        return self.added

    def decode(self, ids, skip_special_tokens):
        return bytes(ids).decode()


def ids_of(engine, prompts, sampling, seeds=None):
    """Each sequence's ids."""
    rows = [[] for _ in prompts]
    for tokens in engine.generate(prompts, sampling, seeds or [0] * len(prompts)):
        for row, token in zip(rows, tokens, strict=True):
            row += [int(token)] if token >= 0 else []
    return rows


@pytest.fixture
def connect():
    """connect(kind, script): (engine, fake), closed at the end."""
    with contextlib.ExitStack() as stack:

        def connect(kind, script=None, patience=QUICK, mark=False, key=None, parallel=8, **more):
            fake = stack.enter_context(serving(Fake(kind, script or (lambda asked: SPEECH), LAYOUT.base, **more)))
            fake.key = key
            client = Client(fake.url, key, patience)
            spelling = Spelling(ByteTokenizer(mark), LAYOUT)
            model = "orpheus-3b-0.1-ft" if kind == "lm-studio" else None
            found = find(client, kind, model)
            return EndpointEngine(client, found, LAYOUT, spelling, VOCABULARY + mark, parallel), fake

        yield connect
