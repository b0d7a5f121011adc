"""WAV files whose header libsndfile believes too much or too little: read here, from what the bytes themselves say.

Streamed ones, whose data chunk claims no bytes though there are some; samples of fewer bits than their bytes hold (24 in 4, 20 in 3),
at either end of them; 64-bit integers and 16-bit floats; an ID3 tag in front; chunks that were not padded.
"""

import struct
from dataclasses import dataclass

import numpy as np

from orpheus.common.errors import InputError

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_KINDS = {_PCM: range(1, 9), _FLOAT: (2, 4, 8)}  # bytes of a sample
_USUAL = frozenset(b"fmt |data|LIST|fact|bext|iXML|JUNK|junk|PEAK|smpl|cue |id3 |ID3 ".split(b"|"))  # names of chunks
_MOST_CHUNKS = 1000
_LOOKED_AT = 4 << 20  # bytes of samples, for where in their bytes the bits are
_UNKNOWN = 0x7FFFF000  # bytes: from here on a writer did not know the length


@dataclass(frozen=True)
class WavHeader:
    kind: int  # _PCM or _FLOAT, or another number, which is not read here
    channels: int
    rate: int  # Hz
    width: int  # bytes of a sample
    bits: int  # of them in use
    start: int  # of the samples, in bytes
    size: int  # of the samples, in bytes, as many as there are
    big_endian: bool
    streamed: bool  # whether the header gives no length, or none that is true
    odd: bool  # whether libsndfile is known to fail

    @property
    def readable(self):
        return self.width in _KINDS.get(self.kind, ())


def read_header(view):
    """WavHeader of a ByteView, or None where it is no WAV file or nothing of it makes sense."""
    tag = _id3_size(view.at(0, 10))
    head = view.at(tag, 12)
    if len(head) < 12 or head[:4] not in (b"RIFF", b"RIFX", b"RF64") or head[8:] != b"WAVE":
        return None
    order = ">" if head[:4] == b"RIFX" else "<"
    place, form, odd, empty = tag + 12, None, tag > 0, None
    for _ in range(_MOST_CHUNKS):
        name, size = _chunk(view, place, order)
        if name == b"fmt ":
            form = form or view.at(place + 8, min(size, 40))
        elif name == b"data" and form is not None:
            behind = view.size - place - 8
            if size == 0 and (behind <= 0 or _chunks_to_the_end(view, place + 8, order)):
                empty, odd = place + 8, True  # a later chunk may hold the samples
            else:
                streamed = size == 0 or size >= _UNKNOWN or size > behind
                length = behind if streamed else size
                return _header(form, order, place + 8, length, streamed, odd or size == 0)
        elif name is None:
            break
        following = place + 8 + size + size % 2
        if size % 2 and view.at(following - 1, 4) in _USUAL and view.at(following, 4) not in _USUAL:
            following, odd = following - 1, True  # not padded
        place = following
    if form is None or empty is None:
        return None
    return _header(form, order, empty, 0, False, False)


def _header(form, order, start, size, streamed, odd):
    if len(form) < 16:
        return None
    kind, channels, rate, _, align, bits = struct.unpack(order + "HHIIHH", form[:16])
    valid = bits
    if kind == _EXTENSIBLE and len(form) >= 26:
        valid, kind = struct.unpack(order + "H4xH", form[18:26])
        valid = valid or bits
    elif kind == _EXTENSIBLE:
        kind = _PCM  # the part that would say it is not there
    if not channels or not rate:
        return None
    width = align // channels if align and align % channels == 0 else -(-bits // 8)
    bits = min(valid, bits, 8 * width) or 8 * width
    fits = width in _KINDS.get(kind, ()) and 0 < bits <= 8 * width
    odd = fits and (odd or (kind == _PCM and (bits != 8 * width or width > 4)) or (kind == _FLOAT and width == 2))
    return WavHeader(kind, channels, rate, width, bits, start, size, order == ">", streamed, odd)


