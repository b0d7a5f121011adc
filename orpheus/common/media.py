"""What libsndfile cannot read, through FFmpeg's libraries (PyAV): M4A, AAC, WMA, WebM, Opus in any container, Ogg FLAC, a video's sound.

The container is told by its first bytes, never guessed by FFmpeg: among the formats that it tries are playlists, which open other files.
"""

from collections import deque

import numpy as np

from orpheus.common.errors import InputError

INSTALL = "pip install av"
CUT_OFF = "it was cut off, copy it again"
UNKNOWN_FRAMES = 1 << 62  # libsndfile's length, too, of what does not say its own

_HEAD = 4096  # bytes
_MOST_ATOMS = 10_000
_TRANSPORT_PACKET = 188  # bytes of MPEG's
_PREROLL = 8192  # frames decoded and dropped after a jump: by then a decoder has forgotten where it began
_BEHIND = 0.002  # seconds: an edit list counts in ticks of up to 1/600 s, so a difference below is none
_WHOLE = 0.1, 0.98  # seconds, share of what the header says: a file with less was not copied to its end

# What a container that begins so is called by FFmpeg. The place of the first byte, the bytes, the name.
_SIGNATURES = (
    *((4, atom, "mov") for atom in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")),
    (0, b"\x1a\x45\xdf\xa3", "matroska"),
    (0, b"OggS", "ogg"),
    (0, bytes.fromhex("3026b2758e66cf11"), "asf"),
    (0, b"fLaC", "flac"),
    (0, b"#!AMR", "amr"),
    (0, b"FLV", "flv"),
    (0, b"ADIF", "aac"),
    (0, b"wvpk", "wv"),
    (0, b"MAC ", "ape"),
    (0, b"TTA1", "tta"),
    (0, b"caff", "caf"),
    (0, b".snd", "au"),
    (0, b"FORM", "aiff"),
    (0, b"RF64", "wav"),
    (0, b"riff\x2e\x91\xcf\x11", "w64"),
    (0, b"\x0b\x77", "ac3"),
    (0, b"\x00\x00\x01\xba", "mpeg"),
    (0, b"\x00\x00\x01\xb3", "mpegvideo"),
)
# Their headers say how long they are; those of the others are estimates of FFmpeg's.
_TELL_LENGTH = frozenset("mov matroska ogg asf flac flv avi wav w64 aiff caf au wv ape tta".split())
# libsndfile takes some of these for something else, or reads a part of them.
FOREIGN = frozenset("mov matroska asf aac amr flv avi mpegts mpeg mpegvideo ac3 wv ape tta".split())


def container_of(head):
    """FFmpeg's name of the container that begins with these bytes; None where it is none that is read."""
    for place, signature, name in _SIGNATURES:
        if head[place : place + len(signature)] == signature:
            return name
    if head[:4] in (b"RIFF", b"RIFX"):
        return {b"WAVE": "wav", b"AVI ": "avi"}.get(head[8:12])
    if head[:1] == b"G" and head[_TRANSPORT_PACKET : _TRANSPORT_PACKET + 1] == b"G":
        return "mpegts"
    if head[:3] == b"ID3":
        return "mp3"
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        return "aac" if head[1] & 0x06 == 0 else "mp3"  # of MPEG's frames, AAC's have no layer
    return None


def look(view):
    """The container of a ByteView. An ID3 tag may stand before AAC, too."""
    head = view.at(0, _HEAD)
    name = container_of(head)
    if name == "mp3" and head[:3] == b"ID3" and len(head) >= 10:
        size = 0
        for byte in head[6:10]:
            size = size << 7 | byte & 0x7F
        behind = container_of(view.at(10 + size, _HEAD))
        return behind or name
    return name


def open_media(view, container, name):
    """MediaSound of a ByteView. Raises InputError, which says `name`."""
    try:
        import av
    except ImportError as error:
        raise InputError(f"{name} needs PyAV to be read: {INSTALL}") from error
    try:
        return MediaSound(av, view, container, name)
    except InputError:
        raise
    except Exception as error:  # FFmpeg's errors are of many classes, and broken headers bring others
        words = _words(error)
        if container == "mov" and b"moov" not in _atoms(view):
            words = f"its index, which is written last, is missing: {CUT_OFF}"
        raise InputError(f"{name} cannot be read as audio: {words}") from error


def _atoms(view):
    """Names of an MP4 file's outermost parts."""
    names, place = [], 0
    while place + 8 <= view.size and len(names) < _MOST_ATOMS:
        head = view.at(place, 16)
        size = int.from_bytes(head[:4], "big")
        size = int.from_bytes(head[8:], "big") if size == 1 else size or view.size
        names.append(head[4:8])
        place += max(size, 8)
    return names


def version():
    """PyAV's, for what was made with it."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as version_of

    try:
        return version_of("av")
    except PackageNotFoundError:
        return "none"


def _words(error):
    if isinstance(error, EOFError):
        return f"it ends within its header, or has no sound: {CUT_OFF}"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text[:1].lower() + text[1:]


class MediaSound:
    """The best sound stream of a container, with what orpheus.common.audio uses of soundfile.SoundFile.

    The samples are those that the container says are to be heard: a codec's delay at the beginning and its padding at the end are
    left out where their lengths are written down (MP4, WebM, Ogg; not in bare AAC, AVI and MPEG streams).
    """

    def __init__(self, av, view, container, name):
        self._name = name
        view.seek(0)
        self._container = av.open(view, format=container, metadata_errors="replace")
        self.format = container.upper()
        try:
            self._begin(container)
        except BaseException:
            self._container.close()
            raise

    def _begin(self, container):
        stream = self._container.streams.best("audio")
        if stream is None:
            raise InputError(f"{self._name} cannot be read as audio: it holds no sound")
        if stream.codec_context is None:
            raise InputError(f"{self._name} cannot be read as audio: its codec is not known")
        stream.codec_context.thread_count = 1  # recordings are read side by side
        self._stream = stream
        self._frames = self._decoded()
        self._ready = deque()  # float32 (samples, channels)
        first = next(self._frames, None)
        facts = first or stream.codec_context
        self.samplerate, self.channels = facts.sample_rate, facts.layout.nb_channels if first else facts.channels
        if not self.samplerate or not self.channels:
            raise InputError(f"{self._name} cannot be read as audio: the header says no rate, or no channels")
        base = stream.time_base
        # Whether times are whole samples. They are milliseconds in WebM, for one.
        self._exact = container == "mov" and base is not None and (1 / base) % stream.codec_context.sample_rate == 0
        self._origin = first.pts if first is not None and first.pts is not None else 0
        self._place = 0  # frames made ready
        self.frames = self._length(container)
        self._end = self._last(self.frames)
        if first is not None:
            self._take(first)

    def _length(self, container):
        """Frames as the header has them."""
        stream, length = self._stream, None
        if container in _TELL_LENGTH:
            if stream.duration and stream.time_base:
                length = float(stream.duration * stream.time_base)
            elif self._container.duration:
                length = self._container.duration / 1e6
        return UNKNOWN_FRAMES if length is None or length < 0 else round(length * self.samplerate)

    def _last(self, edited):
        """Frames to be heard, where something says so that FFmpeg leaves to others."""
        gapless = str(self._container.metadata.get("iTunSMPB", "")).split()
        if len(gapless) > 3:
            try:
                samples = int(gapless[3], 16) * self.samplerate // self._stream.codec_context.sample_rate
            except ValueError:
                samples = 0
            if samples:
                return samples
        return edited + round(_BEHIND * self.samplerate) if self._exact and edited < UNKNOWN_FRAMES else None

    # --- decoding ---------------------------------------------------------------------------------------------------

    def _decoded(self):
        """Frames of FFmpeg, one after the other."""
        try:
            for packet in self._container.demux(self._stream):
                yield from packet.decode()
        except Exception as error:
            if isinstance(error, EOFError):
                return
            raise InputError(f"{self._name} cannot be read as audio: damaged: {_words(error)}") from error

    def _take(self, frame):
        if (frame.sample_rate, frame.layout.nb_channels) != (self.samplerate, self.channels):
            raise InputError(
                f"{self._name} cannot be read as audio: from {self.samplerate} Hz and {self.channels} channels it changes to "
                f"{frame.sample_rate} Hz and {frame.layout.nb_channels}"
            )
        samples = _floats(frame)
        if self._exact and frame.duration:  # of a packet, as the container has it: the last one's padding is not in it
            heard = round(float(frame.duration * self._stream.time_base) * self.samplerate)
            if heard < len(samples):
                samples = samples[:heard]
        if self._end is not None:
            samples = samples[: max(0, self._end - self._place)]
        if len(samples):
            self._ready.append(samples)
            self._place += len(samples)

    def read(self, frames, dtype="float32", always_2d=True):
        """float32 (samples, channels), at most `frames`."""
        parts, missing = [], frames
        while missing > 0:
            if not self._ready:
                frame = next(self._frames, None)
                if frame is None:
                    break
                self._take(frame)
                continue
            samples = self._ready.popleft()
            if len(samples) > missing:
                self._ready.appendleft(samples[missing:])
                samples = samples[:missing]
            parts.append(samples)
            missing -= len(samples)
        if missing == frames:
            self._check_complete()
            return np.zeros((0, self.channels), np.float32)
        return np.concatenate(parts)

    def _check_complete(self):
        slack, share = _WHOLE
        if self.frames < UNKNOWN_FRAMES and self._place + slack * self.samplerate < share * self.frames:
            raise InputError(
                f"{self._name} cannot be read as audio: it ends after {self._place / self.samplerate:.1f} s of the "
                f"{self.frames / self.samplerate:.1f} s that its header says: {CUT_OFF}"
            )

    def seek(self, frame):
        """Goes on at this frame; only forwards."""
        if self._exact and frame - self._place > 4 * _PREROLL:
            self._jump(frame - _PREROLL)
        missing = frame - (self._place - sum(map(len, self._ready)))
        while missing > 0:
            samples = self.read(min(missing, 1 << 16))
            if not len(samples):
                return
            missing -= len(samples)

    def _jump(self, frame):
        """To a frame of FFmpeg's at or before this one. Times are exact, so its place is known."""
        ticks = 1 / (self._stream.time_base * self.samplerate)
        self._container.seek(int(self._origin + frame * ticks), stream=self._stream)
        self._frames = self._decoded()
        self._ready.clear()
        found = next(self._frames, None)
        if found is None or found.pts is None:
            raise InputError(
                f"{self._name} cannot be read as audio: it does not go on at {frame / self.samplerate:.1f} s"
            )
        self._place = round((found.pts - self._origin) / ticks)
        self._take(found)

    def close(self):
        self._frames.close()
        self._container.close()


def _floats(frame):
    """float32 (samples, channels) of FFmpeg's frame."""
    samples = frame.to_ndarray()
    samples = samples.T if frame.format.is_planar else samples.reshape(-1, frame.layout.nb_channels)
    kind = samples.dtype
    if kind == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    if np.issubdtype(kind, np.integer):
        return (samples / float(1 << (8 * kind.itemsize - 1))).astype(np.float32)
    with np.errstate(over="ignore"):
        return samples.astype(np.float32)
