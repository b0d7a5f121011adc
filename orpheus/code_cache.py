"""What was made once and is kept by content: one small file per entry.

An entry is a SHA-256 of its payload and the payload, written under another name and renamed: a process that is killed
leaves no half entry, several may write at once, and a damaged one is found out and made again.
"""

import numpy as np

from orpheus.common.files import Cache, key_of
from orpheus.common.frame import CODES_PER_FRAME


class CodeCache:
    """Codes of one codec, as 16-bit numbers."""

    def __init__(self, folder, codec):
        self._cache, self._codec = Cache(folder, "codes"), codec

    def _key(self, content):
        return key_of("codes", 1, self._codec.fingerprint, *content)

    def get(self, content):
        """int64 (frames, 7) in slot order, or None. content: facts that the samples follow from."""
        payload = self._cache.get(self._key(content))
        if not payload or len(payload) % (2 * CODES_PER_FRAME):
            return None
        codes = np.frombuffer(payload, "<u2").reshape(-1, CODES_PER_FRAME).astype(np.int64)
        return codes if codes.max() < self._codec.codebook_size else None

    def put(self, content, codes):
        self._cache.put(self._key(content), np.asarray(codes).astype("<u2").tobytes())
