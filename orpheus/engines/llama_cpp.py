"""GGUF files, through llama.cpp in this process: the package `xllamacpp` holds its server, and the endpoint engine speaks to it.

The server listens on this machine alone, on a free port, behind a key that is drawn anew each time.
"""

import gc
import math
import os
import secrets
from contextlib import closing, contextmanager

from orpheus.common import waiting
from orpheus.common.errors import CheckpointError
from orpheus.common.hub import brief
from orpheus.engines.endpoint.client import Client
from orpheus.engines.endpoint.dialects import LlamaCpp
from orpheus.engines.endpoint.engine import EndpointEngine
from orpheus.engines.endpoint.finding import Found
from orpheus.engines.options import INSTALL_LLAMA_CPP

_LIKELIEST = 20  # tokens whose probabilities are compared
_SLOTS, _LENGTH = 4, 2048  # side by side, and tokens of each, where nobody asks for more


@contextmanager
def _usual_waiting():
    """OpenMP's threads wait in its own usual way, spinning for a moment and then asleep, where the user has not said otherwise.

    orpheus/common/waiting.py lets PyTorch's threads sleep at once, as small layers want it; that halves llama.cpp's speed at 2 threads.
    Each brings an OpenMP of its own, which reads the variable when it loads. ("active" would spin for minutes after the last token.)
    """
    before = os.environ.pop(waiting.POLICY, None) if waiting.IS_OURS else None
    try:
        yield
    finally:
        if before is not None:
            os.environ[waiting.POLICY] = before


def load_package():
    """The package `xllamacpp`. Raises CheckpointError with the line that installs it."""
    try:
        with _usual_waiting():
            import xllamacpp
    except ImportError as error:
        raise CheckpointError(
            f"a GGUF needs llama.cpp, which is not installed ({brief(error)}): {INSTALL_LLAMA_CPP}"
        ) from error
    return xllamacpp


class LlamaCppEngine(EndpointEngine):
    """See orpheus.engines.Engine.

    path: the GGUF; exact: whether the cache is kept and attention computed in float32, as weights in float32 want it for exact
    greedy ids, instead of in 16 bits; gpu: whether the layers go to a GPU, where the package was built for one
    """

    def __init__(self, path, layout, vocabulary, exact=False, gpu=False):
        self.path, self.exact, self.gpu = path, exact, gpu
        self._package, self._server, self._room = load_package(), None, (0, 0)
        self._start(_SLOTS, _LENGTH)
        super().__init__(self.client, Found(LlamaCpp, None, None), layout, None, vocabulary)
        models = self.client.ask("v1/models") or {}
        size = next((entry.get("meta", {}).get("n_vocab") for entry in models.get("data", ())), None)
        if size is not None and size <= layout.last_audio:
            raise CheckpointError(
                f"{path} has a vocabulary of {size} and no room for audio tokens up to {layout.last_audio}: not an Orpheus model"
            )

    def _start(self, slots, length):
        """Starts a server with room for `slots` sequences of `length` tokens, in place of the one before."""
        import torch

        package, key = self._package, secrets.token_hex(16)
        self._stop()
        settings = package.CommonParams()
        settings.model.path = str(self.path)
        settings.n_parallel, settings.n_ctx = slots, slots * -(-length // 256) * 256
        settings.kv_unified, settings.fit_params, settings.warmup, settings.verbosity = False, False, False, 0
        settings.n_gpu_layers = 999 if self.gpu else 0
        settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = torch.get_num_threads()
        if self.exact:  # flash attention rounds to 16 bits
            settings.cache_type_k = settings.cache_type_v = package.ggml_type.GGML_TYPE_F32
            settings.flash_attn_type = package.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        settings.hostnames, settings.port, settings.api_keys = ["127.0.0.1"], 0, [key]
        try:
            self._server = package.Server(settings)
        except Exception as error:  # the package raises what llama.cpp throws
            raise CheckpointError(
                f"{self.path} cannot be loaded by llama.cpp ({brief(error)}): it is damaged, or of a kind that the installed "
                "xllamacpp does not know"
            ) from error
        self._room = (slots, length)
        self.client = Client(self._server.listening_address, key)

    def _stop(self):
        if self._server is not None:
            self._server = None
            gc.collect()

    def release(self):
        """Stops the server, which holds the weights; the next call starts it again."""
        self._stop()
        self._room = (0, 0)

    def lead(self, ids, one, other):
        """By how many nats `one` is likelier than `other` as the token after `ids`; infinite where `other` is not among the likeliest."""
        self._make_room(1, len(ids) + 1)
        asked = {
            "prompt": list(map(int, ids)),
            "n_predict": 1,
            "n_probs": _LIKELIEST,
            "temperature": 0,
            "cache_prompt": False,
        }
        with closing(self.client.stream(LlamaCpp.path, asked | {"stream": True})) as events:
            found = next(event["completion_probabilities"] for event in events if event.get("completion_probabilities"))
        chances = {token["id"]: token["logprob"] for token in found[0]["top_logprobs"]}
        return chances[one] - chances[other] if {one, other} <= chances.keys() else math.inf

    def _make_room(self, slots, length):
        if slots > self._room[0] or length > self._room[1]:
            self._start(max(slots, self._room[0]), max(length, self._room[1]))

    def generate(self, prompts, sampling, seeds):
        self._make_room(1, max(map(len, prompts), default=1) + sampling.max_new_tokens)
        yield from super().generate(prompts, sampling, seeds)

    def open(self, slots, length):
        self._make_room(slots, length)
        return super().open(slots, length)