def _chunk(view, place, order):
    head = view.at(place, 8)
    return (head[:4], struct.unpack(order + "I", head[4:])[0]) if len(head) == 8 else (None, 0)


def _is_name(name):
    return len(name) == 4 and all(0x20 <= byte < 0x7F for byte in name)


def _chunks_to_the_end(view, place, order):
    """Whether chunks follow each other from here exactly to the file's end: then these bytes are no samples."""
    for _ in range(_MOST_CHUNKS):
        name, size = _chunk(view, place, order)
        if name is None or not _is_name(name):
            return False
        place += 8 + size
        if view.size - place in (0, size % 2):
            return True
        place += size % 2
        if place > view.size:
            return False
    return False


def _id3_size(head):
    """Bytes of an ID3 tag in front of the file."""
    if len(head) < 10 or head[:3] != b"ID3":
        return 0
    size = 0
    for byte in head[6:10]:
        size = size << 7 | byte & 0x7F
    return size + 10


class PcmSound:
    """The samples of a WAV file, with what orpheus.common.audio uses of soundfile.SoundFile."""

    format = "WAV"

    def __init__(self, view, header, name):
        self.samplerate, self.channels = header.rate, header.channels
        self._view, self._header, self._name, self._place = view, header, name, 0
        self._frame = header.width * header.channels  # bytes
        self.frames = header.size // self._frame
        self._shift = self._unused_above() if header.kind == _PCM else 0

    def seek(self, frame):
        self._place = min(frame, self.frames)

    def close(self):
        """Nothing is held open."""

    def read(self, frames, dtype="float32", always_2d=True):
        """float32 (samples, channels), at most `frames`."""
        count = min(frames, self.frames - self._place)
        data = self._view.at(self._header.start + self._place * self._frame, count * self._frame)
        count = len(data) // self._frame
        self._place += count
        return self._floats(data[: count * self._frame]).reshape(count, self.channels)

    def _floats(self, data):
        width = self._header.width
        if self._header.kind == _FLOAT:
            order = ">" if self._header.big_endian else "<"
            with np.errstate(
                over="ignore"
            ):  # 64 bits hold more than 32; what is then infinite is refused where it is measured
                return np.frombuffer(data, f"{order}f{width}").astype(np.float32)
        if width == 1:
            return (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / 128
        whole = self._integers(data) << np.int64(self._shift)
        return (whole / 2.0**63 if width > 4 else whole / 2.0**31).astype(np.float32)

    def _integers(self, data):
        """int64 (samples * channels,) with the highest byte of a sample at the top of 32 or, where it is wider, of 64 bits."""
        width = self._header.width
        size = 4 if width <= 4 else 8
        raw = np.frombuffer(data, np.uint8).reshape(-1, width)
        padded = np.zeros((len(raw), size), np.uint8)
        padded[:, size - width :] = raw[:, ::-1] if self._header.big_endian else raw
        return padded.view(f"<i{size}")[:, 0].astype(np.int64)

    def _unused_above(self):
        """How far the samples are to be moved up: 0 where their lowest bits are the unused ones, as the format wants it."""
        header = self._header
        unused = 8 * header.width - header.bits
        if not unused or header.width == 1:
            return 0
        scale = 32 if header.width <= 4 else 64
        step = _LOOKED_AT // self._frame * self._frame or self._frame
        for place in range(0, self.frames * self._frame, step):
            data = self._view.at(header.start + place, step)
            values = self._integers(data[: len(data) // self._frame * self._frame]) >> (scale - 8 * header.width)
            if not values.any():
                continue  # silence: either way
            if not (values & ((1 << unused) - 1)).any():
                return 0
            if (values >> (header.bits - 1) == values >> 63).all():
                return unused
            raise InputError(
                f"{self._name} cannot be read as audio: the header says {header.bits} bits in {header.width} bytes a sample, and the "
                "samples are not such"
            )
        return 0
