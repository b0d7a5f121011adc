"""What a process does only once, at its first text, it does before the first client comes: kernels are compiled, graphs captured, libraries
loaded."""

import warnings

import numpy as np

from orpheus.common.encoders import STREAMED, AudioEncoder
from orpheus.common.errors import OrpheusError
from orpheus.common.frame import CODES_PER_FRAME, CONTEXT_FRAMES, FRAME_SAMPLES
from orpheus.common.tempo import Tempo

TEXT = "Good morning, it is 7:30."  # with something that is written out
_LONG = " ".join([TEXT] * 6)  # a prompt of another size
_ROOM = 512  # tokens of a pool that has room for it
_TOKENS = (CONTEXT_FRAMES + 1) * CODES_PER_FRAME  # to the first sound, and on


def warm_pools(pools):
    """Speaks for nobody: in each pool a text to its end, and then two together. pools: {id: StreamPool}. Raises OrpheusError."""
    for id, pool in pools.items():
        together = [_LONG, TEXT] if pool.length >= _ROOM else [TEXT]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that they are cut off
                for _ in pool.submit(TEXT, max_new_tokens=_TOKENS):
                    pass
                speeches = [
                    pool.submit(text, max_new_tokens=_TOKENS, piece_seconds=30) for text in together[: pool.slots]
                ]
                for speech in speeches:
                    next(speech, None)
                    speech.close()
        except Exception as error:
            raise OrpheusError(f"{id} was loaded, but does not speak: {error}") from error


def warm_encoders():
    """Makes each format once."""
    for format in STREAMED:
        encoder = AudioEncoder(format)
        encoder.encode(np.zeros(FRAME_SAMPLES, np.float32))
        encoder.finish()
    Tempo(1.25).push(np.zeros(FRAME_SAMPLES, np.float32))
